"""A model that answers from a script, behind an endpoint that speaks OpenAI's protocol.

``python -m tests.hubs.scripted_server`` prints its URL and serves until it is ended.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from agent_gym_env.chat import tool_names
from agent_gym_env.lm.base import Request, Response
from agent_gym_env.lm.scripted import ScriptedLM
from agent_gym_env.types import ToolCall

WORDS = "Which city do you prefer?"


def answer(request: Request) -> Response:
    """Call the first tool without arguments when the user has spoken, and then ask for the city."""
    if request.messages[-1]["role"] == "tool" or not request.tools:
        return Response(text=WORDS, model="scripted")
    (name, *_) = tool_names(request.tools)
    return Response(text="", tool_calls=(ToolCall(name, {}),), model="scripted")


@contextlib.contextmanager
def scripted_server() -> Iterator[str]:
    """Start the server, and return its address up to ``/v1``."""
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.hubs.scripted_server"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        server.communicate()


if __name__ == "__main__":
    from agent_gym_env.lm.openai_server import serve

    serve(ScriptedLM(answer), port=0, on_ready=lambda url: print(url, flush=True))
