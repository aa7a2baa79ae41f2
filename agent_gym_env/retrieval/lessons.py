"""Learning to listen from recorded dialogues: what should have been answered, and when."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from agent_gym_env.corpus.task import RecordedCall, Task, Turn
from agent_gym_env.retrieval.chooser import LearningChooser
from agent_gym_env.retrieval.heading import call_question
from agent_gym_env.retrieval.listening import hear
from agent_gym_env.retrieval.mentions import Mention
from agent_gym_env.retrieval.offer import OfferedSlot
from agent_gym_env.retrieval.questions import Question
from agent_gym_env.retrieval.state import State, is_same
from agent_gym_env.retrieval.tokens import phrase_key, stems_of

_ROWS = msgspec.json.Decoder(list[dict[str, str]])


def learn_dialogue(chooser: LearningChooser, task: Task, state: State) -> None:
    """Go through a dialogue with the right answers at hand, and learn from each of them."""
    for index, turn in enumerate(task.turns):
        lesson = Lesson(chooser, task, index, state)
        hear(state, turn.user, lesson.answer)
        question = call_question(state)
        if question is not None:
            lesson.answer(question)
        take_in_call(state, turn)
        state.said(turn.text)


def take_in_call(state: State, turn: Turn) -> None:
    """Take in the call of a recorded turn, if it has one, and its results."""
    call = turn.call
    if call is not None:
        state.called(call.name, call.arguments, call.status, _ROWS.decode(call.results))


class Lesson:
    """The right answers of one turn.

    Args:
        chooser: learns from each answer.
        task: the dialogue.
        index: of the turn.
        state: of the conversation.
    """

    def __init__(self, chooser: LearningChooser, task: Task, index: int, state: State) -> None:
        self._chooser = chooser
        self._task = task
        self._state = state
        self._index = index
        self._turn = task.turns[index]
        ahead = enumerate(task.turns[index:], start=index)
        self._call_index = next((place for place, turn in ahead if turn.call is not None), index)
        call = task.turns[self._call_index].call
        is_of_service = call is not None and _service_of(call) == self._turn.service
        self._call = call if is_of_service else None

    def answer(self, question: Question) -> NDArray[np.float64]:
        """Give the right answer the probability 1, and learn it; "none" where it is not known."""
        right = self._right(question)
        if right is not None:
            self._chooser.learn(question.situation, question.options, right)
        certain = np.zeros(len(question.options))
        certain[right or 0] = 1.0
        return certain

    def _right(self, question: Question) -> int | None:
        """Index of the right option; ``None`` if the recording does not tell it."""
        if question.about == "tool":
            tool = self._tool()
            return question.answers.index(tool) if tool in question.answers else None
        if question.about == "call":
            name = self._turn.call.name if self._turn.call else None
            return question.answers.index(name) if name in question.answers else None
        if question.about == "row":
            return self._right_row()
        if self._call is None:
            return None
        if question.about == "mention" and question.mention is not None:
            return self._right_slot(question, question.mention, self._call)
        if question.slot is None:
            return None
        if question.about == "value":
            value = self._value_said_now(question.slot, self._call)
        else:
            value = self._value_never_said(question.slot.name, self._call)
        return question.answers.index(value) if value in question.answers else 0

    def _right_row(self) -> int:
        """Whether the reply is about the next row."""
        state, turn = self._state, self._turn
        return int(turn.call is None and state.named_row(turn.text) is state.next_row())

    def _tool(self) -> str | None:
        """The tool that is called next for the turn's service, else the one called last."""
        if self._call is not None:
            return self._call.name
        last = self._last_call()
        return None if last is None else last.name

    def _last_call(self) -> RecordedCall | None:
        for turn in reversed(self._task.turns[: self._index + 1]):
            if turn.call is not None and _service_of(turn.call) == self._turn.service:
                return turn.call
        return None

    def _right_slot(self, question: Question, mention: Mention, call: RecordedCall) -> int | None:
        """The slot of which the next call has the mention's value, if it is just one."""
        right = [
            index
            for index, (slot, value) in enumerate(
                zip(question.answers, question.values, strict=True)
            )
            if slot in call.arguments
            and (
                is_same(value, call.arguments[slot], self._task.date)
                or any(phrase_key(form) == mention.key for form in call.forms.get(slot, ()))
            )
        ]
        if len(right) > 1:
            return None
        return right[0] if right else 0

    def _value_said_now(self, slot: OfferedSlot, call: RecordedCall) -> str | None:
        """The next call's value, if this is the turn since the last call that tells it best."""
        value = call.arguments.get(slot.name)
        before = self._previous_call()
        if value is None or (before is not None and before[1].arguments.get(slot.name) == value):
            return None
        start = 0 if before is None else before[0] + 1
        told = max(
            range(start, self._call_index + 1),
            key=lambda index: (self._closeness(index, slot), index),
        )
        return value if told == self._index else None

    def _previous_call(self) -> tuple[int, RecordedCall] | None:
        for index in range(self._index - 1, -1, -1):
            call = self._task.turns[index].call
            if call is not None and _service_of(call) == self._turn.service:
                return index, call
        return None

    def _closeness(self, index: int, slot: OfferedSlot) -> int:
        """How much the turn speaks of a slot; the user's words count more than the agent's."""
        turns = self._task.turns
        before = turns[index - 1].text if index else ""
        said, asked = stems_of(turns[index].user), stems_of(before)
        return 2 * len(slot.words.intersection(said)) + len(slot.words.intersection(asked))

    def _value_never_said(self, slot: str, call: RecordedCall) -> str | None:
        """The next call's value, if the user does not say it before the call."""
        value = call.arguments.get(slot)
        if value is None:
            return None
        forms = {phrase_key(form) for form in (value, *call.forms.get(slot, ()))}
        for turn in self._task.turns[self._index : self._call_index + 1]:
            said = f" {phrase_key(turn.user)} "
            if any(f" {form} " in said for form in forms):
                return None
        return value


def _service_of(call: RecordedCall) -> str:
    return call.name.rpartition("-")[0]
