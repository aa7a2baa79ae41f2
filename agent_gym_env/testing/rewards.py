"""The promises of a reward."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from agent_gym_env.assembly import Env, choose_dialogues, make_env
from agent_gym_env.corpus.task import Task, Turn
from agent_gym_env.envs.actions import parse_action
from agent_gym_env.envs.dialogue import SGDEnv, unwrap_sgd
from agent_gym_env.envs.replay import Replay, ReplaySettings, recorded_action
from agent_gym_env.rewards.base import BatchReward, ClosedTurn, Reward, Score
from agent_gym_env.rewards.presets import make_reward_for
from agent_gym_env.testing.conformance import ODD_TEXT, Check, compare, excerpt
from agent_gym_env.types import Action, ToolCall


def check_reward(
    reward: str | Mapping[str, Any] | Reward,
    env: Env | None = None,
    *,
    dialogues: int = 4,
    seed: int = 0,
    oracle_scores_one: bool = True,
    deterministic: bool = True,
) -> None:
    """Check that a reward keeps the promises of `agent_gym_env.rewards.base.Reward`.

    It scores the turns of agents that do what the corpus did, say nothing, call wrong tools with
    odd arguments, and write odd text.

    Args:
        reward: a reward, or a configuration as ``reward`` in ``gym.make("SGD-v0", …)``.
        env: ``SGD-v0``, whose dialogues are scored; by default the ``dev`` split of the embedded
            corpus.
        dialogues: how many dialogues are scored.
        seed: seed of the choice of dialogues.
        oracle_scores_one: whether the reward gives exactly 1 for what the corpus did.
        deterministic: whether the same turn gets the same score; a judge that samples cannot
            promise that.

    Raises:
        ConformanceError: a promise is broken.
        LMError: the run's budget is spent, or a language model's provider refuses the key.

    Examples:
        >>> check_reward("balanced")
    """
    env = make_env(split="dev") if env is None else env
    bare = unwrap_sgd(env)
    scorer = (
        make_reward_for(reward, bare.split, bare.corpus)
        if isinstance(reward, (str, Mapping))
        else reward
    )
    name = getattr(scorer, "name", None)
    check = Check("reward", name or type(scorer).__name__)
    check.require_methods(scorer, "score")
    check.require_name(name)
    _check_parts(check, getattr(scorer, "parts", None))
    tasks = [
        bare.split.task(bare.split.index(each)) for each in choose_dialogues(env, dialogues, seed)
    ]
    turns = list(_closed_turns(bare, tasks))
    scores = [_score(check, scorer, each, deterministic=deterministic) for each in turns]
    _check_ranks(check, turns, scores, oracle_scores_one=oracle_scores_one)
    if deterministic:
        promise = "keeps no state between turns"
        later = [
            _points(check.call(promise, each.where, scorer.score, each.turn))
            for each in reversed(turns)
        ][::-1]
        compare(check, promise, later, [_points(score) for score in scores], "in reverse order")
    if isinstance(scorer, BatchReward):
        given = _check_score_many(check, scorer, turns, scorer.parts)
        if deterministic:
            promise = "score_many equals score"
            points = [_points(score) for score in given]
            compare(check, promise, points, [_points(score) for score in scores], "score_many")


class _Played(NamedTuple):
    """A closed turn, and who played it."""

    agent: str
    where: str
    turn: ClosedTurn


class _Recorder:
    """A reward that keeps the turns that it is shown."""

    name = "recorder"
    parts: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.turns: list[ClosedTurn] = []

    def score(self, turn: ClosedTurn) -> Score:
        self.turns.append(turn)
        return Score(None, {}, "only recorded")


_ORACLE, _SILENCE = "the oracle", "silence"


def _odd_call(turn: Turn) -> Action:
    """Call the recorded tool with odd arguments, and one that does not exist."""
    odd = {"a": [None, {"b": 1e308}], "ü": "\U0001f375", "n": -(2**63)}
    name = "NoSuch_1-Tool" if turn.call is None else turn.call.name
    return Action(turn.text, (ToolCall(name, odd), ToolCall("NoSuch_1-Tool")))


_AGENTS: dict[str, Callable[[Turn], Action]] = {
    _ORACLE: recorded_action,
    _SILENCE: lambda turn: Action(),
    "the recorded words without a call": lambda turn: Action(turn.text),
    "odd calls": _odd_call,
    "odd text": lambda turn: Action(ODD_TEXT),
}


def _closed_turns(env: SGDEnv, tasks: Sequence[Task]) -> Iterator[_Played]:
    """Play dialogues with each agent, and yield the turns as a reward sees them."""
    for agent, act in _AGENTS.items():
        recorder = _Recorder()
        world = ReplaySettings(env.split, recorder)
        for task in tasks:
            replay = Replay(world, task)
            for turn in task.turns:
                replay.step(parse_action(act(turn)))
        places = [(task, index) for task in tasks for index in range(len(task.turns))]
        for (task, index), closed in zip(places, recorder.turns, strict=True):
            yield _Played(agent, f"{agent}, dialogue {task.dialogue_id}, turn {index}", closed)


def _check_parts(check: Check, parts: object) -> None:
    holds = (
        isinstance(parts, tuple)
        and all(isinstance(part, str) for part in parts)
        and len(set(parts)) == len(parts)
    )
    check.require(holds, "names its parts", "`parts`, a tuple of distinct strings", parts)


def _score(check: Check, reward: Reward, played: _Played, *, deterministic: bool) -> Score:
    before = msgspec.json.encode(played.turn)
    score, again = (
        check.call("scores every turn", played.where, reward.score, played.turn) for _ in range(2)
    )
    promise = "does not change the turn"
    after = msgspec.json.encode(played.turn)
    check.require(after == before, promise, "the turn as it was", "another one", played.where)
    for each in (score, again):
        _check_score(check, reward.parts, each, played.where)
    promise = "makes components for each score"
    shared = score.components is again.components
    check.require(not shared, promise, "two mappings", "one mapping for two scores", played.where)
    if deterministic:
        promise = "the same turn gets the same score"
        first, second = _points(score), _points(again)
        check.require(second == first, promise, excerpt(first), second, played.where)
    return score


def _points(score: Score) -> tuple[float | None, dict[str, float | None]]:
    return score.value, dict(score.components)


def _check_score(check: Check, parts: Sequence[str], score: object, where: str) -> None:
    if not isinstance(score, Score):
        check.fail("returns a Score", "an instance of Score", excerpt(score), where)
    expected = "a number in [0, 1] or None"
    check.require(_is_share(score.value), "values lie in [0, 1]", expected, score.value, where)
    promise = "components are the parts"
    same = isinstance(score.components, dict) and set(score.components) == set(parts)
    check.require(same, promise, f"the keys {parts}", score.components, where)
    for name, part in score.components.items():
        check.require(
            _is_share(part), "components lie in [0, 1]", f"{expected} for {name!r}", part, where
        )
    given = isinstance(score.reason, str) and bool(score.reason)
    promise = "no value has a reason"
    check.require(
        given or score.value is not None, promise, "a reason why there is no value", score, where
    )
    promise = "scores can be written as JSON"
    check.call(promise, where, msgspec.json.encode, score)


def _is_share(value: object) -> bool:
    if value is None:
        return True
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def _check_ranks(
    check: Check,
    turns: Sequence[_Played],
    scores: Sequence[Score],
    *,
    oracle_scores_one: bool,
) -> None:
    """Compare what the oracle and silence get for the same turns."""
    values = {
        agent: [
            score.value
            for played, score in zip(turns, scores, strict=True)
            if played.agent == agent
        ]
        for agent in (_ORACLE, _SILENCE)
    }
    promise = "can score"
    some = any(score.value is not None for score in scores)
    check.require(some, promise, "a value for some turn", scores[0].reason or "only None")
    wheres = [played.where for played in turns if played.agent == _ORACLE]
    for where, oracle, silence in zip(wheres, values[_ORACLE], values[_SILENCE], strict=True):
        if oracle_scores_one:
            expected = "1, or oracle_scores_one=False for a reward that does not promise it"
            check.require(oracle in (1, None), "the oracle scores 1", expected, oracle, where)
        if oracle is not None and silence is not None:
            promise = "silence scores no more than the oracle"
            check.require(silence <= oracle, promise, f"at most {oracle}", silence, where)


def _check_score_many(
    check: Check, reward: BatchReward, turns: Sequence[_Played], parts: Sequence[str]
) -> list[Score]:
    promise = "score_many equals score"
    scores = check.call(promise, "", lambda: [*reward.score_many([each.turn for each in turns])])
    check.require(
        len(scores) == len(turns), promise, f"{len(turns)} scores", f"{len(scores)} scores"
    )
    for score, played in zip(scores, turns, strict=True):
        _check_score(check, parts, score, f"score_many, {played.where}")
    nothing = check.call(promise, "", reward.score_many, [])
    check.require(not nothing, promise, "no scores for no turns", nothing)
    return scores
