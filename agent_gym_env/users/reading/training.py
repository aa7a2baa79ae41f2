"""Training of the model that reads an agent's text, once for each train split."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from agent_gym_env.corpus.corpus import Corpus, open_corpus
from agent_gym_env.corpus.goals import Goal, Kind, action_value, read_goal, user_acts
from agent_gym_env.corpus.sgd import Dialogue, SystemFrame, SystemTurn, UserTurn
from agent_gym_env.corpus.task import Task
from agent_gym_env.corpus.tool_specs import ToolSpec, tool_name
from agent_gym_env.errors import DataError
from agent_gym_env.storage.array_file import read_arrays, write_arrays
from agent_gym_env.storage.cache_folder import home, load_or_make
from agent_gym_env.types import DialogueAct
from agent_gym_env.users.agenda import AgendaUser
from agent_gym_env.users.agent_turn import AgentTurn, read_acts
from agent_gym_env.users.reading.act_model import ACTS, ActModel, train_act_model
from agent_gym_env.users.reading.phrasings import ACTS_OF, Phrasings
from agent_gym_env.users.reading.reader import (
    FLAGS,
    KINDS,
    Look,
    ReadingModel,
    TextReader,
    asking_sentences,
    kind_features,
)
from agent_gym_env.users.reading.slot_model import BITS as SLOT_BITS
from agent_gym_env.users.reading.slot_model import FLAGS as SLOT_FLAGS
from agent_gym_env.users.reading.slot_model import (
    Situation,
    SlotModel,
    question_of,
    train_slot_model,
)
from agent_gym_env.users.reading.text import BITS

MODEL_FORMAT = 7
"""Part of the file's name. Raise it with each change of what is trained or how."""

TRAIN = "train"
OnProgress = Callable[[int, int], None]
"""Called with the number of steps done, and the number of all."""

_FEWEST, _LOOKED_AT = 100, 1_000
"""Fewest dialogues to learn from, among the first of the split."""

_SEED = 0
_LARGEST = 1 << 28
_WAIT_S = 1_800.0
"""Longest wait for another process that trains the same model, in seconds."""

_FEW_DIALOGUES = 1_000
_SHARE_OF_ACTS = 0.8
"""Share of the dialogues from which acts are learned; kinds are learned from the others. Half of a
corpus of few dialogues."""

_RARE: tuple[Kind, ...] = ("failure", "counter", "propose", "success")
_SHARE_REWORDED = 0.6
_SHARE_MEANINGLESS = 0.38
"""Shares of the recorded turns beside which a text in other words or without meaning is learned."""

_KIND_STEPS, _KIND_BATCH = 4_000, 256

_FILLERS = (
    "Sure!", "Great choice!", "Of course.", "Absolutely, happy to help with that.", "Let me see.",
    "Thanks for waiting.", "Okay, got it.", "No problem at all!", "Certainly.", "Alright.",
    "Sounds good.", "Perfect.", "I appreciate your patience.", "One moment please.",
    "I'd be glad to assist you.", "Understood.", "Good question!", "Thank you for the details.",
)  # fmt: skip


class RecordedTurn(NamedTuple):
    """A recorded turn of the agent, with the user who is about to read it.

    Attributes:
        reader: reads for the user.
        user: the user, whose state is that before the turn.
        before: words of the user before it.
        text: the recorded words.
        acts: kinds of the recorded acts.
        right: what a user should read.
    """

    reader: TextReader
    user: AgendaUser
    before: str
    text: str
    acts: frozenset[str]
    right: AgentTurn


def recorded_turns(
    corpus: Corpus, name: str, model: ReadingModel, *, every: int = 1
) -> Iterator[RecordedTurn]:
    """Let the recorded agent of each dialogue speak to the user, while the user is on script.

    Args:
        corpus: the corpus.
        name: name of the split.
        model: the readers' model.
        every: take each n-th dialogue only.
    """
    split = corpus.split(name)
    for index, dialogue in enumerate(corpus.annotated_dialogues(name)):
        goal = read_goal(dialogue, split.tools)
        if goal.errands and index % every == 0:
            yield from _turns_of(dialogue, goal, split.task(index), split.tools, model)


