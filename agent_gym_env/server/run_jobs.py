"""Runs of the command line as jobs: started, queued, stopped and resumed by a server.

A job runs one command of ``agent-gym`` in a process that outlives the server. It writes what the
command line writes, in the folder of the run, so either can resume what the other began. The state
of a job follows from files alone: a server that was killed finds all jobs again.

    runs/NAME/                      journals, reports and models, as the command writes them
    runs/.agent-gym/jobs/NAME/
        job.json                    the command and its settings
        lock                        held by the process that runs it
        pid                         number of that process
        events.jsonl                the events of all attempts, a line each
        errors.txt                  the standard error output
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import msgspec

from agent_gym_env.errors import DataError, LockError
from agent_gym_env.server.permissions import Permissions
from agent_gym_env.server.wire import Refused, told_to_client
from agent_gym_env.storage.files import locked, read_file, written_whole

OWN_FOLDER = ".agent-gym"
"""Folder for the server's own files, below the folder of the runs."""

COMMANDS = (
    "rollout", "evaluate", "optimize", "train ppo", "train ppo-acts", "train sft", "train dpo",
    "train kto", "train grpo",
)  # fmt: skip
"""Commands that a job can run."""

RunState = Literal["queued", "running", "done", "failed", "stopped", "interrupted"]
"""``stopped`` and ``interrupted`` jobs can be resumed; an interrupted one was killed."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")
_STOPPED = 3
"""Exit code of a command that was stopped and can be resumed."""
_TAIL_BYTES = 1 << 16
"""Size of the end of a file of events that tells the state of a run."""


class StartBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Request to start a run.

    Attributes:
        command: command of ``agent-gym``, such as ``evaluate`` or ``train sft``.
        settings: settings of the command: the names of its options, with ``_`` for ``-``.
        name: name of the run and of its folder; a new one by default.
    """

    command: str
    settings: dict[str, Any] = {}
    name: str | None = None


class Job(msgspec.Struct, frozen=True):
    """A job as it is written to disk.

    Attributes:
        command: command of ``agent-gym``.
        settings: settings of the command.
        created: time of its start request, in seconds since 1970.
        attempts: number of times that it was started or is to be started.
        stop_wanted: whether it is to be stopped or, if it has not begun, left.
    """

    command: str
    settings: dict[str, Any]
    created: float
    attempts: int = 1
    stop_wanted: bool = False


class RunStatus(msgspec.Struct, frozen=True):
    """A run as a client sees it.

    Attributes:
        name: name of the run and of its folder.
        command: command of ``agent-gym``.
        settings: settings of the command.
        created: time of its start request, in seconds since 1970.
        state: state of the run.
        exit_code: exit code of the command; ``None`` until it has ended.
        error: last line of the standard error output of a run that failed.
        progress: last event of the kind ``progress``.
    """

    name: str
    command: str
    settings: dict[str, Any]
    created: float
    state: RunState
    exit_code: int | None = None
    error: str | None = None
    progress: dict[str, Any] | None = None


