"""Comparing two policies that played the same dialogues, in pairs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
import numpy as np

from agent_gym_env.evaluation.evaluate import RESAMPLES, SPLITS, Setting, setting_of, splits_of
from agent_gym_env.evaluation.metrics import episode_return, turn_facts
from agent_gym_env.evaluation.simulated import GROUPS, Outcome, groups_of, outcome
from agent_gym_env.evaluation.statistics import ClusterSums, Difference, paired_difference
from agent_gym_env.rollout.episode import Episode


class Comparison(msgspec.Struct, frozen=True, omit_defaults=True):
    """Comparison of two policies on the same dialogues: the first minus the second.

    In simulated dialogues two policies have no turns in common. There all differences are between
    whole episodes.

    Attributes:
        first: name of the first policy.
        second: name of the second policy.
        setting: setting of both.
        episodes: number of episodes that are paired by dialogue and seed.
        unpaired_episodes: number of episodes that only one of the two has.
        unpaired_turns: number of turns of paired episodes without a reward on either side or both.
        reward: difference in reward per turn; its verdict is that of the comparison. In simulated
            dialogues it is the difference in return.
        mean_return: difference in return.
        splits: difference in reward per turn in each of `SPLITS`; in simulated dialogues,
            difference in strict success in each of `GROUPS`. With so many more tests of one sample,
            one of them can differ by chance.
        success: difference in success; ``None`` for recorded dialogues.
        strict: difference in strict success; ``None`` for recorded dialogues. In simulated
            dialogues its verdict is that of the comparison.
    """

    first: str
    second: str
    setting: Setting
    episodes: int
    unpaired_episodes: int
    unpaired_turns: int
    reward: Difference
    mean_return: Difference
    splits: dict[str, Difference]
    success: Difference | None = None
    strict: Difference | None = None

    @property
    def headline(self) -> Difference:
        """The difference whose verdict is that of the comparison."""
        return self.reward if self.strict is None else self.strict


class _Played(msgspec.Struct, frozen=True, gc=False):
    """Part of an episode that a comparison needs."""

    total: float | None
    rewards: tuple[float | None, ...] = ()
    splits: tuple[tuple[str, ...], ...] = ()
    outcome: Outcome | None = None
    groups: tuple[str, ...] = ()


_Key = tuple[str, int | None]


def compare(
    first: Iterable[Episode],
    second: Iterable[Episode],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare two policies on the episodes that both played.

    Episodes are paired by split, dialogue and seed, and turns by their index. A turn without a
    reward on one side is left out on both.

    Args:
        first: episodes of the policy that the verdict is about.
        second: episodes of the policy to compare with.
        resamples: number of resamples of the bootstrap and of the test.
        seed: seed of both.

    Raises:
        ValueError: the settings differ, an episode occurs twice, or no episode is shared.
    """
    policy, setting, mine = _gather(first)
    other_policy, other_setting, theirs = _gather(second)
    _check_settings(policy, setting, other_policy, other_setting)
    shared = mine.keys() & theirs.keys()
    if not shared:
        raise ValueError(
            f"{policy!r} and {other_policy!r} share no episode of equal dialogue and seed: "
            f"{_first_of(mine)} against {_first_of(theirs)}; play both on the same dialogues "
            "with the same seed"
        )
    pairs = {key: (played, theirs[key]) for key, played in mine.items() if key in shared}
    sums = _PairedSums()
    for (dialogue, _), (one, other) in pairs.items():
        sums.add(dialogue, one, other)

    def difference(name: str) -> Difference:
        return sums.difference(name, resamples=resamples, seed=seed)

    is_simulated = setting.user is not None
    return Comparison(
        first=policy,
        second=other_policy,
        setting=setting,
        episodes=len(pairs),
        unpaired_episodes=len(mine) + len(theirs) - 2 * len(pairs),
        unpaired_turns=sums.unpaired_turns,
        reward=difference("return" if is_simulated else "reward"),
        mean_return=difference("return"),
        splits={name: difference(name) for name in (GROUPS if is_simulated else SPLITS)},
        success=difference("success") if is_simulated else None,
        strict=difference("strict") if is_simulated else None,
    )


