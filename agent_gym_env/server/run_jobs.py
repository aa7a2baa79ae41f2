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
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import msgspec

from agent_gym_env.errors import DataError
from agent_gym_env.server.permissions import OWN_FOLDER, Permissions
from agent_gym_env.server.wire import Refused, told_to_client
from agent_gym_env.storage.files import is_locked, read_file, written_whole

COMMANDS = (
    "rollout", "evaluate", "optimize", "train ppo", "train ppo-acts", "train sft", "train dpo",
    "train kto", "train grpo",
)  # fmt: skip
"""Commands that a job can run."""

RunState = Literal["queued", "running", "done", "failed", "stopped", "interrupted"]
"""``stopped`` and ``interrupted`` jobs can be resumed; an interrupted one was killed."""

MAX_QUEUED = 1000
"""Runs that may wait."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")
_STOPPED = 3
"""Exit code of a command that was stopped and can be resumed."""
_TAIL_BYTES = 1 << 16
"""Size of the end of a file of events that tells the state of a run."""
_log = logging.getLogger(__name__)


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
        asked: time of the last request to start or resume it, in seconds since 1970.
        attempts: number of times that it was started or is to be started.
        stop_wanted: whether it is to be stopped or, if it has not begun, left.
    """

    command: str
    settings: dict[str, Any]
    created: float
    asked: float
    attempts: int = 1
    stop_wanted: bool = False


class RunStatus(msgspec.Struct, frozen=True):
    """A run as a client sees it.

    Attributes:
        name: name of the run and of its folder.
        command: command of ``agent-gym``.
        settings: settings of the command.
        created: time of its start request, in seconds since 1970.
        asked: time of the last request to start or resume it, in seconds since 1970.
        attempts: number of times that it was started or is to be started.
        state: state of the run.
        exit_code: exit code of the command; ``None`` until it has ended.
        error: last line of the standard error output of a run that failed.
        progress: last event of the kind ``progress``.
    """

    name: str
    command: str
    settings: dict[str, Any]
    created: float
    asked: float
    attempts: int
    state: RunState
    exit_code: int | None = None
    error: str | None = None
    progress: dict[str, Any] | None = None


