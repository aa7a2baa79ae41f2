"""Training a retrieval model on the dialogues of a train split, once for each split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from agent_gym_env.corpus.corpus import Split
from agent_gym_env.corpus.task import RecordedCall, Task, Turn
from agent_gym_env.corpus.tool_specs import ToolSpec, tools_json
from agent_gym_env.retrieval.linear_classifier import LinearClassifier, TrainableClassifier
from agent_gym_env.retrieval.mentions import Mention
from agent_gym_env.retrieval.model_file import RetrievalModel
from agent_gym_env.retrieval.neighbour_index import (
    FEATURE_WEIGHTS,
    PHASES,
    NeighbourIndex,
    build_index,
    hashed_situation,
    phase_of,
    situation_of,
)
from agent_gym_env.retrieval.plain_tasks import plain_task
from agent_gym_env.retrieval.reply_templates import template_of
from agent_gym_env.retrieval.state import State, is_same
from agent_gym_env.retrieval.tokens import Features, phrase_key, stems_of
from agent_gym_env.retrieval.tool_schemas import SlotSchema, ToolSchemas
from agent_gym_env.retrieval.understanding import (
    Decide,
    Question,
    call_question,
    decide_with,
    update_state,
)
from agent_gym_env.retrieval.vocabulary import Vocabulary, VocabularyBuilder
from agent_gym_env.storage.cache_folder import home, load_or_make

MODEL_FORMAT = 7
"""Part of the file's name. Raise it with each change of what is trained or how."""

_WAIT_S = 1_800.0
"""Longest wait for another process that trains the same model, in seconds."""

_SEED = 0

OnProgress = Callable[[int, int], None]
"""Called with the number of dialogues processed so far, and their total over all passes."""

_ROWS = msgspec.json.Decoder(list[dict[str, str]])


def load_or_train(
    split: Split, *, training_dialogues: int, indexed: int, on_progress: OnProgress | None = None
) -> RetrievalModel:
    """Load the model of a train split from the cache; train and save it on first use.

    Args:
        split: train split.
        training_dialogues: number of its dialogues that the classifier is trained on.
        indexed: number of its dialogues whose replies are indexed.
        on_progress: called during training; never if the model is in the cache.

    Raises:
        StorageError: the cache cannot be written.
        LockError: another process takes too long to train the same model.
    """
    numbers = f"{training_dialogues}-{indexed}-{MODEL_FORMAT}"
    name = f"{split.fingerprint[:24]}-{split.schema_variant}-{numbers}"
    path = home() / "retrieval" / f"{name}.npz"

    def make() -> RetrievalModel:
        model = train_model(
            split, training_dialogues=training_dialogues, indexed=indexed, on_progress=on_progress
        )
        model.save(path)
        return model

    return load_or_make(path, RetrievalModel.load, make, wait_s=_WAIT_S)


def train_model(
    split: Split, *, training_dialogues: int, indexed: int, on_progress: OnProgress | None = None
) -> RetrievalModel:
    """Train a model on dialogues of a split, in an order that is always the same.

    If there are enough dialogues, none is both trained on and indexed, so that the features of an
    indexed situation come from predictions on unseen dialogues. The rest is left out (`held_out`).

    Args:
        split: train split.
        training_dialogues: number of dialogues that the classifier is trained on.
        indexed: number of dialogues whose replies are indexed.
        on_progress: called after each dialogue of each pass.
    """
    random = np.random.default_rng(_SEED)
    order = random.permutation(len(split))
    training = order[:training_dialogues].tolist()
    replying = order[max(len(order) - indexed, 0) :].tolist()
    all_seen = sorted({*training, *replying})
    tasks = _Tasks(split, len(all_seen) + len(training) + len(replying), on_progress)
    builder = VocabularyBuilder(split.tools)
    for task in tasks(all_seen):
        builder.add(task)
    vocabulary = builder.build()
    initial = _InitialStates(split.tools, vocabulary)
    trained = TrainableClassifier(random)
    for task in tasks(training):
        train_on_dialogue(trained, task, initial.state(task))
    classifier = LinearClassifier(trained.weights)
    decide, replies = decide_with(classifier), _IndexedReplies()
    for task in tasks(replying):
        replies.add(task, initial.state(task), decide)
    return replies.model(vocabulary, classifier)


