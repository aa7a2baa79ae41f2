"""The tool backend ``python``: a user's own functions, in a separate process."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import weakref
from typing import Annotated, BinaryIO, cast

import msgspec

from agent_gym_env.errors import AgentGymError
from agent_gym_env.registry import is_importable
from agent_gym_env.tools.live import LiveBackend, ToolFailure
from agent_gym_env.tools.python_worker import Answered, Asked
from agent_gym_env.tools.validation import ToolCatalogue

Seconds = Annotated[float, msgspec.Meta(gt=0)]

_START_S = 120.0
"""Time limit of importing the functions."""

_CRASH_S = 2.0
"""Time that a process whose answers have ended may take to end itself."""

_decode = msgspec.json.Decoder(Answered).decode


class PythonTools:
    """Makes the backends of dialogues whose calls a user's Python functions answer.

    The functions run in another process, so that one that hangs or crashes takes neither the
    environment nor its reward with it. A call that exceeds the time limit, or a crash, ends that
    process; the next call starts another one, in which the functions begin from scratch.

    Args:
        tools: ``"package.module:name"`` of a mapping from names to functions, or of an object whose
            public functions count. They are called with the arguments as keywords, and return any
            JSON value.
        timeout_s: time limit of a call, in seconds.
        restart: whether each dialogue begins with a fresh process. Otherwise one process serves all
            dialogues of an environment, and what a call has changed stays changed.

    Raises:
        ValueError: the name has another form.
        AgentGymError: the functions cannot be imported.
    """

    def __init__(self, *, tools: str, timeout_s: Seconds = 30.0, restart: bool = False) -> None:
        if not is_importable(tools):
            raise ValueError(
                f"tool backend 'python': tools must be a 'package.module:name', not {tools!r:.80}"
            )
        self._tools, self._timeout_s, self._restart = tools, timeout_s, restart
        self._shared = ToolProcess(tools, timeout_s)
        self._shared.start()

    def __reduce__(self) -> tuple[object, ...]:
        """Copy the tools, with a separate process."""
        return _rebuilt, (self._tools, self._timeout_s, self._restart)

    def backend(self, catalogue: ToolCatalogue) -> LiveBackend:
        """Return a backend for a dialogue."""
        return LiveBackend(catalogue, self._begin)

    def _begin(self) -> ToolProcess:
        tools = self._shared
        if self._restart:
            self._shared = ToolProcess(self._tools, self._timeout_s)
        return tools


def _rebuilt(tools: str, timeout_s: float, restart: bool) -> PythonTools:
    return PythonTools(tools=tools, timeout_s=timeout_s, restart=restart)


class ToolProcess:
    """A process in which functions answer calls, started when it is needed.

    Args:
        tools: as in `PythonTools`.
        timeout_s: as in `PythonTools`.
    """

    def __init__(self, tools: str, timeout_s: float) -> None:
        self._tools = tools
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def start(self) -> subprocess.Popen[bytes]:
        """Start the process, unless it runs, and return it.

        Raises:
            AgentGymError: the functions cannot be imported.
        """
        if self._process is not None and self._process.poll() is None:
            return self._process
        # The process finds the modules that this one would import.
        path = os.pathsep.join(each or os.getcwd() for each in sys.path)
        process = self._process = subprocess.Popen(  # noqa: S603  (no shell; a name of the user)
            [sys.executable, "-m", "agent_gym_env.tools.python_worker", self._tools],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
        self._finalizer = weakref.finalize(self, _end, process)
        self._answers = queue.SimpleQueue()
        read = (process.stdout, self._answers)
        threading.Thread(target=_read_lines, args=read, daemon=True).start()
        try:
            answered = self._answer(_START_S)
        except ToolFailure as failure:
            raise AgentGymError(f"the tools {self._tools!r} did not start: {failure}") from failure
        if answered.error is not None:
            self.end()
            raise AgentGymError(f"the tools {self._tools!r} cannot be used: {answered.error}")
        return process

    def call(self, name: str, arguments: dict[str, object]) -> bytes:
        """Call a function, and return its result as JSON.

        Raises:
            ToolFailure: the function raised, took too long, or ended its process.
        """
        try:
            questions = cast(BinaryIO, self.start().stdin)
        except AgentGymError as error:
            raise ToolFailure(f"tool_crashed: {error}") from error
        try:
            question = msgspec.json.encode(Asked(name, arguments)) + b"\n"
        except (ValueError, OverflowError, RecursionError) as error:
            raise ToolFailure(f"invalid_value: the arguments cannot be written: {error}") from error
        try:
            questions.write(question)
            questions.flush()
        except OSError as error:
            self.end()
            raise ToolFailure(
                f"tool_crashed: the process of the tools has ended: {error}"
            ) from error
        answered = self._answer(self._timeout_s)
        if answered.error is not None:
            raise ToolFailure(answered.error)
        return bytes(answered.result)

    def end(self) -> None:
        """End the process; ending it twice is allowed."""
        if self._process is not None:
            self._finalizer()
            self._process = None

    def _answer(self, timeout_s: float) -> Answered:
        """Wait for an answer; without one the process is ended."""
        process = self._process
        try:
            line = self._answers.get(timeout=timeout_s)
        except queue.Empty:
            self.end()
            raise ToolFailure(f"tool_timeout: no answer within {timeout_s:g} s") from None
        if not line and process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_CRASH_S)
            status = process.returncode
            self.end()
            raise ToolFailure(f"tool_crashed: the process of the tools ended, exit status {status}")
        return _decode(line)


def _read_lines(stream: BinaryIO, lines: queue.SimpleQueue[bytes]) -> None:
    """Put each line into a queue, and an empty one at the end."""
    with stream:
        for line in stream:
            lines.put(line)
    lines.put(b"")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and those that it has started, and wait for it."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    if process.poll() is None:
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()