def _turns_of(
    dialogue: Dialogue,
    goal: Goal,
    task: Task,
    tools: dict[str, ToolSpec],
    model: ReadingModel,
) -> Iterator[RecordedTurn]:
    user = AgendaUser(goal, tools, task.date)
    reader = TextReader(model, user, goal, task, tools)
    user.open()
    for number in range(1, len(dialogue.turns), 2):
        turn, before = dialogue.turns[number], dialogue.turns[number - 1]
        if not isinstance(turn, SystemTurn):
            return
        frame = turn.frames[0]
        _note_call(user, frame, tools)
        acts = [DialogueAct(act.act, act.slot, action_value(act)) for act in frame.actions]
        right = read_acts(acts, user.state.rows, task.date)
        kinds = frozenset(act.act for act in acts)
        yield RecordedTurn(reader, user, before.utterance, turn.utterance, kinds, right)
        made = user.react(right)
        following = dialogue.turns[number + 1 : number + 2]
        if any(isinstance(f, UserTurn) and set(user_acts(f)) != set(made) for f in following):
            return


def _note_call(user: AgendaUser, frame: SystemFrame, tools: dict[str, ToolSpec]) -> None:
    call = frame.service_call
    spec = None if call is None else tools.get(tool_name(frame.service, call.method))
    if call is None or spec is None:
        return
    failed = any(act.act == "NOTIFY_FAILURE" for act in frame.actions)
    status = "failure" if failed else "success"
    user.note_result(spec, call.parameters, status, frame.service_results or [])


class _Example(NamedTuple):
    """A text, and how it is to be read."""

    look: Look
    acts: frozenset[str]
    right: AgentTurn
    spec: ToolSpec
    situation: Situation


_NOTHING = AgentTurn("none")
_NO_WEIGHTS = np.zeros(0, np.float32)


def _untrained() -> ReadingModel:
    acts = ActModel(np.zeros((1 << BITS, len(ACTS)), np.float32), np.zeros(len(ACTS), np.float32))
    return ReadingModel(acts, _NO_WEIGHTS, SlotModel(_NO_WEIGHTS, _NO_WEIGHTS))


class _Header(msgspec.Struct, frozen=True):
    """Names of the arrays' columns."""

    acts: tuple[str, ...] = ACTS
    kinds: tuple[str, ...] = KINDS


def load_or_train(corpus: Corpus, on_progress: OnProgress | None = None) -> ReadingModel:
    """Load the model of a corpus's train split from the cache; train and save it on first use.

    A corpus whose train split teaches too little is read by the model of the sample corpus.

    Args:
        corpus: the corpus.
        on_progress: called during training with the steps done, and their number.

    Raises:
        StorageError: the cache cannot be written.
        LockError: another process takes too long to train the same model.
    """
    if not teaches(corpus):
        corpus = open_corpus("sample")
    path = model_path(corpus)

    def make() -> ReadingModel:
        save_model(train_model(corpus, on_progress=on_progress), path)
        return _load(path)

    return load_or_make(path, _load, make, wait_s=_WAIT_S)


def teaches(corpus: Corpus) -> bool:
    """Return whether a corpus has enough train dialogues with a user's goal to learn from."""
    if TRAIN not in corpus.splits():
        return False
    split = corpus.split(TRAIN)
    goals = sum(itertools.islice((split.has_goal(i) for i in range(len(split))), _LOOKED_AT))
    return goals >= _FEWEST


def model_path(corpus: Corpus) -> Path:
    """Return the path of the model in the cache; it changes whenever the train split does."""
    split = corpus.split(TRAIN)
    name = f"{split.fingerprint[:24]}-{split.schema_variant}-{MODEL_FORMAT}"
    return home() / "reading" / f"{name}.npz"


