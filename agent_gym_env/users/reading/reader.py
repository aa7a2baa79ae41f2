"""Reads the text of an agent's turn: its kind, and what it asks, offers, confirms or tells.

The words alone give the dialogue acts of each sentence. What the user knows decides the rest: rows
of the services, their own wishes and questions, and the outcome of the turn's calls.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agent_gym_env.corpus.goals import Goal, Kind
from agent_gym_env.corpus.task import Task
from agent_gym_env.corpus.tool_specs import ToolSpec
from agent_gym_env.retrieval.tokens import content_words, identifier_words
from agent_gym_env.users.agenda import AgendaUser
from agent_gym_env.users.agent_turn import AgentTurn, Row
from agent_gym_env.users.reading.act_model import ACTS, ActModel, Logits
from agent_gym_env.users.reading.claims import (
    clause_of,
    denied_values,
    harmless_left_out,
    is_undecided,
    plain,
    refuses,
    report_of,
    stated_name,
    states,
    unknown_name,
)
from agent_gym_env.users.reading.slot_model import SLOT_KINDS, ReadText, Situation, SlotModel
from agent_gym_env.users.reading.text import (
    MAX_READ_TEXT,
    FoundValue,
    KnownValues,
    sentences_of,
    stems_of,
    tokens_of,
    value_kind,
    without_values,
)
from agent_gym_env.values.equality import DONTCARE, canonical

KINDS: tuple[Kind, ...] = (
    "none", "request", "offer", "confirm", "inform", "success", "counter", "failure", "propose",
    "more", "goodbye",
)  # fmt: skip

_USER_ACTS = (
    "INFORM_INTENT", "INFORM", "REQUEST", "AFFIRM", "NEGATE", "SELECT", "REQUEST_ALTS",
    "THANK_YOU", "GOODBYE", "AFFIRM_INTENT", "NEGATE_INTENT", "UNCLEAR",
)  # fmt: skip
_OUTCOMES = ("", "rows", "empty", "success", "counter", "failure")
_NEGATION = re.compile(
    r"\b(?:no|not|cannot|nope|nor|never|without|non|unfortunately|lacks?|false|isnt|doesnt|dont)\b|n't\b"
)
_CLAUSE = re.compile(r",(?! (?:it|there|they) )|\bbut\b")
_SURE = 0.5
"""A kind with a lower probability is not understood."""

_SUPPORTED = 0.2
"""The same for a kind that the user expects, see `TextReader._supported`."""

_DOUBTFUL = _SUPPORTED / 4
"""A kind with a lower probability is hardly ever read."""

_MAY_TELL = 0.015
"""Probability of an answer from which a text that states a wrong value is one."""

_MORE = frozenset(("else", "further", "more"))
_AMOUNT = re.compile(r"\s*[$\u20ac\u00a3]|[0-9,]*\.[0-9]")
_NO_FACT = re.compile(r"\bone$|\bout of [0-9]+$|[0-9]/(?:5|10)$", re.IGNORECASE)
_COSTS = re.compile(r"amount|balance|charge|cost|fare|fee|price|rent|total")
_IS = re.compile(r" (?:is|are) $|: $")
_NAME = re.compile(r"(?<!airport)(?<!station)(?:_|^)(?:name|title)$")
_NO_NAMES = frozenset(("from", "in", "number", "of", "on", "per", "to"))
"""Words in the names of slots that alone do not name them."""

_NAME_WEIGHT = 3
"""A name, date or time counts as so many numbers for the row that is offered."""

_NAMES_A_ROW = 2
"""A text with so many values of a row is about it."""

_MAY_ASK = -1.0
"""Log odds of a request from which a sentence is read as part of a question."""

_MAY_REPORT = -1.0
"""Log odds of a report of success above which a sentence may be one."""

_SUCCESS = ACTS.index("NOTIFY_SUCCESS")
_NOT_TOLD = [place for place, act in enumerate(ACTS) if act != "INFORM"]

_HARDLY_ASKED = -3.0
"""Log odds of a slot below which a question does not ask for it."""

_ASKED_BY = {
    "when": ("time", "date"), "what time": ("time",), "what day": ("date",),
    "how many": ("number",), "how long": ("duration", "number"), "how much": ("amount",),
}  # fmt: skip
"""Kinds of slot that some words ask for, see `SLOT_KINDS`."""

_MANY_VALUES, _MANY_ROWS, _FLOOD = 12, 3, 60
"""Nobody takes in values of more than three rows at once, or sixty values."""


_NAMES_ANOTHER = 2
"""So many more values of another row than of the one on the table are about that other row."""

FLAGS = 2 + len(_USER_ACTS) + len(_OUTCOMES) + 8 + 5 + 6
"""Number of a text's relations to the conversation, see `Look`."""


