"""Figures of simulated dialogues: success, its reliability, and the user's own faults."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from math import comb

import msgspec

from agent_gym_env.corpus.goals import turn_kind
from agent_gym_env.evaluation.metrics import domain, is_ended
from agent_gym_env.evaluation.statistics import Bootstrap, ClusterSums, Estimate
from agent_gym_env.rollout.episode import Episode, SimulatedTurn
from agent_gym_env.types import DialogueAct

GROUPS = ("seen", "mixed", "unseen", "with_write", "without_write")
"""Subsets of the dialogues: train has all, some or none of the services; the goal has a write or
not."""

OUT_OF_PLACE = (
    "request_of_unknown_slot",
    "offer_of_unknown_row",
    "offer_without_a_row",
    "offer_in_transaction",
    "confirmation_of_nothing",
    "told_before_an_offer",
    "success_in_search",
    "failure_without_a_search",
)
CORRECTED = ("offer_refused", "confirmation_corrected")
IGNORED = (
    "same_row_again",
    "question_repeated",
    "alternative_repeated",
    "more_too_early",
    "nothing_changed",
)
OF_AGENT = {
    **dict.fromkeys(OUT_OF_PLACE, "out_of_place"),
    **dict.fromkeys(CORRECTED, "corrected"),
    **dict.fromkeys(IGNORED, "ignored"),
}
"""Kind of fault by event of the user, for events that the agent caused."""

_WORDS = {"recorded_words": "words_recorded", "words_failed": "words_model_failed"}
"""Event of the user by figure about its words."""

_MOST_LISTED = 8
"""Every number of plays up to this one is estimated, and beyond it the powers of two."""

_PREFIX = "simulated/"

DOMAIN = "domain/"
"""Prefix of the quantities by domain."""


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """Outcome of a simulated dialogue.

    Attributes:
        success: whether the user's goal was reached.
        strict: whether it was reached without a broken rule.
        milestones: share of settled errands and answered questions.
    """

    success: bool
    strict: bool
    milestones: float


class UserFigures(msgspec.Struct, frozen=True):
    """Figures of the simulated user, with its own faults apart from those of the agent.

    Attributes:
        not_understood: share of turns that the user could not read, or missed.
        misread: share of turns that the user took for another kind of turn than the agent stated;
            only turns that state their acts count.
        defaults: share of turns that the user understood and answered by rule, because the recorded
            user was never in this situation.
        out_of_place: share of turns with a move that has no meaning where it was made.
        corrected: share of turns in which the user refused an offer or corrected values.
        ignored: share of turns in which the user had to repeat something, or nothing changed.
        recorded_words: share of the user's answers in the recorded user's words.
        words_failed: share of the user's answers for which its language model's words failed the
            checks.
        patience_lost: number of turns in a dialogue that cost patience.
        leaves: share of dialogues that the user left because patience was lost.
    """

    not_understood: Estimate
    misread: Estimate
    defaults: Estimate
    out_of_place: Estimate
    corrected: Estimate
    ignored: Estimate
    recorded_words: Estimate
    words_failed: Estimate
    patience_lost: Estimate
    leaves: Estimate


class Reliability(msgspec.Struct, frozen=True):
    """Success in k plays of a dialogue, estimated without bias from n plays.

    pass^k is the probability that all of k plays succeed, pass@k that at least one does.

    Attributes:
        k: number of plays.
        fewest: smallest number n of plays of a dialogue that counts.
        most: largest number n of plays of a dialogue.
        all_success: pass^k of success.
        any_success: pass@k of success.
        all_strict: pass^k of strict success.
        any_strict: pass@k of strict success.
    """

    k: int
    fewest: int
    most: int
    all_success: Estimate
    any_success: Estimate
    all_strict: Estimate
    any_strict: Estimate


class SimulatedFigures(msgspec.Struct, frozen=True):
    """Figures of a policy's simulated dialogues; each episode is one value.

    Attributes:
        success: share of episodes in which the user's goal was reached.
        strict: share of episodes in which it was reached without a broken rule.
        milestones: mean share of settled errands and answered questions.
        turns: mean number of turns.
        calls: mean number of tool calls.
        success_in: success in each of `GROUPS`.
        strict_in: strict success in each of `GROUPS`.
        reliability: pass^k and pass@k; empty if no dialogue was played twice.
        reasons: number of episodes without strict success by reason.
        user: figures of the simulated user.
    """

    success: Estimate
    strict: Estimate
    milestones: Estimate
    turns: Estimate
    calls: Estimate
    success_in: dict[str, Estimate]
    strict_in: dict[str, Estimate]
    reliability: tuple[Reliability, ...]
    reasons: dict[str, int]
    user: UserFigures


def outcome(episode: Episode) -> Outcome | None:
    """Return the outcome of a simulated episode.

    Returns:
        The outcome; a dialogue that a time limit cut off is not a success. ``None`` if it is
        unknown, because the episode broke off for another reason.
    """
    if not is_ended(episode) or not episode.turns:
        return None
    last = episode.turns[-1].simulated
    if last is None:
        return None
    verdict, is_over = last.verdict, episode.terminated
    return Outcome(verdict.success and is_over, verdict.strict and is_over, verdict.milestones)


def groups_of(episode: Episode) -> Iterator[str]:
    """Yield those of `GROUPS` that a simulated episode belongs to."""
    if episode.seen_services is not None:
        seen = len(episode.seen_services)
        yield "unseen" if not seen else "seen" if seen == len(episode.services) else "mixed"
    user = episode.simulated_user
    if user is not None:
        yield "with_write" if user.writes else "without_write"


def pass_all(plays: int, successes: int, k: int) -> float:
    """Estimate the probability that all of k plays succeed, C(c, k) / C(n, k).

    Args:
        plays: number n of plays, at least k.
        successes: number c of successes.
        k: number of plays that must succeed.
    """
    return comb(successes, k) / comb(plays, k)


def pass_any(plays: int, successes: int, k: int) -> float:
    """Estimate the probability that any of k plays succeeds, 1 - C(n - c, k) / C(n, k).

    The estimator of Chen et al., "Evaluating Large Language Models Trained on Code", 2021.

    Args:
        plays: number n of plays, at least k.
        successes: number c of successes.
        k: number of plays.
    """
    return 1 - comb(plays - successes, k) / comb(plays, k)


class SimulationTally:
    """Adds up simulated episodes.

    Args:
        sums: sums by dialogue that the figures are added to.
    """

    def __init__(self, sums: ClusterSums) -> None:
        self._sums = sums
        self._outcomes: defaultdict[str, list[Outcome]] = defaultdict(list)
        self._reasons: Counter[str] = Counter()

    def add(self, episode: Episode) -> None:
        """Add an episode."""
        dialogue, found = episode.dialogue_id, outcome(episode)
        for name in Outcome.__struct_fields__:
            self._add(dialogue, name, None if found is None else getattr(found, name))
        for group in groups_of(episode):
            for name in ("success", "strict"):
                value = None if found is None else getattr(found, name)
                self._add(dialogue, f"{name}_in/{group}", value)
        calls = sum(len(turn.calls) for turn in episode.turns)
        for each in sorted({domain(service) for service in episode.services}):
            self._sums.add(dialogue, DOMAIN + each, None if found is None else found.strict)
        self._add(dialogue, "turns", None if found is None else len(episode.turns))
        self._add(dialogue, "calls", None if found is None else calls)
        if found is not None:
            self._outcomes[dialogue].append(found)
            if not found.strict:
                self._reasons.update(_reasons(episode))
        self._add_user(episode)

    def _add(self, dialogue: str, name: str, value: float | None) -> None:
        self._sums.add(dialogue, _PREFIX + name, value)

    def _add_user(self, episode: Episode) -> None:
        user = episode.simulated_user
        if user is None:
            return
        turns = [turn.simulated for turn in episode.turns if turn.simulated is not None]
        stated = [turn.steps[-1].action.acts for turn in episode.turns]
        for turn, acts in zip(turns, stated, strict=True):
            misread = _is_misread(turn, acts) if acts else None
            self._add(episode.dialogue_id, "misread", misread)
            faults = set[str]() if misread else _faults(turn)
            for name in ("not_understood", "defaults", "out_of_place", "corrected", "ignored"):
                self._add(episode.dialogue_id, name, float(name in faults))
            words = [event for event in turn.events if event.startswith("words_")]
            if words:
                for name, event in _WORDS.items():
                    self._add(episode.dialogue_id, name, float(event in words))
        lost = sum(turn.events.count("patience_lost") for turn in turns)
        self._add(episode.dialogue_id, "patience_lost", lost)
        self._add(episode.dialogue_id, "leaves", float(user.leaves))

    def add_reliability(self) -> None:
        """Add pass^k and pass@k of each dialogue, once all episodes were added."""
        for k in self._numbers_of_plays():
            for dialogue, outcomes in self._outcomes.items():
                if len(outcomes) < k:
                    continue
                for name in ("success", "strict"):
                    right = sum(getattr(each, name) for each in outcomes)
                    self._add(dialogue, f"all_{name}/{k}", pass_all(len(outcomes), right, k))
                    self._add(dialogue, f"any_{name}/{k}", pass_any(len(outcomes), right, k))

    def _numbers_of_plays(self) -> list[int]:
        most = max(map(len, self._outcomes.values()), default=0)
        if most < 2:
            return []
        powers = [1 << power for power in range(most.bit_length())]
        listed = {*range(1, _MOST_LISTED + 1), *powers, most}
        return sorted(k for k in listed if k <= most)

    def figures(self, bootstrap: Bootstrap) -> SimulatedFigures:
        """Estimate the figures of the episodes that were added."""

        def estimate(name: str) -> Estimate:
            return bootstrap.estimate(_PREFIX + name)

        return SimulatedFigures(
            **{name: estimate(name) for name in (*Outcome.__struct_fields__, "turns", "calls")},
            success_in={group: estimate(f"success_in/{group}") for group in GROUPS},
            strict_in={group: estimate(f"strict_in/{group}") for group in GROUPS},
            reliability=tuple(self._reliability(k, bootstrap) for k in self._numbers_of_plays()),
            reasons=dict(self._reasons.most_common()),
            user=UserFigures(*map(estimate, UserFigures.__struct_fields__)),
        )

    def _reliability(self, k: int, bootstrap: Bootstrap) -> Reliability:
        plays = [len(outcomes) for outcomes in self._outcomes.values() if len(outcomes) >= k]
        names = ("all_success", "any_success", "all_strict", "any_strict")
        estimates = {name: bootstrap.estimate(f"{_PREFIX}{name}/{k}") for name in names}
        return Reliability(k, min(plays), max(plays), **estimates)


def _is_misread(turn: SimulatedTurn, acts: Iterable[DialogueAct]) -> bool:
    """Return whether the user read another kind of turn than the agent's acts are of."""
    read = turn.meaning.kind
    return read != "none" and read != turn_kind({each.act for each in acts})


def _faults(turn: SimulatedTurn) -> set[str]:
    """Return the names of the figures of `UserFigures` that a turn counts for."""
    faults = {OF_AGENT[event] for event in turn.events if event in OF_AGENT}
    if not turn.understood and not faults:
        return {"not_understood"}
    if turn.answer and not turn.recorded and not faults:
        return {"defaults"}
    return faults


def _reasons(episode: Episode) -> set[str]:
    """Return the reasons against strict success, without the slot or errand that they are about."""
    last = episode.turns[-1].simulated
    reasons = () if last is None else last.verdict.reasons
    found = {re.sub(r"_\d+_", "_", reason.partition(":")[0]) for reason in reasons}
    return found or {"cut_off"}
