"""A session as an environment of OpenEnv."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from agent_gym_env import __version__
from agent_gym_env.extras import require
from agent_gym_env.server.session import Reply, Session

require("openenv", extra="openenv")

from openenv.core import EnvClient  # noqa: E402  (`require` names the extra if it is missing)
from openenv.core.client_types import StepResult  # noqa: E402
from openenv.core.env_server.http_server import create_app  # noqa: E402
from openenv.core.env_server.interfaces import Environment  # noqa: E402
from openenv.core.env_server.types import (  # noqa: E402
    Action,
    EnvironmentMetadata,
    Observation,
    State,
)
from pydantic import Field  # noqa: E402

NAME = "agent_gym"
"""Name of the environment in OpenEnv."""

_DESCRIPTION = (
    "Task-oriented dialogues with tool calls: the agent talks to a user and calls the tools of "
    "services, as in Schema-Guided Dialogue."
)


class DialogueAction(Action):
    """The agent's part of one step; see `agent_gym_env.types.Action`."""

    text: str = Field("", description="Words for the user; they end the agent's turn.")
    tool_calls: str | list[dict[str, Any]] = Field(
        "",
        description='Tool calls, {"name": …, "arguments": {…}} each, as a list or its JSON text.',
    )


class DialogueObservation(Observation):
    """An observation of the environment.

    ``metadata`` has ``terminated``, ``truncated`` and ``info``. The info holds what the corpus did
    in a turn that has closed, so an agent must not see it.
    """

    user: str = Field("", description="The user's latest words; empty while the turn is open.")
    tool_result: str = Field("", description="Results of the calls just made, a JSON array.")
    messages: str = Field("[]", description="The conversation in OpenAI's chat format, as JSON.")
    tools: str = Field("[]", description="The tools on offer in OpenAI's function format, as JSON.")


class DialogueState(State):
    """The state of an episode.

    ``snapshot`` is what ``reset(injected_state=…)`` goes back to; empty before the first reset.
    """

    snapshot: dict[str, Any] = Field(default_factory=dict)


class DialogueEnvironment(Environment[DialogueAction, DialogueObservation, DialogueState]):
    """An environment that plays sessions, one for each split that is asked for.

    It has OpenEnv's API for tasks: a task is a dialogue, with its id and index.
    """

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, env_id: str = "SGD-v0", arguments: Mapping[str, Any] | None = None) -> None:
        """Open a session.

        Args:
            env_id: as in `Session`.
            arguments: as in `Session`.

        Raises:
            ValueError: as in `Session`.
            DataError: as in `Session`.
        """
        super().__init__()
        self._env_id = env_id
        self._arguments = dict(arguments or {})
        self._session = Session(env_id, self._arguments)
        self._sessions = {self._session.env.split.name: self._session}
        self._episode_id = ""

    def reset(
        self,
        seed: int | None = None,
        episode_id: str | None = None,
        *,
        dialogue_id: str | None = None,
        split: str | None = None,
        index: int | None = None,
        injected_state: Mapping[str, Any] | None = None,
    ) -> DialogueObservation:
        """Begin an episode, or go back to a snapshot.

        Args:
            seed: seeds the draw of the dialogue and the user.
            episode_id: id of the episode; that of the dialogue by default.
            dialogue_id: id of the dialogue; by default one is drawn.
            split: split of the corpus; by default that of the arguments.
            index: index of the task in the split, in place of ``dialogue_id``.
            injected_state: ``snapshot`` of a state. The other arguments, except ``episode_id`` and
                ``split``, are not used.

        Raises:
            ValueError: an argument is not allowed.
            IndexError: the split has fewer tasks.
            DataError: the split has no such dialogue.
        """
        self._session = self._session if split is None else self._session_of(split)
        if injected_state is not None:
            reply = self._session.set_state(injected_state)
        else:
            if index is not None:
                dialogue_id = self.get_task(self._session.env.split.name, index)["id"]
            options = None if dialogue_id is None else {"dialogue_id": dialogue_id}
            reply = self._session.reset(seed=seed, options=options)
        self._episode_id = episode_id or reply.info["dialogue_id"]
        return _observation(reply)

    def step(
        self, action: DialogueAction, timeout_s: float | None = None, **kwargs: Any
    ) -> DialogueObservation:
        """Take a step.

        Args:
            action: the action.
            timeout_s: not used: a step takes less than a millisecond.
            **kwargs: not used.

        Raises:
            ResetNeeded: no episode is in play.
        """
        step = {"text": action.text, "tool_calls": action.tool_calls}
        return _observation(self._session.step(step))

    @property
    def state(self) -> DialogueState:
        """The state of the episode in play."""
        if self._session.last is None:
            return DialogueState()
        snapshot = msgspec.to_builtins(self._session.state())
        return DialogueState(
            episode_id=self._episode_id, step_count=self._session.steps, snapshot=snapshot
        )

    def get_metadata(self) -> EnvironmentMetadata:
        """Return name, description and version."""
        return EnvironmentMetadata(name=NAME, description=_DESCRIPTION, version=__version__)

    def list_splits(self) -> list[str]:
        """Return the splits of the corpus."""
        return list(self._session.env.corpus.splits())

    def num_tasks(self, split: str) -> int:
        """Return the number of dialogues that are selected in a split."""
        return len(self._session_of(split).env.selected)

    def get_task(self, split: str, index: int) -> dict[str, Any]:
        """Return one task: ``id`` of the dialogue, and ``index``.

        Raises:
            IndexError: the split has fewer tasks.
        """
        count = self.num_tasks(split)
        if not 0 <= index < count:
            raise IndexError(f"split {split!r} has the tasks 0 to {count - 1}, not {index}")
        return self.get_task_range(split, index, index + 1)[0]

    def list_tasks(self, split: str) -> list[dict[str, Any]]:
        """Return all tasks of a split."""
        return self.get_task_range(split)

    def get_task_range(
        self, split: str, start: int | None = None, stop: int | None = None
    ) -> list[dict[str, Any]]:
        """Return the tasks of a slice of a split."""
        env = self._session_of(split).env
        ids = env.split.dialogue_ids()
        numbers = range(len(env.selected))[start:stop]
        return [{"id": ids[env.selected[number]], "index": number} for number in numbers]

    def close(self) -> None:
        """Close the sessions."""
        for session in self._sessions.values():
            session.close()

    def _session_of(self, split: str) -> Session:
        if split not in self._sessions:
            self._sessions[split] = Session(self._env_id, {**self._arguments, "split": split})
        return self._sessions[split]


