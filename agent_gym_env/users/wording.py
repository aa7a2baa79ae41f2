"""The words of a simulated user: recorded, mined from recorded ones, or our own phrases.

Whatever the source, the words say the values of the user's acts and no other wish of the goal.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import msgspec

from agent_gym_env.corpus.corpus import Corpus, Split
from agent_gym_env.corpus.goals import Kind, Place, UserAct
from agent_gym_env.corpus.task import Task
from agent_gym_env.corpus.tool_specs import ToolSpec
from agent_gym_env.types import DialogueAct
from agent_gym_env.users.mentions import SILENT, Mentions, locate
from agent_gym_env.users.own_phrases import OwnPhrases, spoken
from agent_gym_env.users.phrase_book import PhraseBook, load_or_mine
from agent_gym_env.values.equality import canonical

_SAYS_VALUE = frozenset(("INFORM", "SELECT"))


class ActsToSay(msgspec.Struct, frozen=True):
    """Acts of the user, and what their words depend on.

    Attributes:
        acts: the acts, at least one.
        task: the recorded dialogue.
        after: kind of the agent's turn that they answer; ``"none"`` at the beginning.
        turn: index of the task's turn that opens with words for acts of these kinds and slots;
            ``None`` where the recorded user never did such acts.
        recorded: the acts of that turn, whose values may be others.
        places: values that the annotation marks in its words.
        wishes: all values of the user's goal.
        draw: picks among several wordings.
        answered: the agent's text that they answer; ``""`` at the beginning.
    """

    acts: tuple[UserAct, ...]
    task: Task
    after: Kind = "none"
    turn: int | None = None
    recorded: tuple[UserAct, ...] = ()
    places: tuple[Place, ...] = ()
    wishes: frozenset[str] = frozenset()
    draw: int = 0
    answered: str = ""


class UserWords(NamedTuple):
    """The words of a turn.

    Attributes:
        text: the words, never empty.
        source: kind of sentence that they are, which is counted: ``recorded``, ``mined``, ``own``,
            ``model``, ``model_failed`` or another word.
    """

    text: str
    source: str


class UserWording(Protocol):
    """Puts the acts of a user into words. It holds no state of a dialogue."""

    def words(self, said: ActsToSay) -> UserWords:
        """Return words that say the values of the acts, and no other wish of the goal.

        Raises:
            LMError: a language model did not answer.
        """


class TextToRead(msgspec.Struct, frozen=True):
    """A text of the agent, and what its meaning depends on.

    Attributes:
        text: the text.
        answered: the user's words that it answers.
        tools: tools on offer, by full name.
        rows: rows that the services returned last.
        today: the day of the dialogue, ISO.
    """

    text: str
    answered: str
    tools: Mapping[str, ToolSpec]
    rows: Sequence[Mapping[str, str]]
    today: str | None


class Understood(NamedTuple):
    """The meaning of a text.

    Attributes:
        acts: acts of the agent; empty for a text that says nothing.
        dropped: number of acts that were read and failed a check.
    """

    acts: tuple[DialogueAct, ...]
    dropped: int = 0


@runtime_checkable
class UserReading(Protocol):
    """Reads the agent's text into acts, for a user who hears text."""

    def read(self, heard: TextToRead) -> Understood:
        """Return the acts of a text.

        Raises:
            LMError: a language model did not answer.
        """


Style = Literal["recorded", "mined", "plain"]


