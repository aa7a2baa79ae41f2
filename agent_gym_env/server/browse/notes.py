"""Notes and tags of a user on recorded episodes, in a file beside the journal.

The notes on ``runs/first`` lie in ``runs/first.notes.json``. The journal is never changed. Each
change adds or removes one note or tag, under a lock, so that two pages which write at the same time
lose nothing.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping

import msgspec
from msgspec.structs import replace

from agent_gym_env.errors import DataError, StorageError
from agent_gym_env.server.browse.index import Key
from agent_gym_env.server.browse.runs import Run
from agent_gym_env.storage.files import locked, read_file, written_whole

FORMAT = 1
MAX_NOTE_CHARS = 10_000
MAX_TAG_CHARS = 50
MAX_NOTES = 100
MAX_TAGS = 50
"""Largest numbers of notes and of tags on one episode."""

_WAIT_S = 10.0


class Note(msgspec.Struct, frozen=True):
    """A note.

    Attributes:
        id: id of the note, unique in its file.
        text: words of the note.
        written_s: time at which it was written, in seconds since 1970.
    """

    id: str
    text: str
    written_s: float


class Remarks(msgspec.Struct, frozen=True, omit_defaults=True):
    """The tags and notes on one episode."""

    tags: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()


class _File(msgspec.Struct, frozen=True):
    episodes: dict[str, Remarks]
    format: int = FORMAT


class NoteBook:
    """The notes and tags on the episodes of one run.

    Args:
        run: the run.
    """

    def __init__(self, run: Run) -> None:
        self.path = run.path.with_name(f"{run.path.name}.notes.json")
        self._lock = run.path.with_name(f".{run.path.name}.notes.lock")

    def read(self) -> Mapping[str, Remarks]:
        """Return all remarks, by `place`; empty if there is no file.

        Raises:
            StorageError: the file is damaged, or of another version.
        """
        if not self.path.exists():
            return {}
        try:
            found = msgspec.json.decode(read_file(self.path), type=_File)
            keys_with(found.episodes, "any")
        except (DataError, ValueError, RecursionError) as error:
            raise StorageError(f"cannot read the notes in {self.path}: {error}") from error
        if found.format != FORMAT:
            raise StorageError(
                f"{self.path} is of format {found.format}; this version reads {FORMAT}"
            )
        return found.episodes

    def add_tag(self, place: str, tag: str) -> Remarks:
        """Add a tag; nothing happens if the episode has it.

        Raises:
            ValueError: the tag is empty or too long, or the episode has too many.
            StorageError: the file cannot be written.
        """
        tag = " ".join(tag.split())
        _check_length("a tag", tag, MAX_TAG_CHARS)

        def add(remarks: Remarks) -> Remarks:
            tags = tuple(sorted({*remarks.tags, tag}))
            _check_number("tags", tags, MAX_TAGS)
            return replace(remarks, tags=tags)

        return self._change(place, add)

    def remove_tag(self, place: str, tag: str) -> Remarks:
        """Remove a tag; nothing happens if the episode lacks it.

        Raises:
            StorageError: the file cannot be written.
        """
        return self._change(
            place, lambda old: replace(old, tags=tuple([each for each in old.tags if each != tag]))
        )

    def add_note(self, place: str, text: str) -> Remarks:
        """Add a note.

        Raises:
            ValueError: the note is empty or too long, or the episode has too many.
            StorageError: the file cannot be written.
        """
        text = text.replace("\r\n", "\n").strip()
        _check_length("a note", text, MAX_NOTE_CHARS)
        note = Note(secrets.token_hex(6), text, round(time.time(), 3))

        def add(remarks: Remarks) -> Remarks:
            notes = (*remarks.notes, note)
            _check_number("notes", notes, MAX_NOTES)
            return replace(remarks, notes=notes)

        return self._change(place, add)

    def remove_note(self, place: str, note_id: str) -> Remarks:
        """Remove a note; nothing happens if it does not exist.

        Raises:
            StorageError: the file cannot be written.
        """
        return self._change(
            place,
            lambda old: replace(old, notes=tuple([n for n in old.notes if n.id != note_id])),
        )

    def _change(self, place: str, change: Callable[[Remarks], Remarks]) -> Remarks:
        with locked(self._lock, wait_s=_WAIT_S):
            remarks = dict(self.read())
            remarks[place] = change(remarks.get(place, Remarks()))
            changed = remarks[place]
            if changed == Remarks():
                del remarks[place]
            content = msgspec.json.encode(_File(remarks))
            with written_whole(self.path) as file:
                file.write(msgspec.json.format(content, indent=1) + b"\n")
        return changed


def place(key: Key, dialogue_id: str) -> str:
    """Return the name of an episode in a file of notes.

    It has the id of the dialogue, so that notes do not pass to an episode of another journal.
    """
    return f"{key} {dialogue_id}"


def keys_with(remarks: Mapping[str, Remarks], tag: str) -> list[Key]:
    """Return the keys of the episodes with a tag; with any tag or note for ``any``."""
    return [
        Key.parse(where.partition(" ")[0])
        for where, each in remarks.items()
        if tag == "any" or tag in each.tags
    ]


def tags_in(remarks: Mapping[str, Remarks]) -> list[str]:
    """Return all tags, sorted."""
    return sorted({tag for each in remarks.values() for tag in each.tags})


def _check_length(what: str, text: str, most: int) -> None:
    if not text or len(text) > most:
        raise ValueError(f"{what} has 1 to {most:,} characters, not {len(text):,}")


def _check_number(what: str, found: tuple[object, ...], most: int) -> None:
    if len(found) > most:
        raise ValueError(f"an episode has at most {most} {what}; remove one first")
