"""Which tool the conversation heads to, and whether to call one now."""

from __future__ import annotations

from agent_gym_env.retrieval.chooser import Option
from agent_gym_env.retrieval.offer import OfferedTool
from agent_gym_env.retrieval.questions import NO_FEATURES, Decide, Question, heard
from agent_gym_env.retrieval.state import State
from agent_gym_env.retrieval.tokens import hashed


def head_to_tool(state: State, decide: Decide) -> None:
    """Find out which tool the user wants to have called, now or when its arguments are known."""
    tools = list(state.offer.tools.values())
    if not tools:
        return
    answer = decide(
        Question(
            "tool",
            hashed("tool", [*heard(state), *(f"agent {word}" for word in state.reply)]),
            [Option(tool.features, hashed("tool", _tool_flags(state, tool))) for tool in tools],
            [tool.name for tool in tools],
        )
    )
    before = state.tool
    state.tool = tools[int(answer.argmax())]
    state.tool_is_new = state.tool is not before


def _tool_flags(state: State, tool: OfferedTool) -> list[str]:
    missing = tool.missing(state.arguments(tool))
    flags = ["always", f"missing {min(len(missing), 2)}"]
    if tool is state.tool:
        flags.append("was it")
    if tool.name == state.last_call:
        flags.append("called last")
    if tool.name in state.calls:
        flags.append("called")
    if tool.service == state.service:
        flags.append("same service")
    if tool.name in state.ready:
        flags.append("was ready")
    kind = "query" if tool.is_query else "transaction"
    if not tool.is_query:
        queries = [each for each in state.offer.of_service[tool.service] if each.is_query]
        called = any(query.name in state.calls for query in queries)
        flags.append(f"queries {bool(queries)} {called}")
    return [*flags, *(f"{kind} {flag}" for flag in flags)]


def call_question(state: State) -> Question | None:
    """Ask whether to call a tool now, and which of the service that the conversation is about."""
    if state.tool is None:
        return None
    tools = state.offer.of_service[state.service]
    options = [Option(NO_FEATURES, hashed("call", ["wait"]))]
    options += [
        Option(tool.verb_features, hashed("call", _call_flags(state, tool))) for tool in tools
    ]
    situation = hashed("call", heard(state))
    return Question("call", situation, options, [None, *(tool.name for tool in tools)])


def _call_flags(state: State, tool: OfferedTool) -> list[str]:
    arguments = state.arguments(tool)
    missing = len(tool.missing(arguments))
    kind = "query" if tool.is_query else "transaction"
    called = _compared(state.calls.get(tool.name), arguments)
    ready = _compared(state.ready.get(tool.name), arguments)
    fresh = any((tool.service, name) in state.fresh for name in tool.slots)
    base = f"{kind} {'complete' if not missing else 'incomplete'} {tool is state.tool}"
    flags = [
        kind,
        base,
        f"{tool is state.tool} missing {min(missing, 2)}",
        f"{base} called {called}",
        f"{base} ready {ready}",
        f"{base} called {called} ready {ready}",
        f"{base} fresh {fresh}",
        f"{base} fresh {fresh} called {called} ready {ready}",
    ]
    if tool.name == state.last_call:
        flags.append(f"{base} last")
    if state.tool_is_new:
        flags.append(f"{base} new")
    return flags


def _compared(before: dict[str, str] | None, now: dict[str, str]) -> str:
    if before is None:
        return "never"
    return "same" if before == now else "other"
