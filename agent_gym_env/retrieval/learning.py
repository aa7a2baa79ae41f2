"""Learning a memory from the dialogues of a train split, once for each split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import msgspec
import numpy as np

from agent_gym_env.corpus.corpus import Split
from agent_gym_env.corpus.task import Task
from agent_gym_env.corpus.tool_specs import ToolSpec, tools_json
from agent_gym_env.errors import DataError
from agent_gym_env.retrieval.chooser import Chooser, LearningChooser
from agent_gym_env.retrieval.index import Index, build_index
from agent_gym_env.retrieval.lessons import learn_dialogue, take_in_call
from agent_gym_env.retrieval.listening import hear
from agent_gym_env.retrieval.memory import Memory
from agent_gym_env.retrieval.offer import Offer
from agent_gym_env.retrieval.questions import Decide, decided_by
from agent_gym_env.retrieval.situations import (
    PHASES,
    WEIGHTS,
    hashed_situation,
    phase_of,
    situation_of,
)
from agent_gym_env.retrieval.state import State
from agent_gym_env.retrieval.templates import take_values_out
from agent_gym_env.retrieval.tokens import Features
from agent_gym_env.retrieval.vocabulary import Vocabulary, VocabularyBuilder
from agent_gym_env.storage.cache_folder import home
from agent_gym_env.storage.files import locked

MEMORY_FORMAT = 7
"""Part of the file's name: raised with any change of what is learned or how."""

_WAIT_S = 1_800.0
_SEED = 0

OnProgress = Callable[[int, int], None]
"""Called with how many dialogues have been gone through, and how many there are to go through."""


def recall(
    split: Split, *, lessons: int, indexed: int, on_progress: OnProgress | None = None
) -> Memory:
    """Give what a split teaches: from its file in the cache, which is made on first use.

    Args:
        split: a train split.
        lessons: how many of its dialogues are learned from.
        indexed: how many of its dialogues lend their replies.
        on_progress: called as it learns; never where it has learned before.

    Raises:
        StorageError: the cache cannot be written.
        LockError: another process takes too long to make the same file.
    """
    name = f"{split.fingerprint[:24]}-{split.schema_variant}-{lessons}-{indexed}-{MEMORY_FORMAT}"
    path = home() / "retrieval" / f"{name}.npz"
    memory = _load_if_whole(path)
    if memory is not None:
        return memory
    with locked(path.with_suffix(".lock"), wait_s=_WAIT_S):
        memory = _load_if_whole(path)
        if memory is None:
            memory = learn(split, lessons=lessons, indexed=indexed, on_progress=on_progress)
            memory.save(path)
    return memory


def _load_if_whole(path: Path) -> Memory | None:
    try:
        return Memory.load(path)
    except DataError:
        return None


def learn(
    split: Split, *, lessons: int, indexed: int, on_progress: OnProgress | None = None
) -> Memory:
    """Learn from dialogues of a split, in an order that is the same each time.

    Where there are enough dialogues, others are indexed than were learned from, so that situations
    are described by what the chooser makes of a conversation that it has not seen. Where there are
    more than enough, those between are not looked at (`held_out`).
    """
    random = np.random.default_rng(_SEED)
    order = random.permutation(len(split))
    teaching = order[:lessons].tolist()
    replying = order[max(len(order) - indexed, 0) :].tolist()
    all_seen = sorted({*teaching, *replying})
    tasks = _Tasks(split, len(all_seen) + len(teaching) + len(replying), on_progress)
    builder = VocabularyBuilder(split.tools)
    for task in tasks(all_seen):
        builder.add(task)
    vocabulary = builder.build()
    beginnings = _Beginnings(split.tools, vocabulary)
    learning = LearningChooser(random)
    for task in tasks(teaching):
        learn_dialogue(learning, task, beginnings.state(task))
    chooser = Chooser(learning.weights)
    decide, replies = decided_by(chooser), _Replies()
    for task in tasks(replying):
        replies.add(task, beginnings.state(task), decide)
    return replies.memory(vocabulary, chooser)


def held_out(split: Split, *, lessons: int, indexed: int) -> list[int]:
    """Give the dialogues that `learn` does not look at, in ascending order.

    A policy that is trained to choose among candidates must be trained on these: a dialogue that
    lent its replies would find them again, as no dialogue of another split does.
    """
    order = np.random.default_rng(_SEED).permutation(len(split))
    return sorted(order[lessons : max(len(order) - indexed, lessons)].tolist())


class _Tasks:
    """Goes through dialogues several times, and tells how far all the passes together are."""

    def __init__(self, split: Split, total: int, on_progress: OnProgress | None) -> None:
        self._split = split
        self._total = total
        self._done = 0
        self._on_progress = on_progress

    def __call__(self, indices: Iterable[int]) -> Iterator[Task]:
        for index in indices:
            yield self._split.task(index)
            self._done += 1
            if self._on_progress is not None:
                self._on_progress(self._done, self._total)


class _Beginnings:
    """Makes the states in which dialogues begin."""

    def __init__(self, tools: Mapping[str, ToolSpec], vocabulary: Vocabulary) -> None:
        self._tools = tools
        self._vocabulary = vocabulary
        self._offers: dict[tuple[str, ...], Offer] = {}

    def state(self, task: Task) -> State:
        offer = self._offers.get(task.services)
        if offer is None:
            tools = tools_json(self._tools, task.services)
            offer = self._offers[task.services] = Offer(tools, self._vocabulary)
        return State(offer, task.date)


class _Replies:
    """Gathers situations and the replies that were given in them."""

    def __init__(self) -> None:
        self._groups: list[list[tuple[Features, bytes]]] = [[] for _ in PHASES]
        self._weights: dict[int, float] = {}
        self._encode = msgspec.json.Encoder().encode

    def add(self, task: Task, state: State, decide: Decide) -> None:
        """Go through a dialogue."""
        for turn in task.turns:
            hear(state, turn.user, decide)
            take_in_call(state, turn)
            group, features = PHASES.index(phase_of(state)), self._features(state)
            expected = state.row.get(state.service)
            state.said(turn.text)
            if state.row.get(state.service) is not expected:
                continue
            template = take_values_out(turn.text, turn.values, state)
            if template is not None:
                self._groups[group].append((features, self._encode(template)))

    def _features(self, state: State) -> Features:
        """Hash a situation, and keep how much its features weigh."""
        situation = list(situation_of(state))
        features = hashed_situation(situation)
        for feature, (kind, _) in zip(features.tolist(), situation, strict=True):
            self._weights[feature] = WEIGHTS[kind]
        return features

    def memory(self, vocabulary: Vocabulary, chooser: Chooser) -> Memory:
        """Give all that was gathered."""
        templates = [template for group in self._groups for _, template in group]
        lengths = [len(template) for template in templates]
        return Memory(
            vocabulary,
            chooser,
            self._index(),
            b"".join(templates),
            np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        )

    def _index(self) -> Index:
        groups = [[features for features, _ in group] for group in self._groups]
        return build_index(groups, self._weights)