def held_out(split: Split, *, training_dialogues: int, indexed: int) -> list[int]:
    """Return the numbers of the dialogues that `train_model` leaves out, in ascending order.

    A policy that learns to choose among candidates must be trained on these. In an indexed
    dialogue the candidates contain its own replies, which never happens in another split.

    Args:
        split: train split.
        training_dialogues: number of dialogues that the classifier is trained on.
        indexed: number of dialogues whose replies are indexed.
    """
    order = np.random.default_rng(_SEED).permutation(len(split))
    end = max(len(order) - indexed, training_dialogues)
    return sorted(order[training_dialogues:end].tolist())


class _Tasks:
    """Iterates over dialogues several times, and reports the progress of all passes together."""

    def __init__(self, split: Split, total: int, on_progress: OnProgress | None) -> None:
        self._split = split
        self._total = total
        self._done = 0
        self._on_progress = on_progress

    def __call__(self, indices: Iterable[int]) -> Iterator[Task]:
        for index in indices:
            task = self._split.task(index)
            yield plain_task(task) if self._split.functions else task
            self._done += 1
            if self._on_progress is not None:
                self._on_progress(self._done, self._total)


class _InitialStates:
    """Creates the states in which dialogues begin."""

    def __init__(self, tools: Mapping[str, ToolSpec], vocabulary: Vocabulary) -> None:
        self._tools = tools
        self._vocabulary = vocabulary
        self._schemas: dict[tuple[str, ...], ToolSchemas] = {}

    def state(self, task: Task) -> State:
        schemas = self._schemas.get(task.services)
        if schemas is None:
            tools = tools_json(self._tools, task.services)
            schemas = self._schemas[task.services] = ToolSchemas(tools, self._vocabulary)
        return State(schemas, task.date)


class _IndexedReplies:
    """Collects situations and the replies that were given in them."""

    def __init__(self) -> None:
        self._groups: list[list[tuple[Features, bytes]]] = [[] for _ in PHASES]
        self._weights: dict[int, float] = {}
        self._encode = msgspec.json.Encoder().encode

    def add(self, task: Task, state: State, decide: Decide) -> None:
        """Add the replies of a dialogue, except those that would be wrong in another one."""
        for turn in task.turns:
            update_state(state, turn.user, decide)
            record_call_of(state, turn)
            group, features = PHASES.index(phase_of(state)), self._features(state)
            expected = state.row.get(state.service)
            state.record_reply(turn.text)
            if state.row.get(state.service) is not expected:
                continue
            template = template_of(turn.text, turn.values, state)
            if template is not None:
                self._groups[group].append((features, self._encode(template)))

    def _features(self, state: State) -> Features:
        """Hash the features of a situation, and remember their weights."""
        situation = list(situation_of(state))
        features = hashed_situation(situation)
        for feature, (kind, _) in zip(features.tolist(), situation, strict=True):
            self._weights[feature] = FEATURE_WEIGHTS[kind]
        return features

    def model(self, vocabulary: Vocabulary, classifier: LinearClassifier) -> RetrievalModel:
        """Return the model with everything that was collected."""
        templates = [template for group in self._groups for _, template in group]
        lengths = [len(template) for template in templates]
        return RetrievalModel(
            vocabulary,
            classifier,
            self._index(),
            b"".join(templates),
            np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        )

    def _index(self) -> NeighbourIndex:
        groups = [[features for features, _ in group] for group in self._groups]
        return build_index(groups, self._weights)


