"""The vector environments: many dialogues in one process, without wrappers around each."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from agent_gym_env.envs.actions import (
    ActionWithActs,
    ParsedAction,
    parse_action,
    parse_action_with_acts,
)
from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.envs.sgd_sim import SGDSimEnv

Texts = dict[str, tuple[str, ...]]
Booleans = NDArray[np.bool_]
Info = dict[str, Any]


class DialogueVectorEnv(VectorEnv[Texts, Any, NDArray[Any]]):
    """Many dialogues of one environment; the same bytes as that many single environments.

    Observations and actions are dictionaries of tuples, with a text for each dialogue. `step` also
    takes a sequence of single actions, each in any form that the single environment takes. Infos
    are merged as Gymnasium's vector environments do: for each key an array, and a mask ``_key``
    that says which dialogues have it; arrays of plain numbers and booleans have their dtype,
    others hold objects.

    Args:
        num_envs: number of dialogues.
        autoreset_mode: ``"SameStep"``: a dialogue that ends is reset in the same step; its last
            observation and info are in ``final_obs`` and ``final_info``. ``"NextStep"``: it is
            reset in the step after, which ignores the action. ``"Disabled"``: it stays at its end
            until ``reset(options={"reset_mask": …})``, a boolean array of shape ``(num_envs,)``.
        max_episode_steps: truncates a dialogue after so many steps; ``None`` for no limit.
        **arguments: arguments of the single environment.
    """

    single: type[Any]
    """Class of the single environment."""

    def __init__(
        self,
        num_envs: int = 1,
        *,
        autoreset_mode: str | AutoresetMode = AutoresetMode.SAME_STEP,
        max_episode_steps: int | None = None,
        **arguments: Any,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, not {num_envs}")
        if max_episode_steps is not None and max_episode_steps < 1:
            raise ValueError(f"max_episode_steps must be at least 1, not {max_episode_steps}")
        env = self.single(**arguments)
        self.num_envs = num_envs
        self.envs = [copy.copy(env) for _ in range(num_envs)]
        self.autoreset_mode = _autoreset_mode(autoreset_mode)
        self.metadata = {**env.metadata, "autoreset_mode": self.autoreset_mode}
        self.render_mode = env.render_mode
        self.single_observation_space = env.observation_space
        self.single_action_space = env.action_space
        self.observation_space = batch_space(env.observation_space, num_envs)
        self.action_space = batch_space(env.action_space, num_envs)
        self._max_steps = max_episode_steps
        self._steps = [0] * num_envs
        self._ended = [False] * num_envs
        self._observations: list[dict[str, str]] = [{}] * num_envs

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Texts, Info]:
        """Begin dialogues.

        Args:
            seed: an integer seeds dialogue ``i`` with ``seed + i``; a sequence gives one seed each.
            options: as in the single environment, and ``reset_mask``: the dialogues to reset.

        Raises:
            ValueError: seeds or mask are not one for each dialogue.
            TypeError: the mask is not a boolean array.
        """
        seeds = self._seeds(seed)
        options = dict(options or {})
        mask = self._checked_mask(options.pop("reset_mask", None))
        if not mask.all() and not all(self._observations):
            raise ValueError("the first reset begins every dialogue: it takes no reset_mask")
        infos: list[Info | None] = [None] * self.num_envs
        for place in np.flatnonzero(mask).tolist():
            infos[place] = self._begin(place, seeds[place], options)
        return self._batched(), _merged(infos)

    def _begin(
        self, place: int, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> Info:
        info: Info
        self._observations[place], info = self.envs[place].reset(seed=seed, options=options)
        self._steps[place] = 0
        self._ended[place] = False
        return info

    def _seeds(self, seed: int | Sequence[int | None] | None) -> Sequence[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, (int, np.integer)):
            return [int(seed) + place for place in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise ValueError(f"{len(seed)} seeds for {self.num_envs} dialogues")
        return seed

    def _checked_mask(self, mask: Booleans | None) -> Booleans:
        if mask is None:
            return np.ones(self.num_envs, np.bool_)
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            raise TypeError("reset_mask is a NumPy array of booleans")
        if mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(
                f"reset_mask has shape ({self.num_envs},) and at least one True; "
                f"this one has shape {mask.shape} and {int(mask.sum())} True"
            )
        return mask

    def step(self, actions: Any) -> tuple[Texts, NDArray[np.float64], Booleans, Booleans, Info]:
        """Take one action in each dialogue.

        Raises:
            ValueError: there is not one action for each dialogue, or one that has ended was not
                reset where the mode is ``"Disabled"``.
            TypeError: an action has an unsupported type.
            LMError: a language model did not answer; begin every dialogue again with `reset`.
        """
        # Every mistake of the caller is found first: a batch is taken whole or not at all.
        parsed = [self._parse(action) for action in self._single_actions(actions)]
        if self.autoreset_mode is AutoresetMode.DISABLED and any(self._ended):
            ended = [place for place, has_ended in enumerate(self._ended) if has_ended]
            raise ValueError(
                f"dialogues {ended} have ended: reset them with options={{'reset_mask': …}} first"
            )
        rewards = [0.0] * self.num_envs
        terminated = [False] * self.num_envs
        truncated = [False] * self.num_envs
        infos: list[Info] = []
        final: list[tuple[dict[str, str], Info] | None] = [None] * self.num_envs
        same_step = self.autoreset_mode is AutoresetMode.SAME_STEP
        for place, action in enumerate(parsed):
            if self._ended[place]:
                infos.append(self._begin(place))
                continue
            observation, reward, over, info = self._take(self.envs[place], action)
            rewards[place], terminated[place] = reward, over
            self._observations[place] = observation
            self._steps[place] = steps = self._steps[place] + 1
            truncated[place] = cut = steps == self._max_steps
            if over or cut:
                self._ended[place] = True
                if same_step:
                    final[place] = observation, info
                    info = self._begin(place)
            infos.append(info)
        merged = _merged(infos)
        if same_step and any(final):
            merged.update(_merged_final(final))
        return self._batched(), np.array(rewards), np.array(terminated), np.array(truncated), merged

    def _parse(self, action: Any) -> Any:
        """Return an action in the form that `_take` takes."""
        raise NotImplementedError

    def _take(self, env: Any, action: Any) -> tuple[dict[str, str], float, bool, Info]:
        """Take an action in one dialogue."""
        raise NotImplementedError

    def _single_actions(self, actions: Any) -> Iterable[Any]:
        if isinstance(actions, Mapping):
            try:
                columns = actions["text"], actions["tool_calls"]
            except KeyError as error:
                raise ValueError(
                    "actions is a mapping with 'text' and 'tool_calls', a text for each dialogue, "
                    f"or a sequence of actions; {error} is missing"
                ) from error
            sizes = [len(column) for column in columns]
            singles = ({"text": t, "tool_calls": c} for t, c in zip(*columns, strict=True))
            if len(actions) > len(columns):
                sizes = [len(column) for column in actions.values()]
                rows = zip(*actions.values(), strict=True)
                singles = (dict(zip(actions, row, strict=True)) for row in rows)
        else:
            sizes = [len(actions)]
            singles = actions
        if any(size != self.num_envs for size in sizes):
            raise ValueError(f"{sizes} actions for {self.num_envs} dialogues")
        return singles

    def _batched(self) -> Texts:
        leaves = self._observations[0]
        columns = zip(*[observation.values() for observation in self._observations], strict=True)
        return dict(zip(leaves, columns, strict=True))

    def render(self) -> tuple[str | None, ...]:  # type: ignore[override]
        """Render every dialogue."""
        return tuple(env.render() for env in self.envs)

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Call a method, or read an attribute, of the environment of every dialogue."""
        found = [getattr(env, name) for env in self.envs]
        return tuple(each(*args, **kwargs) if callable(each) else each for each in found)


