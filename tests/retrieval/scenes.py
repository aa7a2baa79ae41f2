"""A tea shop for the tests: its tools, word counts, states and fixed answers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from agent_gym_env.corpus.sgd import TODAY
from agent_gym_env.corpus.tool_specs import tool_specs, tools_json
from agent_gym_env.retrieval.state import State
from agent_gym_env.retrieval.tool_schemas import ToolSchemas
from agent_gym_env.retrieval.understanding import Decide, Question
from agent_gym_env.retrieval.vocabulary import Vocabulary
from tests.corpora import CAKES, TEAS

TOOLS = tool_specs([TEAS, CAKES])
FIND = "Teas_1-FindTea"
ORDER = "Teas_1-Order"
SENCHA = {"name": "Sencha", "kind": "green", "origin": "Uji", "price": "9"}
GYOKURO = {"name": "Gyokuro", "kind": "green", "origin": "Yame", "price": "30"}


def vocabulary() -> Vocabulary:
    """Return the word counts of an imaginary train split about the shop."""
    return Vocabulary(
        common={"i", "do", "send", "the", "is"},
        kinds={"gram": {"number": 9}, "day": {"date": 9}, "name": {"text": 9}},
        query_verbs={"find": 1, "order": -2},
        listed_words={"green", "black"},
    )


def tools() -> ToolSchemas:
    """Return the tools of the tea shop and of the cake shop."""
    return ToolSchemas(tools_json(TOOLS, ["Teas_1", "Cakes_1"]), vocabulary())


def state(tool: str | None = FIND) -> State:
    """Return the state of a conversation whose user wants a tool."""
    scene = State(tools(), TODAY)
    scene.tool = None if tool is None else scene.tools.by_name[tool]
    return scene


def answering(answer: Callable[[Question], str | None]) -> Decide:
    """Return a function that answers each question with certainty; unknown answers are "none"."""

    def decide(question: Question) -> NDArray[np.float64]:
        wanted = answer(question)
        certain = np.zeros(len(question.options))
        certain[question.answers.index(wanted) if wanted in question.answers else 0] = 1.0
        return certain

    return decide
