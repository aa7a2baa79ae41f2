"""Reads the dialogue acts of a user from their words, learned from the annotation of a split."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from agent_gym_env.corpus.corpus import Split
from agent_gym_env.corpus.goals import Goal, UserAct
from agent_gym_env.corpus.task import Task
from agent_gym_env.corpus.tool_specs import ToolSpec
from agent_gym_env.errors import DataError
from agent_gym_env.retrieval.linear_classifier import (
    BITS,
    LinearClassifier,
    Option,
    TrainableClassifier,
)
from agent_gym_env.retrieval.tokens import (
    Features,
    content_words,
    hashed,
    identifier_words,
    pairs,
    stems_of,
)
from agent_gym_env.storage.array_file import read_arrays, write_arrays
from agent_gym_env.storage.cache_folder import home, load_or_make
from agent_gym_env.values.equality import DONTCARE

ANY_VALUE = "ANY_VALUE"
"""The user says that any value will do; SGD's annotation has ``INFORM`` with ``dontcare``."""

USER_ACTS = (
    "AFFIRM", "AFFIRM_INTENT", "GOODBYE", "INFORM", "INFORM_INTENT", "NEGATE", "NEGATE_INTENT",
    "REQUEST", "REQUEST_ALTS", "SELECT", "THANK_YOU", ANY_VALUE,
)  # fmt: skip

_EXCLUSIVE = (("REQUEST_ALTS", "INFORM_INTENT"), ("REQUEST_ALTS", "SELECT"))
"""Acts that no user does at once."""

_FORMAT = 1
"""Part of the file's name. Raise it with each change of what is trained or how."""

_SEED = 0

_ACT_RATE = 0.1
"""Learning rate for acts; slots and intents have a lower one, or seen services would decide."""

_ASKED = 0.3
"""Lowest probability of a question; an answer too many does less harm than one too few."""

_MOST_PASSES = 4
_ENOUGH_UPDATES = 8_000
"""Number of utterances from which one pass is enough."""

_WAIT_S = 1_800.0
_LARGEST = 1 << 27
_NO_FEATURES: Features = np.array([], np.uint32)
_LOOKING = frozenset(
    (
        *("browse", "check", "discover", "display", "explore", "find", "get", "give", "inquire"),
        *("list", "locate", "look", "lookup", "obtain", "query", "read", "retrieve", "search"),
        *("see", "seek", "show", "tell", "view"),
    )
)
"""First words of the descriptions of tools that change nothing."""

_WRONG = re.compile(r"\b(?:incorrect|wrong|(?:not|n't) (?:right|correct))\b", re.IGNORECASE)
_UNCLEAR = re.compile(
    r"\b(?:(?:don't|do not|didn't|did not|can't) (?:quite )?(?:follow|understand|get (?:you|that))"
    r"|what do you mean|come again)\b",
    re.IGNORECASE,
)


class Utterance(NamedTuple):
    """A user's turn whose acts are known.

    Attributes:
        text: the user's words.
        after: kind of the agent's turn before it, see `agent_gym_env.corpus.goals.Kind`.
        acts: the user's acts.
        tool: full name of the tool of the errand under way; ``""`` in the first turn.
        services: services of the dialogue.
    """

    text: str
    after: str
    acts: tuple[UserAct, ...]
    tool: str
    services: tuple[str, ...]


class _Header(msgspec.Struct, frozen=True):
    utterances: int