class Look(NamedTuple):
    """A turn's text, as the user sees it.

    Attributes:
        words: the text.
        found: the values in it.
        said: those of them that it does not deny.
        stated: those of them that state a fact, which the pronoun "one" does not, nor the number of
            points that a score is out of.
        sentences: its sentences, without the values.
        text: the same beside the schema of the errand's tool.
        wishes: key of the user's wish, by slot of the errand's tool.
        amounts: keys of the amounts of money and of the fractions in it.
        rows: number of values of each known row that the text names, by the row's index.
        flags: relation of the text to the conversation, float32, shape ``(flags,)``.
    """

    words: str
    found: list[FoundValue]
    said: list[FoundValue]
    stated: list[FoundValue]
    sentences: tuple[str, ...]
    text: ReadText
    wishes: dict[str, str]
    amounts: frozenset[str]
    rows: Counter[int]
    flags: NDArray[np.float32]


class ReadingModel:
    """Everything about reading that is learned from a train split.

    Args:
        acts: scores the acts of a sentence.
        kinds: weights of `kind_features`, float32, shape ``(features, kinds)``.
        slots: scores the slots that a question asks for.
    """

    def __init__(self, acts: ActModel, kinds: NDArray[np.float32], slots: SlotModel) -> None:
        self.acts, self.kinds, self.slots = acts, kinds, slots
        # Bounded: without their values sentences come again and again.
        self._by_acts = functools.lru_cache(maxsize=1 << 12)(self._scores_by_acts)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle what was learned without the cache."""
        return ReadingModel, (self.acts, self.kinds, self.slots)

    def __deepcopy__(self, memo: dict[int, object]) -> ReadingModel:
        """Share the model, which does not change."""
        return self

    def kind_scores(self, look: Look) -> NDArray[np.float32]:
        """Return the score of each kind of turn, shape ``(kinds,)``."""
        flags = look.flags
        by_acts = self._by_acts(look.text.patterns, float(flags[0]), float(flags[1]))
        scores: NDArray[np.float32] = by_acts + flags @ self.kinds[_ACT_FEATURES:-1]
        return scores

    def _scores_by_acts(
        self, patterns: tuple[str, ...], transactional: float, called: float
    ) -> NDArray[np.float32]:
        features = _act_features(self.acts.turn(patterns), transactional, called)
        scores: NDArray[np.float32] = features @ self.kinds[:_ACT_FEATURES] + self.kinds[-1]
        return scores


class TextReader:
    """Reads the turns of one dialogue.

    What is read depends on the text and the user's state only, so a reader that is made for a
    restored state reads the same.

    Args:
        model: the learned model.
        user: the user.
        goal: goal of the user.
        task: the recorded dialogue.
        tools: by full name.
    """

    def __init__(
        self,
        model: ReadingModel,
        user: AgendaUser,
        goal: Goal,
        task: Task,
        tools: Mapping[str, ToolSpec],
    ) -> None:
        self._model, self._user, self._goal = model, user, goal
        self._task, self._tools, self._today = task, tools, task.date
        self._basis: tuple[object, ...] = (None,) * 5
        self._wishes_known = self._known = self._of_goal()
        self._rows: list[Row] = []
        self._where: dict[tuple[str, str], list[int]] = {}
        self._others: dict[str, list[ToolSpec]] = {}

    def read(self, text: str) -> AgentTurn:
        """Read a turn of the agent."""
        look, state = self.look(text), self._user.state
        kind = self._kind(look)
        if kind == "request":
            return self._request(look)
        informed = self._informed(look, kind)
        if kind == "offer":
            row = self._offered(look)
            return AgentTurn(kind, offered=row, named=_named(row, look), informed=informed)
        if kind == "confirm":
            confirmed = self._confirmed(look)
            kind = "none" if "" in confirmed else kind
            return AgentTurn(kind, confirmed=confirmed, informed=informed)
        if kind == "propose":
            return AgentTurn(kind, intent=self._proposed(look))
        if kind in ("success", "inform"):
            row = {**look.wishes, **state.answer} if kind == "success" else state.row or {}
            informed = {**self._misstated(row, look), **informed}
        return AgentTurn(kind, informed=informed)

    # What is known.

    def _of_goal(self) -> KnownValues:
        known = KnownValues(self._today)
        for errand in self._goal.errands:
            for slot, values in errand.voiced.items():
                for value in values:
                    known.add(slot, value)
            for slot, value in (errand.final or {}).items():
                known.add(slot, value)
        for turn in self._task.turns:
            if turn.call is not None:
                for slot, forms in turn.call.forms.items():
                    known.add(slot, turn.call.arguments[slot], forms)
        return known

    def _learn(self) -> None:
        """Collect the values that the user can recognise: of the goal, and of the rows they know.

        They follow from the user's state alone, whichever turns this reader has read.
        """
        state = self._user.state
        basis = (state.rows, state.row, state.answer, len(state.chosen), len(state.booked))
        if all(one is other for one, other in zip(basis, self._basis, strict=True)):
            return
        self._basis = basis
        known = self._known = self._wishes_known.copy()
        others = [state.row or {}, state.answer, *state.chosen.values(), *state.booked.values()]
        self._rows = [*state.rows, *others]
        where = self._where = {}
        for index, row in enumerate(self._rows):
            for slot, value in row.items():
                where.setdefault((slot, known.add(slot, value)), []).append(index)

    def look(self, text: str) -> Look:
        """Find everything in a text that decides how it is read."""
        self._learn()
        text = text[:MAX_READ_TEXT]
        tokens = tokens_of(text)
        found = self._known.find(text, tokens)
        sentences = tuple(sentences_of(without_values(text, found)))
        read = self._model.slots.read(self._user.spec(), sentences)
        wishes = self._wishes()
        rows: Counter[int] = Counter()
        for value in found:
            for slot in value.slots:
                rows.update(self._where.get((slot, value.key), ()))
        flags = self._flags(found, wishes, rows, read, len(tokens))
        amounts = frozenset(v.key for v in found if _AMOUNT.match(text, v.start, v.end))
        denied = denied_values(text, tokens, found)
        said = [value for value in found if value.start not in denied]
        stated = [v for v in said if not _NO_FACT.search(text[: v.end], v.start - 8)]
        return Look(text, found, said, stated, sentences, read, wishes, amounts, rows, flags)

    def _wishes(self) -> dict[str, str]:
        wishes = {slot: self._user.wish(slot) for slot in self._user.spec().arguments}
        return {
            slot: canonical(value, self._today)
            for slot, value in wishes.items()
            if value is not None and value != DONTCARE
        }

    def _flags(
        self,
        found: Sequence[FoundValue],
        wishes: Mapping[str, str],
        rows: Counter[int],
        text: ReadText,
        words: int,
    ) -> NDArray[np.float32]:
        user = self._user
        state, questions = user.state, user.open_questions()
        acts = {act.act for act in state.acts}
        best = max(rows.values(), default=0)
        told = any(slot in questions for value in found for slot in value.slots)
        wished = sum(any(wishes.get(slot) == value.key for slot in value.slots) for value in found)
        unknown = sum(not value.slots for value in found)
        flags = (
            user.spec().transactional, state.outcome != "",
            *(act in acts for act in _USER_ACTS),
            *(state.outcome == outcome for outcome in _OUTCOMES),
            min(best, 4) / 4, best > 0, told, min(wished, 4) / 4, min(unknown, 4) / 4,
            min(words, 20) / 20, "?" in text.stems, not found, *self._named(text, questions),
            user.is_done(), bool(questions), state.row is not None,
            state.wants_other, state.errand in state.consented, state.errand in state.written,
        )  # fmt: skip
        return np.array(flags, np.float32)

    def _named(self, text: ReadText, questions: Sequence[str]) -> tuple[float, ...]:
        """Return which parts of the schema a text names."""
        said = self._user.said()
        names = (frozenset(identifier_words(tool.intent)) for tool in self._other_tools())
        intents = [len(own & text.stems) / len(own) for own in names]
        return (
            any(slot not in said for slot in text.named),
            any(slot in said for slot in text.named),
            any(slot not in said for slot in text.valued),
            any(_core(slot) <= text.stems for slot in questions),
            max(intents, default=0.0),
        )

    def _other_tools(self) -> list[ToolSpec]:
        """Return the other tools of the service under way."""
        spec = self._user.spec()
        if spec.name not in self._others:
            self._others[spec.name] = [
                tool
                for tool in self._tools.values()
                if tool.service == spec.service and tool.intent != spec.intent
            ]
        return self._others[spec.name]

    # The kind of turn.

    def _kind(self, look: Look) -> Kind:
        if self._user.state.finished:
            return "goodbye"
        if self._is_flood(look):
            return "none"
        shares = _shares(self._model.kind_scores(look))
        refusal = shares["failure"] + shares["counter"] + shares["confirm"]
        if refusal >= _SURE and self._is_counter_offer(look):
            return "counter"
        if "?" in look.text.stems or _MORE & look.text.stems:
            shares["more"] += shares["goodbye"]  # who asks for more does not leave
            shares["goodbye"] = 0.0
        if shares["success"] >= _DOUBTFUL:
            report = report_of(look.sentences)
            if report.undone and not report.done and self._user.state.outcome == "success":
                return "failure"
            if report.undone or not (report.done or self._reports_otherwise(look)):
                shares["success"] = 0.0
        if shares["confirm"] >= _DOUBTFUL and refuses(look.sentences):
            shares["confirm"] = 0.0
        if not self._user.spec().transactional and self._user.state.known:
            shares["offer"] += shares["confirm"]  # a search ends with rows, not with consent
        least = _SUPPORTED if shares["more"] < _SURE else _DOUBTFUL
        for kind in self._supported(look):
            if shares[kind] >= least:
                return kind
        kind = max(KINDS, key=shares.__getitem__)
        if kind == "counter" and self._user.spec().transactional and not self._names_counter(look):
            return "none"  # who agreed would agree to values that nobody has said
        if kind != "none" and shares[kind] >= _SURE:
            return kind
        may_tell = shares["inform"] >= _MAY_TELL
        return "inform" if may_tell and self._answers_wrongly(look) else "none"

    def _reports_otherwise(self, look: Look) -> bool:
        """Return whether a text reports a booking in learned words, or by what came of it."""
        for pattern in look.text.patterns:
            if _MORE & set(stems_of(pattern)):
                continue  # "anything else?" goes with reports, and is none
            logits = self._model.acts.sentence(pattern)
            if logits[_SUCCESS] > _MAY_REPORT and logits[_SUCCESS] >= logits[_NOT_TOLD].max():
                return True
        answer = {canonical(value, self._today) for value in self._user.state.answer.values()}
        new = answer - set(look.wishes.values())
        return any(value.key in new for value in look.said) or bool(self._informed(look, "success"))

    def _supported(self, look: Look) -> Iterator[Kind]:
        """Yield the kinds of turn that the conversation leads the user to expect."""
        user = self._user
        outcome = user.state.outcome
        names_row = max(look.rows.values(), default=0) >= _NAMES_A_ROW
        if outcome == "success":
            yield "success"
        elif outcome in ("failure", "empty"):
            yield "failure"
        elif outcome == "" and self._answers(look):
            yield "inform"
        elif names_row and user.state.known and not user.spec().transactional:
            yield "offer"
        elif outcome == "" and self._names_unsaid(look) and not _names_known_value(look):
            yield "request"

    def _answers(self, look: Look) -> bool:
        """Return whether a text tells what the user asked for."""
        told = self._informed(look, "none")
        rows = self._user.rows_known()
        return any(row.get(slot) == value for slot, value in told.items() for row in rows)

    def _answers_wrongly(self, look: Look) -> bool:
        """Return whether a text states another value than the one that the user asked for."""
        if self._user.state.outcome or not self._user.open_questions():
            return False
        told = self._informed(look, "inform").values() if states(look.sentences) else ()
        return any(value not in ("True", "False") for value in told)

    def _names_unsaid(self, look: Look) -> bool:
        """Return whether a text names an argument that the user has not said."""
        said = self._user.said()
        return any(slot not in said for slot in look.text.named)

    def _is_counter_offer(self, look: Look) -> bool:
        """Return whether a text names what a service has just offered."""
        return self._user.state.outcome == "counter" and self._names_counter(look)

    def _names_counter(self, look: Look) -> bool:
        """Return whether a text names what a service offered instead of what the user wants."""
        state = self._user.state
        offered = {
            slot: canonical(value, self._today)
            for slot, value in state.answer.items()
            if slot in self._user.spec().arguments
        }
        changed = {key for slot, key in offered.items() if look.wishes.get(slot, key) != key}
        return any(value.key in changed for value in look.said)

    def _is_flood(self, look: Look) -> bool:
        if len(look.found) <= _MANY_VALUES:
            return False
        newest = range(len(self._user.state.rows))
        alone = set()
        for value in look.found:
            rows = {
                row
                for slot in value.slots
                for row in self._where.get((slot, value.key), ())
                if row in newest
            }
            if len(rows) == 1:
                alone |= rows
        return len(alone) > _MANY_ROWS or len(look.found) > _FLOOD

    # What a turn of each kind says.

    def situation(self, look: Look) -> Situation:
        """Return what the user knows of their errand's slots."""
        said = self._user.said()
        keys = {value.key for value in look.found}
        named = [slot for slot, key in look.wishes.items() if key in keys]
        return Situation(frozenset(said), frozenset(look.wishes), frozenset(named))

    def _request(self, look: Look) -> AgentTurn:
        spec = self._user.spec()
        if not spec.arguments:
            return AgentTurn("none")
        asking = asking_sentences(self._model.acts, look)
        scores = self._model.slots.scores(spec, asking, self.situation(look))
        slots = [name for name, score in zip(spec.arguments, scores, strict=True) if score > 0]
        slots = slots or self._likeliest(asking, scores)
        keys = {value.key for value in look.found}
        suggested = {slot: look.wishes[slot] for slot in slots if look.wishes.get(slot, "") in keys}
        return AgentTurn("request" if slots else "none", slots=tuple(slots), suggested=suggested)

    def _likeliest(self, asking: Sequence[str], scores: NDArray[np.float64]) -> list[str]:
        """Return the slot that a question most probably asks for, or none where none is likely.

        "When" asks for a date or a time, "how many" for a number.
        """
        arguments = self._model.slots.words_of(self._user.spec()).arguments
        text = f" {' '.join(stem for sentence in asking for stem in stems_of(sentence))} "
        asked = (kinds for words, kinds in _ASKED_BY.items() if f" {words} " in text)
        wanted = set(chain.from_iterable(asked))
        numbers = [number for number, kind in enumerate(SLOT_KINDS) if kind.name in wanted]
        fitting = [
            not wanted or any(words.kinds[number] for number in numbers)
            for words in arguments.values()
        ]
        allowed = np.where(fitting, scores, -np.inf)
        best = int(allowed.argmax())
        return [list(arguments)[best]] if allowed[best] > _HARDLY_ASKED else []

    def _offered(self, look: Look) -> Row | None:
        """Return the row of the last search whose values a text names best."""
        rows = self._user.state.rows
        named: Counter[int] = Counter()
        for key, slots, kind in {(value.key, value.slots, value.kind) for value in look.found}:
            weight = 1 if kind == "number" else _NAME_WEIGHT  # "one option" names no number
            for slot in slots:
                for index in self._where.get((slot, key), ()):
                    if index < len(rows):
                        named[index] += weight
        if not named:
            return None
        most = max(named.values())
        best = [rows[index] for index in sorted(named) if named[index] == most]
        unseen = (row for row in best if not self._user.has_seen(row))
        row = next(unseen, best[0])
        return row if self._is_truthful(row, look) else None

    def _is_truthful(self, row: Row, look: Look) -> bool:
        """Return whether a text says the row's name, and nothing of it that is another row's."""
        if self._misstated(row, look):
            return False
        keys = {value.key for value in look.said}
        names = {canonical(value, self._today) for slot, value in row.items() if _is_name(slot)}
        return not names or bool(names & keys) or row == self._user.state.row

    def _misstated(
        self, row: Mapping[str, str], look: Look, *, counts: bool = False
    ) -> dict[str, str]:
        """Return the values that a text states of a row's slots and that are not the row's.

        After the name of another row, values are about that row.

        Args:
            row: value by slot.
            look: the text.
            counts: whether each number is about the row. Otherwise only those are that are an
                amount of money or a fraction, or whose clause names a slot of the row.

        Returns:
            Keys of the values by slot; by ``""`` for a value of no slot.
        """
        own = {slot: canonical(value, self._today) for slot, value in row.items()}
        defaults = self._user.spec().defaults.values()
        chosen = chain.from_iterable(each.values() for each in self._user.state.chosen.values())
        facts = {canonical(value, self._today) for value in chain(defaults, chosen)}
        facts.update(own.values(), look.wishes.values())
        is_free = any(key == "0" and _COSTS.search(slot) for slot, key in own.items())
        if "0" in look.amounts and not is_free:
            facts.discard("0")  # "it costs $0" does not tell of 0 bags
        misstated: dict[str, str] = {}
        others: set[str] = set()
        for value in look.stated:
            if any(map(_is_name, value.slots)):
                others = set() if value.key in facts else self._values_of_rows_named(value)
            elif value.key not in others:
                slot = _slot_stated(own, value, look)
                if slot is None and value.key not in facts:
                    slot = self._slot_misstated(own, value, look, counts=counts)
                if slot is not None and own.get(slot) != value.key:
                    misstated.setdefault(slot, value.key)
        return {**_names_stated(own, look), **misstated}

    def _values_of_rows_named(self, name: FoundValue) -> set[str]:
        """Return the keys of all values of the rows that have a name."""
        rows = {index for slot in name.slots for index in self._where.get((slot, name.key), ())}
        values = chain.from_iterable(self._rows[index].values() for index in rows)
        return {canonical(value, self._today) for value in values}

    def _slot_misstated(
        self, own: Mapping[str, str], value: FoundValue, look: Look, *, counts: bool
    ) -> str | None:
        """Return the slot that a text gives a wrong value, or ``None`` if it is about none."""
        if value.slots:
            slots = [slot for slot in own if slot in value.slots]
        else:
            slots = [slot for slot, key in own.items() if value_kind(key) == value.kind]
        if value.key in look.amounts or (
            counts if value.kind == "number" else not self._is_word(slots)
        ):
            is_known = value.slots and value.key not in look.amounts
            return slots[0] if slots else None if is_known else ""
        # "10 hotels with 4 stars" says the right number of stars.
        said = {each.key for each in look.said}
        open_slots = [slot for slot in slots if own[slot] not in said]
        if not open_slots:
            return None
        words = Counter(chain.from_iterable(map(_core, own)))
        stems = set(stems_of(clause_of(look.words, look.found, value))) - _NO_NAMES
        stems -= {word for word, count in words.items() if count > 1}
        return next((slot for slot in open_slots if _core(slot) & stems), None)

    def _is_word(self, slots: Sequence[str]) -> bool:
        """Return whether a value is one of a fixed list, which often has common words."""
        arguments = self._user.spec().arguments
        return any(slot in arguments and arguments[slot].is_categorical for slot in slots)

    def _confirmed(self, look: Look) -> dict[str, str]:
        keys = [value.key for value in look.said]
        confirmed = {}
        for slot, wish in look.wishes.items():
            if wish in ("true", "false"):
                said = _said_booleans(slot, look)
                if said:  # who says both has said the other
                    confirmed[slot] = min(said - {wish.capitalize()} or said)
                continue
            other = self._other_value(slot, wish, look)
            if wish in keys:
                confirmed[slot] = wish
            elif other is not None:
                confirmed[slot] = other
        # Who says another value too has not said the right one.
        return {**confirmed, **self._misstated(look.wishes, look, counts=True)}

    def _other_value(self, slot: str, wish: str, look: Look) -> str | None:
        """Return the value that a text gives for a slot instead of the one that is wanted."""
        wanted = set(look.wishes.values())
        of_slot = {v.key for v in look.found if slot in v.slots} - wanted
        if len(of_slot) == 1:
            return of_slot.pop()
        kind = value_kind(wish)
        if kind == "name" or sum(value_kind(other) == kind for other in look.wishes.values()) > 1:
            return None
        return next((v.key for v in look.found if v.kind == kind and v.key not in wanted), None)

    def _informed(self, look: Look, kind: Kind) -> dict[str, str]:
        """Return the values that a text tells of the slots that the user asked for."""
        questions = self._user.open_questions()
        if not questions:
            return {}
        state, rows = self._user.state, self._user.rows_known()
        if kind == "inform" and self._is_about_another_row(look):
            return {}
        if kind == "offer":
            rows = [self._offered(look) or {}, *rows]
        if kind in ("success", "counter"):
            rows = [state.answer, *rows]
        told = {slot: self._told(slot, rows, look, kind) for slot in questions}
        return {slot: value for slot, value in told.items() if value is not None}

    def _is_about_another_row(self, look: Look) -> bool:
        """Return whether a text names a row other than the one on the table."""
        rows, own = self._user.state.rows, self._user.state.row
        if own is None or self._user.errand().transactional:
            return False
        named = [(look.rows[index], row == own) for index, row in enumerate(rows)]
        ours = max((count for count, is_own in named if is_own), default=0)
        return any(count >= ours + _NAMES_ANOTHER for count, is_own in named if not is_own)

    def _told(self, slot: str, rows: Sequence[Row], look: Look, kind: Kind) -> str | None:
        row = next((row for row in rows if slot in row), None)
        if row is None:
            return None
        key = canonical(row[slot], self._today)
        if key in ("true", "false"):
            said = _said_booleans(slot, look)
            if not said and kind == "inform":
                said = _said_of_nothing_else(look)
            return next(iter(said)) if len(said) == 1 else None
        if key in {value.key for value in look.said}:
            rest = {canonical(v, self._today) for name, v in row.items() if name != slot}
            others = {v.key for v in look.said if slot in v.slots} - rest - {key}
            if kind == "inform":
                same = (v for v in look.stated if not v.slots and v.kind == value_kind(key))
                others.update(v.key for v in same)
            return row[slot] if not others else None
        if kind != "inform":
            return None
        values = [v.key for v in look.stated if slot in v.slots or not v.slots]
        return values[0] if values else unknown_name(look.words, look.found)

    def _proposed(self, look: Look) -> str:
        def likeness(tool: ToolSpec) -> float:
            own = {*identifier_words(tool.intent), *content_words(tool.description)}
            shared = len(own & look.text.stems)
            return shared / math.sqrt(max(1, len(own))) + 0.3 * tool.transactional

        others = self._other_tools()
        return max(others, key=likeness).intent if others else ""


