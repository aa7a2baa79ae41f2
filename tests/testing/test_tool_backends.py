"""Each promise of a tool backend is checked: a backend that breaks it is refused by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from agent_gym_env.assembly import make_env
from agent_gym_env.corpus.task import Task
from agent_gym_env.envs.dialogue import unwrap_sgd
from agent_gym_env.testing import ConformanceError, check_tool_backend
from agent_gym_env.tools.replay import ReplayBackend
from agent_gym_env.tools.validation import ToolCatalogue
from agent_gym_env.types import ToolCall, ToolResult


class Sound(ReplayBackend):
    """The services of the sample corpus."""

    __slots__ = ("executed",)

    def __init__(self, catalogue: ToolCatalogue) -> None:
        super().__init__(catalogue, unwrap_sgd(make_env(split="dev")).split.entities)
        self.executed = 0


class Changed(Sound):
    """Answers, with one thing about the results changed."""

    __slots__ = ("change",)

    def __init__(self, catalogue: ToolCatalogue, change: Callable[[ToolResult], Any]) -> None:
        super().__init__(catalogue)
        self.change = change

    def execute(self, call: ToolCall) -> ToolResult:
        changed: ToolResult = self.change(super().execute(call))
        return changed


def changed(change: Callable[[ToolResult], Any]) -> Callable[[ToolCatalogue], Changed]:
    return lambda catalogue: Changed(catalogue, change)


class NoMethods:
    def __init__(self, catalogue: ToolCatalogue) -> None:
        self.execute = None


class OneDialogue(Sound):
    """Can be reset once only."""

    __slots__ = ("task",)

    def reset(self, task: Task) -> None:
        if hasattr(self, "task"):
            raise RuntimeError("already begun")
        self.task = task
        super().reset(task)


class OneTurn(Sound):
    def next_turn(self) -> None:
        raise IndexError("no turn is left")


class Renaming(Sound):
    def full_name(self, name: str) -> str:
        return name.lower()


class Raising(Sound):
    def execute(self, call: ToolCall) -> ToolResult:
        result = super().execute(call)
        if result.status == "error":
            raise ValueError(result.error)
        return result


class Changing(Sound):
    def execute(self, call: ToolCall) -> ToolResult:
        result = super().execute(call)
        call.arguments.pop("no_such_argument", None)
        return result


class Counting(Sound):
    """Backend whose errors reveal the number of all calls so far."""

    def execute(self, call: ToolCall) -> ToolResult:
        self.executed += 1
        result = super().execute(call)
        if result.error is None:
            return result
        return replace(result, error=f"{result.error} (call {self.executed})")


class Credulous(Sound):
    """Finds nothing where a call is not valid."""

    def execute(self, call: ToolCall) -> ToolResult:
        result = super().execute(call)
        return result if result.error is None else ToolResult(result.name, "failure", [])


class Closed(Sound):
    """Answers the recorded calls and refuses all others."""

    def execute(self, call: ToolCall) -> ToolResult:
        result = super().execute(call)
        due = call.name in {each.name for each in self._recorded()}
        return result if due else ToolResult(result.name, "error", error="closed: come tomorrow")


def of_success(**change: Any) -> Callable[[ToolCatalogue], Changed]:
    """Change the results of the calls that succeed."""
    return changed(lambda result: replace(result, **change) if result.error is None else result)


BROKEN: list[tuple[str, Callable[[ToolCatalogue], Any]]] = [
    ("has the methods of its protocol", NoMethods),
    ("reset begins any dialogue", OneDialogue),
    ("next_turn follows every turn", OneTurn),
    ("full_name finds the tool that a name means", Renaming),
    ("never raises for a call", Raising),
    ("does not change the call", Changing),
    ("returns a ToolResult", changed(msgspec.to_builtins)),
    ("results name the tool", changed(lambda result: replace(result, name="Tool"))),
    ("the status is one of three", of_success(status="ok")),
    ("results are rows of texts, as JSON", of_success(results=[{"price": 7}])),
    ("results are rows of texts, as JSON", of_success(results=[{"name": "\ud800"}])),
    ("results are rows of texts, as JSON", of_success(results=msgspec.Raw(b"[{]"))),
    ("an error has a code and no results", of_success(status="error")),
    ("an error has a code and no results", of_success(status="error", error="No.", results=None)),
    ("an answer has results and no error", of_success(results=None)),
    ("a recorded call is answered as recorded", of_success(results=[])),
    ("a call that is not valid gets an error", Credulous),
    ("a well-formed call is answered", Closed),
    ("after reset the same calls get the same answers", Counting),
]


@pytest.mark.parametrize(("promise", "broken"), BROKEN)
def test_a_broken_promise_is_named(promise: str, broken: Callable[[ToolCatalogue], Any]) -> None:
    with pytest.raises(ConformanceError) as caught:
        check_tool_backend(broken)
    assert caught.value.promise == promise


def test_one_backend_that_knows_every_tool_can_be_given_itself() -> None:
    env = make_env(split="dev", tools_offered="all")
    backend = Sound(ToolCatalogue(unwrap_sgd(env).split.tools))
    check_tool_backend(backend, env, dialogues=2)


def test_a_backend_of_its_own_need_not_answer_as_recorded() -> None:
    empty = changed(lambda result: replace(result, results=[]) if result.error is None else result)
    check_tool_backend(empty, answers_as_recorded=False, dialogues=2)
