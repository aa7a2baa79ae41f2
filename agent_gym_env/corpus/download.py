"""SGD onto this machine: from its public repository, a mirror, or an archive or folder at hand.

Each file is checked against git's hash of it at the pinned commit before it is written, and it
appears whole or not at all. Whatever stops a run, the next one fetches only what is missing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import TypeVar
from urllib.parse import quote

import msgspec

from agent_gym_env.corpus.blobs import Blob, git_blob_sha1, sgd_blobs
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

OnFile = Callable[[str, int, int], None]
"""Called with a file's path, the number of files that are there, and the number of all."""

_T = TypeVar("_T")
_R = TypeVar("_R")


class DownloadReport(msgspec.Struct, frozen=True):
    """What lies in the folder after a run.

    Attributes:
        folder: where.
        installed: files that this run put there.
        present: files that were there, whole.
        missing: files of the dataset that are not there.
    """

    folder: str
    installed: tuple[str, ...]
    present: tuple[str, ...]
    missing: tuple[str, ...]


class VerifyReport(msgspec.Struct, frozen=True):
    """Which files of the dataset are what they should be.

    Attributes:
        folder: where.
        intact: files with the right content.
        damaged: files with other content, or that cannot be read.
        missing: files that are not there.
    """

    folder: str
    intact: tuple[str, ...]
    damaged: tuple[str, ...]
    missing: tuple[str, ...]


class _Record(msgspec.Struct, frozen=True):
    """Says that an installation came to its end, and what it did not have."""

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
    """Fetch what is missing, file by file.

    Args:
        url: the repository's top; ``$AGENT_GYM_SGD_URL`` or GitHub if not given.
        folder: where to put it; SGD's place under `home` if not given.
        blobs: the files; SGD's if not given.
        limits: how long and how much.
        connections: how many files to fetch at a time.
        on_file: told of each file.

    Raises:
        ChecksumError: a file has other content than the commit's.
        DataError: a file cannot be had.
        LockError: another process was at it until the deadline.
        StorageError: the disk does not take a file.
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
    """Fetch the repository as one archive, if anything is missing, and install that from it.

    Args:
        url: the archive.
        folder: as in `download`.
        blobs: as in `download`.
        limits: how long and how much.
        on_file: told of each file.

    Raises:
        ChecksumError: a file has other content than the commit's.
        DataError: the archive cannot be had, is damaged or hostile.
        LockError: another process was at it until the deadline.
        StorageError: the disk does not take a file.
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
    """Install SGD from an archive or a folder at hand, which may lack files.

    Args:
        path: a folder, a zip, a tar or a tar.gz, with or without one folder around SGD's.
        folder: as in `download`.
        blobs: as in `download`.
        wait_s: how long to wait for another process that is installing.
        on_file: told of each file.

    Raises:
        ChecksumError: a file has other content than the commit's.
        DataError: the archive is damaged or hostile, or has no file of SGD.
        LockError: another process was at it all the time.
        StorageError: the disk does not take a file.
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
    """A folder on its way to holding the blobs; nothing is written to it once it is closed."""

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
        """Check a file and write it; for any thread, also one that comes too late."""
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
        """Count a file that was stored; for the thread that called."""
        self._installed.append(blob.path)
        if self._on_file is not None:
            done = len(self._present) + len(self._installed)
            self._on_file(blob.path, done, len(self.blobs))

    def finish(self) -> DownloadReport:
        """Make it last, then say that it is there."""
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
        """Let the write that is going on end, and refuse others."""
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
    """Results of the work on each item, until the deadline or the first failure.

    A thread that a server holds up is left to itself: the caller would wait for it beyond the
    deadline, and the process at its end, with the standard library's pools.
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
    """The folder, with its slash, that holds most of the files: the container itself or a child."""
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
    """An archive's bytes as a container, by way of a file that nothing else will open."""
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
