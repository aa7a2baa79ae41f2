"""The summary of what one policy earned, from its recorded episodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec

from agent_gym_env.evaluation.metrics import ToolCounts, TurnFacts, episode_return, turn_facts
from agent_gym_env.evaluation.statistics import Bootstrap, ClusterSums, Estimate
from agent_gym_env.rollout.episode import Episode

RESAMPLES = 2000
HISTOGRAM_BINS = 20

SPLITS = ("with_due_call", "without_due_call", "seen", "unseen")
"""Parts of the turns: by whether a call is due, and by whether train has the turn's service."""

_DOMAIN = "domain/"
_COMPONENT = "component/"


class Setting(msgspec.Struct, frozen=True):
    """What two evaluations must have in common to be compared.

    Attributes:
        corpus: fingerprint of the compiled split.
        split: the split.
        schema_variant: ``v1`` to ``v5``, or ``None`` for the original schema.
        reward: the reward's name.
    """

    corpus: str
    split: str
    schema_variant: str | None
    reward: str


class Counts(msgspec.Struct, frozen=True):
    """How much was played, and what went wrong.

    Attributes:
        episodes: failed ones included.
        dialogues: distinct ones.
        turns: closed ones.
        unscored_turns: turns without a reward.
        failed_episodes: how many, by class of the error that ended the policy.
        action_errors: how many, by code.
    """

    episodes: int
    dialogues: int
    turns: int
    unscored_turns: int
    failed_episodes: dict[str, int]
    action_errors: dict[str, int]


class ToolMetrics(msgspec.Struct, frozen=True):
    """How well tools were called, each as a ratio over all turns.

    Attributes:
        precision: of the calls made, those of a tool that was due.
        recall: of the calls due, those whose tool was called.
        exact_match: of the calls due, those made with all arguments equal.
        argument_f1: over the calls due; ``count`` is of arguments due and made together.
    """

    precision: Estimate
    recall: Estimate
    exact_match: Estimate
    argument_f1: Estimate


class Evaluation(msgspec.Struct, frozen=True):
    """What a policy earned.

    Attributes:
        policy: the policy's name.
        setting: where it was played.
        counts: how much was played.
        mean_return: over the episodes whose every turn is known.
        reward: per turn.
        macro_reward: mean of the rewards per turn with and without a due call, which silence about
            tools cannot raise as most turns need none.
        splits: reward per turn in each of `SPLITS`.
        domains: reward per turn by domain.
        components: mean of each part of the reward, over the turns where it applies.
        tools: the tool calls.
        response_similarity: Jaccard similarity of the sets of words, whatever the reward is.
        histogram: how many turns earned how much, in equal bins of [0, 1].
    """

    policy: str
    setting: Setting
    counts: Counts
    mean_return: Estimate
    reward: Estimate
    macro_reward: Estimate
    splits: dict[str, Estimate]
    domains: dict[str, Estimate]
    components: dict[str, Estimate]
    tools: ToolMetrics
    response_similarity: Estimate
    histogram: tuple[int, ...]


def summarize(
    episodes: Iterable[Episode], *, resamples: int = RESAMPLES, seed: int = 0
) -> Evaluation:
    """Summarise what one policy earned in one setting.

    Args:
        episodes: read once, one at a time; a few numbers per dialogue are kept.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ValueError: there are no episodes, or not all are of one policy in one setting.
    """
    tally = _Tally()
    for episode in episodes:
        tally.add(episode)
    return tally.evaluation(resamples=resamples, seed=seed)


def setting_of(episode: Episode) -> Setting:
    """Tell where an episode was played."""
    return Setting(
        corpus=episode.corpus,
        split=episode.split,
        schema_variant=episode.schema_variant,
        reward=episode.reward,
    )