class UserActReader:
    """Reads acts and questions from a user's words.

    Args:
        acts: decides whether an act is done.
        words: decides whether a slot is asked about, and which tool is wanted.
    """

    def __init__(self, acts: LinearClassifier, words: LinearClassifier) -> None:
        self._acts = acts
        self._words = words

    def kinds(self, text: str, after: str) -> set[str]:
        """Return the kinds of acts: some of `USER_ACTS`, or ``UNCLEAR`` alone.

        Args:
            text: the user's words.
            after: kind of the agent's turn before it.
        """
        if _UNCLEAR.search(text):
            return {"UNCLEAR"}
        situation = _words("act", text)
        scores = self._acts.independent(situation, _act_options(after))
        kinds = _likely(USER_ACTS, scores)
        if "AFFIRM" in kinds and _WRONG.search(text):
            kinds = kinds - {"AFFIRM"} | {"NEGATE"}
        for pair in _EXCLUSIVE:
            if kinds >= set(pair):
                kinds.remove(min(pair, key=lambda act: scores[USER_ACTS.index(act)]))
        return kinds

    def questions(self, text: str, slots: Mapping[str, str]) -> list[str]:
        """Return the slots that the user asks about, of a turn that asks for something.

        Args:
            text: the user's words.
            slots: description by name of each slot that they can ask about; may be empty texts.
        """
        named = named_slots(text, slots)
        if named or not slots:
            return named
        options = _slot_options(slots, stems_of(text))
        scores = self._words.independent(_words("asked", text), options)
        return sorted(_likely(slots, scores, _ASKED))

    def tool(self, text: str, tools: Mapping[str, str], current: str) -> str:
        """Return the tool that the user wants, of a turn that says what they want.

        Args:
            text: the user's words.
            tools: description by full name of each tool on offer; at least one.
            current: full name of the tool under way; ``""`` for none.
        """
        options = _tool_options(text, tools, current)
        answer = self._words.probabilities(_words("wanted", text), options)
        return list(tools)[int(answer.argmax())]

    def save(self, path: Path, utterances: int) -> None:
        """Write the reader to a file, which appears only when it is complete.

        Raises:
            StorageError: the file cannot be written.
        """
        arrays = {"acts": self._acts.weights, "words": self._words.weights}
        write_arrays(path, _Header(utterances), arrays)

    @classmethod
    def load(cls, path: Path) -> UserActReader:
        """Read a reader from a file.

        Raises:
            DataError: the file is missing or damaged.
        """
        what = "reader of user acts"
        _, arrays = read_arrays(path, _Header, what=what, largest=_LARGEST)
        for name in ("acts", "words"):
            found = arrays.get(name)
            if found is None or found.shape != (1 << BITS,) or found.dtype != np.float32:
                raise DataError(f"this is not a {what}: no weights of its {name}", file=str(path))
        return cls(LinearClassifier(arrays["acts"]), LinearClassifier(arrays["words"]))


def _likely(names: Iterable[str], scores: NDArray[np.float64], least: float = 0.5) -> set[str]:
    """Return what is likelier than a probability, or else the likeliest."""
    names = list(names)
    likely = {name for name, score in zip(names, scores, strict=True) if score > least}
    return likely or {names[int(scores.argmax())]}


def named_slots(text: str, slots: Iterable[str]) -> list[str]:
    """Return the slots that a text calls by their names, without those in another's name."""
    stems = stems_of(text)
    named = [slot for slot in slots if _is_named(slot, stems)]
    return [slot for slot in named if not any(_is_part(slot, other) for other in named)]


def _is_named(slot: str, stems: Sequence[str]) -> bool:
    """Return whether the words of a slot's name stand in a text, one after another."""
    name = identifier_words(slot)
    if len(name) > 1 and name[0] in ("ha", "has", "is"):
        name = name[1:]
    return f" {' '.join(name)} " in f" {' '.join(stems)} "


def _is_part(slot: str, other: str) -> bool:
    """Return whether the name of a slot is a part of another's."""
    return slot != other and _is_named(slot, identifier_words(other))


def load_or_train_user_acts(split: Split, *, training_dialogues: int) -> UserActReader:
    """Load the reader of a train split from the cache; train and save it on first use.

    Args:
        split: train split; dialogues without annotated user acts teach nothing.
        training_dialogues: number of its dialogues that are used.

    Raises:
        StorageError: the cache cannot be written.
        LockError: another process takes too long to train the same reader.
    """
    name = f"user-acts-{split.fingerprint[:24]}-{split.schema_variant}-{training_dialogues}"
    path = home() / "retrieval" / f"{name}-{_FORMAT}.npz"

    def make() -> UserActReader:
        utterances = list(utterances_of(split, training_dialogues))
        reader = train_user_acts(utterances, split.tools)
        reader.save(path, len(utterances))
        return reader

    return load_or_make(path, UserActReader.load, make, wait_s=_WAIT_S)


def utterances_of(split: Split, dialogues: int) -> Iterator[Utterance]:
    """Yield the user's turns of some dialogues of a split, in an order that is always the same."""
    order = np.random.default_rng(_SEED).permutation(len(split))
    for index in order[:dialogues].tolist():
        if split.has_goal(index):
            yield from _utterances(split.goal(index), split.task(index))


def _utterances(goal: Goal, task: Task) -> Iterator[Utterance]:
    texts = [turn.user for turn in task.turns]
    yield Utterance(texts[0], "none", goal.opening, "", task.services)
    for errand in goal.errands:
        for situation, decision in errand.decisions.items():
            if decision.turn < len(texts):
                after = situation.partition(":")[0]
                text, acts = texts[decision.turn], decision.acts
                yield Utterance(text, after, acts, errand.tool, task.services)


