"""Understanding of a user from their words alone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from agent_gym_env.chat import read_functions
from agent_gym_env.corpus.corpus import Split
from agent_gym_env.corpus.goals import Kind, UserAct
from agent_gym_env.corpus.sgd import TODAY, Slot
from agent_gym_env.policies.said_values import said_values
from agent_gym_env.retrieval.candidates import Conversations
from agent_gym_env.retrieval.model_file import RetrievalModel
from agent_gym_env.retrieval.tool_schemas import SlotSchema, ToolSchema, ToolSchemas
from agent_gym_env.retrieval.training import load_or_train
from agent_gym_env.retrieval.understanding import Question, decide_with
from agent_gym_env.retrieval.user_acts import (
    ANY_VALUE,
    UserActReader,
    load_or_train_user_acts,
    looks_up,
    named_slots,
)
from agent_gym_env.types import Observation
from agent_gym_env.values.equality import DONTCARE

_RESTATED_AFTER = frozenset(("none", "more", "failure", "success", "goodbye"))
"""After these turns of the agent, the user may say once more what they want from the same tool."""

_VALUES_AFTER = frozenset(("none", "request"))
"""After these turns of the agent, values are taken from the user's words in any case."""


class LastTurn(Protocol):
    """An agent that knows what it said last."""

    @property
    def last_kind(self) -> Kind:
        """Kind of the agent's last turn; ``none`` before the first."""

    @property
    def asked_for(self) -> tuple[str, ...]:
        """Slots that it asked for."""


class WordModels(NamedTuple):
    """Models for understanding users, learned from a train split; listeners share them.

    Attributes:
        retrieval: finds values and tools.
        acts: reads acts and questions.
        schemas: schemas of the tool lists that listeners have met, by tool list.
    """

    retrieval: RetrievalModel
    acts: UserActReader
    schemas: OrderedDict[str, ToolSchemas]

    @classmethod
    def of_split(cls, split: Split, *, training_dialogues: int, indexed: int) -> WordModels:
        """Load the models of a train split from the cache, or train them; see `RulePolicy`."""
        retrieval = load_or_train(split, training_dialogues=training_dialogues, indexed=indexed)
        acts = load_or_train_user_acts(split, training_dialogues=training_dialogues)
        return cls(retrieval, acts, OrderedDict())


class _Tool(msgspec.Struct, frozen=True):
    """A tool of the observation, in the terms of a `DialoguePlan`."""

    name: str
    intent: str
    arguments: dict[str, Slot]
    transactional: bool
    required: tuple[str, ...]
    defaults: dict[str, str]


