"""What a situation is like in which an agent replies, as features that recorded ones share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agent_gym_env.retrieval.offer import OfferedTool
from agent_gym_env.retrieval.state import State
from agent_gym_env.retrieval.tokens import Features, hashed, identifier_words, pairs

WEIGHTS = {
    "tool": 2.5,
    "described": 1.5,
    "stage": 1.5,
    "missing": 2.0,
    "filled": 3.0,
    "asked": 3.0,
    "user": 1.75,
    "user pair": 1.5,
}
"""How much a feature counts, by its kind; found by random search on a fifth of SGD's dev split."""

PHASES = (
    "no call",
    "next row",
    "query success rows",
    "query failure empty",
    "transaction success rows",
    "transaction failure rows",
    "transaction failure empty",
)
"""Replies of different phases never stand for each other: what there is to say is another thing."""


def phase_of(state: State) -> str:
    """Tell the phase: whether a call was just made, of what kind and how it went, or none."""
    if not state.has_called or state.tool is None or state.status == "error":
        return "next row" if state.has_moved_on and not state.has_called else "no call"
    kind = "query" if state.tool.is_query else "transaction"
    if kind == "query":
        return f"query {'success rows' if state.rows else 'failure empty'}"
    if state.status == "success":
        return "transaction success rows"
    return f"transaction failure {'rows' if state.rows else 'empty'}"


def situation_of(state: State) -> Iterator[tuple[str, str]]:
    """Give the features of a situation: kind and word."""
    if state.tool is not None:
        yield from _features_of_tool(state, state.tool)
    yield "stage", f"turn {min(state.turn, 2)}"
    for word in state.stems:
        yield "user", word
    for pair in pairs(state.stems):
        yield "user pair", pair


def hashed_situation(situation: Iterable[tuple[str, str]]) -> Features:
    """Hash the features of a situation, in order."""
    return hashed("situation", (f"{kind} {word}" for kind, word in situation))


def _features_of_tool(state: State, tool: OfferedTool) -> Iterator[tuple[str, str]]:
    arguments = state.arguments(tool)
    missing = tool.missing(arguments)
    yield "tool", tool.name
    for word in tool.words:
        yield "described", word
    yield "stage", _stage(state, tool, arguments, len(missing))
    yield "stage", f"ready {bool(state.ready)}"
    for name in missing:
        yield "missing", name
    for name in arguments:
        if (tool.service, name) in state.fresh:
            yield "filled", name
    said = set(state.stems)
    for name in state.row.get(tool.service, ()):
        if name not in arguments and not said.isdisjoint(identifier_words(name)):
            yield "asked", name


def _stage(state: State, tool: OfferedTool, arguments: dict[str, str], missing: int) -> str:
    kind = "query" if tool.is_query else "transaction"
    before = state.calls.get(tool.name)
    called = "never" if before is None else "same" if before == arguments else "other"
    return f"{kind} missing {min(missing, 3)} called {called}"