def _names_known_value(look: Look) -> bool:
    return any(value.slots for value in look.found)


def _core(slot: str) -> frozenset[str]:
    return frozenset(identifier_words(slot)) - {"ha", "has", "is", "i"}


def kind_features(logits: Logits, flags: NDArray[np.float32]) -> NDArray[np.float32]:
    """Combine the acts of a text with its relation to the conversation.

    Args:
        logits: see `ActModel`, shape ``(acts,)``.
        flags: see `Look`; the first two are crossed with the acts.
    """
    by_acts = _act_features(logits, float(flags[0]), float(flags[1]))
    return np.concatenate((by_acts, flags, np.ones(1, np.float32)))


def _act_features(logits: Logits, transactional: float, called: float) -> NDArray[np.float32]:
    clipped = np.minimum(np.maximum(logits, -8), 8) / 4
    risen = np.maximum(clipped, 0)
    return np.concatenate((clipped, risen, risen * transactional, risen * called), dtype=np.float32)


_ACT_FEATURES = 4 * len(ACTS)


def _shares(scores: NDArray[np.float32]) -> dict[Kind, float]:
    """Return the probability of each kind."""
    values = scores.tolist()
    highest = max(values)
    exponentials = [math.exp(value - highest) for value in values]
    total = sum(exponentials)
    return {kind: each / total for kind, each in zip(KINDS, exponentials, strict=True)}


