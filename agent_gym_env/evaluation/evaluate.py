"""Summarising the recorded episodes of one policy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec

from agent_gym_env.evaluation.metrics import ToolCounts, TurnFacts, episode_return, turn_facts
from agent_gym_env.evaluation.simulated import DOMAIN, SimulatedFigures, SimulationTally
from agent_gym_env.evaluation.statistics import Bootstrap, ClusterSums, Estimate
from agent_gym_env.rollout.episode import Episode

RESAMPLES = 2000
HISTOGRAM_BINS = 20

SPLITS = ("with_due_call", "without_due_call", "seen", "unseen")
"""Subsets of the turns: with and without a due call; of services seen and unseen in train."""

_options_json = msgspec.json.Encoder(order="deterministic").encode

_COMPONENT = "component/"


class Setting(msgspec.Struct, frozen=True, omit_defaults=True):
    """The setting of an evaluation; only evaluations in equal settings can be compared.

    Attributes:
        corpus: fingerprint of the compiled split.
        split: name of the split.
        schema_variant: ``v1`` to ``v5``, or ``None`` for the original schema.
        reward: name of the reward.
        user: options of the simulated user, as JSON; ``None`` for recorded dialogues.
    """

    corpus: str
    split: str
    schema_variant: str | None
    reward: str
    user: str | None = None


class Counts(msgspec.Struct, frozen=True):
    """Counts of what was played and what failed.

    Attributes:
        episodes: number of episodes, failed ones included.
        dialogues: number of distinct dialogues.
        turns: number of closed turns.
        unscored_turns: number of turns without a reward.
        failed_episodes: number of failed episodes, by class of the policy's exception.
        action_errors: number of action errors, by code.
    """

    episodes: int
    dialogues: int
    turns: int
    unscored_turns: int
    failed_episodes: dict[str, int]
    action_errors: dict[str, int]


class ToolMetrics(msgspec.Struct, frozen=True):
    """Quality of the tool calls, each a ratio over all turns.

    Attributes:
        precision: share of the calls made whose tool was due.
        recall: share of the due calls whose tool was called.
        exact_match: share of the due calls that were made with exactly the due arguments.
        argument_f1: F1 score of the arguments of due calls; ``count`` is the number of arguments
            due and made together.
    """

    precision: Estimate
    recall: Estimate
    exact_match: Estimate
    argument_f1: Estimate


class Evaluation(msgspec.Struct, frozen=True, omit_defaults=True):
    """Summary of a policy's episodes.

    Attributes:
        policy: name of the policy.
        setting: setting of the episodes.
        counts: counts of what was played and what failed.
        mean_return: mean return of the episodes in which every turn was scored.
        reward: reward per turn.
        macro_reward: mean of two rewards per turn: with and without a due call. Most turns need no
            call, so a policy that never calls tools does well in the plain mean, but not in this.
        splits: reward per turn in each of `SPLITS`.
        domains: reward per turn by domain; strict success in simulated dialogues, for each domain
            of their services.
        components: mean of each component of the reward, over the turns to which it applies.
        tools: quality of the tool calls.
        response_similarity: Jaccard similarity of the sets of words, whatever the reward is.
        histogram: number of turns by reward, in equal bins of [0, 1].
        simulated: figures of simulated dialogues; ``None`` for recorded ones.
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
    simulated: SimulatedFigures | None = None


def summarize(
    episodes: Iterable[Episode], *, resamples: int = RESAMPLES, seed: int = 0
) -> Evaluation:
    """Summarise the episodes of one policy in one setting.

    Args:
        episodes: episodes; read once, one at a time. A few numbers per dialogue are kept.
        resamples: number of resamples of the bootstrap.
        seed: seed of the bootstrap.

    Raises:
        ValueError: ``episodes`` is empty, or mixes policies or settings.
    """
    tally = _Tally()
    for episode in episodes:
        tally.add(episode)
    return tally.evaluation(resamples=resamples, seed=seed)


