"""Each promise of a reward is checked: a reward that breaks it is refused by its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from agent_gym_env.rewards.base import ClosedTurn, Score
from agent_gym_env.rewards.ground_truth import GroundTruthReward
from agent_gym_env.testing import ConformanceError, check_reward


class Changed(GroundTruthReward):
    """The plain reward, with one thing about its scores changed."""

    def __init__(self, change: Callable[[Score], Any]) -> None:
        self.change = change

    def score(self, turn: ClosedTurn) -> Score:
        changed: Score = self.change(super().score(turn))
        return changed


def with_value(value: Any) -> Callable[[], Changed]:
    return lambda: Changed(lambda score: replace(score, value=value))


def with_part(value: Any) -> Callable[[], Changed]:
    return lambda: Changed(
        lambda score: replace(score, components={**score.components, "tool_accuracy": value})
    )


class NoMethods:
    name, parts = "no-methods", ()


class Nameless(GroundTruthReward):
    name = ""


class TwiceTheSamePart(GroundTruthReward):
    parts = ("response_similarity", "response_similarity")


class AnotherPart(GroundTruthReward):
    parts = ("response_similarity",)


class Trusting(GroundTruthReward):
    """Takes for granted that every argument is a text."""

    def score(self, turn: ClosedTurn) -> Score:
        for call in turn.calls:
            "".join(call.arguments.values())
        return super().score(turn)


class Changing(GroundTruthReward):
    def score(self, turn: ClosedTurn) -> Score:
        for call in turn.calls:
            call.arguments["seen"] = True
        return super().score(turn)


class Sharing(GroundTruthReward):
    def __init__(self) -> None:
        self.components: dict[str, float | None] = {}

    def score(self, turn: ClosedTurn) -> Score:
        score = super().score(turn)
        self.components.update(score.components)
        return replace(score, components=self.components)


class Drawing(GroundTruthReward):
    def __init__(self) -> None:
        self.random = np.random.default_rng(0)

    def score(self, turn: ClosedTurn) -> Score:
        return replace(super().score(turn), value=float(self.random.random()))


class Comparing(GroundTruthReward):
    """Pays less for a turn that has fewer messages before it than the last one that it saw."""

    def __init__(self) -> None:
        self.last = self.before = ""

    def score(self, turn: ClosedTurn) -> Score:
        score = super().score(turn)
        if turn.log != self.last:
            self.before, self.last = self.last, turn.log
        return score if len(turn.log) > len(self.before) else replace(score, value=0.0)


class Taciturn(GroundTruthReward):
    """Pays most for silence."""

    def score(self, turn: ClosedTurn) -> Score:
        score = super().score(turn)
        return replace(score, value=0.5 if turn.text else 1.0)


class Batched(GroundTruthReward):
    def score_many(self, turns: Sequence[ClosedTurn]) -> list[Score]:
        return [self.score(turn) for turn in turns]


class Disordered(Batched):
    def score_many(self, turns: Sequence[ClosedTurn]) -> list[Score]:
        return super().score_many(turns[::-1])


class Short(Batched):
    def score_many(self, turns: Sequence[ClosedTurn]) -> list[Score]:
        return super().score_many(turns[1:])


class Unchecked(Batched):
    def score_many(self, turns: Sequence[ClosedTurn]) -> list[Score]:
        return [replace(score, value=2.0) for score in super().score_many(turns)]


class NeverNone(Batched):
    def score_many(self, turns: Sequence[ClosedTurn]) -> list[Score]:
        return super().score_many(turns) or [Score(0.0, {})]


BROKEN: list[tuple[str, Callable[[], Any]]] = [
    ("has the methods of its protocol", NoMethods),
    ("has a name", Nameless),
    ("names its parts", TwiceTheSamePart),
    ("scores every turn", Trusting),
    ("does not change the turn", Changing),
    ("returns a Score", lambda: Changed(lambda score: score.value)),
    ("values lie in [0, 1]", with_value(1.01)),
    ("values lie in [0, 1]", with_value(-0.01)),
    ("values lie in [0, 1]", with_value(float("nan"))),
    ("values lie in [0, 1]", with_value(True)),
    ("values lie in [0, 1]", with_value("1")),
    ("values lie in [0, 1]", Unchecked),
    ("components are the parts", AnotherPart),
    ("components lie in [0, 1]", with_part(float("inf"))),
    ("no value has a reason", with_value(None)),
    ("scores can be written as JSON", lambda: Changed(lambda s: replace(s, value=np.float64(0.5)))),
    ("scores can be written as JSON", lambda: Changed(lambda s: replace(s, reason="\ud800"))),
    ("makes components for each score", Sharing),
    ("the same turn gets the same score", Drawing),
    ("can score", lambda: Changed(lambda score: replace(score, value=None, reason="No key."))),
    ("the oracle scores 1", with_value(0.5)),
    ("silence scores no more than the oracle", Taciturn),
    ("keeps no state between turns", Comparing),
    ("score_many equals score", Disordered),
    ("score_many equals score", Short),
    ("score_many equals score", NeverNone),
]


@pytest.mark.parametrize(("promise", "broken"), BROKEN)
def test_a_broken_promise_is_named(promise: str, broken: Callable[[], Any]) -> None:
    with pytest.raises(ConformanceError) as caught:
        check_reward(broken(), oracle_scores_one=promise == "the oracle scores 1")
    assert caught.value.promise == promise


@pytest.mark.parametrize("sound", [GroundTruthReward, Batched])
def test_a_reward_that_keeps_its_promises_passes(sound: Callable[[], Any]) -> None:
    check_reward(sound())


def test_a_reward_that_gives_the_oracle_less_passes_where_that_is_said() -> None:
    check_reward(with_value(0.5)(), oracle_scores_one=False)


def test_a_judge_that_samples_passes_where_that_is_said() -> None:
    check_reward(Jittering(), oracle_scores_one=False, deterministic=False)


class Jittering(Drawing):
    """Differs a little from score to score, but never pays silence more than the oracle."""

    def score(self, turn: ClosedTurn) -> Score:
        value = 0.1 * float(self.random.random())
        return replace(super().score(turn), value=0.5 + value if turn.text else value)