def train_on_dialogue(classifier: TrainableClassifier, task: Task, state: State) -> None:
    """Train a classifier on all choices of a recorded dialogue.

    Args:
        classifier: classifier to be trained.
        task: recorded dialogue.
        state: state before its first turn.
    """
    for index, turn in enumerate(task.turns):
        recorded = RecordedAnswers(classifier, task, index, state)
        update_state(state, turn.user, recorded.answer)
        question = call_question(state)
        if question is not None:
            recorded.answer(question)
        record_call_of(state, turn)
        state.record_reply(turn.text)


def record_call_of(state: State, turn: Turn) -> None:
    """Record the call of a turn and its results in a state, if the turn has a call."""
    call = turn.call
    if call is not None:
        state.record_call(call.name, call.arguments, call.status, _ROWS.decode(call.results))


class RecordedAnswers:
    """Answers the questions of one turn as the recording does.

    Args:
        classifier: classifier that is trained on each answer.
        task: recorded dialogue.
        index: number of the turn.
        state: state of the conversation.
    """

    def __init__(
        self, classifier: TrainableClassifier, task: Task, index: int, state: State
    ) -> None:
        self._classifier = classifier
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
        """Train on the right option, and return its probability as 1.

        If the recording does not determine the right option, nothing is trained, and the first
        option has the probability 1.
        """
        right = self._right(question)
        if right is not None:
            self._classifier.update(question.situation, question.options, right)
        certain = np.zeros(len(question.options))
        certain[right or 0] = 1.0
        return certain

    def _right(self, question: Question) -> int | None:
        """Return the index of the right option; ``None`` if the recording does not determine it."""
        if question.topic == "tool":
            tool = self._tool()
            return question.answers.index(tool) if tool in question.answers else None
        if question.topic == "call":
            name = self._turn.call.name if self._turn.call else None
            return question.answers.index(name) if name in question.answers else None
        if question.topic == "row":
            return self._right_row()
        if self._call is None:
            return None
        if question.topic == "mention" and question.mention is not None:
            return self._right_slot(question, question.mention, self._call)
        if question.slot is None:
            return None
        if question.topic == "value":
            value = self._value_said_now(question.slot, self._call)
        else:
            value = self._value_never_said(question.slot.name, self._call)
        return question.answers.index(value) if value in question.answers else 0

    def _right_row(self) -> int:
        """Return 1 if the reply is about the next row, else 0."""
        state, turn = self._state, self._turn
        return int(turn.call is None and state.named_row(turn.text) is state.next_row())

    def _tool(self) -> str | None:
        """Return the tool that is called next for the turn's service, else the one called last."""
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
        """Return the option whose slot has the mention's value in the next call.

        Returns:
            0 if there is no such slot, ``None`` if there are several.
        """
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

    def _value_said_now(self, slot: SlotSchema, call: RecordedCall) -> str | None:
        """Return the next call's value if this turn is the one that most probably says it.

        The turns since the last call are compared by their words.
        """
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

    def _closeness(self, index: int, slot: SlotSchema) -> int:
        """Count the words of a slot in a turn; the user's words count twice, the agent's once."""
        turns = self._task.turns
        before = turns[index - 1].text if index else ""
        said, asked = stems_of(turns[index].user), stems_of(before)
        return 2 * len(slot.words.intersection(said)) + len(slot.words.intersection(asked))

    def _value_never_said(self, slot: str, call: RecordedCall) -> str | None:
        """Return the next call's value if the user does not say it before the call."""
        value = call.arguments.get(slot)
        if not isinstance(value, str):
            return None
        forms = {phrase_key(form) for form in (value, *call.forms.get(slot, ()))}
        for turn in self._task.turns[self._index : self._call_index + 1]:
            said = f" {phrase_key(turn.user)} "
            if any(f" {form} " in said for form in forms):
                return None
        return value


def _service_of(call: RecordedCall) -> str:
    return call.name.rpartition("-")[0]