def save_model(model: ReadingModel, path: Path) -> None:
    """Write a model to a file, which appears only when it is complete.

    Raises:
        StorageError: the file cannot be written.
    """
    arrays = {
        "acts": model.acts.weights,
        "acts_bias": model.acts.bias,
        "kinds": model.kinds,
        "slots": model.slots.pairs,
        "slot_flags": model.slots.flags,
    }
    write_arrays(path, _Header(), arrays)


def load_model(path: Path) -> ReadingModel:
    """Read a model from a file.

    Raises:
        DataError: the file is missing or damaged.
    """
    header, arrays = read_arrays(path, _Header, what="reading model", largest=_LARGEST)
    expected = _shapes()
    found = {name: (array.shape, array.dtype) for name, array in arrays.items()}
    wanted = {name: (shape, np.dtype(np.float32)) for name, shape in expected.items()}
    if header != _Header() or found != wanted:
        raise DataError(
            f"this is not a reading model of this version: expected {wanted}, found {found}",
            file=str(path),
        )
    acts = ActModel(arrays["acts"], arrays["acts_bias"])
    return ReadingModel(acts, arrays["kinds"], SlotModel(arrays["slots"], arrays["slot_flags"]))


def _shapes() -> dict[str, tuple[int, ...]]:
    features = len(kind_features(np.zeros(len(ACTS), np.float32), np.zeros(FLAGS, np.float32)))
    return {
        "acts": (1 << BITS, len(ACTS)),
        "acts_bias": (len(ACTS),),
        "kinds": (features, len(KINDS)),
        "slots": (1 << SLOT_BITS,),
        "slot_flags": (SLOT_FLAGS,),
    }


# Environments of one process share a model.
_load = functools.lru_cache(maxsize=8)(load_model)


def train_model(
    corpus: Corpus, *, name: str = TRAIN, on_progress: OnProgress | None = None
) -> ReadingModel:
    """Train on a split's recorded turns, on other words for them, and on texts without meaning.

    Args:
        corpus: the corpus.
        name: name of the split.
        on_progress: called with the steps done, and their number.
    """
    random = np.random.default_rng(_SEED)
    report = _Report(on_progress)
    for_acts, for_kinds = _examples(corpus, name, random, report)
    acts = train_act_model(list(_act_examples(for_acts, random)), random, report.part(40, 30))
    kinds = _train_kinds(acts, for_kinds, random)
    slots = _train_slots(acts, [*for_acts, *for_kinds], random, report.part(70, 30))
    report.part(100, 0)(1, 1)
    return ReadingModel(acts, kinds, slots)


