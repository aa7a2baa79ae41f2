"""Pairs of a better and a worse message after the same conversation, from branch points."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import msgspec

from agent_gym_env.chat import Message, read_tools
from agent_gym_env.lm.prompt import RULES
from agent_gym_env.rollout.branches import Branch, BranchPoint
from agent_gym_env.rollout.chat_messages import conversation, turn_messages
from agent_gym_env.rollout.selection import Tally

_encode = msgspec.json.Encoder(order="deterministic").encode


class PreferenceRow(msgspec.Struct, frozen=True):
    """A pair: what direct preference optimisation (DPO) takes.

    Attributes:
        prompt: the conversation that both were said after, the system message first.
        chosen: the better message, alone in a list.
        rejected: the worse one, likewise.
        tools: what was on offer, in OpenAI's function format.
        chosen_reward: of the turn that the better message belongs to.
        rejected_reward: of the other turn.
        margin: by how much the rewards differ; ``None`` where one could not be told.
        chosen_policy: who wrote the better one.
        rejected_policy: who wrote the worse one.
        dialogue_id: of the dialogue.
        split: of the dialogue.
        turn: how many turns had closed.
        step: how many messages of the open turn the assistant had written.
    """

    prompt: Sequence[Message]
    chosen: Sequence[Message]
    rejected: Sequence[Message]
    tools: Sequence[dict[str, Any]]
    chosen_reward: float | None
    rejected_reward: float | None
    margin: float | None
    chosen_policy: str
    rejected_policy: str
    dialogue_id: str
    split: str
    turn: int
    step: int


class PairRule(msgspec.Struct, frozen=True):
    """Which branches make a pair.

    Attributes:
        min_margin: least difference of the rewards.
        max_pairs: of one branch point; those with the largest margins are taken.
        ranking: policies, the best first: the better one's message is chosen. Its reward must be
            higher by the margin where both are known. Without a ranking the rewards alone decide.
    """

    min_margin: float = 0.1
    max_pairs: int = 4
    ranking: tuple[str, ...] = ()


class _Pair(msgspec.Struct, frozen=True):
    """Two branches, the better one first, and the number of messages that they share."""

    better: Branch
    worse: Branch
    margin: float | None
    shared: Sequence[Message]
    chosen: Message
    rejected: Message


def preference_rows(
    point: BranchPoint, rule: PairRule, tally: Tally, *, rules: str = RULES
) -> list[PreferenceRow]:
    """Make the pairs of a branch point, at the first message that differs.

    Args:
        point: two branches of it make a pair.
        rule: chooses the pairs.
        tally: counts the pairs of branches that it leaves out, and the branches that failed.
        rules: of the system message; by default those that `LLMPolicy` plays by.

    Raises:
        DataError: the branch point does not hold together.
    """
    prompt = conversation(point.messages, point.date, rules)
    pairs = list(_distinct(sorted(_pairs(point, prompt, rule, tally), key=_by_margin), tally))
    if len(pairs) > rule.max_pairs:
        tally.leave_out("beyond max_pairs", len(pairs) - rule.max_pairs)
    tools = read_tools(point.tools)
    return [_row(point, prompt, tools, pair) for pair in pairs[: rule.max_pairs]]


def _pairs(
    point: BranchPoint, prompt: Sequence[Message], rule: PairRule, tally: Tally
) -> Iterator[_Pair]:
    executed = sum(message["role"] == "tool" for message in prompt)
    closed = [branch for branch in point.branches if branch.error is None]
    if len(closed) < len(point.branches):
        tally.leave_out("failed", len(point.branches) - len(closed))
    written = [(branch, turn_messages(branch.steps, executed)) for branch in closed]
    for one, other in combinations(written, 2):
        pair = _pair(one, other, rule)
        if isinstance(pair, str):
            tally.leave_out(pair)
        else:
            yield pair


_Written = tuple[Branch, list[Message]]


def _pair(one: _Written, other: _Written, rule: PairRule) -> _Pair | str:
    """Order two branches and find where they part; or say why they make no pair."""
    order = _order(one[0], other[0], rule.ranking)
    if isinstance(order, str):
        return order
    (better, said), (worse, other_said) = (one, other) if order > 0 else (other, one)
    margin = _margin(better, worse)
    if margin is not None and margin < rule.min_margin:
        return "below min_margin"
    shared = _shared(said, other_said)
    if shared == len(said):
        return "same messages"
    chosen, rejected = said[shared], other_said[shared]
    if chosen["role"] != "assistant":
        return "tools answered differently"
    return _Pair(better, worse, margin, said[:shared], chosen, rejected)


def _order(one: Branch, other: Branch, ranking: Sequence[str]) -> float | str:
    """Say by a positive number that the first is better, by a negative one that the second is."""
    if ranking:
        if one.policy not in ranking or other.policy not in ranking:
            return "policy not in ranking"
        order = ranking.index(other.policy) - ranking.index(one.policy)
        return order or "same rank"
    margin = _margin(one, other)
    if margin is None:
        return "unscored"
    return margin or "same reward"


def _margin(better: Branch, worse: Branch) -> float | None:
    if better.reward is None or worse.reward is None:
        return None
    return better.reward - worse.reward


def _shared(one: Sequence[Message], other: Sequence[Message]) -> int:
    """Count the messages before the first that differs."""
    # As JSON: to Python 1 and true are equal.
    same = (_encode(a) == _encode(b) for a, b in zip(one, other, strict=False))
    return next((number for number, equal in enumerate(same) if not equal), len(one))


def _by_margin(pair: _Pair) -> float:
    return math.inf if pair.margin is None else -pair.margin


def _distinct(pairs: Sequence[_Pair], tally: Tally) -> Iterator[_Pair]:
    """Leave out pairs that say the same as one with a larger margin."""
    seen: set[bytes] = set()
    for pair in pairs:
        key = _encode((pair.shared, pair.chosen, pair.rejected))
        if key in seen:
            tally.leave_out("duplicate")
        else:
            seen.add(key)
            yield pair


def _row(
    point: BranchPoint, prompt: Sequence[Message], tools: list[dict[str, Any]], pair: _Pair
) -> PreferenceRow:
    written = sum(message["role"] == "assistant" for message in pair.shared)
    return PreferenceRow(
        prompt=[*prompt, *pair.shared],
        chosen=[pair.chosen],
        rejected=[pair.rejected],
        tools=tools,
        chosen_reward=pair.better.reward,
        rejected_reward=pair.worse.reward,
        margin=pair.margin,
        chosen_policy=pair.better.policy,
        rejected_policy=pair.worse.policy,
        dialogue_id=point.dialogue_id,
        split=point.split,
        turn=point.turn,
        step=point.step + written,
    )
