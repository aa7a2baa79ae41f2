"""A session as a text environment of SkyRL-gym, and the rows of its data set.

The model's words and calls are one text. Calls and results are written in Hermes' tags, as for any
model without native tools.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import msgspec

from agent_gym_env.chat import Message, read_messages, read_tools
from agent_gym_env.extras import require
from agent_gym_env.lm.prompt import RULES, as_text, system_message
from agent_gym_env.server.session import Reply, Session, first_replies

require("skyrl_gym", extra="skyrl")

from skyrl_gym.envs.base_text_env import (  # noqa: E402  (`require` names the extra)
    BaseTextEnv,
    BaseTextEnvStepOutput,
)
from skyrl_gym.envs.registration import register  # noqa: E402

ENV_CLASS = "agent_gym"
"""Name of the environment in SkyRL's rows and configuration."""


class DialogueTextEnv(BaseTextEnv):
    """A dialogue. `register_env` makes it known as ``agent_gym``.

    ``metadata`` of a step has ``terminated``, ``truncated``, ``info`` and ``observation``. The info
    holds what the corpus did, which the model must not see.
    """

    def __init__(self, env_config: Any = None, extras: Mapping[str, Any] | None = None) -> None:
        """Open a session.

        Args:
            env_config: configuration of the class in SkyRL; not used.
            extras: members of a row that `rows` writes; ``extra_info`` names the dialogue.

        Raises:
            ValueError: ``extra_info`` is missing, or as in `Session`.
            DataError: as in `Session`.
        """
        super().__init__()
        chosen = (extras or {}).get("extra_info")
        if not isinstance(chosen, Mapping) or "dialogue_id" not in chosen:
            raise ValueError('expected a row of `rows`, with "extra_info" that names a dialogue')
        self._chosen = chosen
        self._session = Session(chosen["env_id"], msgspec.json.decode(chosen["arguments"]))
        self._read = 0
        self._rewards: list[float] = []

    def init(self, prompt: list[Message]) -> tuple[list[Message], dict[str, Any]]:
        """Begin the episode.

        Args:
            prompt: prompt of the row. It is written again, equal if the row is of this corpus.

        Returns:
            The system message with the tools, and the user's first words; and the reply.
        """
        options = {"dialogue_id": self._chosen["dialogue_id"]}
        reply = self._session.reset(seed=self._chosen["seed"], options=options)
        self._read, self._rewards = 0, []
        return _prompt(reply, self._new_messages(reply)), _metadata(reply)

    def step(self, action: str) -> BaseTextEnvStepOutput:
        """Take a step.

        Args:
            action: the model's text, with calls in ``<tool_call>`` tags.
        """
        reply = self._session.step(action)
        self._rewards.append(reply.reward or 0.0)
        heard = [each for each in self._new_messages(reply) if each["role"] != "assistant"]
        return BaseTextEnvStepOutput(
            observations=as_text(heard),
            reward=reply.reward,
            done=reply.over,
            metadata=_metadata(reply),
            postprocessed_action=None,
        )

    def get_metrics(self) -> dict[str, Any]:
        """Return the sum of the rewards, the number of steps, and the success if there is one."""
        last = self._session.last
        task = (last.info.get("task") if last else None) or {}
        success = {} if task.get("success") is None else {"success": float(task["success"])}
        return {"return": sum(self._rewards), "steps": len(self._rewards), **success}

    def close(self) -> None:
        """Close the session."""
        self._session.close()

    def _new_messages(self, reply: Reply) -> list[Message]:
        messages = read_messages(reply.observation["messages"])
        new, self._read = messages[self._read :], len(messages)
        return new


def register_env() -> None:
    """Make the environment known to ``skyrl_gym.make``, also inside a task of Ray."""
    register(id=ENV_CLASS, entry_point=f"{__name__}:{DialogueTextEnv.__name__}")


def rows(
    env_id: str = "SGD-v0", arguments: Mapping[str, Any] | None = None, *, seed: int = 0
) -> Iterator[dict[str, Any]]:
    """Yield a row of SkyRL's data set for each selected dialogue.

    Args:
        env_id: as in `Session`.
        arguments: as in `Session`.
        seed: seed of the users.

    Raises:
        ValueError: as in `Session`.
        DataError: as in `Session`.
    """
    for dialogue_id, reply in first_replies(env_id, arguments, seed=seed):
        yield {
            "data_source": ENV_CLASS,
            "prompt": _prompt(reply, read_messages(reply.observation["messages"])),
            "env_class": ENV_CLASS,
            "reward_spec": {"method": "rule", "ground_truth": dialogue_id},
            "extra_info": {
                "env_id": env_id,
                # As text: columns of a table need one type for all rows.
                "arguments": msgspec.json.encode(dict(arguments or {})).decode(),
                "dialogue_id": dialogue_id,
                "seed": seed,
            },
        }


def _prompt(reply: Reply, messages: list[Message]) -> list[Message]:
    day = reply.info["date"]
    tools = read_tools(reply.observation["tools"])
    system = system_message(RULES, date.fromisoformat(day) if day else None, tools)
    return [system, *as_text(messages)]


def _metadata(reply: Reply) -> dict[str, Any]:
    return {
        "terminated": reply.terminated,
        "truncated": reply.truncated,
        "info": reply.info,
        "observation": reply.observation,
    }
