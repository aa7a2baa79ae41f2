"""Phrases of recorded users with placeholders for their values, mined from a train split.

They are written to the user's cache when they are first needed, and never leave it: the text of SGD
is licensed under CC BY-SA 4.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import msgspec

from agent_gym_env.corpus.corpus import Split
from agent_gym_env.corpus.goals import Goal, Kind, UserAct
from agent_gym_env.corpus.reader import OnProgress
from agent_gym_env.corpus.task import Task
from agent_gym_env.errors import DataError
from agent_gym_env.storage.cache_folder import home, load_or_make
from agent_gym_env.storage.files import read_file, written_whole
from agent_gym_env.users.mentions import SILENT, Mentions, locate
from agent_gym_env.users.own_phrases import spoken

BOOK_FORMAT = 1
"""Part of the file's name. Raise it with each change of what is mined or how."""

_MOST = 8
"""Number of templates that are kept for the same acts."""

_WAIT_S = 600.0
"""Longest wait for another process that mines the same split, in seconds."""

_LONGEST = 160
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_NAME_OR_NUMBER = re.compile(r"[\d{}]|(?<=[\w,;] )(?!I\b|OK\b)[A-Z]")
_ARTICLE_BEFORE = re.compile(r"\bthe \{\w*(?:date|day|time)\w*\}", re.IGNORECASE)
"""Fits "the {date}" for "the 12th" and not for "March 12th"."""

_DEPENDS_ON_QUESTION = frozenset(("AFFIRM", "NEGATE", "THANK_YOU", "GOODBYE"))
"""Acts whose words fit one kind of the agent's turn only, such as "No, that's all"."""


class UserTemplate(NamedTuple):
    """A sentence with placeholders such as ``{city}``."""

    text: str

    def fill(self, acts: Iterable[UserAct], today: str | None) -> str:
        """Return the words that say the values of acts."""
        values = {act.slot: act.value for act in acts if act.value}
        return _PLACEHOLDER.sub(lambda match: spoken(values[match[1]]), self.text)


class PhraseBook:
    """Templates by what they say.

    Args:
        entries: templates by key, see `mine`.
    """

    def __init__(self, entries: Mapping[str, Sequence[str]]) -> None:
        self.entries = entries

    def templates(self, acts: Sequence[UserAct], after: Kind, draw: int) -> Iterator[UserTemplate]:
        """Yield the templates for acts, those of the same domain first.

        Args:
            acts: acts of the user; each slot has one value at most.
            after: kind of the agent's turn that they answer.
            draw: number of the template that comes first, modulo their number.
        """
        signature = _signature(acts)
        if signature is None:
            return
        context = _context(acts, after)
        for domain in (_domain(acts[0].service), ""):
            texts = self.entries.get(f"{context}|{domain}|{signature}", ())
            for number in range(len(texts)):
                yield UserTemplate(texts[(draw + number) % len(texts)])


def load_or_mine(split: Split, on_progress: OnProgress | None = None) -> PhraseBook:
    """Load the phrases of a train split from the cache; mine and save them on first use.

    Args:
        split: train split.
        on_progress: called while the phrases are mined.

    Raises:
        StorageError: the cache cannot be written.
        LockError: another process takes too long to mine the same split.
    """
    name = f"{split.fingerprint[:24]}-{split.schema_variant}-{BOOK_FORMAT}.json"
    path = home() / "user_phrases" / name

    def make() -> PhraseBook:
        entries = mine(split, on_progress)
        with written_whole(path) as file:
            file.write(msgspec.json.encode(entries))
        return _read_book(path)

    return load_or_make(path, _read_book, make, wait_s=_WAIT_S)


# Once in each process: an environment asks when it is made.
@lru_cache(maxsize=4)
def _read_book(path: Path) -> PhraseBook:
    try:
        return PhraseBook(msgspec.json.decode(read_file(path), type=dict[str, tuple[str, ...]]))
    except msgspec.MsgspecError as error:
        raise DataError(f"these are not phrases of users: {error}", file=str(path)) from error


