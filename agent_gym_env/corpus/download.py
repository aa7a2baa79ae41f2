"""Installs SGD from its public repository, a mirror, or an archive or folder on this machine.

Each file is compared with git's hash of it at the pinned commit before it is written, and it
appears whole or not at all. When a run is stopped, the next one fetches only what is missing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from concurrent.futures import TimeoutError as FutureTimeoutError
from importlib import resources
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import TypeVar
from urllib.parse import quote

import msgspec

from agent_gym_env.corpus.container import Container, open_container
from agent_gym_env.corpus.fetch import Fetcher, FetchLimits
from agent_gym_env.corpus.locations import RECORD_NAME, SGD_COMMIT, sgd_folder
from agent_gym_env.errors import ChecksumError, DataError
from agent_gym_env.storage.files import locked, remove_unfinished, sync_folder, written_whole

URL_VARIABLE = "AGENT_GYM_SGD_URL"
_REPOSITORY = "google-research-datasets/dstc8-schema-guided-dialogue"
SGD_URL = f"https://raw.githubusercontent.com/{_REPOSITORY}/{SGD_COMMIT}/"
SGD_ARCHIVE_URL = f"https://codeload.github.com/{_REPOSITORY}/zip/{SGD_COMMIT}"

FILE_LIMITS = FetchLimits()
ARCHIVE_LIMITS = FetchLimits(max_bytes=256 * 2**20)

_LIST = "git_blobs.tsv"
_LINE = re.compile(r"([0-9a-f]{40})\t(.+)")

OnFile = Callable[[str, int, int], None]
"""Called with the path of a file, the number of installed files, and the number of all files."""

_T = TypeVar("_T")
_R = TypeVar("_R")


class Blob(msgspec.Struct, frozen=True):
    """A file of a commit, as git knows it.

    Attributes:
        path: path relative to the repository's top folder, with ``/``.
        sha1: git's hash of the content, 40 hexadecimal digits.
    """

    path: str
    sha1: str


class DownloadReport(msgspec.Struct, frozen=True):
    """Content of the folder after a run.

    Attributes:
        folder: path of the folder.
        installed: files that this run installed.
        present: files that were there before, whole.
        missing: files of the dataset that are missing.
    """

    folder: str
    installed: tuple[str, ...]
    present: tuple[str, ...]
    missing: tuple[str, ...]


class VerifyReport(msgspec.Struct, frozen=True):
    """State of each file of the dataset.

    Attributes:
        folder: path of the folder.
        intact: files with the right content.
        damaged: files with other content, or that cannot be read.
        missing: files that do not exist.
    """

    folder: str
    intact: tuple[str, ...]
    damaged: tuple[str, ...]
    missing: tuple[str, ...]


class _Record(msgspec.Struct, frozen=True):
    """Record of a finished installation, with the files that it lacks."""

    commit: str
    missing: tuple[str, ...]


def download(
    *,
    url: str | None = None,
    folder: Path | None = None,
    blobs: Sequence[Blob] | None = None,
    limits: FetchLimits = FILE_LIMITS,
    connections: int = 8,
    on_file: OnFile | None = None,
) -> DownloadReport:
    """Download the missing files one by one.

    Args:
        url: URL of the repository's top folder; by default ``$AGENT_GYM_SGD_URL`` or GitHub.
        folder: folder to install into; by default that of SGD under `home`.
        blobs: files to install; by default those of SGD.
        limits: limits of time and size.
        connections: number of files that are fetched at a time.
        on_file: called after each file.

    Raises:
        ChecksumError: a file has other content than the commit's.
        DataError: a file cannot be fetched.
        LockError: another process was installing until the deadline.
        StorageError: a file cannot be written.
    """
    base = (url or os.environ.get(URL_VARIABLE) or SGD_URL).rstrip("/") + "/"
    fetcher = Fetcher(base, limits)
    with _installation(folder, blobs, on_file, wait_s=limits.deadline_s) as installation:

        def fetch_and_store(blob: Blob) -> Blob:
            place = base + quote(blob.path)
            installation.store(blob, fetcher.fetch(place), place)
            return blob

        for blob in _as_they_come(fetch_and_store, installation.wanted, fetcher, connections):
            installation.note(blob)
        return installation.finish()


def download_archive(
    *,
    url: str = SGD_ARCHIVE_URL,
    folder: Path | None = None,
    blobs: Sequence[Blob] | None = None,
    limits: FetchLimits = ARCHIVE_LIMITS,
    on_file: OnFile | None = None,
) -> DownloadReport:
    """Download the repository as one archive, if a file is missing, and install what is missing.

    Args:
        url: URL of the archive.
        folder: as in `download`.
        blobs: as in `download`.
        limits: limits of time and size.
        on_file: called after each file.

    Raises:
        ChecksumError: a file has other content than the commit's.
        DataError: the archive cannot be fetched, is damaged or hostile.
        LockError: another process was installing until the deadline.
        StorageError: a file cannot be written.
    """
    fetcher = Fetcher(url, limits)
    with _installation(folder, blobs, on_file, wait_s=limits.deadline_s) as installation:
        if installation.wanted:
            for content in _as_they_come(fetcher.fetch, [url], fetcher, 1):
                with _unpacked(content, installation.folder) as container:
                    _take_all(container, installation)
        return installation.finish()


def install_from(
    path: str | os.PathLike[str],
    *,
    folder: Path | None = None,
    blobs: Sequence[Blob] | None = None,
    wait_s: float = FILE_LIMITS.deadline_s,
    on_file: OnFile | None = None,
) -> DownloadReport:
    """Install SGD from an archive or a folder on this machine, which may lack files.

    Args:
        path: path of a folder, a zip, a tar or a tar.gz, with or without a folder around SGD's.
        folder: as in `download`.
        blobs: as in `download`.
        wait_s: longest wait for another process that is installing, in seconds.
        on_file: called after each file.

    Raises:
        ChecksumError: a file has other content than the commit's.
        DataError: the archive is damaged or hostile, or contains no file of SGD.
        LockError: another process was installing all the time.
        StorageError: a file cannot be written.
    """
    with contextlib.closing(open_container(path)) as container:  # noqa: SIM117  (reads first)
        with _installation(folder, blobs, on_file, wait_s=wait_s) as installation:
            _take_all(container, installation)
            return installation.finish()


def verify_download(
    folder: Path | None = None, blobs: Sequence[Blob] | None = None
) -> VerifyReport:
    """Compare every file of the dataset with git's hash of it.

    Args:
        folder: as in `download`.
        blobs: as in `download`.
    """
    folder = sgd_folder() if folder is None else folder
    intact, damaged, missing = [], [], []
    for blob in sgd_blobs() if blobs is None else blobs:
        if not os.path.lexists(folder / blob.path):
            missing.append(blob.path)
        elif _is_intact(folder, blob):
            intact.append(blob.path)
        else:
            damaged.append(blob.path)
    return VerifyReport(str(folder), tuple(intact), tuple(damaged), tuple(missing))


class _Installation:
    """A folder that files are installed into; after `close` nothing more is written."""

    def __init__(self, folder: Path, blobs: Sequence[Blob], on_file: OnFile | None) -> None:
        self.folder = folder
        self.blobs = blobs
        self._on_file = on_file
        self._present = verify_download(folder, blobs).intact
        self._installed: list[str] = []
        self._writing = Lock()
        self._is_closed = False
        there = set(self._present)
        self.wanted = [blob for blob in blobs if blob.path not in there]

    def store(self, blob: Blob, content: bytes, origin: str) -> None:
        """Check a file and write it; may be called from any thread, even after `close`."""
        found = git_blob_sha1(content)
        if found != blob.sha1:
            raise ChecksumError(
                f"expected the content with git hash {blob.sha1}, found {found}", file=origin
            )
        with self._writing:
            if self._is_closed:
                return
            with written_whole(self.folder / blob.path) as file:
                file.write(content)

    def note(self, blob: Blob) -> None:
        """Count a file that was stored; called from one thread only."""
        self._installed.append(blob.path)
        if self._on_file is not None:
            done = len(self._present) + len(self._installed)
            self._on_file(blob.path, done, len(self.blobs))

    def finish(self) -> DownloadReport:
        """Put everything on disk, then write the record of the installation."""
        there = {*self._present, *self._installed}
        missing = tuple(blob.path for blob in self.blobs if blob.path not in there)
        for parent, _, _ in os.walk(self.folder):
            sync_folder(Path(parent))
        with written_whole(self.folder / RECORD_NAME) as file:
            file.write(msgspec.json.encode(_Record(SGD_COMMIT, missing)))
        sync_folder(self.folder)
        return DownloadReport(
            str(self.folder), tuple(sorted(self._installed)), self._present, missing
        )

    def close(self) -> None:
        """Wait for the present write to end, and refuse further ones."""
        with self._writing:
            self._is_closed = True


@contextlib.contextmanager
def _installation(
    folder: Path | None, blobs: Sequence[Blob] | None, on_file: OnFile | None, *, wait_s: float
) -> Iterator[_Installation]:
    folder = sgd_folder() if folder is None else folder
    with locked(folder.with_name(f"{folder.name}.lock"), wait_s=wait_s) as is_alone:
        if is_alone:
            remove_unfinished(folder)
        installation = _Installation(folder, sgd_blobs() if blobs is None else blobs, on_file)
        with contextlib.closing(installation):
            yield installation


def _as_they_come(
    work: Callable[[_T], _R], items: Sequence[_T], fetcher: Fetcher, threads: int
) -> Iterator[_R]:
    """Yield the results of the work on each item, until the deadline or the first failure.

    Threads that wait for a server are abandoned. The standard library's pools would wait for them
    beyond the deadline, and once more when the process ends.
    """
    tasks: SimpleQueue[tuple[Future[_R], _T]] = SimpleQueue()
    futures: list[Future[_R]] = []
    for item in items:
        futures.append(Future())
        tasks.put((futures[-1], item))
    for _ in range(min(threads, len(items))):
        Thread(target=_work_off, args=(tasks, work), daemon=True).start()
    try:
        for future in as_completed(futures, timeout=fetcher.remaining_s()):
            yield future.result()
    except FutureTimeoutError as error:
        raise fetcher.deadline_error() from error
    finally:
        fetcher.stop()


def _work_off(tasks: SimpleQueue[tuple[Future[_R], _T]], work: Callable[[_T], _R]) -> None:
    with contextlib.suppress(Empty):
        while True:
            future, item = tasks.get_nowait()
            try:
                future.set_result(work(item))
            except BaseException as error:  # noqa: BLE001  (raised where the result is asked for)
                future.set_exception(error)


def _take_all(container: Container, installation: _Installation) -> None:
    top = _find_top(container, installation.blobs)
    for blob in installation.wanted:
        if container.has(top + blob.path):
            origin = f"{container.name}/{top}{blob.path}"
            installation.store(blob, container.read(top + blob.path), origin)
            installation.note(blob)


def _find_top(container: Container, blobs: Sequence[Blob]) -> str:
    """Return the folder, with its slash, that has most of the files: the container or a child."""
    tops = ["", *(f"{child}/" for child in container.children(""))]
    held = {top: sum(container.has(top + blob.path) for blob in blobs) for top in tops}
    best = max(tops, key=lambda top: held[top])
    if held[best]:
        return best
    raise DataError(
        f"none of SGD's {len(blobs)} files is in it; expected {blobs[0].path} and the others at "
        "its top or in one folder",
        file=container.name,
    )


@contextlib.contextmanager
def _unpacked(content: bytes, folder: Path) -> Iterator[Container]:
    """Open the content of an archive, through a temporary file."""
    archive = folder / ".archive.unfinished"
    with written_whole(archive) as file:
        file.write(content)
    try:
        with contextlib.closing(open_container(archive)) as container:
            yield container
    finally:
        archive.unlink(missing_ok=True)


def _is_intact(folder: Path, blob: Blob) -> bool:
    with contextlib.closing(open_container(folder)) as container:
        try:
            return git_blob_sha1(container.read(blob.path)) == blob.sha1
        except DataError:
            return False


def git_blob_sha1(content: bytes) -> str:
    """Return git's hash of a file: SHA-1 of its kind, its size, a zero byte and the content."""
    digest = hashlib.sha1(b"blob %d\0" % len(content), usedforsecurity=False)
    digest.update(content)
    return digest.hexdigest()


def sgd_blobs() -> tuple[Blob, ...]:
    """Return the files of SGD's repository at the pinned commit."""
    text = resources.files("agent_gym_env.corpus").joinpath(_LIST).read_text("utf-8")
    return parse_blobs(text, file=_LIST)


def parse_blobs(text: str, *, file: str) -> tuple[Blob, ...]:
    """Read lines of ``sha1<TAB>path``; lines that begin with ``#`` are comments.

    Args:
        text: content of the list.
        file: name of the list, for messages.

    Raises:
        DataError: a line has another form, points out of the repository, or repeats a path.
    """
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    blobs = tuple(_parse_line(line, file) for line in lines)
    if len({blob.path for blob in blobs}) != len(blobs):
        raise DataError("a path is in the list twice", file=file)
    return blobs


def _parse_line(line: str, file: str) -> Blob:
    match = _LINE.fullmatch(line)
    if match is None or not _stays_inside(match[2]):
        raise DataError(
            f"expected 40 hexadecimal digits, a tab and a relative path, found {line!r}", file=file
        )
    return Blob(path=match[2], sha1=match[1])


def _stays_inside(path: str) -> bool:
    parts = path.split("/")
    return not any(part in ("", ".", "..") or "\\" in part or ":" in part for part in parts)
