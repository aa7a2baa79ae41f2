from __future__ import annotations

import io
import sys
import threading

import pytest

from agent_gym_env.optimization.hush import aloud, hushed


def test_what_is_printed_is_swallowed_but_aloud(capsys: pytest.CaptureFixture[str]) -> None:
    with hushed():
        print("chatter")
        print("chatter", file=sys.stderr)
        with aloud():
            print("news")
            print("trouble", file=sys.stderr)
        print("chatter")
    print("after")
    assert capsys.readouterr() == ("news\nafter\n", "trouble\n")


def test_one_thread_speaks_while_another_is_hushed(capsys: pytest.CaptureFixture[str]) -> None:
    with hushed(), aloud():
        other = threading.Thread(target=print, args=("chatter",))
        other.start()
        other.join()
        print("news")
    assert capsys.readouterr().out == "news\n"


def test_two_threads_that_are_hushed_leave_both_outputs_as_they_were() -> None:
    before = sys.stdout, sys.stderr
    both_in, first_out = threading.Barrier(2, timeout=60), threading.Event()

    def first() -> None:
        with hushed():
            both_in.wait()
        first_out.set()

    def second() -> None:
        with hushed():
            both_in.wait()
            assert first_out.wait(60)

    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (sys.stdout, sys.stderr) == before


def test_a_stream_that_someone_puts_over_the_hushed_one_stays_theirs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = sys.stdout
    with hushed():
        theirs = sys.stdout  # what they keep, to put back after their own
        sys.stdout = io.StringIO()
    assert sys.stdout is not before
    sys.stdout = theirs
    print("after")
    sys.stdout = before
    assert capsys.readouterr().out == "after\n"
