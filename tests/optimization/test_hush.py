from __future__ import annotations

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
