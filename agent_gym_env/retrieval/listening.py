"""Understanding what the user says: which tool it heads to, which slots it fills, whether to call.

Each step is a choice among options of the schema, put as a `Question`. Who answers is not decided
here: a learned chooser while acting, a recorded dialogue while learning.
"""

from __future__ import annotations

from agent_gym_env.retrieval.carrying import carry_over
from agent_gym_env.retrieval.filling import fill_from_mentions
from agent_gym_env.retrieval.heading import head_to_tool
from agent_gym_env.retrieval.inferring import infer_listed_values
from agent_gym_env.retrieval.questions import Decide
from agent_gym_env.retrieval.rows import go_to_row
from agent_gym_env.retrieval.state import State
from agent_gym_env.retrieval.tokens import tokens_of


def hear(state: State, user: str, decide: Decide) -> None:
    """Take in what the user says."""
    state.turn += 1
    state.user, state.tokens, state.mentions = user, tokens_of(user), []
    state.fresh, state.has_called, state.has_moved_on = set(), False, False
    state.ready = _ready_arguments(state)
    head_to_tool(state, decide)
    if state.tool is None:
        return
    fill_from_mentions(state, state.tool, decide)
    infer_listed_values(state, state.tool, decide)
    carry_over(state, state.tool, decide)
    go_to_row(state, decide)


def _ready_arguments(state: State) -> dict[str, dict[str, str]]:
    if state.tool is None:
        return {}
    arguments = state.arguments(state.tool)
    return {} if state.tool.missing(arguments) else {state.tool.name: arguments}
