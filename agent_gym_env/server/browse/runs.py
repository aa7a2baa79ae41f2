"""Finding the runs in a folder: journals, and files of episodes."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import msgspec

from agent_gym_env.errors import DataError, StorageError
from agent_gym_env.rollout.journal.format import FAILED, MANIFEST, Manifest, read_manifest
from agent_gym_env.storage.files import open_file

MAX_FOLDERS = 20_000
"""Number of folders that are looked into; what lies in more of them is not listed."""

_KEPT_S = 2.0
_MAX_HEAD_BYTES = 4 << 20
_SHARD = re.compile(r"episodes-\d{5,}\.jsonl")


class Run(msgspec.Struct, frozen=True):
    """A journal, or a file of episodes.

    Attributes:
        id: id in addresses, made from the name.
        name: path relative to the folder that is browsed.
        path: folder of the journal, or the file.
        manifest: manifest of the journal; ``None`` for a file, or if it cannot be read.
        problem: problem with the run as a whole; ``None`` without one.
        changed_s: time of the last change, in seconds since 1970.
        size_bytes: size of the records.
    """

    id: str
    name: str
    path: Path
    manifest: Manifest | None
    problem: str | None
    changed_s: float
    size_bytes: int

    @property
    def is_journal(self) -> bool:
        """True for a journal, false for a file."""
        return self.path.is_dir()

    def files(self) -> list[Path]:
        """Return the files with episodes, in order; that of failed jobs is the last one."""
        if not self.is_journal:
            return [self.path]
        names = sorted(name for name in os.listdir(self.path) if _SHARD.fullmatch(name))
        failed = [FAILED] if (self.path / FAILED).exists() else []
        return [self.path / name for name in (*names, *failed)]


class RunFolder:
    """A folder that may hold runs, in folders of any depth.

    A link that leads out of the folder is not followed.

    Args:
        root: the folder; a journal or a file of episodes counts as a folder with one run.

    Raises:
        DataError: the path does not exist.
    """

    def __init__(self, root: Path) -> None:
        if not root.exists():
            raise DataError("there is no such file or folder", file=str(root))
        self.root = root.resolve()
        self._lock = threading.Lock()
        self._found: list[Run] = []
        self._expires_s = 0.0

    def runs(self) -> list[Run]:
        """Return all runs, by name."""
        with self._lock:
            if time.monotonic() >= self._expires_s:
                self._found = sorted(self._find(), key=lambda run: run.name)
                self._expires_s = time.monotonic() + _KEPT_S
            return self._found

    def find(self, run_id: str) -> Run | None:
        """Return the run with an id; ``None`` if there is none."""
        return next((run for run in self.runs() if run.id == run_id), None)

    def _find(self) -> Iterator[Run]:
        if self.root.is_file():
            yield self._run(self.root, None, None)
            return
        for number, (folder, folders, names) in enumerate(os.walk(self.root)):
            if number >= MAX_FOLDERS:
                return
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield from self._in_folder(Path(folder), sorted(names))

    def _in_folder(self, folder: Path, names: list[str]) -> Iterator[Run]:
        shards = [name for name in names if _SHARD.fullmatch(name)]
        if MANIFEST in names:
            try:
                manifest = read_manifest(folder)
                if manifest is not None and manifest.kind == "episodes":
                    yield self._run(folder, manifest, None)
            except StorageError as error:
                if shards:
                    yield self._run(folder, None, str(error))
            shards = [FAILED, *shards]
        for name in names:
            path = folder / name
            # `evaluate --out` writes the episodes of its journals into files, too.
            is_copy = (folder / "journal" / path.stem / MANIFEST).exists()
            is_other = name.endswith(".jsonl") and name not in shards and not is_copy
            if is_other and self._is_inside(path) and _has_episodes(path):
                yield self._run(path, None, None)

    def _is_inside(self, path: Path) -> bool:
        return not path.is_symlink() or path.resolve().is_relative_to(self.root)

    def _run(self, path: Path, manifest: Manifest | None, problem: str | None) -> Run:
        name = path.name if path == self.root else path.relative_to(self.root).as_posix()
        digest = blake2b(os.fsencode(name), digest_size=6).hexdigest()
        changed_s, size_bytes = 0.0, 0
        for file in Run(digest, name, path, manifest, problem, 0.0, 0).files():
            status = file.stat()
            changed_s, size_bytes = max(changed_s, status.st_mtime), size_bytes + status.st_size
        shown = os.fsencode(name).decode("utf-8", "replace")
        return Run(digest, shown, path, manifest, problem, changed_s, size_bytes)


class _LikeAnEpisode(msgspec.Struct):
    """Fields that tell an episode from other records in JSON lines."""

    dialogue_id: str
    policy: str
    turns: msgspec.Raw


def _has_episodes(path: Path) -> bool:
    """Return whether one of the first lines looks like an episode."""
    try:
        with open_file(path) as file:
            head = file.read(_MAX_HEAD_BYTES)
    except (DataError, OSError):
        return False
    for line in head.split(b"\n", 5)[:5]:
        try:
            msgspec.json.decode(line, type=_LikeAnEpisode)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        return True
    return False
