"""The promises of a tool backend."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from agent_gym_env.assembly import Env, choose_dialogues, make_env
from agent_gym_env.corpus.task import RecordedCall, Task, Turn
from agent_gym_env.corpus.tool_specs import ToolSpec
from agent_gym_env.envs.dialogue import unwrap_sgd
from agent_gym_env.testing.conformance import ODD_TEXT, Check, compare, excerpt
from agent_gym_env.tools.backend import ToolBackend
from agent_gym_env.tools.validation import ToolCatalogue
from agent_gym_env.types import ToolCall, ToolResult


def check_tool_backend(
    backend: Callable[[ToolCatalogue], ToolBackend] | ToolBackend,
    env: Env | None = None,
    *,
    dialogues: int = 4,
    seed: int = 0,
    answers_as_recorded: bool = True,
) -> None:
    """Check that a tool backend keeps the promises of `agent_gym_env.tools.backend.ToolBackend`.

    In every turn it is asked the recorded calls, calls that are well formed, and malformed ones. Of
    functions, whose results are any JSON values, an answer to calls that were not recorded is not
    asked.

    Args:
        backend: makes a backend from a catalogue of tools, as in ``ReplaySettings(backend=…)``; or
            one backend, which has to know every tool.
        env: ``SGD-v0`` or ``Traces-v0``, whose dialogues and tools are used; by default the ``dev``
            split of the embedded corpus.
        dialogues: how many dialogues are used.
        seed: seed of the choice of dialogues.
        answers_as_recorded: whether a call that the corpus made in the turn gets the recorded
            answer.

    Raises:
        ConformanceError: a promise is broken.

    Examples:
        >>> entities = make_env(split="dev").unwrapped.split.entities
        >>> from agent_gym_env.tools.replay import ReplayBackend
        >>> check_tool_backend(lambda catalogue: ReplayBackend(catalogue, entities))
    """
    env = make_env(split="dev") if env is None else env
    bare = unwrap_sgd(env)
    make = backend if callable(backend) else lambda _: backend
    made: dict[tuple[str, ...], ToolBackend] = {}
    tasks = [
        bare.split.task(bare.split.index(each)) for each in choose_dialogues(env, dialogues, seed)
    ]
    answers: dict[str, list[_Answer]] = {}
    for task in [*tasks, *reversed(tasks)]:
        catalogue = bare.settings.offered_tools(task).catalogue
        if task.services not in made:
            made[task.services] = make(catalogue)
        services = made[task.services]
        check = Check("tool backend", type(services).__name__)
        check.require_methods(services, "reset", "next_turn", "full_name", "execute")
        given = list(_converse(check, services, catalogue, task, answers_as_recorded))
        before = answers.setdefault(task.dialogue_id, given)
        promise = "after reset the same calls get the same answers"
        compare(check, promise, given, before, f"dialogue {task.dialogue_id}")


_Answer = tuple[ToolCall, str]
"""A call, and its result as JSON."""

_RECORDED, _ANSWER, _REFUSAL, _ANYTHING = "recorded", "answer", "refusal", "anything"
_NOT_SCALARS: tuple[Any, ...] = (None, [], {"a": [{}]})
_ODD_SCALARS: tuple[Any, ...] = (True, -(2**63), 1e308, "", "\0", ODD_TEXT, "25:99", "2019-02-30")
_UNKNOWN_TOOLS = ("", "NoSuch_1-Tool", "__class__", "Ünïcode \U0001f375")


def _converse(
    check: Check,
    backend: ToolBackend,
    catalogue: ToolCatalogue,
    task: Task,
    answers_as_recorded: bool,
) -> Iterator[_Answer]:
    """Make calls in each turn of a dialogue, and check and yield the answers."""
    where = f"dialogue {task.dialogue_id}"
    check.call("reset begins any dialogue", where, backend.reset, task)
    _check_full_names(check, backend, catalogue)
    for index, turn in enumerate(task.turns):
        for number, (call, kind) in enumerate(_calls([*catalogue.tools.values()], turn, index)):
            place = f"{where}, turn {index}, call {excerpt(call)}"
            spec = catalogue.resolve(call.name)
            is_function = isinstance(spec, ToolSpec) and spec.parameters is not None
            result = _execute(check, backend, call, place, is_function)
            if kind == _RECORDED and answers_as_recorded:
                _check_recorded(check, result, turn.calls[number], place)
            elif kind == _REFUSAL:
                promise = "a call that is not valid gets an error"
                refused = result.status == "error"
                check.require(refused, promise, "the status 'error'", result, place)
            elif kind == _ANSWER:
                promise = "a well-formed call is answered"
                answered = result.status != "error"
                check.require(answered, promise, "'success' or 'failure'", result, place)
            yield call, msgspec.json.encode(result).decode()
        check.call("next_turn follows every turn", f"{where}, turn {index}", backend.next_turn)


def _check_full_names(check: Check, backend: ToolBackend, catalogue: ToolCatalogue) -> None:
    promise = "full_name finds the tool that a name means"
    for name in (
        *catalogue.tools,
        *(spec.intent for spec in catalogue.tools.values()),
        *_UNKNOWN_TOOLS,
    ):
        spec = catalogue.resolve(name)
        expected = name if isinstance(spec, str) else spec.name
        found = check.call(promise, "", backend.full_name, name)
        check.require(found == expected, promise, f"{expected!r} for {name!r}", found)


def _calls(specs: Sequence[ToolSpec], turn: Turn, index: int) -> Iterator[tuple[ToolCall, str]]:
    """Make calls for one turn, each with the kind of answer that it must get.

    The recorded calls come first. In each turn another tool is called.
    """
    for call in turn.calls:
        yield ToolCall(call.name, dict(call.arguments)), _RECORDED
    for name in _UNKNOWN_TOOLS:
        yield ToolCall(name, {"a": 1}), _REFUSAL
    if not specs:
        return
    spec = specs[index % len(specs)]
    # Every call of the recorded tool may mean the recorded call.
    is_due = any(call.name == spec.name for call in turn.calls)
    made = _arguments(spec) if spec.parameters is None else _function_arguments(spec)
    for arguments, kind in made:
        yield ToolCall(spec.name, arguments), _ANYTHING if is_due else kind


def _arguments(spec: ToolSpec) -> Iterator[tuple[dict[str, Any], str]]:
    whole = {
        name: spec.arguments[name].possible_values[0]
        if spec.arguments[name].is_categorical
        else "1"
        for name in spec.required
    }
    yield dict(whole), _ANSWER
    yield {**whole, "no_such_argument": "1"}, _REFUSAL
    for name in spec.required:
        yield {other: value for other, value in whole.items() if other != name}, _REFUSAL
    for name, slot in spec.arguments.items():
        for value in _NOT_SCALARS:
            yield {**whole, name: value}, _REFUSAL
        for value in _ODD_SCALARS:
            yield {**whole, name: value}, _ANYTHING
        if slot.is_categorical:
            yield {**whole, name: "no such value"}, _REFUSAL


def _function_arguments(spec: ToolSpec) -> Iterator[tuple[dict[str, Any], str]]:
    whole = dict.fromkeys(spec.required, "1")
    yield dict(whole), _ANYTHING
    for name in spec.required:
        yield {other: value for other, value in whole.items() if other != name}, _REFUSAL
    for name in spec.arguments:
        for value in (*_NOT_SCALARS, *_ODD_SCALARS):
            yield {**whole, name: value}, _ANYTHING


def _execute(
    check: Check, backend: ToolBackend, call: ToolCall, where: str, is_function: bool
) -> ToolResult:
    before = msgspec.json.encode(call)
    result = check.call("never raises for a call", where, backend.execute, call)
    promise = "does not change the call"
    check.require(msgspec.json.encode(call) == before, promise, "the call as it was", call, where)
    if not isinstance(result, ToolResult):
        check.fail("returns a ToolResult", "an instance of ToolResult", excerpt(result), where)
    promise = "results name the tool"
    expected = check.call(promise, where, backend.full_name, call.name)
    check.require(result.name == expected, promise, repr(expected), result.name, where)
    _check_result(check, result, where, is_function)
    return result


def _check_result(check: Check, result: ToolResult, where: str, is_function: bool) -> None:
    promise = "the status is one of three"
    known = result.status in ("success", "failure", "error")
    check.require(known, promise, "'success', 'failure' or 'error'", result.status, where)
    promise = "results are JSON" if is_function else "results are rows of texts, as JSON"
    encoded = check.call(promise, where, msgspec.json.encode, result)
    check.call(promise, where, msgspec.json.decode, encoded)
    # A log marks results as errors.
    if result.status == "error" and (not is_function or result.error is not None):
        named = isinstance(result.error, str) and re.match(r"[a-z_]+: .", result.error)
        holds = result.results is None and bool(named)
        promise = "an error has a code and no results"
        expected = "results None and an error 'code: what was found, what is expected'"
        check.require(holds, promise, expected, result, where)
        return
    check.require(
        result.error is None and result.results is not None,
        "an answer has results and no error",
        "rows, and error None",
        result,
        where,
    )
    if not is_function:
        rows = check.call(promise, where, result.rows)
        check.call(promise, where, msgspec.convert, rows, list[dict[str, str]])


def _check_recorded(check: Check, result: ToolResult, call: RecordedCall, where: str) -> None:
    expected = (call.name, call.status, json.loads(call.results))
    results = json.loads(msgspec.json.encode(result.results))
    found = (result.name, result.status, results)
    promise = "a recorded call is answered as recorded"
    check.require(found == expected, promise, excerpt(expected), found, where)
