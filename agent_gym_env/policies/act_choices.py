"""Twenty numbered actions that fit every tool, and the state of the dialogue as numbers.

An action is a dialogue act or a call whose arguments come from the schema and from what the user
said. So a policy that learned on some services can act on others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from agent_gym_env.corpus.goals import Kind, row_with, turn_kind
from agent_gym_env.corpus.sgd import TODAY
from agent_gym_env.policies.agent_wording import Speaker, Wording, offered_values
from agent_gym_env.policies.dialogue_memory import DialogueMemory, Outcome
from agent_gym_env.policies.dialogue_plan import Listener, Row, Tool, acts_of, read_result
from agent_gym_env.types import Action, DialogueAct, Observation, ToolCall

Choice = Literal[
    "request_1st", "request_2nd", "request_3rd", "request_4th", "request_two", "request_all",
    "request_optional", "query", "write", "offer_next", "offer_same", "confirm", "inform",
    "report_success", "counter_offer", "report_failure", "propose_1st", "propose_2nd", "ask_more",
    "goodbye",
]  # fmt: skip
CHOICES: tuple[Choice, ...] = get_args(Choice)
"""The actions, by number."""

_REQUESTS: dict[Choice, int] = {
    "request_1st": 0,
    "request_2nd": 1,
    "request_3rd": 2,
    "request_4th": 3,
}
_ALL_REQUESTS: tuple[Choice, ...] = tuple(each for each in CHOICES if each.startswith("request"))
_CHOICE_OF: dict[Kind, Choice] = {
    "confirm": "confirm", "inform": "inform", "success": "report_success",
    "counter": "counter_offer", "failure": "report_failure", "more": "ask_more",
    "goodbye": "goodbye",
}  # fmt: skip
"""The choice for each kind of turn that has one only."""

_PROPOSALS: dict[Choice, int] = {"propose_1st": 0, "propose_2nd": 1}
_CALLS_PER_TURN = 2
_HEARD = (
    "INFORM", "INFORM_INTENT", "AFFIRM_INTENT", "NEGATE_INTENT", "REQUEST", "REQUEST_ALTS",
    "SELECT", "AFFIRM", "NEGATE", "THANK_YOU", "GOODBYE", "UNCLEAR",
)  # fmt: skip
_SAID = (
    "none", "request", "offer", "confirm", "inform", "success", "counter", "failure", "propose",
    "more", "goodbye",
)  # fmt: skip
_OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


class Hearing(Protocol):
    """The ears of an agent: what the user does, and which tools there are."""

    def begin(self, memory: DialogueMemory) -> None:
        """Begin a dialogue.

        Args:
            memory: the agent's memory, which changes as the dialogue goes on.
        """

    def hear(self, observation: Observation) -> Listener | None:
        """Return what the user has just done; ``None`` while the agent's turn is open."""

    def tools(self) -> Mapping[str, Tool]:
        """Return the tools on offer, by full name."""


