"""A session: one environment that a client elsewhere plays.

Every way to play over a wire (HTTP, WebSocket, MCP and the hubs) is a thin layer over `Session`, so
that the same seed and actions give the same replies everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec
from gymnasium.error import ResetNeeded

from agent_gym_env.assembly import make_env
from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.envs.sgd_sim import SGDSimEnv

STATE_VERSION = 1
_Steps = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Reply(msgspec.Struct, frozen=True):
    """Answer of an environment to a reset or a step.

    Attributes:
        observation: the four texts of the observation space.
        reward: reward of the step; ``None`` after a reset.
        terminated: whether the dialogue is over.
        truncated: whether the episode was cut off at ``max_episode_steps``.
        info: JSON-able values, as `SGDEnv` and `SGDSimEnv` describe them.
    """

    observation: dict[str, str]
    reward: float | None
    terminated: bool
    truncated: bool
    info: dict[str, Any]

    @property
    def over(self) -> bool:
        """True if the episode has ended; only a reset is possible then."""
        return self.terminated or self.truncated


class SessionState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A snapshot of a session, as JSON-able values.

    Attributes:
        environment: snapshot of the environment (`SGDEnv.get_state`).
        steps: number of steps since the reset.
        reply: the last reply, from which a client goes on.
        version: version of this form.
    """

    environment: dict[str, Any]
    steps: _Steps
    reply: Reply
    version: int = STATE_VERSION


class Session:
    """An environment that is played one episode after another.

    A session is used by one thread at a time.

    Attributes:
        env_id: id of the environment.
        env: the environment, without wrappers.
        steps: number of steps since the last reset.
        last: the last reply; ``None`` before the first reset.
    """

    def __init__(self, env_id: str = "SGD-v0", arguments: Mapping[str, Any] | None = None) -> None:
        """Open an environment.

        Args:
            env_id: ``"SGD-v0"``, ``"SGDSim-v0"`` or ``"Traces-v0"``.
            arguments: arguments of ``gymnasium.make``, with ``max_episode_steps``.

        Raises:
            ValueError: the environment or an argument is unknown, or a value is not allowed.
            DataError: the corpus does not exist or is damaged.
        """
        options = dict(arguments or {})
        self._max_steps: int | None = options.pop("max_episode_steps", None)
        if not (self._max_steps is None or _is_positive(self._max_steps)):
            raise ValueError(
                f"max_episode_steps must be a whole number from 1 on, not {self._max_steps!r}"
            )
        if options.pop("env", env_id) != env_id:
            raise ValueError(f"env is {env_id!r} already: leave it out of the arguments")
        mode = options.get("render_mode")
        if not (mode is None or isinstance(mode, str)):  # Gymnasium looks at it before we do
            raise ValueError(f"render_mode must be one of ansi, html, not {mode!r}")
        env: SGDEnv | SGDSimEnv = make_env(env=env_id, **options).unwrapped  # type: ignore[assignment]
        self.env_id = env_id
        self.env = env
        self.steps = 0
        self.last: Reply | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Reply:
        """Begin an episode; see `SGDEnv.reset`.

        Raises:
            ValueError: the seed or an option is not allowed.
            DataError: the split has no such dialogue.
        """
        observation, info = self.env.reset(seed=seed, options=options)
        self.steps = 0
        self.last = Reply(observation, None, False, False, info)
        return self.last

    def step(self, action: Any) -> Reply:
        """Take an action; see `SGDEnv.step`.

        Raises:
            ResetNeeded: no episode is in play.
            TypeError: the action has an unsupported type.
            ValueError: it is a mapping without any known key.
        """
        if self.last is None or self.last.over:
            raise ResetNeeded("no episode is in play: reset the session first")
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.steps += 1
        if self._max_steps is not None and self.steps >= self._max_steps:
            truncated = True
        self.last = Reply(observation, reward, terminated, truncated, info)
        return self.last

    def state(self) -> SessionState:
        """Return a snapshot of the episode.

        Raises:
            ResetNeeded: no episode was begun.
        """
        if self.last is None:
            raise ResetNeeded("no episode was begun: reset the session first")
        return SessionState(self.env.get_state(), self.steps, self.last)

    def set_state(self, state: SessionState | Mapping[str, Any]) -> Reply:
        """Return to a snapshot, of this session or of another one over the same split.

        Returns:
            The last reply before the snapshot.

        Raises:
            ValueError: the value is not a snapshot, or of another version, corpus or split.
            DataError: the split has no such dialogue.
        """
        if not isinstance(state, SessionState):
            try:
                state = msgspec.convert(state, SessionState)
            except msgspec.ValidationError as error:
                raise ValueError(f"not the state of a session: {error}") from error
        if state.version != STATE_VERSION:
            raise ValueError(
                f"the state is of version {state.version}, this program reads {STATE_VERSION}"
            )
        before = None if self.last is None else self.env.get_state()
        observation, _ = self.env.set_state(state.environment)
        if observation != state.reply.observation:
            if before is not None:
                self.env.set_state(before)
            raise ValueError("not the state of a session: its reply is of another moment")
        self.steps = state.steps
        self.last = state.reply
        return state.reply

    def render(self) -> str:
        """Return the conversation so far.

        Returns:
            Text, or HTML if the session was opened with ``render_mode="html"``.

        Raises:
            ResetNeeded: no episode was begun.
            ValueError: the session was opened without ``render_mode``.
        """
        if self.env.render_mode is None:
            raise ValueError('open the session with "render_mode": "ansi" or "html" to render it')
        return self.env.render() or ""

    def close(self) -> None:
        """Close the environment."""
        self.env.close()


def first_replies(
    env_id: str, arguments: Mapping[str, Any] | None, *, seed: int
) -> Iterator[tuple[str, Reply]]:
    """Yield the id and the first reply of each dialogue that an environment selects.

    Args:
        env_id: as in `Session`.
        arguments: as in `Session`.
        seed: seed of every reset.

    Raises:
        ValueError: as in `Session`.
        DataError: as in `Session`.
    """
    session = Session(env_id, arguments)
    ids = session.env.split.dialogue_ids()
    for index in session.env.selected:
        yield ids[index], session.reset(seed=seed, options={"dialogue_id": ids[index]})


def _is_positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
