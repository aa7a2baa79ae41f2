"""The open sessions of a server: their limits, their snapshots on disk, and their end."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from agent_gym_env.errors import DataError, StorageError
from agent_gym_env.extras import require
from agent_gym_env.server.permissions import Permissions
from agent_gym_env.server.session import Session, SessionState
from agent_gym_env.server.wire import OpenBody, Refused, told_to_client
from agent_gym_env.storage.files import read_file, reason, written_whole

_anyio: Any = require("anyio", extra="serve")

_T = TypeVar("_T")
_ID = re.compile(r"[A-Za-z0-9_-]{22}")

_QUICK_NAMES: Mapping[str, frozenset[str]] = {
    "reward": frozenset(
        {"ground_truth", "balanced", "task", "task_success", "task_strict", "milestones"}
    ),
    "user": frozenset({"agenda"}),
    "tool_backend": frozenset({"replay", "nearest"}),
}
"""Names of what neither waits for a server nor computes for long."""


class SessionLimits(msgspec.Struct, frozen=True):
    """Limits of the sessions of a server.

    Attributes:
        number: number of open sessions.
        idle_s: seconds without a request after which a session is closed.
        steps_per_s: steps of one session per second, on average; 0 for no limit.
        kept_s: seconds after which the snapshot of a session that nobody restored is deleted.
    """

    number: int = 256
    idle_s: float = 900.0
    steps_per_s: float = 0.0
    kept_s: float = 7 * 86_400.0


_MAX_KEPT_BYTES = 4 << 20
"""Size from which the file of a kept session is begun again."""


class KeptSession:
    """File of a session that can be restored: how it was opened, then a line for each snapshot.

    Args:
        path: path of the file.
        opened: request that opened the session.
        last: last snapshot; ``None`` before the first reset.
    """

    def __init__(self, path: Path, opened: OpenBody, last: SessionState | None) -> None:
        self.last = last
        self._path = path
        self._opened = opened
        self._size = 0
        self._file: FileIO | None = None

    def write(self, state: SessionState | None) -> None:
        """Append a snapshot, or begin the file again where it has none or is long.

        Raises:
            StorageError: the disk does not take it.
        """
        line = msgspec.json.encode(state) + b"\n"
        if self._file is None or self._size > _MAX_KEPT_BYTES:
            self.close()
            with written_whole(self._path, synced=False) as file:
                self._size = file.write(msgspec.json.encode(self._opened) + b"\n" + line)
            self._file = FileIO(self._path, "a")
            return
        try:
            written = self._file.write(line)
        except OSError as error:
            self.close()  # and begin again, so that no part of a line stays in the middle
            raise StorageError(f"cannot write {self._path}: {reason(error)}") from error
        self._size += written
        if written < len(line):
            self.close()
            raise StorageError(f"cannot write {self._path}: the disk is full")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def read_kept(path: Path) -> tuple[OpenBody, SessionState | None]:
    """Return how a session was opened, and its last whole snapshot.

    Raises:
        DataError: the file is damaged.
        StorageError: it cannot be read.
    """
    first, *lines = read_file(path).split(b"\n")
    try:
        opened = msgspec.json.decode(first, type=OpenBody)
        # What follows the last line break was being written when the server was killed.
        return opened, msgspec.json.decode(lines[-2], type=SessionState | None)
    except (msgspec.DecodeError, IndexError) as error:
        raise DataError(f"not a kept session: {error}", file=str(path)) from error


class OpenSession:
    """A session with its bookkeeping.

    Attributes:
        id: name of the session, which nobody can guess.
        session: the session.
        used_at: time of the last request, by `time.monotonic`.
        is_closed: whether nobody can play it any more.
        opened: request that opened it.
        kept: file of its snapshots; ``None`` for a session that is not kept.
    """

    def __init__(self, id_: str, session: Session, opened: OpenBody) -> None:
        self.id = id_
        self.session = session
        self.used_at = time.monotonic()
        self.is_closed = False
        self.opened = opened
        self.kept: KeptSession | None = None
        self._is_quick = _is_quick(opened.arguments)
        self._lock = asyncio.Lock()
        self._allowance = 1.0

    def take_step(self, steps_per_s: float) -> None:
        """Count a step against the session's rate, with bursts of up to one second's steps.

        Raises:
            Refused: the session steps too fast.
        """
        if not steps_per_s:
            return
        now = time.monotonic()
        earned = self._allowance + (now - self.used_at) * steps_per_s
        self._allowance = min(earned, max(steps_per_s, 1.0))
        self.used_at = now
        if self._allowance < 1.0:
            wait_s = (1.0 - self._allowance) / steps_per_s
            raise Refused(
                f"the session may take {steps_per_s:g} steps a second",
                status=429,
                code="too_fast",
                retry_after_s=round(wait_s, 3),
            )
        self._allowance -= 1.0

    async def perform(self, call: Callable[[], _T]) -> _T:
        """Call a method of the session, one at a time; in a thread if it may take long.

        Raises:
            Refused: the session was closed, or the call failed.
        """
        async with self._lock:
            if self.is_closed:
                raise _unknown(self.id)
            self.used_at = time.monotonic()
            with told_to_client():
                return call() if self._is_quick else await in_thread(call)

    async def end(self) -> None:
        """Close the session as soon as no request is under way."""
        async with self._lock:
            self.end_now()

    def end_now(self) -> None:
        """Close the session, whatever is under way."""
        self.is_closed = True
        self.session.close()
        if self.kept is not None:
            self.kept.close()

    def is_idle(self, since: float) -> bool:
        """Return whether no request is under way and none has come since a time."""
        return not self._lock.locked() and self.used_at < since


class Sessions:
    """The open sessions of a server.

    Args:
        folder: folder of the snapshots.
        limits: limits of the sessions.
        permissions: permissions of the clients.
    """

    def __init__(self, folder: Path, limits: SessionLimits, permissions: Permissions) -> None:
        self.limits = limits
        self._folder = folder
        self._permissions = permissions
        self._open: dict[str, OpenSession] = {}
        self._opening = 0

    def __len__(self) -> int:
        return len(self._open) + self._opening

    async def open(self, body: OpenBody) -> OpenSession:
        """Open a session.

        Raises:
            Refused: there are too many, the client may not name what it names, or the
                environment cannot be made.
        """
        self._permissions.check(body.arguments)
        opened = await self._opened(secrets.token_urlsafe(16), body, None)
        try:
            self.keep(opened)
        except Refused:  # the disk is full: nobody hears of the session
            self._forget(opened.id)
            raise
        return opened

    async def restore(self, id_: str) -> OpenSession:
        """Open a session again from its last snapshot; a connection that has it open loses it.

        A step that is under way is finished first, so that the snapshot has it.

        Raises:
            Refused: no session of this id was kept, or a client may not name what it names.
        """
        self._permissions.check(self._read(id_)[0].arguments)
        held = self._open.pop(id_, None)
        if held is not None:
            await held.end()
        return await self._opened(id_, *self._read(id_))

    def _read(self, id_: str) -> tuple[OpenBody, SessionState | None]:
        path = self._path(id_)
        if not _ID.fullmatch(id_) or not path.is_file():
            raise _unknown(id_)
        try:
            return read_kept(path)
        except (DataError, StorageError) as error:
            problem = f"session {id_} cannot be restored: {error}"
            raise Refused(problem, status=500, code="damaged") from error

    async def _opened(self, id_: str, body: OpenBody, state: SessionState | None) -> OpenSession:
        if len(self) >= self.limits.number:
            raise Refused(
                f"{self.limits.number} sessions are open already",
                status=503,
                code="too_many_sessions",
                retry_after_s=self.limits.idle_s,
            )
        self._opening += 1
        try:
            with told_to_client():
                session = await _anyio.to_thread.run_sync(_open, body, state)
        finally:
            self._opening -= 1
        opened = OpenSession(id_, session, body)
        if body.keep:
            opened.kept = KeptSession(self._path(id_), body, state)
        self._forget(id_)  # somebody else has restored it meanwhile
        self._open[id_] = opened
        return opened

    def find(self, id_: str) -> OpenSession:
        """Return an open session.

        Raises:
            Refused: none has this id.
        """
        found = self._open.get(id_)
        if found is None:
            raise _unknown(id_)
        return found

    def keep(self, opened: OpenSession) -> None:
        """Write a snapshot of a session that was opened with ``keep``.

        Raises:
            Refused: the disk does not take it. The session is back at its last snapshot, so that
                the same step can be asked again.
        """
        kept, session = opened.kept, opened.session
        if kept is None:
            return
        with told_to_client():
            try:
                state = None if session.last is None else session.state()
                kept.write(state)
            except StorageError:
                if kept.last is not None:
                    session.set_state(kept.last)
                raise
            kept.last = state

    async def close(self, opened: OpenSession) -> None:
        """Close a session for good and delete its snapshot."""
        await opened.perform(opened.session.close)
        self._forget(opened.id)
        if opened.opened.keep:
            self._path(opened.id).unlink(missing_ok=True)

    def drop(self, opened: OpenSession) -> None:
        """Close a session whose client has gone; a kept one can be restored."""
        if self._open.get(opened.id) is opened:
            self._forget(opened.id)

    async def drop_idle(self) -> None:
        """Close the sessions that are idle for too long, and delete old snapshots."""
        since = time.monotonic() - self.limits.idle_s
        for opened in [each for each in self._open.values() if each.is_idle(since)]:
            self._forget(opened.id)
        await _anyio.to_thread.run_sync(self._delete_old)

    def _delete_old(self) -> None:
        oldest = time.time() - self.limits.kept_s
        for path in self._folder.glob("*.jsonl"):
            with suppress(FileNotFoundError):  # its session was closed meanwhile
                if path.stem not in self._open and path.stat().st_mtime < oldest:
                    path.unlink()

    def close_all(self) -> None:
        """Close every session, as the server ends; kept ones can be restored."""
        for id_ in [*self._open]:
            self._forget(id_)

    def _forget(self, id_: str) -> None:
        opened = self._open.pop(id_, None)
        if opened is not None:
            opened.end_now()

    def _path(self, id_: str) -> Path:
        return self._folder / f"{id_}.jsonl"


async def in_thread(call: Callable[[], _T]) -> _T:
    """Call a function in a separate thread, which no limit shared with others holds back."""
    result: _T = await _anyio.to_thread.run_sync(call, limiter=_anyio.CapacityLimiter(1))
    return result


def _open(body: OpenBody, state: SessionState | None) -> Session:
    session = Session(body.env, body.arguments)
    if state is not None:
        session.set_state(state)
    return session


def _unknown(id_: str) -> Refused:
    return Refused(
        f"no session {id_!r:.40} is open: it was never opened, was closed or idle for too long, "
        "or another client has restored it",
        status=404,
        code="unknown_session",
    )


def _is_quick(arguments: Mapping[str, Any]) -> bool:
    """Return whether steps neither wait for a language model nor run code of a user."""

    def is_quick(kind: str) -> bool:
        value = arguments.get(kind)
        name = value.get("name") if isinstance(value, Mapping) else value
        return value is None or name in _QUICK_NAMES[kind]

    return all(map(is_quick, _QUICK_NAMES))