class RunJobs:
    """The runs in a folder.

    Args:
        folder: folder of the runs.
        permissions: permissions of the clients.
        check_settings: function that raises `ValueError` if settings do not fit a command.
        at_once: number of jobs that run at the same time; more wait.
    """

    def __init__(
        self,
        folder: Path,
        permissions: Permissions,
        check_settings: Callable[[str, Mapping[str, Any]], None],
        *,
        at_once: int = 2,
    ) -> None:
        self.folder = folder
        self._check_settings = check_settings
        self._jobs_folder = folder / OWN_FOLDER / "jobs"
        self._permissions = permissions
        self._at_once = at_once
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._ended: dict[tuple[str, int], RunStatus] = {}
        self._jobs_folder.mkdir(parents=True, exist_ok=True)

    def start(self, body: StartBody) -> RunStatus:
        """Queue a run; it starts as soon as fewer than ``at_once`` are running.

        Raises:
            Refused: the command or a setting is unknown, the client may not name what it names, or
                a folder has this name.
        """
        if body.command not in COMMANDS:
            known = ", ".join(COMMANDS)
            raise Refused(f"command must be one of {known}, not {body.command!r:.80}")
        self._permissions.check(body.settings)
        name = self._free_name(body.command) if body.name is None else body.name
        if not _NAME.fullmatch(name):
            raise Refused(
                "name must be up to 80 letters, digits, '_', '-' and '.', and begin with a letter "
                f"or digit, not {name!r:.90}"
            )
        if self._is_taken(name):
            problem = f"there is already a run {name!r}; resume it, or choose another name"
            raise Refused(problem, status=409, code="exists")
        for setting in ("out", "resume", "events", "json"):
            if setting in body.settings:
                raise Refused(f"the server sets {setting!r} itself: leave it out")
        settings = {**body.settings, **_own_settings(body.command, name)}
        with told_to_client():
            self._check_settings(body.command, settings)
        job = Job(body.command, settings, time.time())
        self._write(name, job)
        self.tend()
        return self.find(name)

    def _free_name(self, command: str) -> str:
        stem = command.replace(" ", "-")
        names = (f"{stem}-{number}" for number in itertools.count(1))
        return next(name for name in names if not self._is_taken(name))

    def _is_taken(self, name: str) -> bool:
        return (self.folder / name).exists() or self._job_file(name).exists()

    def resume(self, name: str) -> RunStatus:
        """Queue a run again that was stopped, interrupted or has failed.

        Raises:
            Refused: there is no such run, or it is queued, running or done.
        """
        run = self.find(name)
        if run.state not in ("stopped", "interrupted", "failed"):
            problem = f"run {name!r} is {run.state}: only one that has ended early can be resumed"
            raise Refused(problem, status=409, code="not_resumable")
        job = self._read(name)
        self._write(
            name, msgspec.structs.replace(job, attempts=job.attempts + 1, stop_wanted=False)
        )
        self.tend()
        return self.find(name)

    def stop(self, name: str) -> RunStatus:
        """Stop a run, as Ctrl-C does; what is finished is kept, and it can be resumed.

        Raises:
            Refused: there is no such run, or it has ended.
        """
        run = self.find(name)
        if run.state not in ("queued", "running"):
            raise Refused(f"run {name!r} is {run.state} already", status=409, code="has_ended")
        self._write(name, msgspec.structs.replace(self._read(name), stop_wanted=True))
        if run.state == "running":
            self._signal(name)
        return self.find(name)

    def resume_interrupted(self) -> None:
        """Queue every run again whose process was killed."""
        for run in self.all():
            if run.state == "interrupted":
                self.resume(run.name)

    def find(self, name: str) -> RunStatus:
        """Return a run.

        Raises:
            Refused: there is none of this name.
        """
        if not _NAME.fullmatch(name) or not self._job_file(name).is_file():
            raise Refused(f"there is no run {name!r:.90}", status=404, code="unknown_run")
        job = self._read(name)
        known = self._ended.get((name, job.attempts))
        if known is not None:
            return known
        run = self._observed(name, job)
        if run.state in ("done", "failed", "stopped"):
            self._ended[name, job.attempts] = run
        return run

    def all(self) -> list[RunStatus]:
        """Return all runs, the newest first."""
        names = [path.parent.name for path in self._jobs_folder.glob("*/job.json")]
        return sorted(map(self.find, names), key=lambda run: run.created, reverse=True)

    def tend(self) -> None:
        """Start queued jobs while there is room, and take note of children that have ended."""
        self._note_ended()
        runs = self.all()
        room = self._at_once - sum(run.state == "running" for run in runs)
        waiting = [run for run in reversed(runs) if run.state == "queued"]
        for run in waiting[: max(room, 0)]:
            self._begin(run.name)

    def close(self) -> None:
        """Leave the jobs to themselves: they outlive the server."""
        self._note_ended()
        self._children.clear()

    def _note_ended(self) -> None:
        for name, child in [*self._children.items()]:
            if child.poll() is not None:
                del self._children[name]

    def events_file(self, name: str) -> Path:
        """Return the file of a run's events, which may not exist yet.

        Raises:
            Refused: there is no such run.
        """
        self.find(name)
        return self._jobs_folder / name / "events.jsonl"

    def _observed(self, name: str, job: Job) -> RunStatus:
        events = [
            event
            for event in _last_events(self._jobs_folder / name / "events.jsonl")
            if event.get("attempt") == job.attempts
        ]
        last = {event["kind"]: event for event in events}
        ended = last.get("ended", {})
        exit_code = ended.get("exit_code")
        state = self._state(name, job, bool(events), exit_code)
        return RunStatus(
            name, job.command, job.settings, job.created, state, exit_code, ended.get("error"),
            last.get("progress"),
        )  # fmt: skip

    def _state(self, name: str, job: Job, has_begun: bool, exit_code: int | None) -> RunState:
        child = self._children.get(name)
        is_alive = child is not None and child.poll() is None
        if is_alive or _is_held(self._jobs_folder / name / "lock"):
            return "running"
        if exit_code is not None:
            return {0: "done", _STOPPED: "stopped"}.get(exit_code, "failed")  # type: ignore[return-value]
        if has_begun:
            return "interrupted"
        return "stopped" if job.stop_wanted else "queued"

    def _begin(self, name: str) -> None:
        folder = (self._jobs_folder / name).resolve()
        with (folder / "errors.txt").open("ab") as errors:
            self._children[name] = subprocess.Popen(  # noqa: S603  (our own command)
                [sys.executable, "-m", "agent_gym_env", "run-job", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,  # it outlives the server
            )

    def _signal(self, name: str) -> None:
        folder = self._jobs_folder / name
        with suppress(OSError, ValueError):  # it has ended meanwhile
            if _is_held(folder / "lock"):
                os.kill(int((folder / "pid").read_text()), signal.SIGTERM)

    def _job_file(self, name: str) -> Path:
        return self._jobs_folder / name / "job.json"

    def _read(self, name: str) -> Job:
        with told_to_client():
            return read_job(self._jobs_folder / name)

    def _write(self, name: str, job: Job) -> None:
        with told_to_client(), written_whole(self._job_file(name)) as file:
            file.write(msgspec.json.encode(job))


def read_job(folder: Path) -> Job:
    """Read the job in a folder.

    Raises:
        DataError: it is missing or damaged.
    """
    path = folder / "job.json"
    try:
        return msgspec.json.decode(read_file(path), type=Job)
    except msgspec.DecodeError as error:
        raise DataError(f"not a job: {error}", file=str(path)) from error


def _own_settings(command: str, name: str) -> dict[str, Any]:
    """Return the settings that the server sets: the job runs in the folder of the runs."""
    if command == "optimize":
        return {"out": f"{name}/program.json"}
    if command.startswith("train "):
        return {"out": name, "resume": True}
    return {"out": name}


def _last_events(path: Path) -> list[dict[str, Any]]:
    """Return the events at the end of a file; what is not an event is left out."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return []
    return [event for line in lines if (event := read_event(line)) is not None]


def read_event(line: bytes) -> dict[str, Any] | None:
    """Return the event in a line; ``None`` if a kill has left only a part of it."""
    try:
        event = msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError:
        return None
    return event if isinstance(event.get("kind"), str) else None


def _is_held(lock: Path) -> bool:
    """Return whether a process holds a lock file."""
    if not lock.exists():
        return False
    try:
        with locked(lock, wait_s=0):
            return False
    except LockError:
        return True