class SGDVectorEnv(DialogueVectorEnv):
    """``SGD-v0`` for many dialogues, see `DialogueVectorEnv`."""

    single = SGDEnv

    def _parse(self, action: Any) -> ParsedAction:
        return parse_action(action)

    def _take(self, env: SGDEnv, action: ParsedAction) -> tuple[dict[str, str], float, bool, Info]:
        return env.replay.step(action)


class SGDSimVectorEnv(DialogueVectorEnv):
    """``SGDSim-v0`` for many dialogues, see `DialogueVectorEnv`; actions may carry ``acts``."""

    single = SGDSimEnv

    def _parse(self, action: Any) -> ActionWithActs:
        return parse_action_with_acts(action)

    def _take(
        self, env: SGDSimEnv, action: ActionWithActs
    ) -> tuple[dict[str, str], float, bool, Info]:
        simulation = env.simulation
        if simulation.over:
            raise ResetNeeded("a dialogue broke off in the last step: call reset() first")
        return simulation.step(action)


def _autoreset_mode(mode: str | AutoresetMode) -> AutoresetMode:
    """Read a mode by its value (``"SameStep"``) or its name (``"SAME_STEP"``)."""
    if isinstance(mode, AutoresetMode):
        return mode
    known = {mode.value: mode for mode in AutoresetMode}
    known.update(AutoresetMode.__members__)
    if mode not in known:
        raise ValueError(f"autoreset_mode must be one of {sorted(known)}, not {mode!r}")
    return known[mode]


def _merged(infos: Sequence[Info | None]) -> Info:
    """Merge infos that have the same keys in the same order; ``None`` for one that is absent."""
    present = [info for info in infos if info is not None]
    if len(present) == len(infos):
        return _merged_all(present)
    places = [place for place, info in enumerate(infos) if info is not None]
    return _merged_some(present, places, len(infos)) if places else {}


def _merged_all(infos: Sequence[Info]) -> Info:
    merged: Info = {}
    size = len(infos)
    columns = zip(*map(dict.values, infos), strict=True)
    for (key, value), column in zip(infos[0].items(), columns, strict=True):
        merged[key] = _merged_all(column) if type(value) is dict else _array(column, value)
        merged[f"_{key}"] = np.ones(size, np.bool_)
    return merged


def _merged_some(infos: Sequence[Info], places: list[int], size: int) -> Info:
    """Merge the infos of some places, such as the few dialogues that ended in a step."""
    merged: Info = {}
    mask = np.zeros(size, np.bool_)
    mask[places] = True
    for key, value in infos[0].items():
        column = [info[key] for info in infos]
        if type(value) is dict:
            merged[key] = _merged_some(column, places, size)
        else:
            merged[key] = array = np.empty(size, object)
            for place, each in zip(places, column, strict=True):
                array[place] = each
        merged[f"_{key}"] = mask.copy()
    return merged


def _array(values: Sequence[Any], example: Any) -> NDArray[Any]:
    if type(example) in (bool, int) and None not in values:
        return np.array(values)
    return np.fromiter(values, dtype=object, count=len(values))


def _merged_final(final: Sequence[tuple[dict[str, str], Info] | None]) -> Info:
    ended = np.array([each is not None for each in final])
    observations = [None if each is None else each[0] for each in final]
    return {
        "final_obs": np.fromiter(observations, dtype=object, count=len(final)),
        "_final_obs": ended,
        "final_info": _merged([None if each is None else each[1] for each in final]),
        "_final_info": ended.copy(),
    }