def _gather(episodes: Iterable[Episode]) -> tuple[str, Setting, Mapping[_Key, _Played]]:
    played: dict[_Key, _Played] = {}
    whose: tuple[str, Setting] | None = None
    for episode in episodes:
        whose = whose or (episode.policy, setting_of(episode))
        if whose != (episode.policy, setting_of(episode)):
            raise ValueError(
                f"one side of a comparison is one policy in one setting, but {episode.policy!r} in "
                f"{setting_of(episode)} follows {whose[0]!r} in {whose[1]}"
            )
        key = (episode.dialogue_id, episode.seed)
        if key in played:
            raise ValueError(
                f"{episode.policy!r} played dialogue {key[0]!r} twice with seed {key[1]}, so it "
                "cannot be paired; pass each episode once"
            )
        played[key] = _kept(episode)
    if whose is None:
        raise ValueError("one side of the comparison has no episodes")
    return *whose, played


def _kept(episode: Episode) -> _Played:
    if episode.simulated_user is not None:
        return _Played(
            total=episode_return(episode),
            outcome=outcome(episode),
            groups=tuple(groups_of(episode)),
        )
    facts = list(turn_facts(episode))
    return _Played(
        total=episode_return(episode),
        rewards=tuple(turn.reward for turn in facts),
        splits=tuple(splits_of(turn) for turn in facts),
    )


def _check_settings(policy: str, setting: Setting, other_policy: str, other: Setting) -> None:
    for name in Setting.__struct_fields__:
        found, expected = getattr(setting, name), getattr(other, name)
        if found != expected:
            raise ValueError(
                f"the episodes cannot be compared: their {name.replace('_', ' ')} differs, "
                f"{found!r} for {policy!r} and {expected!r} for {other_policy!r}; "
                "play both in one setting, or rescore one by the other's reward"
            )


def _first_of(played: Mapping[_Key, _Played]) -> str:
    dialogue, seed = min(played, key=str)
    return f"{len(played)} episodes such as {dialogue!r} with seed {seed}"


class _PairedSums:
    """Sums of the rewards of two policies, over the turns that both have scored."""

    def __init__(self) -> None:
        self._first = ClusterSums()
        self._second = ClusterSums()
        self.unpaired_turns = 0

    def add(self, dialogue: str, one: _Played, other: _Played) -> None:
        """Add an episode that both played."""
        self._add_pair(dialogue, "return", one.total, other.total)
        if one.outcome is not None and other.outcome is not None:
            self._add_pair(dialogue, "success", one.outcome.success, other.outcome.success)
            for name in ("strict", *one.groups):
                self._add_pair(dialogue, name, one.outcome.strict, other.outcome.strict)
        self.unpaired_turns += abs(len(one.rewards) - len(other.rewards))
        for mine, theirs, splits in zip(one.rewards, other.rewards, one.splits, strict=False):
            self.unpaired_turns += mine is None or theirs is None
            for name in ("reward", *splits):
                self._add_pair(dialogue, name, mine, theirs)

    def _add_pair(
        self, dialogue: str, quantity: str, mine: float | None, theirs: float | None
    ) -> None:
        if mine is not None and theirs is not None:
            self._first.add(dialogue, quantity, mine)
            self._second.add(dialogue, quantity, theirs)

    def difference(self, quantity: str, *, resamples: int, seed: int) -> Difference:
        """Compare the two policies in one quantity."""
        first, counts = self._first.columns(quantity)
        second, _ = self._second.columns(quantity)
        rng = np.random.default_rng(seed)
        return paired_difference(first, second, counts, resamples=resamples, rng=rng)