class _Tally:
    """Adds up the episodes of one policy in one setting."""

    def __init__(self) -> None:
        self._played: tuple[str, Setting] | None = None
        self._episodes = 0
        self._turns = 0
        self._sums = ClusterSums()
        self._failed: Counter[str] = Counter()
        self._action_errors: Counter[str] = Counter()
        self._histogram = [0] * HISTOGRAM_BINS

    def add(self, episode: Episode) -> None:
        """Add what an episode's turns earned."""
        self._check(episode)
        self._episodes += 1
        self._turns += len(episode.turns)
        if episode.error is not None:
            self._failed[episode.error.partition(":")[0]] += 1
        steps = (step for turn in episode.turns for step in turn.steps)
        self._action_errors.update(step.action_error for step in steps if step.action_error)
        self._sums.add(episode.dialogue_id, "return", episode_return(episode))
        for facts in turn_facts(episode):
            self._add_turn(episode.dialogue_id, facts)

    def _check(self, episode: Episode) -> None:
        played = (episode.policy, setting_of(episode))
        if self._played is None:
            self._played = played
        if played != self._played:
            raise ValueError(
                f"an evaluation is of one policy in one setting, but {played[0]!r} in {played[1]} "
                f"follows {self._played[0]!r} in {self._played[1]}; summarise each by itself"
            )

    def _add_turn(self, dialogue: str, facts: TurnFacts) -> None:
        for quantity, value in _means(facts):
            self._sums.add(dialogue, quantity, value)
        for quantity, above, below in _ratios(facts.tools):
            self._sums.add_ratio(dialogue, quantity, above, below)
        if facts.reward is not None:
            bin_ = int(facts.reward * HISTOGRAM_BINS)
            self._histogram[min(max(bin_, 0), HISTOGRAM_BINS - 1)] += 1

    def evaluation(self, *, resamples: int, seed: int) -> Evaluation:
        """Estimate everything from what was added."""
        if self._played is None:
            raise ValueError("there are no episodes to evaluate")
        policy, setting = self._played
        bootstrap = Bootstrap(self._sums, resamples=resamples, seed=seed)
        return Evaluation(
            policy=policy,
            setting=setting,
            counts=self._totals(),
            mean_return=bootstrap.estimate("return"),
            reward=bootstrap.estimate("reward"),
            macro_reward=bootstrap.estimate("with_due_call", "without_due_call"),
            splits={name: bootstrap.estimate(name) for name in SPLITS},
            domains=dict(sorted(bootstrap.estimates(_DOMAIN).items())),
            components=bootstrap.estimates(_COMPONENT),
            tools=ToolMetrics(*map(bootstrap.estimate, ToolMetrics.__struct_fields__)),
            response_similarity=bootstrap.estimate("response_similarity"),
            histogram=tuple(self._histogram),
        )

    def _totals(self) -> Counts:
        return Counts(
            episodes=self._episodes,
            dialogues=len(self._sums),
            turns=self._turns,
            unscored_turns=self._sums.left_out("reward"),
            failed_episodes=dict(self._failed),
            action_errors=dict(self._action_errors),
        )


def _means(facts: TurnFacts) -> Iterator[tuple[str, float | None]]:
    """Yield each quantity that a turn has one value of, and the value."""
    yield "reward", facts.reward
    for name in splits_of(facts):
        yield name, facts.reward
    yield _DOMAIN + facts.domain, facts.reward
    yield "response_similarity", facts.response_similarity
    for part, value in facts.components.items():
        yield _COMPONENT + part, value


def _ratios(tools: ToolCounts) -> Iterator[tuple[str, float, float]]:
    """Yield each quantity that is a ratio of counts, with what a turn adds to either count."""
    yield "precision", tools.matched, tools.made
    yield "recall", tools.matched, tools.due
    yield "exact_match", tools.exact, tools.due
    if tools.due:
        arguments = tools.arguments_due + tools.arguments_made
        yield "argument_f1", 2 * tools.arguments_equal, arguments


def splits_of(facts: TurnFacts) -> tuple[str, ...]:
    """Name those of `SPLITS` that a turn is in."""
    by_call = "with_due_call" if facts.tools.due else "without_due_call"
    if facts.seen is None:
        return (by_call,)
    return by_call, "seen" if facts.seen else "unseen"
