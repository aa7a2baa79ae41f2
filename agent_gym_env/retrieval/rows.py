"""Whether the user asks for another one of the results."""

from __future__ import annotations

from agent_gym_env.retrieval.chooser import Option
from agent_gym_env.retrieval.questions import NO_FEATURES, Decide, Question, heard
from agent_gym_env.retrieval.state import State
from agent_gym_env.retrieval.tokens import hashed


def go_to_row(state: State, decide: Decide) -> None:
    """Find out whether the user asks for another one of the results."""
    if state.next_row() is None:
        return
    flags = [f"fresh {bool(state.fresh)}", f"new tool {state.tool_is_new}"]
    options = [
        Option(NO_FEATURES, hashed("row", [f"{where} {flag}" for flag in ("always", *flags)]))
        for where in ("stay", "next")
    ]
    question = Question("row", hashed("row", heard(state)), options, [None, "next"])
    if decide(question).argmax():
        state.move_on()
