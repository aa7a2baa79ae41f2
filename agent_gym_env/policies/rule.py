"""A rule-based agent that plays from the observation alone: the baseline of the simulation."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from agent_gym_env.chat import read_functions
from agent_gym_env.corpus.corpus import Corpus, Split
from agent_gym_env.corpus.goals import Kind, UserAct
from agent_gym_env.corpus.sgd import TODAY, Slot
from agent_gym_env.policies.agent_wording import Speaker
from agent_gym_env.policies.dialogue_plan import DialoguePlan, Steps
from agent_gym_env.policies.said_values import said_values
from agent_gym_env.retrieval.candidates import Conversations
from agent_gym_env.retrieval.state import State
from agent_gym_env.retrieval.tool_schemas import SlotSchema, ToolSchema
from agent_gym_env.retrieval.training import load_or_train
from agent_gym_env.retrieval.understanding import Question, decide_with
from agent_gym_env.retrieval.user_acts import (
    ANY_VALUE,
    UserActReader,
    load_or_train_user_acts,
    looks_up,
    named_slots,
)
from agent_gym_env.types import Action, AtLeast0, Observation
from agent_gym_env.values.equality import DONTCARE

_RESTATED_AFTER = frozenset(("none", "more", "failure", "success", "goodbye"))
"""After these turns of the agent, the user may say once more what they want from the same tool."""

_VALUES_AFTER = frozenset(("none", "request"))
"""After these turns of the agent, values are taken from the user's words in any case."""


class RulePolicy:
    """Works off one errand after another, by rules over what it understands of the user.

    It asks for required slots in the order of the schema, searches, offers, answers questions about
    the row, confirms, books and reports. It proposes nothing. What it understands is learned from
    the train split: values and tools as in `RetrievalPolicy`, acts from the annotation of user
    turns. Its actions carry ``acts``.

    Args:
        split: train split. Training on all of SGD takes minutes; what is learned is kept in the
            cache.
        training_dialogues: number of dialogues that the policy learns to understand users from.
        indexed: number of dialogues whose replies the shared retrieval model indexes; this policy
            does not use them.
        wording: style of the policy's words: ``terse``, ``plain``, ``verbose`` or ``descriptive``.

    Raises:
        ValueError: the style is unknown.
    """

    name = "rule"
    needs_beginning = True

    def __init__(
        self,
        split: Split,
        *,
        training_dialogues: AtLeast0 = 8000,
        indexed: AtLeast0 = 5000,
        wording: str = "plain",
    ) -> None:
        Speaker(wording)  # refuses an unknown style before anything is trained
        self._wording = wording
        model = load_or_train(split, training_dialogues=training_dialogues, indexed=indexed)
        self._answer = decide_with(model.classifier)
        self._conversations = Conversations(model.vocabulary, self._decide, TODAY)
        self._reader = load_or_train_user_acts(split, training_dialogues=training_dialogues)
        self._play: Steps | None = None
        self._listener = _Listener(self._reader)

    @classmethod
    def of_corpus(
        cls,
        corpus: Corpus,
        *,
        training_dialogues: AtLeast0 = 8000,
        indexed: AtLeast0 = 5000,
        wording: str = "plain",
    ) -> RulePolicy:
        """Make the policy for the train split of a corpus."""
        train = corpus.split("train")
        return cls(train, training_dialogues=training_dialogues, indexed=indexed, wording=wording)

    def reset(self, *, seed: int | None = None) -> None:
        """Begin an episode. Nothing is random."""
        self._play, self._listener = None, _Listener(self._reader)

    def act(self, observation: Observation) -> Action:
        """Take the next step of the dialogue."""
        listener = self._listener
        if observation["user"]:
            listener.listen(observation)
        listener.state = self._conversations.state(observation)
        if self._play is None:
            self._play = listener.plan(Speaker(self._wording)).play()
            return next(self._play)
        return self._play.send(observation)

    def _decide(self, question: Question) -> NDArray[np.float64]:
        """Answer a question of the tracker; the tool that the user wants is known already."""
        if question.topic == "tool" and self._listener.tool in question.answers:
            known = [float(name == self._listener.tool) for name in question.answers]
            return np.array(known, np.float64)
        return self._answer(question)


class _Tool(msgspec.Struct, frozen=True):
    """A tool of the observation, in the terms of a `DialoguePlan`."""

    name: str
    intent: str
    arguments: dict[str, Slot]
    transactional: bool
    required: tuple[str, ...]
    defaults: dict[str, str]


class _Listener:
    """Understands the user of one dialogue.

    Args:
        reader: reads the user's acts.

    Attributes:
        state: state of the conversation, with the values that the user said.
        tool: full name of the tool that the user wants; ``""`` before the first turn.
    """

    state: State

    def __init__(self, reader: UserActReader) -> None:
        self.tool = ""
        self._reader = reader
        self._kinds: set[str] = set()
        self._text = ""
        self._plan: DialoguePlan | None = None
        self._tools: dict[str, str] = {}
        self._unwanted: set[str] = set()

    def plan(self, speaker: Speaker) -> DialoguePlan:
        """Begin the plan of the dialogue."""
        tools = {
            name: _tool(schema, self._tools[name])
            for name, schema in self.state.tools.by_name.items()
        }
        self._plan = DialoguePlan(tools, self, speaker)
        return self._plan

    def listen(self, observation: Observation) -> None:
        """Read what the user does, and the tool that they want."""
        if not self._tools:
            functions = read_functions(observation["tools"])
            self._tools = {function.name: function.description for function in functions}
        text = self._text = observation["user"]
        after = self._after
        kinds = self._kinds = self._reader.kinds(text, after)
        if "UNCLEAR" in kinds:
            self._unwanted.add(self.tool)  # what the agent said did not fit what the user wants
        if after == "more" and not kinds - {"INFORM", ANY_VALUE}:
            kinds.add("INFORM_INTENT")
        if not self._tools or not ("INFORM_INTENT" in kinds or not self.tool):
            return
        tools = {name: self._tools[name] for name in self._tools if name not in self._unwanted}
        wanted = self._reader.tool(text, tools or self._tools, self.tool)
        if wanted == self.tool and after not in _RESTATED_AFTER:
            kinds.discard("INFORM_INTENT")
        else:
            kinds.add("INFORM_INTENT")
        self.tool = wanted
        self._unwanted.clear()

    @property
    def _slots(self) -> Mapping[str, SlotSchema]:
        """Slots of the service under way, by name."""
        return self.state.tools.slots.get(self.state.service, {})

    @property
    def _after(self) -> Kind:
        return "none" if self._plan is None else self._plan.last_kind

    def acts(self) -> list[UserAct]:
        """Return the acts of the user's last turn."""
        kinds = self._kinds
        service, _, intent = self.tool.rpartition("-")
        acts = [UserAct(service, kind) for kind in sorted(kinds - _WITH_VALUE)]
        if "INFORM_INTENT" in kinds:
            acts.append(UserAct(service, "INFORM_INTENT", "intent", intent))
        if "UNCLEAR" in kinds:
            return acts
        asked_for = () if self._plan is None else self._plan.asked_for
        if ANY_VALUE in kinds:
            acts += [UserAct(service, "INFORM", slot, DONTCARE) for slot in asked_for]
        corrects = "NEGATE" in kinds and self._after == "confirm"
        if kinds & {"INFORM", "INFORM_INTENT"} or self._after in _VALUES_AFTER or corrects:
            informs = ("INFORM" in kinds or corrects) and ANY_VALUE not in kinds
            corrects = corrects or self._after == "confirm"
            values = said_values(self.state, asked_for, informs=informs, corrects=corrects)
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