class _Report:
    """Reports progress in percent."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self._on_progress = on_progress

    def part(self, begin: int, length: int) -> OnProgress:
        """Return what reports a part of the work."""

        def report(done: int, total: int) -> None:
            if self._on_progress is not None:
                self._on_progress(begin + length * done // max(1, total), 100)

        return report


def _examples(
    corpus: Corpus, name: str, random: np.random.Generator, report: _Report
) -> tuple[list[_Example], list[_Example]]:
    """Return the examples from which acts are learned, and those for kinds of turns."""
    phrasings = Phrasings(random)
    for_acts: list[_Example] = []
    for_kinds: list[_Example] = []
    chosen, texts, user, dialogues = for_acts, [""], None, 0
    collected, total = report.part(0, 40), len(corpus.split(name))
    few = total < _FEW_DIALOGUES
    share_of_acts, meaningless = (0.5, 1.0) if few else (_SHARE_OF_ACTS, _SHARE_MEANINGLESS)
    for turn in recorded_turns(corpus, name, _untrained()):
        if turn.user is not user:
            user, dialogues = turn.user, dialogues + 1
            chosen = for_kinds if random.random() > share_of_acts else for_acts
            collected(dialogues, total)
        texts.append(turn.text)
        chosen.append(_example(turn, turn.text, turn.acts, turn.right))
        for _ in range(_rewordings(turn.right.kind, few, random)):
            state = turn.user.state
            other = phrasings.of(turn.right, turn.user.spec(), state.answer, len(state.rows))
            if other is not None:
                acts = ACTS_OF[turn.right.kind] | (turn.acts & {"INFORM"})
                chosen.append(_example(turn, other, acts, turn.right))
        if chosen is for_kinds and random.random() < meaningless:
            nothing = _meaningless(texts[-8:], turn.before, random)
            chosen.append(_example(turn, nothing, frozenset(), _NOTHING))
    return for_acts, for_kinds


def _rewordings(kind: Kind, few: bool, random: np.random.Generator) -> int:
    """Return in how many other words a turn is learned too; rare kinds need more of them."""
    if few:
        return 12 if kind in _RARE else 2
    return int(random.random() < _SHARE_REWORDED)


def _example(turn: RecordedTurn, text: str, acts: frozenset[str], right: AgentTurn) -> _Example:
    look = turn.reader.look(text)
    return _Example(look, acts, right, turn.user.spec(), turn.reader.situation(look))


def _meaningless(texts: Sequence[str], before: str, random: np.random.Generator) -> str:
    """Return a text that means nothing: an echo of the user, words in disorder, or no words."""
    choice = random.random()
    if choice < 0.2:
        return before
    if choice < 0.3:
        return ""
    if choice < 0.4:
        return _FILLERS[random.integers(len(_FILLERS))]
    words = " ".join(texts).split()
    random.shuffle(words)
    return " ".join(words[: random.integers(1, 17)])


def _act_examples(
    examples: Sequence[_Example], random: np.random.Generator
) -> Iterator[tuple[Sequence[str], frozenset[str]]]:
    """Yield the sentences and acts of turns: as they are, with fillers, joined, and in disorder."""
    words = [
        word
        for example in examples[:2000]
        for s in example.look.text.patterns
        for word in s.split()
    ]
    for example in examples:
        sentences, acts = example.look.text.patterns, example.acts
        yield sentences, acts
        choice = random.random()
        if choice < 0.25:
            yield [_FILLERS[random.integers(len(_FILLERS))], *sentences], acts
        elif choice < 0.4:
            other = examples[int(random.integers(len(examples)))]
            yield [*sentences, *other.look.text.patterns], acts | other.acts
        elif choice < 0.5:
            chosen = random.integers(len(words), size=random.integers(3, 20))
            yield [" ".join(words[index] for index in chosen)], frozenset()
        elif choice < 0.53:
            yield [_FILLERS[random.integers(len(_FILLERS))]], frozenset()


def _train_kinds(
    acts: ActModel, examples: Sequence[_Example], random: np.random.Generator
) -> NDArray[np.float32]:
    features = np.stack(
        [kind_features(acts.turn(e.look.text.patterns), e.look.flags) for e in examples]
    )
    right = np.array([KINDS.index(example.right.kind) for example in examples])
    weights = np.zeros((features.shape[1], len(KINDS)), np.float32)
    squares = np.full_like(weights, 1e-3)
    for _ in range(_KIND_STEPS):
        batch = random.integers(len(examples), size=_KIND_BATCH)
        scores = features[batch] @ weights
        errors = np.exp(scores - scores.max(axis=1, keepdims=True))
        errors /= errors.sum(axis=1, keepdims=True)
        errors[np.arange(len(batch)), right[batch]] -= 1
        gradient = features[batch].T @ errors / len(batch) + 1e-5 * weights
        squares += gradient * gradient
        weights -= 0.2 * gradient / np.sqrt(squares)
    return weights


def _train_slots(
    acts: ActModel,
    examples: Sequence[_Example],
    random: np.random.Generator,
    on_progress: OnProgress,
) -> SlotModel:
    words = SlotModel(_NO_WEIGHTS, _NO_WEIGHTS).words_of
    questions = [
        (
            question_of(asking_sentences(acts, e.look), words(e.spec), e.situation),
            [slot in e.right.slots for slot in e.spec.arguments],
        )
        for e in examples
        if e.right.kind == "request" and set(e.right.slots) <= e.spec.arguments.keys()
    ]
    return train_slot_model(questions, random, on_progress)
