"""A model of which slots a question asks for, which also reads the schemas of unseen services."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agent_gym_env.corpus.sgd import Slot
from agent_gym_env.corpus.tool_specs import ToolSpec
from agent_gym_env.retrieval.tokens import Features, content_words, hashed, identifier_words
from agent_gym_env.users.reading.text import stems_of

BITS = 19
"""A pair of a word of the question and a word of the schema is one of ``2**BITS`` features."""


class SlotKind(NamedTuple):
    """A kind of slot, and the questions that ask for one.

    Attributes:
        name: name of the kind.
        questions: beginnings of words, or words, in a question for it.
        pattern: fits the name or description of such a slot in the schema; ``""`` for the kind
            whose values are yes and no.
    """

    name: str
    questions: tuple[str, ...]
    pattern: str


SLOT_KINDS = (
    SlotKind("time", ("when", "what time", "time", "hour", "clock"), "time"),
    SlotKind("date", ("date", "day", "when"), "date|day"),
    SlotKind(
        "place",
        ("where", "city", "area", "location", "place", "town"),
        r"city|location|area|place|where|origin|destination|from|\bto\b|airport|station",
    ),
    SlotKind("number", ("how many", "number", "many"), "number|count"),
    SlotKind("name", ("who", "name", "which", "whom"), "name"),
    SlotKind(
        "amount",
        ("how much", "amount", "price", "much", "cost", "budget"),
        "amount|price|cost|fare",
    ),
    SlotKind(
        "yes or no",
        ("do you", "would you", "should", "does", "want", "need", "prefer"),
        "",
    ),
    SlotKind(
        "origin",
        ("from", "depart", "leav", "origin", "start", "pick", "source"),
        r"\b(?:from|origin|depart|departure|leaving|source|start|pickup|starting)",
    ),
    SlotKind(
        "destination",
        ("to", "destination", "arriv", "going", "head", "drop", "end", "reach"),
        r"\b(?:to|destination|arrival|arriving|going|dropoff|end|return)\b",
    ),
    SlotKind(
        "person",
        ("who", "whom", "recipient", "contact", "person", "receiver", "beneficiary"),
        "contact|receiver|recipient|person|whom",
    ),
    SlotKind(
        "duration",
        ("length", "long", "duration", "days", "nights", "stay"),
        "duration|length|number of days|long",
    ),
)
_RELATIONS = 13
FLAGS = 12 + 3 * len(SLOT_KINDS) + _RELATIONS
"""Number of a candidate's relations to question and situation, see `Question`; those to the
situation are the last ones."""

_NAME_STOPS = frozenset(("of", "the", "to", "for", "in", "is", "has", "a", "number", "name"))
_MOST_TOOLS, _MOST_TEXTS = 1_000, 4_096
"""Numbers of tools and texts that are kept."""

_SHORT_NAME = 3
"""A name of so many letters, such as "to", is an ordinary word in most sentences."""

_EPOCHS, _MOST_EPOCHS, _EXAMPLES = 4, 8, 20_000
"""Few questions are learned from in more epochs, up to about so many examples."""

_RATE = 0.05
_DROPPED = 0.3
"""Share of the words of question and schema that are left out in training."""


class Situation(NamedTuple):
    """Slots of the errand that a user knows of when the agent asks.

    Attributes:
        said: slots that the user has said.
        wanted: slots about which the user's goal has a value.
        named: slots whose wanted value the question names.
    """

    said: Collection[str]
    wanted: Collection[str]
    named: Collection[str] = ()


class SlotWords(NamedTuple):
    """The words of a slot in the schema.

    Attributes:
        features: hashes of all of them.
        name: stems of the name.
        rare: those of them that tell slots apart.
        description: stems of the description.
        values: stems of each possible value; none for yes and no.
        kinds: whether the slot is of each of `SLOT_KINDS`.
        spoken: stems of the name, between spaces.
    """

    features: Features
    name: frozenset[str]
    rare: frozenset[str]
    description: frozenset[str]
    values: tuple[frozenset[str], ...]
    kinds: tuple[bool, ...]
    spoken: str


def slot_words(slot: Slot) -> SlotWords:
    """Return the words of a slot in the schema."""
    names = identifier_words(slot.name)
    described = content_words(slot.description)
    values = slot.possible_values
    boolean = {value.lower() for value in values} == {"true", "false"}
    words = f"{slot.name} {slot.description}".lower().replace("_", " ")
    kinds = tuple(
        re.search(kind.pattern, words) is not None if kind.pattern else boolean
        for kind in SLOT_KINDS
    )
    types = [f"type {index}" for index, holds in enumerate(kinds) if holds]
    features = [f"name {word}" for word in names] + [f"description {word}" for word in described]
    return SlotWords(
        hashed("slot", ["any", *features, *types, f"categorical {slot.is_categorical}"]),
        frozenset(names),
        frozenset(names) - _NAME_STOPS,
        frozenset(described) - {"number", "name"},
        () if boolean else tuple(frozenset(stems_of(value)) for value in values),
        kinds,
        f" {' '.join(names)} ",
    )


class Question(NamedTuple):
    """A question and its candidates.

    Attributes:
        words: hashes of the question's words, then of the words of each of its clauses, shape
            ``(words,)``.
        begins: index of the first word of the question and of each clause.
        slots: hashes of each candidate's words in the schema.
        flags: relation of each candidate to question and situation, shape ``(slots, FLAGS)``.
    """

    words: Features
    begins: tuple[int, ...]
    slots: tuple[Features, ...]
    flags: NDArray[np.float32]


_CLAUSE = re.compile(r"\b(?:and|also|as well as|plus|or)\b|,")


@functools.lru_cache(maxsize=1 << 13)
def _words(sentences: tuple[str, ...]) -> tuple[Features, tuple[int, ...]]:
    parts = [_hashes("question", [w for s in sentences for w in stems_of(s)])]
    clauses = [clause for s in sentences for clause in _CLAUSE.split(s) if clause.strip()]
    parts += [_hashes("clause", stems_of(clause)) for clause in clauses or [""]]
    ends = np.cumsum([len(part) for part in parts]).tolist()
    return np.concatenate(parts), (0, *ends[:-1])


def _hashes(namespace: str, stems: Sequence[str]) -> Features:
    pairs = [f"{a} {b}" for a, b in itertools.pairwise(stems)]
    return hashed(namespace, dict.fromkeys(["any", *stems, *pairs]))


class ToolWords(NamedTuple):
    """The words of a tool in the schema.

    Attributes:
        spec: the tool; kept, so that its id stays its own.
        arguments: words of each argument.
        kinds: whether each argument is of each of `SLOT_KINDS`, bool, shape
            ``(arguments, kinds)``.
        names: finds the name of an argument or of a result's slot in a text.
    """

    spec: ToolSpec
    arguments: dict[str, SlotWords]
    kinds: NDArray[np.bool_]
    names: re.Pattern[str]


def _tool_words(spec: ToolSpec) -> ToolWords:
    arguments = {name: slot_words(slot) for name, slot in spec.arguments.items()}
    kinds = np.array([words.kinds for words in arguments.values()], np.bool_)
    names = {re.escape(slot.replace("_", " ").lower()) for slot in (*arguments, *spec.result_slots)}
    long = sorted((name for name in names if len(name) > _SHORT_NAME), key=len, reverse=True)
    pattern = re.compile(rf"\b(?:{'|'.join(long) or '(?!)'})s?\b", re.I)
    return ToolWords(spec, arguments, kinds, pattern)


def _read_text(tool: ToolWords, sentences: tuple[str, ...]) -> ReadText:
    stems = frozenset(stem for sentence in sentences for stem in stems_of(sentence))
    slots = tool.arguments.items()
    return ReadText(
        tuple(tool.names.sub("xslot", sentence) for sentence in sentences),
        stems,
        tuple(name for name, own in slots if own.rare and own.rare <= stems),
        tuple(name for name, own in slots if any(v and v <= stems for v in own.values)),
    )


class _AskedText(NamedTuple):
    """A question beside a tool's schema, apart from the conversation.

    Attributes:
        scores: part of each argument's log odds, shape ``(arguments,)``.
        overlaps: share of each argument's name that the question has.
        spoken: whether the question has the whole name in one piece.
    """

    scores: NDArray[np.float64]
    overlaps: list[float]
    spoken: list[bool]


def question_of(sentences: tuple[str, ...], tool: ToolWords, situation: Situation) -> Question:
    """Describe a question about the arguments of a tool, for training.

    Args:
        sentences: the sentences that ask, without their values.
        tool: words of the tool in the schema.
        situation: what the user has said and wants.
    """
    words, begins = _words(sentences)
    slots = tuple(slot.features for slot in tool.arguments.values())
    flags, overlaps, spoken = _text_flags(sentences, tool)
    asked = _AskedText(np.zeros(len(slots)), overlaps, spoken)
    relations = np.array(_relations(tool, asked, situation), np.float32)
    return Question(words, begins, slots, np.concatenate((flags, relations), axis=1))


def _text_flags(
    sentences: tuple[str, ...], tool: ToolWords
) -> tuple[NDArray[np.float32], list[float], list[bool]]:
    """Return the relation of a text to each argument; see `_AskedText` for the other two."""
    words = [word for sentence in sentences for word in stems_of(sentence)]
    text, stems = f" {' '.join(words)} ", frozenset(words)
    slots = tool.arguments.values()
    overlaps = np.array([_overlaps(stems, slot) for slot in slots], np.float32)
    most = overlaps.max(axis=0)
    asks = np.array([any(f" {each}" in text for each in kind.questions) for kind in SLOT_KINDS])
    kinds, count = tool.kinds, len(SLOT_KINDS)
    flags = np.ones((len(overlaps), FLAGS - _RELATIONS), np.float32)
    flags[:, 1:6] = overlaps
    flags[:, 6] = overlaps[:, 0] == 1
    flags[:, 7:12] = (overlaps == most) & (most > 0)
    flags[:, 12 : 12 + count] = kinds & asks
    flags[:, 12 + count : 12 + 2 * count] = ~kinds & asks
    flags[:, 12 + 2 * count :] = kinds & ~asks
    return flags, overlaps[:, 0].tolist(), [slot.spoken in text for slot in slots]


def _relations(tool: ToolWords, asked: _AskedText, situation: Situation) -> list[tuple[bool, ...]]:
    """Return the relation of each argument to what the user has said and wants."""
    required_slots = tool.spec.required
    open_required = [name for name in required_slots if name not in situation.said]
    rows: list[tuple[bool, ...]] = []
    for name, overlap, spoken in zip(tool.arguments, asked.overlaps, asked.spoken, strict=True):
        required, said = name in required_slots, name in situation.said
        named = name in situation.named
        place = open_required.index(name) if required and not said else -1
        rows.append((
            required, said, not said and name in situation.wanted, required and not said,
            place == 0, place == 1, place > 1, not situation.said, not open_required,
            said and overlap == 1, named, named and overlap == 0, spoken,
        ))  # fmt: skip
    return rows


def _overlaps(stems: frozenset[str], slot: SlotWords) -> tuple[float, ...]:
    described = len(slot.description & stems)
    values = sum(bool(value) and value <= stems for value in slot.values)
    return (
        len(slot.name & stems) / max(1, len(slot.name)),
        len(slot.rare & stems) / max(1, len(slot.rare)),
        described / max(1, len(slot.description)),
        described**0.5,
        min(3, values) / 3,
    )


class ReadText(NamedTuple):
    """A text beside a tool's schema, apart from the conversation.

    Attributes:
        patterns: its sentences without the names of the tool's slots, so that a question about a
            slot of an unseen service looks like one that was trained on.
        stems: stems of its words.
        named: arguments whose name it has.
        valued: arguments of which it has a possible value.
    """

    patterns: tuple[str, ...]
    stems: frozenset[str]
    named: tuple[str, ...]
    valued: tuple[str, ...]


class SlotModel:
    """Scores the slots that a question may ask for.

    What depends on a text and a tool alone is kept: the same sentences, without their values, come
    again and again.

    Args:
        pairs: float32, shape ``(2**BITS,)``: weight of a word of the question with one of a slot.
        flags: float32, shape ``(FLAGS,)``.
    """

    def __init__(self, pairs: NDArray[np.float32], flags: NDArray[np.float32]) -> None:
        self.pairs, self.flags = pairs, flags
        self._tools: dict[int, ToolWords] = {}
        self._texts: dict[tuple[int, tuple[str, ...]], ReadText] = {}
        self._questions: dict[tuple[int, tuple[str, ...]], _AskedText] = {}

    def words_of(self, spec: ToolSpec) -> ToolWords:
        """Return the words of a tool in the schema."""
        kept = self._tools.get(id(spec))
        if kept is None:
            if len(self._tools) >= _MOST_TOOLS:
                self._tools.clear()
                self._texts.clear()
                self._questions.clear()
            kept = self._tools[id(spec)] = _tool_words(spec)
        return kept

    def read(self, spec: ToolSpec, sentences: tuple[str, ...]) -> ReadText:
        """Read sentences beside the schema of a tool."""
        tool, key = self.words_of(spec), (id(spec), sentences)
        read = self._texts.get(key)
        if read is None:
            if len(self._texts) >= _MOST_TEXTS:
                self._texts.clear()
            read = self._texts[key] = _read_text(tool, sentences)
        return read

    def scores(
        self, spec: ToolSpec, sentences: tuple[str, ...], situation: Situation
    ) -> NDArray[np.float64]:
        """Return the log odds that a question asks for each argument, shape ``(arguments,)``.

        Args:
            spec: the tool.
            sentences: the sentences that ask, without their values.
            situation: what the user has said and wants.
        """
        tool, key = self.words_of(spec), (id(spec), sentences)
        asked = self._questions.get(key)
        if asked is None:
            if len(self._questions) >= _MOST_TEXTS:
                self._questions.clear()
            asked = self._questions[key] = self._asked(tool, sentences)
        relations = np.array(_relations(tool, asked, situation), np.float32)
        scores: NDArray[np.float64] = asked.scores + relations @ self.flags[-_RELATIONS:]
        return scores

    def _asked(self, tool: ToolWords, sentences: tuple[str, ...]) -> _AskedText:
        flags, overlaps, spoken = _text_flags(sentences, tool)
        slots = [slot.features for slot in tool.arguments.values()]
        pairs = _Table(*_words(sentences), slots).scores(self.pairs)
        return _AskedText(pairs + flags @ self.flags[:-_RELATIONS], overlaps, spoken)


class _Table:
    """The pairs of a question's words with its candidates' words."""

    def __init__(self, words: Features, begins: Sequence[int], slots: Sequence[Features]) -> None:
        self.lengths = np.array([len(slot) for slot in slots])
        flat = np.concatenate(slots)
        mixed = words[:, None] * np.uint32(0x9E3779B1) + flat[None, :] * np.uint32(0x85EBCA6B)
        mixed ^= mixed >> np.uint32(15)
        mixed *= np.uint32(0x2C1B3C6D)
        self.buckets = mixed >> np.uint32(32 - BITS)
        self._rows, self._columns = np.array(begins), np.cumsum(self.lengths) - self.lengths
        self.sizes = np.diff(np.append(self._rows, len(words)))
        self.scale = 1 / np.sqrt(self.sizes[:, None] * self.lengths[None, :])
        self.chosen: NDArray[np.int64]

    def scores(self, pairs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Score each candidate by the whole question and by its best clause."""
        by_word = np.add.reduceat(pairs[self.buckets], self._rows, axis=0)
        by_part = np.add.reduceat(by_word, self._columns, axis=1) * self.scale
        self.chosen = by_part[1:].argmax(axis=0) + 1
        scores: NDArray[np.float64] = by_part[0] + by_part[1:].max(axis=0)
        return scores

    def gradient(self, error: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the gradient of each pair, shape ``(words, words of slots)``."""
        parts = np.zeros((len(self._rows), len(error)))
        parts[0] = error
        parts[self.chosen, np.arange(len(error))] = error
        parts *= self.scale
        by_word = np.repeat(parts.astype(np.float32), self.sizes, axis=0)
        return np.repeat(by_word, self.lengths, axis=1)


def train_slot_model(
    questions: Sequence[tuple[Question, Sequence[bool]]],
    random: np.random.Generator,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> SlotModel:
    """Train by AdaGrad on the log loss of each slot, one question at a time.

    Args:
        questions: questions, and whether each candidate was asked for.
        random: generator of the order and of the words left out.
        on_progress: called with the number of questions processed, and their number in all epochs.
    """
    pairs = np.zeros(1 << BITS, np.float32)
    pair_squares = np.full(1 << BITS, 1e-4, np.float32)
    weights = np.zeros(FLAGS, np.float32)
    squares = np.full(len(weights), 1e-2, np.float32)
    epochs = max(_EPOCHS, min(_MOST_EPOCHS, _EXAMPLES // max(1, len(questions))))
    for epoch in range(epochs):
        for done, index in enumerate(random.permutation(len(questions)).tolist()):
            question, asked = questions[index]
            words, begins, slots = _with_words_dropped(question, random)
            table = _Table(words, begins, slots)
            scores = table.scores(pairs) + question.flags @ weights
            error = 1 / (1 + np.exp(-scores)) - np.asarray(asked, np.float64)
            flat, gradient = table.buckets.ravel(), table.gradient(error).ravel()
            np.add.at(pair_squares, flat, gradient * gradient)
            np.add.at(pairs, flat, -_RATE * gradient / np.sqrt(pair_squares[flat]))
            slope = (error @ question.flags).astype(np.float32)
            squares += slope * slope
            weights -= _RATE * slope / np.sqrt(squares)
            if done % 500 == 0:
                on_progress(epoch * len(questions) + done, epochs * len(questions))
    return SlotModel(pairs, weights)


def _with_words_dropped(
    question: Question, random: np.random.Generator
) -> tuple[Features, list[int], list[Features]]:
    kept = random.random(len(question.words)) >= _DROPPED
    kept[list(question.begins)] = True
    before = np.concatenate(([0], np.cumsum(kept)))
    begins = [int(before[begin]) for begin in question.begins]
    slots = []
    for slot in question.slots:
        keep = random.random(len(slot)) >= _DROPPED
        keep[0] = True
        slots.append(slot[keep])
    return question.words[kept], begins, slots