class WordsListener:
    """Understands the user of one dialogue after another.

    Args:
        models: what was learned.
    """

    def __init__(self, models: WordModels) -> None:
        self._reader = models.acts
        self._answer = decide_with(models.retrieval.classifier)
        self._conversations = Conversations(
            models.retrieval.vocabulary, self._decide, TODAY, most=1, schemas=models.schemas
        )
        self.begin()

    def begin(self, agent: LastTurn | None = None) -> None:
        """Begin a dialogue.

        Args:
            agent: the agent that the user talks to; ``None`` until it has said something.
        """
        self.agent = agent
        self._tool = ""
        self._kinds: set[str] = set()
        self._text = ""
        self._tools: dict[str, str] = {}
        self._schemas: dict[str, _Tool] = {}
        self._unwanted: set[str] = set()

    def hear(self, observation: Observation) -> WordsListener | None:
        """Take in an observation.

        Returns:
            This listener if the user has spoken; ``None`` while the agent's turn is open.
        """
        if observation["user"]:
            self._listen(observation)
        self._state = self._conversations.state(observation)
        return self if observation["user"] else None

    def tools(self) -> dict[str, _Tool]:
        """Return the tools on offer, by full name; none before the first observation."""
        if not self._schemas and self._tools:
            schemas = self._state.tools.by_name.items()
            self._schemas = {name: _tool(schema, self._tools[name]) for name, schema in schemas}
        return self._schemas

    def _decide(self, question: Question) -> NDArray[np.float64]:
        """Answer a question of the tracker; the tool that the user wants is known already."""
        if question.topic == "tool" and self._tool in question.answers:
            known = [float(name == self._tool) for name in question.answers]
            return np.array(known, np.float64)
        return self._answer(question)

    def _listen(self, observation: Observation) -> None:
        """Read what the user does, and the tool that they want."""
        if not self._tools:
            functions = read_functions(observation["tools"])
            self._tools = {function.name: function.description for function in functions}
        text = self._text = observation["user"]
        after = self._after
        kinds = self._kinds = self._reader.kinds(text, after)
        if "UNCLEAR" in kinds:
            self._unwanted.add(self._tool)  # what the agent said did not fit what the user wants
        if after == "more" and not kinds - {"INFORM", ANY_VALUE}:
            kinds.add("INFORM_INTENT")
        if not self._tools or not ("INFORM_INTENT" in kinds or not self._tool):
            return
        tools = {name: self._tools[name] for name in self._tools if name not in self._unwanted}
        wanted = self._reader.tool(text, tools or self._tools, self._tool)
        if wanted == self._tool and after not in _RESTATED_AFTER:
            kinds.discard("INFORM_INTENT")
        else:
            kinds.add("INFORM_INTENT")
        self._tool = wanted
        self._unwanted.clear()

    @property
    def _slots(self) -> Mapping[str, SlotSchema]:
        """Slots of the service under way, by name."""
        return self._state.tools.slots.get(self._state.service, {})

    @property
    def _after(self) -> Kind:
        return "none" if self.agent is None else self.agent.last_kind

    def acts(self) -> list[UserAct]:
        """Return the acts of the user's last turn."""
        kinds = self._kinds
        service, _, intent = self._tool.rpartition("-")
        acts = [UserAct(service, kind) for kind in sorted(kinds - _WITH_VALUE)]
        if "INFORM_INTENT" in kinds:
            acts.append(UserAct(service, "INFORM_INTENT", "intent", intent))
        if "UNCLEAR" in kinds:
            return acts
        asked_for = () if self.agent is None else self.agent.asked_for
        if ANY_VALUE in kinds:
            acts += [UserAct(service, "INFORM", slot, DONTCARE) for slot in asked_for]
        corrects = "NEGATE" in kinds and self._after == "confirm"
        if kinds & {"INFORM", "INFORM_INTENT"} or self._after in _VALUES_AFTER or corrects:
            informs = ("INFORM" in kinds or corrects) and ANY_VALUE not in kinds
            corrects = corrects or self._after == "confirm"
            values = said_values(self._state, asked_for, informs=informs, corrects=corrects)
            acts += [
                UserAct(owner, "INFORM", slot, value)
                for (owner, slot), value in sorted(values.items())
            ]
        return acts

    def asked(self, row: Mapping[str, str]) -> list[str]:
        """Return the slots of a row that the user asks about."""
        described = self._slots
        slots = {slot: described[slot].description if slot in described else "" for slot in row}
        if "REQUEST" in self._kinds:
            return self._reader.questions(self._text, slots)
        asks = "?" in self._text and not self._kinds & _WITH_VALUE
        return named_slots(self._text, slots) if asks else []


_WITH_VALUE = frozenset(("INFORM", "INFORM_INTENT", ANY_VALUE))


def _tool(schema: ToolSchema, description: str) -> _Tool:
    slots = {
        name: Slot(name, slot.description, bool(slot.values), list(slot.values))
        for name, slot in schema.slots.items()
    }
    defaults = {
        name: DONTCARE if slot.default is None else slot.default
        for name, slot in schema.slots.items()
        if name not in schema.required
    }
    intent = schema.name.rpartition("-")[2]
    is_query = looks_up(description) if description else schema.is_query
    return _Tool(schema.name, intent, slots, not is_query, tuple(schema.required), defaults)