def _observation(reply: Reply) -> DialogueObservation:
    metadata = {
        "terminated": reply.terminated,
        "truncated": reply.truncated,
        "info": msgspec.to_builtins(reply.info),
    }
    return DialogueObservation(
        **reply.observation, done=reply.over, reward=reply.reward, metadata=metadata
    )


class AgentGymClient(EnvClient[DialogueAction, DialogueObservation, DialogueState]):
    """Client of a server that serves `DialogueEnvironment`; `sync` makes it synchronous.

    Examples:
        >>> with AgentGymClient(base_url="http://localhost:8000").sync() as env:  # doctest: +SKIP
        ...     result = env.reset(seed=0)
        ...     result = env.step(DialogueAction(text="Which city, please?"))
        ...     result.observation.user, result.reward, result.done
    """

    def _step_payload(self, action: DialogueAction) -> dict[str, Any]:
        return {"text": action.text, "tool_calls": action.tool_calls}

    def _parse_result(self, payload: dict[str, Any]) -> StepResult[DialogueObservation]:
        outcome = {"reward": payload.get("reward"), "done": payload.get("done", False)}
        observation = DialogueObservation(**payload["observation"], **outcome)
        return StepResult(observation=observation, metadata=payload.get("metadata"), **outcome)

    def _parse_state(self, payload: dict[str, Any]) -> DialogueState:
        return DialogueState(**payload)


def make_app(
    env_id: str = "SGD-v0",
    arguments: Mapping[str, Any] | None = None,
    *,
    max_concurrent_envs: int = 64,
) -> Any:
    """Return the application that serves an environment, for an ASGI server such as uvicorn.

    Args:
        env_id: as in `Session`.
        arguments: as in `Session`.
        max_concurrent_envs: number of WebSocket sessions at the same time.

    Raises:
        ValueError: as in `Session`.
        DataError: as in `Session`.
    """
    DialogueEnvironment(env_id, arguments).close()  # a wrong argument is reported at once
    return create_app(
        lambda: DialogueEnvironment(env_id, arguments),
        DialogueAction,
        DialogueObservation,
        env_name=NAME,
        max_concurrent_envs=max_concurrent_envs,
        state_cls=DialogueState,
    )
