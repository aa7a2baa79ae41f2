"""What several threads change of the process is put back when the last has done with it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from agent_gym_env.process_wide import SharedChange, environment_variable


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
