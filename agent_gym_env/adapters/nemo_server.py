"""A session as a resources server of NeMo Gym, and the rows of its data set.

``python -m agent_gym_env.adapters.nemo_server`` is the entry point that NeMo Gym's command starts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import msgspec

from agent_gym_env.chat import call_message, call_object, functions_of, read_tools
from agent_gym_env.extras import require
from agent_gym_env.lm.prompt import RULES, system_message
from agent_gym_env.server.session import Reply, Session, first_replies

require("nemo_gym", extra="nemo")

from nemo_gym.openai_utils import NeMoGymResponse  # noqa: E402  (`require` names the extra)
from resources_servers.gymnasium import GymnasiumServer, extract_text  # noqa: E402

AGENT = "agent_gym_agent"
"""Name of the agent in the rows: a ``gymnasium_agent`` in NeMo Gym's configuration."""


class DialogueServer(GymnasiumServer):
    """Plays one session for each rollout.

    A response with calls and words is one step. ``info`` of an answer has ``tool_outputs`` for the
    agent, and ``observation`` and ``info`` of the session.
    """

    async def reset(
        self, metadata: dict[str, Any], session_id: str | None = None
    ) -> tuple[str | None, dict[str, Any]]:
        """Begin the dialogue of a row that `rows` writes.

        Returns:
            The user's first words; the session's observation and info.
        """
        session = Session(metadata["env_id"], metadata["arguments"])
        options = {"dialogue_id": metadata["dialogue_id"]}
        reply = session.reset(seed=metadata["seed"], options=options)
        self.session_state[session_id] = session
        return reply.observation["user"] or None, _shown(reply)

    async def step(
        self, action: NeMoGymResponse, metadata: dict[str, Any], session_id: str | None = None
    ) -> tuple[str | None, float, bool, bool, dict[str, Any]]:
        """Take a step: the calls of a response, then its words."""
        calls = [item for item in action.output if item.type == "function_call"]
        made = [call_object(each.call_id, each.name, each.arguments) for each in calls]
        text = extract_text(action)
        reply = self.session_state[session_id].step(call_message(made, text) if made else text)
        raws = msgspec.json.decode(reply.observation["tool_result"] or "[]", type=list[msgspec.Raw])
        outputs = [
            {"call_id": each.call_id, "output": bytes(raw).decode()}
            for each, raw in zip(calls, raws, strict=False)
        ]
        info = {"tool_outputs": outputs, **_shown(reply)}
        words = reply.observation["user"] or None
        return words, reply.reward or 0.0, reply.terminated, reply.truncated, info


def rows(
    env_id: str = "SGD-v0", arguments: Mapping[str, Any] | None = None, *, seed: int = 0
) -> Iterator[dict[str, Any]]:
    """Yield a row of NeMo Gym's data set for each selected dialogue, to be written as JSON lines.

    Args:
        env_id: as in `Session`.
        arguments: as in `Session`.
        seed: seed of the users.

    Raises:
        ValueError: as in `Session`.
        DataError: as in `Session`.
    """
    for dialogue_id, reply in first_replies(env_id, arguments, seed=seed):
        day = reply.info["date"]
        tools = read_tools(reply.observation["tools"])
        offered = zip(tools, functions_of(tools), strict=True)
        yield {
            "responses_create_params": {
                "input": [system_message(RULES, date.fromisoformat(day) if day else None)],
                "tools": [
                    {"type": tool["type"], "strict": False, **each} for tool, each in offered
                ],
            },
            "agent_ref": {"type": "responses_api_agents", "name": AGENT},
            "env_id": env_id,
            "arguments": dict(arguments or {}),
            "dialogue_id": dialogue_id,
            "seed": seed,
        }


def _shown(reply: Reply) -> dict[str, Any]:
    return {"observation": reply.observation, "info": reply.info}


if __name__ == "__main__":
    DialogueServer.run_webserver()