class AgendaWording:
    """A wording in recorded words where there are such, else in mined ones, else in our own.

    Args:
        book: phrases mined from recorded users; empty for none.
        phrases: our own phrases for the services that are played.
        uses_recording: whether the recorded sentences of the dialogue are used.
    """

    def __init__(
        self, book: PhraseBook, phrases: OwnPhrases, *, uses_recording: bool = True
    ) -> None:
        self._book = book
        self._phrases = phrases
        self._uses_recording = uses_recording

    @classmethod
    def of_split(cls, split: Split, corpus: Corpus, *, style: Style = "recorded") -> AgendaWording:
        """Make the wording for a split, with phrases mined from the corpus's train split.

        Args:
            split: split that is played.
            corpus: its corpus.
            style: ``"recorded"``: the dialogue's own sentences first; ``"mined"``: without them;
                ``"plain"``: our own phrases only.
        """
        mines = style != "plain"
        book = load_or_mine(corpus.weighing_split(split)) if mines else PhraseBook({})
        phrases = OwnPhrases(split.schema)
        return cls(book, phrases, uses_recording=style == "recorded")

    def words(self, said: ActsToSay) -> UserWords:
        """Return words that say the values of the acts, and no other wish of the goal."""
        recorded = _recorded_words(said) if self._uses_recording else None
        if recorded is not None:
            return UserWords(recorded, "recorded")
        today, draw = said.task.date, said.draw
        for template in self._book.templates(said.acts, said.after, draw):
            mined = template.fill(said.acts, today)
            if says_just(mined, said.acts, said.wishes, today):
                return UserWords(mined, "mined")
        return UserWords(self._phrases.words(said.acts, said.after, today, draw), "own")


def says_just(
    text: str,
    acts: Iterable[UserAct],
    wishes: Iterable[str],
    today: str | None,
    marked: Iterable[str] = (),
) -> bool:
    """Return whether words say each value of some acts, and no other wish.

    Args:
        text: the words.
        acts: the acts.
        wishes: values of the user's goal.
        today: the day of the dialogue, ISO.
        marked: slots whose value the words are known to say, in whatever form.
    """
    mentions = Mentions(text, today)
    known = frozenset(marked)
    said = [act for act in acts if act.value]
    if not all(mentions.has(a.value) for a in said if a.act in _SAYS_VALUE and a.slot not in known):
        return False
    keys = {canonical(act.value, today) for act in said}
    others = [wish for wish in wishes if canonical(wish, today) not in keys]
    if not mentions.has_any(others):
        return True
    # "The Big 4" does not say 4.
    return not Mentions(_without(text, [act.value for act in said]), today).has_any(others)


def _without(text: str, values: Iterable[str]) -> str:
    for value in values:
        if value not in SILENT:
            text = re.sub(re.escape(value), "_", text, flags=re.IGNORECASE)
    return text


def _recorded_words(said: ActsToSay) -> str | None:
    """Return the recorded sentence with the values of this play, if it says just these."""
    if said.turn is None or said.turn >= len(said.task.turns):
        return None
    text = said.task.turns[said.turn].user
    today = said.task.date
    marked = {place.slot for place in said.places}
    if said.acts != said.recorded:
        changed = _changed_values(said.recorded, said.acts, today)
        exchanged = None if changed is None else _exchange(text, changed, said, today)
        if changed is None or exchanged is None:
            return None
        text, marked = exchanged, marked - changed.keys()
    if not text.strip() or not says_just(text, said.acts, said.wishes, today, marked):
        return None
    return text


def _changed_values(
    recorded: Sequence[UserAct], acts: Sequence[UserAct], today: str | None
) -> dict[str, tuple[str, str]] | None:
    """Return the old and the new value of each slot whose value differs.

    Returns:
        ``None`` where the acts differ in more than values.
    """
    before, now = _by_kind(recorded), _by_kind(acts)
    if before is None or now is None or before.keys() != now.keys():
        return None
    return {
        key[2]: (before[key], value)
        for key, value in now.items()
        if canonical(before[key], today) != canonical(value, today)
    }


def _by_kind(acts: Sequence[UserAct]) -> dict[tuple[str, str, str], str] | None:
    values = {(act.service, act.act, act.slot): act.value for act in acts}
    slots = Counter(act.slot for act in acts if act.value)
    return values if max(slots.values(), default=0) <= 1 else None


def _exchange(
    text: str, changed: dict[str, tuple[str, str]], said: ActsToSay, today: str | None
) -> str | None:
    """Replace values in the recorded words; ``None`` where a value has no place in them."""
    places: list[tuple[int, int, str]] = []
    for slot, (old, new) in changed.items():
        marked = [(place.start, place.end) for place in said.places if place.slot == slot]
        found = marked[0] if len(marked) == 1 else locate(text, old, today)
        if found is None or new in SILENT or old in SILENT:
            return None
        places.append((*found, spoken(new)))
    for start, end, words in sorted(places, reverse=True):
        text = text[:start] + words + text[end:]
    return text