def asking_sentences(acts: ActModel, look: Look) -> tuple[str, ...]:
    """Return the sentences that may ask for something; all if none does."""
    request = ACTS.index("REQUEST")
    asking = tuple(
        sentence
        for sentence, pattern in zip(look.sentences, look.text.patterns, strict=True)
        if acts.sentence(pattern)[request] > _MAY_ASK
    )
    return asking or look.sentences


@functools.lru_cache(maxsize=1 << 12)
def _is_name(slot: str) -> bool:
    return _NAME.search(slot) is not None


def _slot_stated(own: Mapping[str, str], value: FoundValue, look: Look) -> str | None:
    """Return the slot of which a text says "SLOT is" just before a date, time or number."""
    if value.kind == "name":
        return None
    is_said = _IS.search(look.words, max(0, value.start - 8), value.start)
    if is_said is None:
        return None
    before = look.words[: is_said.start()].lower()
    return next((slot for slot in own if before.endswith(slot.replace("_", " "))), None)


def _names_stated(own: Mapping[str, str], look: Look) -> dict[str, str]:
    """Return the unknown values by slot that a text states in place of the right ones."""
    if " is " not in plain(look.words):
        return {}
    said = {"true", "false", *(value.key for value in look.said)}
    slots = [slot for slot, key in own.items() if key not in said]
    names = {s: stated_name(look.words, look.found, s.replace("_", " ")) for s in slots}
    return {slot: name for slot, name in names.items() if name is not None}


def _named(row: Row | None, look: Look) -> dict[str, str]:
    """Return the values of a row that a text says."""
    said = {slot for value in look.found for slot in value.slots}
    return {slot: value for slot, value in (row or {}).items() if slot in said}


def _said_booleans(slot: str, look: Look) -> frozenset[str]:
    """Return what a text says of a slot that is true or false: nothing, one of them, or both."""
    clauses = [clause for sentence in look.sentences for clause in _CLAUSE.split(sentence)]
    naming = [clause for clause in clauses if _core(slot) & set(stems_of(clause))]
    if any(is_undecided(clause) for clause in naming):
        return frozenset(("True", "False"))
    return frozenset(str(not _is_negated(clause)) for clause in naming)


def _said_of_nothing_else(look: Look) -> frozenset[str]:
    """Return what "yes" or "no" says where a text names no slot."""
    text = " ".join(look.sentences)
    is_negated = _is_negated(text)
    if is_undecided(text) or (is_negated and "yes" in look.text.stems):
        return frozenset()
    return frozenset((str(not is_negated),))


def _is_negated(clause: str) -> bool:
    return _NEGATION.search(harmless_left_out(plain(clause))) is not None