class ActChoices:
    """Follows a dialogue, and turns the number of a choice into an action.

    For each observation: `observe`, then `mask` and `features`, then `take`.

    Args:
        hearing: hears the user.
        wording: as in `ActsOraclePolicy`; what the user did not understand is said again in the
            next style.

    Attributes:
        memory: what the agent knows.
    """

    def __init__(self, hearing: Hearing, wording: str | Wording = "plain") -> None:
        self._hearing = hearing
        self._wording = wording
        self.reset()

    def reset(self) -> None:
        """Begin a dialogue."""
        self.memory = DialogueMemory()
        self._speaker = Speaker(self._wording)
        self._said: tuple[DialogueAct, ...] = ()
        self._hearing.begin(self.memory)
        self._look()

    def observe(self, observation: Observation) -> None:
        """Take in an observation."""
        user, tool = self._hearing.hear(observation), self._tool()
        if user is not None:
            self.memory.hear(user, self._hearing.tools())
        elif tool is not None:
            self.memory.note_result(tool, *read_result(observation))
        self._look()

    def _tool(self) -> Tool | None:
        return self._hearing.tools().get(self.memory.tool) if self.memory.tool else None

    def _look(self) -> None:
        """Look up what several choices and features depend on."""
        memory, tool = self.memory, self._tool()
        self._now = tool
        self._missing = [] if tool is None else memory.missing(tool)
        self._optional = [] if tool is None else memory.unsaid(tool)
        self._key = "" if tool is None else memory.key(tool)
        self._unseen = memory.errand.unseen()
        self._told = self._answers(memory.source())
        self._others = [] if tool is None else self._others_of(tool)
        self._possible = self._find_possible()

    def _others_of(self, tool: Tool) -> list[str]:
        """Return the transactional intents of the service under way, other than its own."""
        service = self.memory.service
        return [
            each.intent
            for name, each in self._hearing.tools().items()
            if each.transactional and each.intent != tool.intent
            if name.rpartition("-")[0] == service
        ]

    def _answers(self, row: Row) -> Row:
        return {slot: row[slot] for slot in self.memory.errand.questions if slot in row}

    def mask(self) -> NDArray[np.bool_]:
        """Return which choices are possible.

        Returns:
            Booleans, shape ``(20,)``; at least the last two are true.
        """
        return np.array([choice in self._possible for choice in CHOICES], np.bool_)

    def _find_possible(self) -> set[Choice]:
        tool, errand, missing = self._now, self.memory.errand, len(self._missing)
        if tool is None:
            return {"ask_more", "goodbye"}
        writes = tool.transactional
        may_call = not missing and errand.calls < _CALLS_PER_TURN
        possible: dict[Choice, bool] = {
            "request_two": missing >= 2,
            "request_all": missing >= 3,
            "request_optional": bool(self._optional),
            "query": may_call and not writes,
            "write": may_call and writes,
            "offer_next": not writes and bool(self._unseen),
            "offer_same": not writes and errand.row is not None,
            "confirm": writes and not missing,
            "inform": bool(self._told),
            "report_success": writes,
            "counter_offer": writes and errand.outcome == "counter",
            "report_failure": True,
            "ask_more": True,
            "goodbye": True,
            **{choice: place < missing for choice, place in _REQUESTS.items()},
            **{choice: place < len(self._others) for choice, place in _PROPOSALS.items()},
        }
        return {choice for choice, holds in possible.items() if holds}

    def take(self, number: int) -> Action:
        """Return the action of a choice, and remember that it was taken.

        Raises:
            ValueError: the choice is not possible now.
        """
        choice = CHOICES[number]
        if choice not in self._possible:
            raise ValueError(f"choice {number}, {choice}, is not possible now; see mask()")
        action = self._action(choice)
        self.note(action)
        return action

    def note(self, action: Action) -> None:
        """Remember an action of the agent that is not one of the choices; `take` does it itself."""
        if action.text:
            self.memory.note_said(action.acts, self._now)
            self._said = action.acts

    def number_of(self, action: Action) -> int | None:
        """Return the number of the possible choice that does the same as an action, or `None`.

        Args:
            action: a call, or words with their acts.
        """
        choice = self._called(action) if action.tool_calls else self._said_by(action.acts)
        if choice is None or choice not in self._possible:
            return None
        return CHOICES.index(choice)

    def _called(self, action: Action) -> Choice | None:
        tool = self._now
        if tool is None or any(call.name != tool.name for call in action.tool_calls):
            return None
        return "write" if tool.transactional else "query"

    def _said_by(self, acts: Sequence[DialogueAct]) -> Choice | None:
        kind = turn_kind({act.act for act in acts})
        if kind == "request":
            return self._request_for([act.slot for act in acts if act.act == "REQUEST"])
        if kind == "offer":
            offered = {act.slot: act.value for act in acts if act.act == "OFFER"}
            is_new = row_with(self._unseen, offered, TODAY) is not None
            return "offer_next" if is_new else "offer_same"
        if kind == "propose":
            wanted = {act.value for act in acts if act.act == "OFFER_INTENT"}
            places = (place for place in _PROPOSALS if _PROPOSALS[place] < len(self._others))
            return next((p for p in places if self._others[_PROPOSALS[p]] in wanted), None)
        return _CHOICE_OF.get(kind)

    def _request_for(self, slots: Sequence[str]) -> Choice | None:
        """Return the choice that asks for these slots, or else for the first of them."""
        possible = [each for each in _ALL_REQUESTS if each in self._possible]
        asked = {choice: self._requested(choice) for choice in possible}
        exact = (choice for choice in possible if set(asked[choice]) == set(slots))
        one = (choice for choice in possible if asked[choice] == list(slots[:1]))
        return next(exact, None) or next(one, None)

    def _action(self, choice: Choice) -> Action:
        tool = self._now
        if tool is not None and choice in ("query", "write"):
            return Action(tool_calls=(ToolCall(tool.name, self.memory.arguments(tool)),))
        return self._words(tuple(self.acts(choice)))

    def _words(self, acts: tuple[DialogueAct, ...]) -> Action:
        tool = self._now
        slots, intent = ({}, "") if tool is None else (tool.arguments, tool.intent)
        if acts == self._said and "UNCLEAR" in self.memory.heard:
            return self._speaker.say_again()
        return self._speaker.say(acts, slots, intent, len(self.memory.errand.rows))

    def acts(self, choice: Choice) -> Sequence[DialogueAct]:
        """Return the acts of a possible choice that is not a call."""
        errand = self.memory.errand
        if choice.startswith("request"):
            return [DialogueAct("REQUEST", slot) for slot in self._requested(choice)]
        if choice in ("offer_next", "offer_same"):
            row = self._unseen[0] if choice == "offer_next" else errand.row or {}
            offer = acts_of("OFFER", offered_values(row, errand.rows))
            return [*offer, *acts_of("INFORM", self._answers(row))]
        if choice == "confirm" and self._now is not None:
            return acts_of("CONFIRM", self.memory.arguments(self._now))
        if choice == "counter_offer":
            return [DialogueAct("NOTIFY_FAILURE"), *acts_of("OFFER", self._changed())]
        told = acts_of("INFORM", self._told)
        if choice in _PROPOSALS:
            return [DialogueAct("OFFER_INTENT", "intent", self._others[_PROPOSALS[choice]])]
        return {
            "inform": told,
            "report_success": [DialogueAct("NOTIFY_SUCCESS"), *told],
            "report_failure": [DialogueAct("NOTIFY_FAILURE"), DialogueAct("REQ_MORE")],
            "ask_more": [DialogueAct("REQ_MORE")],
            "goodbye": [DialogueAct("GOODBYE")],
        }[choice]

    def _requested(self, choice: Choice) -> list[str]:
        if choice == "request_optional":
            return self._optional[:1]
        if choice in _REQUESTS:
            return [self._missing[_REQUESTS[choice]]]
        return self._missing[: 2 if choice == "request_two" else 3]

    def _changed(self) -> Row:
        """Return the values in which a counter-offer differs from what was asked for."""
        tool, counter = self._now, self.memory.errand.counter or {}
        asked = {} if tool is None else self.memory.arguments(tool)
        changed = {s: v for s, v in counter.items() if s in asked and asked[s] != v}
        return changed or dict(list(counter.items())[:1])

    def features(self) -> NDArray[np.float32]:
        """Return the state of the dialogue as numbers in [0, 1], without any name.

        Returns:
            float32, shape ``(FEATURES,)``.
        """
        memory, tool, errand = self.memory, self._now, self.memory.errand
        writes = tool is not None and tool.transactional
        key, asked, told = self._key, len(errand.questions), len(self._told)
        finished = memory.finished
        others = [f"{memory.service}-{intent}" for intent in self._others[:2]]
        found: list[float] = [kind in memory.heard for kind in _HEARD]
        found += [tool is not None, writes, tool is not None and not writes]
        found += [*_count(len(self._missing), 3), *_count(len(self._optional), 2)]
        found += [min(len(self._missing), 4) / 4, min(len(self._optional), 5) / 5]
        found += [*_count(len(errand.rows), 2), *_count(len(self._unseen), 2)]
        found += [*_count(len(errand.shown), 2), errand.row is not None]
        found += [errand.outcome == outcome for outcome in _OUTCOMES]
        found += [errand.is_news and errand.outcome == outcome for outcome in _OUTCOMES]
        found += [*_compared(errand.called_with, key), *_compared(errand.confirmed, key)]
        found += [*_compared(errand.agreed, key), min(errand.confirmations, 3) / 3]
        found += [errand.calls / _CALLS_PER_TURN, min(errand.queries, 4) / 4]
        found += [*_count(asked, 2), *_count(told, 2), told < asked]
        found += [memory.last_kind == kind for kind in _SAID]
        found += [min(memory.repeated, 4) / 4, memory.repeated >= 2]
        found += [min(memory.turn, 40) / 40, memory.turn <= 1]
        found += [*_count(len(self._others), 2), *(name in memory.proposed for name in others)]
        found += [False] * (2 - len(others))
        found += [bool(others) and others[0] in finished, min(len(finished), 4) / 4]
        found += [self._times_requested(), min(memory.unclear, 4) / 4]
        found += [errand.is_settled, errand.booked is not None, memory.service in memory.chosen]
        return np.array(found, np.float32)

    def _times_requested(self) -> float:
        missing, requests = self._missing, self.memory.requests
        return min(requests.get(missing[0], 0), 3) / 3 if missing else 0.0


def _count(number: int, most: int) -> list[bool]:
    """Return a number as flags: none, one, …, at least ``most``."""
    return [number == each for each in range(most)] + [number >= most]


def _compared(key: str, now: str) -> tuple[bool, bool, bool]:
    """Return whether a key is empty, an older one, or that of now."""
    return not key, bool(key) and key != now, bool(key) and key == now
