"""``SGD-v0``: one recorded dialogue is one episode."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn, Protocol, TypeVar

import gymnasium as gym
import msgspec
import numpy as np
from gymnasium.error import ResetNeeded

from agent_gym_env.corpus.corpus import CorpusConfig, Seen, Split, open_corpus
from agent_gym_env.envs.actions import parse_action
from agent_gym_env.envs.render import render_ansi, render_html
from agent_gym_env.envs.replay import (
    Replay,
    ReplaySettings,
    ToolsOffered,
    read_snapshot,
)
from agent_gym_env.envs.spaces import action_space, observation_space
from agent_gym_env.registry import TOOL_BACKENDS
from agent_gym_env.rewards.base import Reward
from agent_gym_env.rewards.presets import make_reward_for
from agent_gym_env.suggestions import keywords, refuse_unknown, unknown_name
from agent_gym_env.tools.backend import BackendSource, ToolBackend
from agent_gym_env.tools.validation import ToolCatalogue
from agent_gym_env.types import Action


class SGDEnv(gym.Env[dict[str, Any], Any]):
    """Task-oriented dialogues with tool calls, replayed turn by turn.

    ## Description
    The agent is the assistant of a recorded dialogue: it reads what the user says, calls the tools
    of the dialogue's services, and answers. The dialogues are those of Schema-Guided Dialogue
    (Rastogi et al., 2020) or of any corpus in its file format. The user is a recording: the next
    recorded words come whatever the agent said, which suits imitation, offline
    reinforcement learning and scoring turn by turn. It does not simulate a user who reacts.

    ## Action space
    `Dict` of two texts of up to 64 KiB: ``text``, words for the user, and ``tool_calls``, a JSON
    list of ``{"name": "Service-Intent", "arguments": {…}}``, each ``""`` for none. `step` also
    takes the looser forms of `agent_gym_env.envs.actions.parse_action`.

    Text ends the agent's turn; tool calls without text keep it open. Calls are executed before the
    text is said. Neither closes the turn with an empty reply. What an agent gets wrong is answered
    in the world, as a tool result with an ``error``.

    ## Observation space
    `Dict` of four texts: ``user``, the user's latest words (``""`` while the agent's turn is open);
    ``tool_result``, a JSON array with ``name``, ``status`` and ``results`` or ``error`` for each
    call just made (``""`` for none); ``messages``, the conversation as a JSON array in OpenAI's
    chat format; ``tools``, the tools on offer as a JSON array in OpenAI's function format.

    ## Starting state
    A dialogue drawn uniformly, or the one of ``reset(options={"dialogue_id": …})``; the user has
    spoken.

    ## Rewards
    In [0, 1] when a turn closes, 0.0 for a step that leaves it open.

    ## Episode end
    Terminated after the dialogue's last turn. Never truncated but by
    `gymnasium.wrappers.TimeLimit`.

    ## Info
    ``dialogue_id``; ``turn``, how many turns have closed; ``services``; ``date``, the dialogue's
    "today"; ``reward_components``, ``None`` for a part that does not apply; ``reward_valid``;
    ``action_error``, a stable code where the action had to be repaired or was partly refused;
    ``target``, ``None`` until a turn closes and then what the corpus did in it, as a list of
    assistant messages.

    ## Arguments
    See `__init__`; all are plain JSON values.

    ## Version history
    * v0: first version.

    Examples:
        >>> import gymnasium as gym, agent_gym_env
        >>> env = gym.make("SGD-v0", split="dev")
        >>> observation, info = env.reset(seed=0)
        >>> observation, reward, terminated, truncated, info = env.step("Which city, please?")
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  (as Gymnasium declares it)
        "render_modes": ["ansi", "html"],
        "render_fps": 1,
    }

    def __init__(
        self,
        corpus: CorpusConfig = "sample",
        split: str = "train",
        services: Sequence[str] | None = None,
        seen: Seen = "all",
        schema_variant: str | None = None,
        reward: str | Mapping[str, Any] | Reward = "ground_truth",
        tools_offered: ToolsOffered = "dialogue",
        max_tool_calls_per_turn: int = 4,
        tool_backend: str | Mapping[str, Any] = "replay",
        system_prompt: bool = False,
        render_mode: str | None = None,
        **unknown: NoReturn,
    ) -> None:
        """Open a corpus.

        Args:
            corpus: ``"sample"``, ``"sgd"``, the path of a folder or archive in SGD's format, the
                ``"package.module:Name"`` of a reader of another format, a mapping with a name and
                options, or a `CorpusReader`.
            split: ``"train"``, ``"dev"`` or ``"test"``, or another split that a reader has.
            services: play only dialogues all of whose services are among these.
            seen: ``"seen"`` or ``"unseen"`` to play only dialogues all of whose services the train
                split has, or has not.
            schema_variant: ``"v1"`` to ``"v5"`` for the rewritten schemas of SGD-X.
            reward: a name, for example ``"balanced"`` or ``"package.module:Name"``, a mapping with
                a name and options, or a `Reward`.
            tools_offered: ``"dialogue"`` or ``"all"``: the tools of the dialogue's services, or of
                every service of the split.
            max_tool_calls_per_turn: a turn with more closes.
            tool_backend: ``"replay"`` for the recorded services, ``"nearest"`` for the most similar
                recorded call, ``{"name": "python", "tools": "module:name"}`` for functions of your
                own, or a name or mapping for a `ToolBackend` of your own.
            system_prompt: whether the messages begin with the system prompt of a log; those of SGD
                have none.
            render_mode: ``None``, ``"ansi"`` or ``"html"``.
            **unknown: refused, with the name of the nearest argument.

        Raises:
            ValueError: an argument is unknown or not among its values.
            DataError: the corpus does not exist or is not in order.
        """
        refuse_unknown("SGD-v0", unknown, keywords(SGDEnv))
        modes = self.metadata["render_modes"]
        if render_mode is not None and render_mode not in modes:
            raise ValueError(unknown_name("render_mode", render_mode, modes))
        opened = open_corpus(corpus, schema_variant=schema_variant)
        self.split = opened.split(split)
        self.settings = ReplaySettings(
            self.split,
            make_reward_for(reward, self.split, opened),
            tools_offered=tools_offered,
            max_tool_calls_per_turn=max_tool_calls_per_turn,
            shows_system_prompt=system_prompt,
            backend=_backend_factory(tool_backend, self.split),
        )
        self.selected = self.split.select(services, seen)
        self.corpus = opened
        self._replay: Replay | None = None
        self.observation_space = observation_space()
        self.action_space = action_space()
        self.render_mode = render_mode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, str], dict[str, Any]]:
        """Begin a dialogue.

        Args:
            seed: seeds the generator that draws dialogues.
            options: ``{"dialogue_id": …}`` to play that dialogue, whatever was selected.

        Raises:
            ValueError: an option is not known.
            DataError: the split has no such dialogue.
        """
        super().reset(seed=seed)
        self._replay = Replay(self.settings, self.split.task(choose_dialogue(self, options)))
        return self._replay.begin()

    def step(self, action: Any) -> tuple[dict[str, str], float, bool, bool, dict[str, Any]]:
        """Take an action.

        Raises:
            ResetNeeded: no dialogue is in play.
            TypeError: the action has an unsupported type.
            ValueError: it is a mapping without any known key.
        """
        replay = self._replay
        if replay is None or replay.over:
            raise ResetNeeded("no dialogue is in play: call reset() first")
        observation, reward, terminated, info = replay.step(parse_action(action))
        return observation, reward, terminated, False, info

    def render(self) -> str | None:
        """Show the conversation so far, as text or as a piece of HTML."""
        if self.render_mode is None:
            return None
        replay = self.replay
        render = render_ansi if self.render_mode == "ansi" else render_html
        return render(replay.task.dialogue_id, replay.messages)

    def recorded_action(self) -> Action:
        """Return what the corpus does in the open turn: its call, if any, and its reply.

        In a turn with several rounds of calls, it is the next round, or the reply after
        them. For teachers and tests only: a policy that is to be evaluated must not see it.

        Raises:
            ResetNeeded: no dialogue is in play.
        """
        replay = self.replay
        if replay.over:
            raise ResetNeeded("the dialogue is over: call reset() first")
        return replay.recorded_action()

    def get_state(self) -> dict[str, Any]:
        """Return the state of the dialogue and of the generator, as JSON-able values."""
        random = json.dumps(self.np_random.bit_generator.state)
        state: dict[str, Any] = msgspec.to_builtins(self.replay.snapshot(random))
        return state

    def set_state(self, state: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
        """Return to a state, of this environment or of another one over the same split.

        Returns:
            The observation that the state was taken at, and an info in which nothing has closed.

        Raises:
            ValueError: the value is not such a state, or of another version, corpus or split.
        """
        if not isinstance(state, Mapping):
            raise ValueError(f"not an SGD-v0 state: {type(state).__name__}")
        try:
            snapshot = read_snapshot(state)
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            raise ValueError(f"not an SGD-v0 state: {error}") from error
        replay = Replay.restored(self.settings, snapshot)
        if snapshot.random:
            restore_generator(self, snapshot.random, "SGD-v0")
        self._replay = replay
        return replay.begin()

    @property
    def replay(self) -> Replay:
        """The dialogue in play, with what the corpus did in it: for records, never for a policy.

        Raises:
            ResetNeeded: none was begun.
        """
        if self._replay is None:
            raise ResetNeeded("no dialogue was begun: call reset() first")
        return self._replay


_Env = TypeVar("_Env")


class Selects(Protocol):
    """An environment that draws one of its selected dialogues."""

    split: Split
    selected: Sequence[int]

    @property
    def np_random(self) -> np.random.Generator:
        """The generator of the environment."""


def choose_dialogue(env: Selects, options: Mapping[str, Any] | None) -> int:
    """Return the index of the dialogue that the options of ``reset`` name, or draw one.

    Raises:
        ValueError: an option is not known.
        DataError: the split has no such dialogue.
    """
    if not options:
        # One draw of a float is several times cheaper than one of an integer.
        return env.selected[int(env.np_random.random() * len(env.selected))]
    unknown = options.keys() - {"dialogue_id"}
    if unknown:
        raise ValueError(f"reset knows the option 'dialogue_id', not {sorted(unknown)}")
    return env.split.index(options["dialogue_id"])


def restore_generator(env: Selects, state: str, env_id: str) -> None:
    """Set the generator of an environment to a state, given as JSON.

    Raises:
        ValueError: the text is not the state of a generator.
    """
    try:
        env.np_random.bit_generator.state = json.loads(state)
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        raise ValueError(f"not an {env_id} state: its generator: {error}") from error


def unwrap_sgd(env: gym.Env[Any, Any]) -> SGDEnv:
    """Return the ``SGD-v0`` environment inside its wrappers.

    Raises:
        TypeError: another environment is inside.
    """
    return unwrap_as(env, SGDEnv, "SGD-v0")


def unwrap_as(env: gym.Env[Any, Any], kind: type[_Env], name: str) -> _Env:
    """Return the environment of a class inside its wrappers.

    Args:
        env: the environment.
        kind: the class.
        name: name of the environment, for the message.

    Raises:
        TypeError: another environment is inside.
    """
    inner = env.unwrapped
    if not isinstance(inner, kind):
        raise TypeError(f"expected {name}, possibly in wrappers, not {type(inner).__name__}")
    return inner


def _backend_factory(
    config: str | Mapping[str, Any], split: Split
) -> Callable[[ToolCatalogue], ToolBackend] | None:
    """Return a function that makes a tool backend; ``None`` for the recorded services."""
    options = {"name": config} if isinstance(config, str) else dict(config)
    name = options.pop("name", None)
    if name == "replay" and not options:
        return None
    context = {"catalogue": None, "split": split, "entities": split.entities}
    if not TOOL_BACKENDS.takes(name, "catalogue"):
        made = _make_source(name, options, context)
        if isinstance(made, BackendSource):
            return made.backend
    TOOL_BACKENDS.check(name, options, context)
    return partial(_make_backend, name, options, context)


def _make_source(name: object, options: Mapping[str, Any], context: Mapping[str, Any]) -> Any:
    if not TOOL_BACKENDS.takes(name, "model"):
        return TOOL_BACKENDS.make(name, options, context)
    # An environment without a model does not import the clients of models.
    from agent_gym_env.lm.open_model import make_with_model

    return make_with_model(TOOL_BACKENDS, name, options, context)


def _make_backend(
    name: object, options: Mapping[str, Any], context: Mapping[str, Any], catalogue: ToolCatalogue
) -> ToolBackend:
    backend: ToolBackend = TOOL_BACKENDS.call(name, options, {**context, "catalogue": catalogue})
    return backend