def setting_of(episode: Episode) -> Setting:
    """Return the setting of an episode."""
    user = episode.simulated_user
    return Setting(
        corpus=episode.corpus,
        split=episode.split,
        schema_variant=episode.schema_variant,
        reward=episode.reward,
        user=None if user is None else _options_json(user.options).decode(),
    )


class _Tally:
    """Adds up the episodes of one policy in one setting."""

    def __init__(self) -> None:
        self._played: tuple[str, Setting] | None = None
        self._episodes = 0
        self._turns = 0
        self._sums = ClusterSums()
        self._simulated: SimulationTally | None = None
        self._failed: Counter[str] = Counter()
        self._action_errors: Counter[str] = Counter()
        self._histogram = [0] * HISTOGRAM_BINS

    def add(self, episode: Episode) -> None:
        """Add an episode."""
        self._check(episode)
        self._episodes += 1
        self._turns += len(episode.turns)
        if episode.error is not None:
            self._failed[episode.error.partition(":")[0]] += 1
        steps = (step for turn in episode.turns for step in turn.steps)
        self._action_errors.update(step.action_error for step in steps if step.action_error)
        self._sums.add(episode.dialogue_id, "return", episode_return(episode))
        if episode.simulated_user is not None:
            self._simulated = self._simulated or SimulationTally(self._sums)
            self._simulated.add(episode)
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
        if facts.tools is not None:
            for quantity, above, below in _ratios(facts.tools):
                self._sums.add_ratio(dialogue, quantity, above, below)
        if facts.reward is not None:
            bin_ = int(facts.reward * HISTOGRAM_BINS)
            self._histogram[min(max(bin_, 0), HISTOGRAM_BINS - 1)] += 1

    def evaluation(self, *, resamples: int, seed: int) -> Evaluation:
        """Estimate all quantities from the episodes that were added."""
        if self._played is None:
            raise ValueError("expected at least one episode to evaluate, found none")
        policy, setting = self._played
        if self._simulated is not None:
            self._simulated.add_reliability()
        bootstrap = Bootstrap(self._sums, resamples=resamples, seed=seed)
        return Evaluation(
            policy=policy,
            setting=setting,
            counts=self._totals(),
            mean_return=bootstrap.estimate("return"),
            reward=bootstrap.estimate("reward"),
            macro_reward=bootstrap.estimate("with_due_call", "without_due_call"),
            splits={name: bootstrap.estimate(name) for name in SPLITS},
            domains=dict(sorted(bootstrap.estimates(DOMAIN).items())),
            components=bootstrap.estimates(_COMPONENT),
            tools=ToolMetrics(*map(bootstrap.estimate, ToolMetrics.__struct_fields__)),
            response_similarity=bootstrap.estimate("response_similarity"),
            histogram=tuple(self._histogram),
            simulated=None if self._simulated is None else self._simulated.figures(bootstrap),
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
    """Yield the name and value of each quantity that a turn has one value of."""
    yield "reward", facts.reward
    for name in splits_of(facts):
        yield name, facts.reward
    if facts.tools is not None:
        yield DOMAIN + facts.domain, facts.reward
    if facts.response_similarity is not None:
        yield "response_similarity", facts.response_similarity
    for part, value in facts.components.items():
        yield _COMPONENT + part, value


def _ratios(tools: ToolCounts) -> Iterator[tuple[str, float, float]]:
    """Yield the name of each ratio of counts, and what a turn adds to the two counts."""
    yield "precision", tools.matched, tools.made
    yield "recall", tools.matched, tools.due
    yield "exact_match", tools.exact, tools.due
    if tools.due:
        arguments = tools.arguments_due + tools.arguments_made
        yield "argument_f1", 2 * tools.arguments_equal, arguments


def splits_of(facts: TurnFacts) -> tuple[str, ...]:
    """Return those of `SPLITS` that a turn belongs to."""
    by_call: tuple[str, ...] = ()
    if facts.tools is not None:
        by_call = ("with_due_call" if facts.tools.due else "without_due_call",)
    if facts.seen is None:
        return by_call
    return (*by_call, "seen" if facts.seen else "unseen")