class RunJobs:
    """The runs in a folder. Its methods may be called from several threads.

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
        self._unreadable: set[str] = set()
        self._changing = threading.RLock()
        """Held while a job is written or begun, so that none is begun twice."""
        self._started_in = Path.cwd()
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
        if not (body.name is None or _NAME.fullmatch(body.name)):
            raise Refused(
                "name must be up to 80 letters, digits, '_', '-' and '.', and begin with a letter "
                f"or digit, not {body.name!r:.90}"
            )
        for setting in ("out", "resume", "events", "json"):
            if setting in body.settings:
                raise Refused(f"the server sets {setting!r} itself: leave it out")
        with told_to_client():
            any_name = _own_settings(body.command, "name")
            self._check_settings(body.command, {**body.settings, **any_name})
        with self._changing:
            if sum(run.state == "queued" for run in self.all()) >= MAX_QUEUED:
                problem = f"{MAX_QUEUED} runs wait already"
                raise Refused(problem, status=503, code="too_many_runs", retry_after_s=60.0)
            name = self._free_name(body.command) if body.name is None else body.name
            if self._is_taken(name):
                problem = f"there is already a run {name!r}; resume it, or choose another name"
                raise Refused(problem, status=409, code="exists")
            settings = {**body.settings, **_own_settings(body.command, name)}
            now = time.time()
            self._write(name, Job(body.command, settings, created=now, asked=now))
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
            Refused: there is no such run, it is queued, running or done, or the client may not
                name what its settings name.
        """
        self.find(name)
        self._permissions.check(self._read(name).settings)
        self._queue_again(name)
        self.tend()
        return self.find(name)

    def _queue_again(self, name: str) -> None:
        with self._changing:
            run, job = self.find(name), self._read(name)
            if run.state not in ("stopped", "interrupted", "failed"):
                problem = (
                    f"run {name!r} is {run.state}: only one that has ended early can be resumed"
                )
                raise Refused(problem, status=409, code="not_resumable")
            changes = {"asked": time.time(), "attempts": job.attempts + 1, "stop_wanted": False}
            self._write(name, msgspec.structs.replace(job, **changes))

    def stop(self, name: str) -> RunStatus:
        """Stop a run, as Ctrl-C does; what is finished is kept, and it can be resumed.

        Raises:
            Refused: there is no such run, or it has ended.
        """
        with self._changing:
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
                self._queue_again(run.name)
        self.tend()

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
        """Return all runs, the newest first. One that cannot be read is left out and logged."""
        found = []
        for path in self._jobs_folder.glob("*/job.json"):
            name = path.parent.name
            try:
                found.append(self.find(name))
            except Refused as refused:
                if name not in self._unreadable:
                    self._unreadable.add(name)
                    _log.warning("the run %r is left out: %s", name, refused)
        return sorted(found, key=lambda run: run.created, reverse=True)

    def tend(self) -> None:
        """Start queued jobs while there is room, and take note of children that have ended."""
        with self._changing:
            self._note_ended()
            runs = self.all()
            room = self._at_once - sum(run.state == "running" for run in runs)
            waiting = [run for run in reversed(runs) if run.state == "queued"]
            for run in waiting[: max(room, 0)]:
                self._begin(run.name)

    def close(self) -> None:
        """Leave the jobs to themselves: they outlive the server."""
        with self._changing:
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
        # Between the two looks, at the process and at its events, a job may begin or end. One that
        # was not there but has events is looked at again before it is called interrupted.
        run = self._observed_once(name, job)
        return self._observed_once(name, job) if run.state == "interrupted" else run

    def _observed_once(self, name: str, job: Job) -> RunStatus:
        child = self._children.get(name)
        is_alive = child is not None and child.poll() is None
        is_alive = is_alive or is_locked(self._jobs_folder / name / "lock")
        last = {event["kind"]: event for event in last_events(self._jobs_folder / name, job)}
        ended = last.get("ended", {})
        exit_code = ended.get("exit_code")
        state: RunState
        if is_alive:
            state = "running"
        elif exit_code is not None:
            state = "done" if exit_code == 0 else "stopped" if exit_code == _STOPPED else "failed"
        elif last:
            state = "interrupted"
        else:
            state = "stopped" if job.stop_wanted else "queued"
        return RunStatus(
            name, job.command, job.settings, job.created, job.asked, job.attempts, state,
            exit_code, ended.get("error"), last.get("progress"),
        )  # fmt: skip

    def _begin(self, name: str) -> None:
        folder = (self._jobs_folder / name).resolve()
        with (folder / "errors.txt").open("ab") as errors:
            self._children[name] = subprocess.Popen(  # noqa: S603  (our own command)
                [sys.executable, "-m", "agent_gym_env", "run-job", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd=self._started_in,
                start_new_session=True,  # it outlives the server
            )

    def _signal(self, name: str) -> None:
        folder = self._jobs_folder / name
        with suppress(OSError, ValueError):  # it has ended meanwhile
            if is_locked(folder / "lock"):
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


def last_events(folder: Path, job: Job) -> list[dict[str, Any]]:
    """Return the last events of a job's last attempt; what is not an event is left out.

    Args:
        folder: folder of the job.
        job: the job.
    """
    try:
        with (folder / "events.jsonl").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return []
    events = (event for line in lines if (event := read_event(line)) is not None)
    return [event for event in events if event.get("attempt") == job.attempts]


def read_event(line: bytes) -> dict[str, Any] | None:
    """Return the event in a line; ``None`` if a kill has left only a part of it."""
    try:
        event = msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError:
        return None
    return event if isinstance(event.get("kind"), str) else None