def train_user_acts(
    utterances: Sequence[Utterance], tools: Mapping[str, ToolSpec]
) -> UserActReader:
    """Train a reader, one utterance at a time, and on few utterances several times.

    Args:
        utterances: turns with their acts.
        tools: tools of the split, by full name; their slots are those that users ask about.
    """
    random = np.random.default_rng(_SEED)
    acts, words = TrainableClassifier(random, rate=_ACT_RATE), TrainableClassifier(random)
    slots = _slots_by_service(tools)
    passes = max(1, min(_MOST_PASSES, _ENOUGH_UPDATES // max(len(utterances), 1)))
    for utterance in [*utterances] * passes:
        _train_on_acts(acts, utterance)
        if {act.act for act in utterance.acts} == {"REQUEST"}:
            # Users ask again where the recorded ones did not have to.
            _train_on_acts(acts, utterance._replace(after="more"))
        asked = {act.slot for act in utterance.acts if act.act == "REQUEST"}
        if asked and utterance.tool:
            of_service = slots[utterance.tool.rpartition("-")[0]]
            _train_on_questions(words, utterance, asked, of_service)
        _train_on_tool(words, utterance, tools)
    return UserActReader(acts, words)


def _slots_by_service(tools: Mapping[str, ToolSpec]) -> dict[str, dict[str, str]]:
    slots: dict[str, dict[str, str]] = {}
    for spec in tools.values():
        of_service = slots.setdefault(spec.service, {})
        for slot in (*spec.arguments, *spec.result_slots):
            described = spec.arguments.get(slot)
            if described is not None or slot not in of_service:
                of_service[slot] = "" if described is None else described.description
    return slots


def _train_on_acts(classifier: TrainableClassifier, utterance: Utterance) -> None:
    kinds = {act.act for act in utterance.acts}
    if any(act.act == "INFORM" and act.value == DONTCARE for act in utterance.acts):
        kinds.add(ANY_VALUE)
    right = [act in kinds for act in USER_ACTS]
    options = _act_options(utterance.after)
    classifier.update_independent(_words("act", utterance.text), options, right)


def _train_on_questions(
    classifier: TrainableClassifier,
    utterance: Utterance,
    asked: Collection[str],
    slots: Mapping[str, str],
) -> None:
    options = _slot_options(slots, stems_of(utterance.text))
    right = [slot in asked for slot in slots]
    classifier.update_independent(_words("asked", utterance.text), options, right)


def _train_on_tool(
    classifier: TrainableClassifier, utterance: Utterance, tools: Mapping[str, ToolSpec]
) -> None:
    on_offer = {
        name: spec.description for name, spec in tools.items() if spec.service in utterance.services
    }
    wanted = (act for act in utterance.acts if act.act == "INFORM_INTENT")
    names = [name for act in wanted if (name := f"{act.service}-{act.value}") in on_offer]
    if names:
        options = _tool_options(utterance.text, on_offer, utterance.tool)
        classifier.update(_words("wanted", utterance.text), options, list(on_offer).index(names[0]))


def _words(topic: str, text: str) -> Features:
    stems = stems_of(text)
    return hashed(topic, ("always", *stems, *pairs(stems)))


def _act_options(after: str) -> list[Option]:
    return [Option(_NO_FEATURES, hashed("act", (act, f"{act} after {after}"))) for act in USER_ACTS]


def _slot_options(slots: Mapping[str, str], stems: Sequence[str]) -> list[Option]:
    said = set(stems)
    return [_slot_option(slot, description, said) for slot, description in slots.items()]


def _slot_option(slot: str, description: str, said: Collection[str]) -> Option:
    """Describe a slot by its words, and by how many of them the user says."""
    name = identifier_words(slot)
    words = (*(f"name {word}" for word in name), *content_words(description))
    shared = sum(word in said for word in name)
    flags = ["always", f"shared {min(shared, 3)}", f"all {shared == len(name)}"]
    if name:
        flags += [f"first {name[0] in said}", f"last {name[-1] in said}"]
    return Option(hashed("slot", words), hashed("asked", flags))


def looks_up(description: str) -> bool:
    """Return whether a tool changes nothing, judged by the first word of its description."""
    return description.partition(" ")[0].lower() in _LOOKING


def _tool_options(text: str, tools: Mapping[str, str], current: str) -> list[Option]:
    said = set(stems_of(text))
    return [_tool_option(name, tools[name], current, said) for name in tools]


def _tool_option(name: str, description: str, current: str, said: Collection[str]) -> Option:
    """Describe a tool by its words, by how many of them the user says, and by what is under way."""
    service, _, intent = name.rpartition("-")
    named = set(identifier_words(intent))
    described = {*content_words(description), *identifier_words(service)} - named
    flags = [
        "always",
        f"shared {min(sum(word in said for word in named), 3)}",
        f"described {min(sum(word in said for word in described), 3)}",
        f"all named {named <= set(said)}",
        f"all described {set(content_words(description)) <= set(said)}",
    ]
    same_service = service == current.rpartition("-")[0]
    kind = "looks up" if looks_up(description) else "changes"
    flags += [f"same service {same_service}", f"{kind} {same_service}"]
    words = (*(f"name {word}" for word in sorted(named)), *sorted(described | named))
    return Option(hashed("tool", words), hashed("wanted", flags))
