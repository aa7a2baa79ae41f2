"""Episodes from a part of a split, to hold dialogues out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import gymnasium as gym
from gymnasium.utils import seeding

from agent_gym_env.wrappers.checks import require_list


class DialogueSubset(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Plays only the dialogues that are listed, drawn uniformly with the environment's generator.

    Args:
        env: ``SGD-v0``, or wrappers around it that pass on the option ``dialogue_id``.
        dialogue_ids: ids of dialogues of the environment's split, at least one.

    Examples:
        >>> import gymnasium as gym, agent_gym_env
        >>> env = gym.make("SGD-v0")
        >>> some = env.unwrapped.split.dialogue_ids()[:3]
        >>> env = DialogueSubset(env, some)
        >>> observation, info = env.reset(seed=0)
        >>> info["dialogue_id"] in some
        True
    """

    def __init__(self, env: gym.Env[Any, Any], dialogue_ids: Iterable[str]) -> None:
        require_list("dialogue_ids", dialogue_ids)
        self.dialogue_ids = tuple(map(str, dialogue_ids))
        gym.utils.RecordConstructorArgs.__init__(self, dialogue_ids=list(self.dialogue_ids))
        gym.Wrapper.__init__(self, env)
        if not self.dialogue_ids:
            raise ValueError("dialogue_ids is empty; at least one id is required")
        for dialogue_id in self.dialogue_ids:
            self._bare.split.index(dialogue_id)  # raises now, not at a reset, if it is unknown

    @property
    def _bare(self) -> Any:
        return self.unwrapped

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin one of the dialogues, or the one in the option ``dialogue_id``."""
        if seed is not None:
            # `Env.reset` would seed the generator again, and the next reset would repeat the draw.
            self._bare.np_random, self._bare._np_random_seed = seeding.np_random(seed)
        if not options or "dialogue_id" not in options:
            drawn = int(self._bare.np_random.integers(len(self.dialogue_ids)))
            options = {**(options or {}), "dialogue_id": self.dialogue_ids[drawn]}
        return self.env.reset(options=options)