def mine(split: Split, on_progress: OnProgress | None = None) -> dict[str, tuple[str, ...]]:
    """Mine the templates of a split.

    Args:
        split: the split.
        on_progress: called after each dialogue.

    Returns:
        Templates by context, domain and signature of the acts. The context is the kind of the
        agent's turn for acts that depend on it. A template under the domain ``""`` was found in two
        domains at least, so that it fits any.
    """
    found: dict[str, dict[str, set[str]]] = {}
    options = {
        service.service_name: frozenset(
            value for slot in service.slots for value in slot.possible_values
        )
        for service in split.schema
    }
    for index in range(len(split)):
        if split.has_goal(index):
            for key, domain, text in _mine_dialogue(split.task(index), split.goal(index), options):
                found.setdefault(key, {}).setdefault(text, set()).add(domain)
        if on_progress is not None:
            on_progress(index + 1, len(split))
    entries: dict[str, list[str]] = {}
    for key in sorted(found):
        context, _, signature = key.partition("|")
        for text in sorted(found[key], key=lambda text: crc32(text.encode())):
            domains = found[key][text]
            for domain in (*sorted(domains), *([""] if len(domains) > 1 else [])):
                entries.setdefault(f"{context}|{domain}|{signature}", []).append(text)
    return {key: tuple(texts[:_MOST]) for key, texts in entries.items()}


def recorded_turns(goal: Goal) -> Iterator[tuple[int, tuple[UserAct, ...], str]]:
    """Yield each recorded turn of a user: its index, its acts, and the situation it answers."""
    yield 0, goal.opening, "none"
    for errand in goal.errands:
        for situation, decision in errand.decisions.items():
            yield decision.turn, decision.acts, situation


def wishes_of(goal: Goal) -> frozenset[str]:
    """Return all values of a goal that words can say."""
    values: set[str] = set()
    for errand in goal.errands:
        values.update((errand.final or {}).values(), *errand.voiced.values())
    return frozenset(values) - SILENT


def _mine_dialogue(
    task: Task, goal: Goal, options: Mapping[str, frozenset[str]]
) -> Iterator[tuple[str, str, str]]:
    wishes = wishes_of(goal)
    for turn, acts, situation in recorded_turns(goal):
        if turn >= len(task.turns) or len({act.service for act in acts}) != 1:
            continue
        signature = _signature(acts)
        text = _template(task, goal, turn, acts) if signature is not None else None
        others = wishes | options.get(acts[0].service, frozenset()) if acts else wishes
        if text is not None and not Mentions(_literal(text), task.date).has_any(others):
            context = _context(acts, situation.partition(":")[0])
            yield f"{context}|{signature}", _domain(acts[0].service), text


def _signature(acts: Sequence[UserAct]) -> str | None:
    """Return what acts say, without the values for which templates have placeholders.

    Returns:
        ``None`` for acts of several services, and for acts that say two values of a slot.
    """
    slots = [act.slot for act in acts if act.value and act.act != "INFORM_INTENT"]
    if len(set(slots)) < len(slots) or len({act.service for act in acts}) != 1:
        return None
    return " ".join(sorted(map(_part, acts)))


def _part(act: UserAct) -> str:
    spelled_out = act.act == "INFORM_INTENT" or (act.slot and act.value in SILENT)
    return f"{act.act}:{act.slot}={act.value}" if spelled_out else f"{act.act}:{act.slot}"


def _context(acts: Iterable[UserAct], after: str) -> str:
    return after if any(act.act in _DEPENDS_ON_QUESTION for act in acts) else ""


def _domain(service: str) -> str:
    """Return the domain of a service of SGD, such as ``Restaurants`` for ``Restaurants_1``."""
    name, _, number = service.rpartition("_")
    return name if name and number.isdigit() else service


def _template(task: Task, goal: Goal, turn: int, acts: Sequence[UserAct]) -> str | None:
    """Replace the values in recorded words; ``None`` for words that fit this dialogue only."""
    text = task.turns[turn].user
    if "{" in text:
        return None  # the words themselves would look like a placeholder
    marked = goal.places[turn] if turn < len(goal.places) else ()
    spans = {place.slot: (place.start, place.end) for place in marked}
    if len(spans) < len(marked) or len(text) > _LONGEST or not text.strip():
        return None
    for act in acts:
        if act.value not in SILENT and act.act != "INFORM_INTENT" and act.slot not in spans:
            found = locate(text, act.value, task.date)
            if found is None:
                return None
            spans[act.slot] = found
    if spans.keys() - {act.slot for act in acts if act.value not in SILENT}:
        return None
    return _with_placeholders(text, spans, task.date)


def _with_placeholders(
    text: str, spans: Mapping[str, tuple[int, int]], today: str | None
) -> str | None:
    parts, position = [], 0
    for slot, (start, end) in sorted(spans.items(), key=lambda item: item[1]):
        if start < position or not slot.isidentifier():
            return None
        parts += [text[position:start], f"{{{slot}}}"]
        position = end
    template = "".join(parts) + text[position:]
    words = _literal(template)
    if _ARTICLE_BEFORE.search(template) or _NAME_OR_NUMBER.search(words):
        return None
    return None if Mentions(words, today).numbers() else template


def _literal(template: str) -> str:
    """Return a template without its placeholders."""
    return _PLACEHOLDER.sub("_", template)
