"""A part of a split, to hold dialogues out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
from gymnasium.utils import seeding


class DialogueSubset(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Plays only some dialogues, drawn uniformly with the environment's own generator.

    Args:
        env: ``SGD-v0``, or wrappers around it that pass on the option ``dialogue_id``.
        dialogue_ids: of the environment's split.

    Example:
        >>> import gymnasium as gym, agent_gym_env
        >>> env = gym.make("SGD-v0")
        >>> some = env.unwrapped.split.dialogue_ids()[:3]
        >>> env = DialogueSubset(env, some)
        >>> observation, info = env.reset(seed=0)
        >>> info["dialogue_id"] in some
        True
    """

    def __init__(self, env: gym.Env[Any, Any], dialogue_ids: Sequence[str]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, dialogue_ids=list(dialogue_ids))
        gym.Wrapper.__init__(self, env)
        if isinstance(dialogue_ids, str) or not dialogue_ids:
            raise ValueError(f"dialogue_ids is a list of at least one id, not {dialogue_ids!r}")
        self.dialogue_ids = tuple(dialogue_ids)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin one of the dialogues, or the one that the options name."""
        if seed is not None:
            self.unwrapped.np_random, _ = seeding.np_random(seed)
        if not options or "dialogue_id" not in options:
            drawn = int(self.unwrapped.np_random.integers(len(self.dialogue_ids)))
            options = {**(options or {}), "dialogue_id": self.dialogue_ids[drawn]}
        return self.env.reset(options=options)
