"""``agent-gym run-job``: run a job of ``agent-gym serve``, which may end before the job does."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from agent_gym_env.cli.events import events_to
from agent_gym_env.cli.exit_codes import ExitCode
from agent_gym_env.cli.settings import RunJob
from agent_gym_env.errors import DataError
from agent_gym_env.extras import require_installed
from agent_gym_env.storage.files import locked

_LOCK_WAIT_S = 5.0
_LAST_BYTES = 1 << 12


def run_job(settings: RunJob) -> ExitCode:
    """Run the command of a job and write its events.

    Raises:
        LockError: another process runs the job.
        DataError: the folder holds no job, or one whose last attempt has begun already.
    """
    require_installed("fastapi", extra="serve")

    from agent_gym_env.cli.main import main
    from agent_gym_env.server.run_jobs import last_events, read_job

    folder = settings.job.resolve()
    with locked(folder / "lock", wait_s=_LOCK_WAIT_S):
        (folder / "pid").write_text(str(os.getpid()))
        job = read_job(folder)
        if last_events(folder, job):  # two servers have started it
            raise DataError("this attempt of the job has begun already", file=str(folder))
        with (folder / "events.jsonl").open("ab", buffering=0) as file:
            if file.tell():
                file.write(b"\n")  # ends a line that a killed attempt has left unfinished

            def write(event: dict[str, object]) -> None:
                file.write(msgspec.json.encode({**event, "attempt": job.attempts}) + b"\n")

            with events_to(write) as events:
                events.emit("command", {"command": job.command, "settings": job.settings})
                code, error = int(ExitCode.STOPPED), None
                try:
                    if not job.stop_wanted:
                        os.chdir(folder.parents[2])
                        config = msgspec.json.encode(job.settings).decode()
                        code = main([*job.command.split(), "--config", config])
                        error = _last_line(folder / "errors.txt") if code else None
                except KeyboardInterrupt:
                    pass  # it was stopped before the command had begun
                except BaseException as fault:
                    code, error = int(ExitCode.FAILED), f"{type(fault).__name__}: {fault}"
                    raise
                finally:
                    events.emit("ended", {"exit_code": code, "error": error})
    return ExitCode(code)


def _last_line(path: Path) -> str | None:
    """Return the last line of a file that says something."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_BYTES))
        lines = file.read().decode(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), None)
