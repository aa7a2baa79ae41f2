"""``SGDSim-v0``: a simulated user with the goal of a recorded dialogue is one episode."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, NoReturn, get_args

import gymnasium as gym
import msgspec
from gymnasium.error import ResetNeeded

from agent_gym_env.chat import Message
from agent_gym_env.corpus.corpus import Seen, open_corpus
from agent_gym_env.corpus.reader import CorpusReader
from agent_gym_env.envs.actions import parse_action_with_acts
from agent_gym_env.envs.dialogue import SGDEnv, choose_dialogue, restore_generator, unwrap_as
from agent_gym_env.envs.render import render_ansi, render_html
from agent_gym_env.envs.replay import OfferedTools
from agent_gym_env.envs.simulation import (
    STATE_VERSION,
    Simulation,
    SimulationSettings,
    SimulationState,
    Understanding,
)
from agent_gym_env.envs.spaces import action_space, observation_space
from agent_gym_env.errors import DataError
from agent_gym_env.lm.credentials import without_credentials
from agent_gym_env.rewards.task import TaskReward, make_task_reward
from agent_gym_env.suggestions import keywords, refuse_unknown, unknown_name
from agent_gym_env.users.agenda import PATIENCE
from agent_gym_env.users.noise import NoisyChannel
from agent_gym_env.users.options import make_user, read_noise
from agent_gym_env.users.reading.training import load_or_train
from agent_gym_env.users.wording import UserReading, UserWording

_SEEDS = 2**53
"""Seeds of dialogues lie below this number, which JSON readers keep exactly."""


class SGDSimEnv(gym.Env[dict[str, Any], Any]):
    """Task-oriented dialogues with a user who reacts.

    ## Description
    The user has the goal of a recorded dialogue, and answers what the agent says and does; services
    keep state; success is verified at the end. No language model takes part, unless the user is
    ``llm``.

    ## Action space, observation space
    As in `SGDEnv`. An action carries ``acts``, a list of ``[act, slot, value]`` that says what its
    text does.

    ## Rewards
    ``task`` (the default), ``task_success``, ``task_strict`` or ``milestones``; see
    `agent_gym_env.rewards.task`.

    ## Episode end
    Terminated when the user has said goodbye or has left. Truncated by
    `gymnasium.wrappers.TimeLimit` only.

    ## Info
    As in `SGDEnv`, with ``target`` always ``None``, and ``user_understood`` (``None`` while the
    turn is open), ``errands_done`` and ``task``: ``success``, ``strict``, ``milestones`` and
    ``reasons``, ``None`` until the end.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  (as Gymnasium declares it)
        "render_modes": ["ansi", "html"],
        "render_fps": 1,
    }

    def __init__(
        self,
        corpus: str | PathLike[str] | CorpusReader = "sample",
        split: str = "train",
        services: Sequence[str] | None = None,
        seen: Seen = "all",
        schema_variant: str | None = None,
        reward: str | Mapping[str, Any] | TaskReward = "task",
        understanding: Understanding = "text",
        user: str | Mapping[str, Any] | UserWording = "agenda",
        noise: Mapping[str, float] | None = None,
        patience: int = PATIENCE,
        max_tool_calls_per_turn: int = 4,
        render_mode: str | None = None,
        **unknown: NoReturn,
    ) -> None:
        """Open a corpus.

        Args:
            corpus: as in `SGDEnv`.
            split: ``"train"``, ``"dev"`` or ``"test"``.
            services: play only dialogues all of whose services are among these.
            seen: as in `SGDEnv`.
            schema_variant: as in `SGDEnv`.
            reward: a name of `agent_gym_env.rewards.task.TASK_REWARD_NAMES`, a mapping that
                configures one, or a `TaskReward`.
            understanding: ``"text"``: the user reads an action's text, by a model that is learned
                from the corpus's train split on first use, or by a language model; ``"acts"``: its
                acts instead.
            user: ``"agenda"``, ``"llm"`` or a registered name; a mapping with a name and options:
                ``{"name": "agenda", "miss": 0.03, "volunteer": 0.5}``, see
                `agent_gym_env.users.options.UserOptions`; or an object that finds the words.
            noise: what the agent mishears, for example ``{"acts": 0.1, "values": 0.05}``, see
                `agent_gym_env.users.options.Noise`; ``None`` for nothing.
            patience: number of turns without progress that the user accepts in an errand, from 0.
            max_tool_calls_per_turn: a turn with more closes.
            render_mode: ``None``, ``"ansi"`` or ``"html"``.
            **unknown: refused, with the name of the nearest argument.

        Raises:
            ValueError: an argument is not among its values.
            TypeError: an argument is of another type.
            DataError: the corpus is missing or damaged.
        """
        refuse_unknown("SGDSim-v0", unknown, keywords(SGDSimEnv))
        modes = self.metadata["render_modes"]
        if render_mode is not None and render_mode not in modes:
            raise ValueError(unknown_name("render_mode", render_mode, modes))
        if understanding not in get_args(Understanding):
            known = get_args(Understanding)
            raise ValueError(unknown_name("understanding", understanding, known))
        for name, value, least in (
            ("patience", patience, 0),
            ("max_tool_calls_per_turn", max_tool_calls_per_turn, 1),
        ):
            if type(value) is not int or value < least:
                raise ValueError(f"{name} must be a whole number from {least}, not {value!r}")
        misheard = read_noise(noise)
        self.corpus = open_corpus(corpus, schema_variant=schema_variant)
        self.split = self.corpus.split(split)
        user_options, wording = make_user(user, self.split, self.corpus)
        selected = self.split.select(services, seen)
        self.selected: Sequence[int] = [i for i in selected if self.split.has_goal(i)]
        if not self.selected:
            raise DataError(
                f"no dialogue of split {split!r} says what its user wants: a simulated user needs "
                "user turns with acts such as INFORM_INTENT; play the dialogues with SGD-v0"
            )
        reads = isinstance(wording, UserReading)
        self.settings = SimulationSettings(
            self.split,
            make_task_reward(reward),
            max_tool_calls_per_turn,
            patience,
            wording,
            user_options,
            NoisyChannel(misheard, self.split) if misheard.is_random() else None,
            understanding,
            None if understanding == "acts" or reads else load_or_train(self.corpus),
        )
        self.user_options: dict[str, Any] = {
            "understanding": understanding,
            "patience": patience,
            "user": {**_described(user), **msgspec.to_builtins(user_options)},
            "noise": msgspec.to_builtins(misheard),
        }
        """Everything that determines how the user behaves, as JSON values: for records."""
        self._offers: dict[tuple[str, ...], OfferedTools] = {}
        self._simulation: Simulation | None = None
        self.observation_space = observation_space()
        self.action_space = action_space()
        self.render_mode = render_mode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, str], dict[str, Any]]:
        """Begin a dialogue.

        Args:
            seed: seeds the generator that draws dialogues, and all that is random in them.
            options: ``{"dialogue_id": …}`` to play that dialogue, whatever was selected.

        Raises:
            ValueError: an option is not known.
            DataError: the split has no such dialogue.
        """
        super().reset(seed=seed)
        index = self._choose(options)
        settings = self.settings
        seed = int(self.np_random.integers(_SEEDS)) if settings.is_random() else 0
        self._simulation = Simulation(settings, self._offer(index), index, seed)
        return self._simulation.begin()

    def _choose(self, options: dict[str, Any] | None) -> int:
        index = choose_dialogue(self, options)
        if not self.split.has_goal(index):
            raise DataError(
                "the annotation of this dialogue does not say what its user wants; play it with "
                "SGD-v0",
                dialogue_id=self.split.dialogue_ids()[index],
            )
        return index

    def _offer(self, index: int) -> OfferedTools:
        services = self.split.task(index).services
        if services not in self._offers:
            self._offers[services] = OfferedTools(self.split.tools, services)
        return self._offers[services]

    def step(self, action: Any) -> tuple[dict[str, str], float, bool, bool, dict[str, Any]]:
        """Take an action.

        Raises:
            ResetNeeded: no dialogue is in play.
            TypeError: the action is of an unsupported type.
            ValueError: it is a mapping without any known key.
            LMError: the language model of the user did not answer; the dialogue is over then.
        """
        simulation = self._simulation
        if simulation is None or simulation.over:
            raise ResetNeeded("no dialogue is in play: call reset() first")
        observation, reward, over, info = simulation.step(parse_action_with_acts(action))
        return observation, reward, over, False, info

    def render(self) -> str | None:
        """Show the conversation so far, as text or as a piece of HTML."""
        if self.render_mode is None:
            return None
        simulation = self.simulation
        render = render_ansi if self.render_mode == "ansi" else render_html
        return render(simulation.task.dialogue_id, simulation.messages)

    def user_acts(self) -> tuple[Any, ...]:
        """Return the acts of the user's last turn: for the acts oracle and for tests only."""
        return self.simulation.user_acts()

    def tool_schemas(self) -> Mapping[str, Any]:
        """Return the tools on offer, by full name."""
        return self.simulation.tool_schemas()

    def get_state(self) -> dict[str, Any]:
        """Take the state of the dialogue and of the generator, as JSON-able values."""
        random = json.dumps(self.np_random.bit_generator.state)
        state: dict[str, Any] = json.loads(msgspec.json.encode(self.simulation.state(random)))
        return state

    def set_state(self, state: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
        """Return to a state, of this environment or of another one over the same split.

        Returns:
            The observation at which the state was taken, and an info in which nothing has closed.

        Raises:
            ValueError: the value is not such a state, or of another version, corpus or split.
            DataError: the split has no such dialogue.
        """
        try:
            taken = msgspec.json.decode(msgspec.json.encode(state), type=SimulationState)
            msgspec.json.decode(f"{taken.log}]", type=list[Message])
        except (msgspec.MsgspecError, TypeError, UnicodeEncodeError) as error:
            raise ValueError(f"not an SGDSim-v0 state: {error}") from error
        expected = (STATE_VERSION, self.split.fingerprint, self.split.name)
        found = (taken.version, taken.corpus, taken.split)
        if found != expected:
            raise ValueError(
                f"the state is of (version, corpus, split) {found}, this environment of {expected}"
            )
        index = self.split.index(taken.dialogue_id)
        errands = range(len(self.split.goal(index).errands))
        if any(number not in errands for number in (taken.user.errand, *taken.user.chosen)):
            raise ValueError("not an SGDSim-v0 state: the goal has no errand of such a number")
        simulation = Simulation(self.settings, self._offer(index), index, state=taken)
        if taken.random:
            restore_generator(self, taken.random, "SGDSim-v0")
        self._simulation = simulation
        return simulation.begin()

    @property
    def simulation(self) -> Simulation:
        """The dialogue in play, with the user's state: for records, never for a policy.

        Raises:
            ResetNeeded: no dialogue was begun.
        """
        if self._simulation is None:
            raise ResetNeeded("no dialogue was begun: call reset() first")
        return self._simulation


def unwrap_simulation(env: gym.Env[Any, Any]) -> SGDSimEnv:
    """Return the ``SGDSim-v0`` environment inside its wrappers.

    Raises:
        TypeError: another environment is inside.
    """
    return unwrap_as(env, SGDSimEnv, "SGDSim-v0")


def _described(user: object) -> dict[str, Any]:
    """Return the configuration of a user as JSON values, without credentials."""
    if not isinstance(user, Mapping):
        return {}
    plain = msgspec.to_builtins(dict(user), enc_hook=repr)
    described: dict[str, Any] = without_credentials(plain)
    return described


def unwrap_any(env: gym.Env[Any, Any]) -> SGDEnv | SGDSimEnv:
    """Return the ``SGD-v0`` or ``SGDSim-v0`` environment inside its wrappers.

    Raises:
        TypeError: another environment is inside.
    """
    if isinstance(env.unwrapped, SGDEnv):
        return env.unwrapped
    return unwrap_as(env, SGDSimEnv, "SGD-v0 or SGDSim-v0")
