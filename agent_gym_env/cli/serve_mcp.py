"""``agent-gym serve-mcp``: an MCP client on standard input and output plays the agent."""

from __future__ import annotations

import contextlib
import sys

from agent_gym_env.cli.settings import ServeMcp
from agent_gym_env.server.mcp import McpServer, serve_stdio
from agent_gym_env.server.session import Reply, Session
from agent_gym_env.types import Action


def serve_mcp(settings: ServeMcp) -> None:
    """Serve a session until the client closes its end."""
    arguments = {**settings.environment(), "max_episode_steps": settings.max_episode_steps}
    reward = settings.reward or settings.default_reward()
    session = Session(arguments.pop("env", settings.env["name"]), {**arguments, "reward": reward})
    server = McpServer(
        session,
        seed=settings.seed,
        dialogue_id=settings.dialogue_id,
        reveal_info=settings.reveal_info,
        on_step=_Report(session),
    )
    # Whatever a library prints would break the protocol.
    with (
        open(sys.stdout.fileno(), "wb", closefd=False) as sink,
        contextlib.redirect_stdout(sys.stderr),
        contextlib.closing(session),
    ):
        serve_stdio(server, sys.stdin.buffer, sink)


class _Report:
    """Writes a line about each episode that ends to the standard error."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._total = 0.0

    def __call__(self, action: Action, reply: Reply) -> None:
        if self._session.steps == 1:
            self._total = 0.0
        self._total += reply.reward or 0.0
        if reply.over:
            dialogue, steps = reply.info["dialogue_id"], self._session.steps
            line = f"{dialogue}: {steps} steps, sum of rewards {self._total:.3f}"
            print(line, file=sys.stderr, flush=True)
