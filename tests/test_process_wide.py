"""Process-wide settings that several threads change are restored after the last one."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from agent_gym_env.process_wide import (
    SharedChange,
    environment_variable,
    output_shown,
    suppress_output,
)


def test_the_first_makes_a_change_and_the_last_undoes_it() -> None:
    told: list[str] = []

    @contextmanager
    def change(name: str) -> Iterator[None]:
        told.append(f"made for {name}")
        yield
        told.append("undone")

    shared = SharedChange(change)
    first, second = ExitStack(), ExitStack()
    first.enter_context(shared.held("the first"))
    second.enter_context(shared.held("the second"))
    first.close()
    assert (told, shared.is_made) == (["made for the first"], True)
    second.close()
    assert (told, shared.is_made) == (["made for the first", "undone"], False)


def test_whoever_ends_last_in_whichever_thread_undoes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENT_GYM_X", raising=False)
    shared = SharedChange(lambda: environment_variable("AGENT_GYM_X", "1"))
    begun, may_end = threading.Barrier(3), threading.Event()

    def use() -> None:
        with shared.held():
            begun.wait(60)
            may_end.wait(60)

    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    with shared.held():
        begun.wait(60)
    assert os.environ["AGENT_GYM_X"] == "1"
    may_end.set()
    for thread in threads:
        thread.join(60)
    assert "AGENT_GYM_X" not in os.environ


def test_a_change_that_fails_holds_nothing() -> None:
    @contextmanager
    def change() -> Iterator[None]:
        raise OSError("no")
        yield

    shared = SharedChange(change)
    for _ in range(2):
        with pytest.raises(OSError, match="no"), shared.held():
            pass
    assert not shared.is_made


@pytest.mark.parametrize(("override", "inside"), [(True, "ours"), (False, "theirs")])
def test_a_variable_that_the_user_has_set_is_put_back(
    override: bool, inside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_GYM_X", "theirs")
    with environment_variable("AGENT_GYM_X", "ours", override=override):
        assert os.environ["AGENT_GYM_X"] == inside
    assert os.environ["AGENT_GYM_X"] == "theirs"


def test_output_is_dropped_except_where_it_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with suppress_output():
        print("chatter")
        print("chatter", file=sys.stderr)
        with output_shown():
            print("news")
            print("trouble", file=sys.stderr)
        print("chatter")
    print("after")
    assert capsys.readouterr() == ("news\nafter\n", "trouble\n")


def test_one_thread_prints_while_another_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with suppress_output(), output_shown():
        other = threading.Thread(target=print, args=("chatter",))
        other.start()
        other.join()
        print("news")
    assert capsys.readouterr().out == "news\n"


def test_two_threads_that_suppress_output_restore_both_outputs() -> None:
    before = sys.stdout, sys.stderr
    both_in, first_out = threading.Barrier(2, timeout=60), threading.Event()

    def first() -> None:
        with suppress_output():
            both_in.wait()
        first_out.set()

    def second() -> None:
        with suppress_output():
            both_in.wait()
            assert first_out.wait(60)

    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (sys.stdout, sys.stderr) == before


def test_a_stream_that_other_code_puts_over_the_filter_is_kept(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = sys.stdout
    with suppress_output():
        theirs = sys.stdout  # what they keep, to put back after their own
        sys.stdout = io.StringIO()
    assert sys.stdout is not before
    sys.stdout = theirs
    print("after")
    sys.stdout = before
    assert capsys.readouterr().out == "after\n"
