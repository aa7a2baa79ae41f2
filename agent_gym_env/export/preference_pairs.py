"""Preference pairs from branch points, and the branch points that recorded episodes contain."""

from __future__ import annotations

import math
import tempfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec

from agent_gym_env.chat import Message, MessageLog, read_messages, read_tools
from agent_gym_env.errors import StorageError
from agent_gym_env.export.rows import (
    LabelledRow,
    PreferenceRow,
    Tally,
    conversation,
    distinct,
)
from agent_gym_env.lm.prompt import RULES
from agent_gym_env.rollout.branching import Branch, BranchPoint
from agent_gym_env.rollout.episode import Episode, StepRecord, add_step, transcript
from agent_gym_env.rollout.journal.reading import read_episodes

_PARTITIONS = 64
"""Number of temporary files that episodes are sorted into; one at a time is held in memory."""

_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="deterministic").encode


class PairRule(msgspec.Struct, frozen=True):
    """Choice of the pairs of branches that become rows.

    Attributes:
        min_margin: least difference of the two rewards.
        max_pairs: largest number of pairs per branch point; those with the largest margins are
            taken.
        ranking: names of policies, best first: the message of the better policy is chosen. If both
            rewards are known, its reward must be higher by the margin. Without a ranking, the
            rewards alone decide.
    """

    min_margin: float = 0.1
    max_pairs: int = 4
    ranking: tuple[str, ...] = ()


def preferences(
    points: Iterable[BranchPoint],
    tally: Tally,
    *,
    rule: PairRule | None = None,
    rules: str = RULES,
) -> Iterator[PreferenceRow]:
    """Yield rows for direct preference optimisation.

    Args:
        points: branch points, collected as such or found in episodes by `common_states`.
        tally: counts the pairs that are left out.
        rule: choice of pairs; by default `PairRule()`.
        rules: text of the system message.
    """
    rule = rule or PairRule()
    rows = (row for point in points for row in preference_rows(point, rule, tally, rules=rules))
    return distinct(rows, tally, "prompt", "tools", "chosen", "rejected")


def preference_rows(
    point: BranchPoint, rule: PairRule, tally: Tally, *, rules: str = RULES
) -> list[PreferenceRow]:
    """Return the pairs of a branch point; a pair begins at the first message that differs.

    Args:
        point: branch point; any two of its branches can make a pair.
        rule: choice of pairs.
        tally: counts the pairs that are left out, and the branches that failed.
        rules: text of the system message; by default the one that `LLMPolicy` uses.

    Raises:
        DataError: the branch point is inconsistent.
    """
    prompt = conversation(point.messages, point.date, rules)
    pairs = list(_distinct(sorted(_pairs(point, prompt, rule, tally), key=_by_margin), tally))
    if len(pairs) > rule.max_pairs:
        tally.leave_out("beyond max_pairs", len(pairs) - rule.max_pairs)
    tools = read_tools(point.tools)
    return [_row(point, prompt, tools, pair) for pair in pairs[: rule.max_pairs]]


class _Pair(msgspec.Struct, frozen=True):
    """Two branches, the messages that both begin with, and the first that differ."""

    better: Branch
    worse: Branch
    margin: float | None
    shared: Sequence[Message]
    chosen: Message
    rejected: Message


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


def turn_messages(steps: Sequence[StepRecord], call_count: int) -> list[Message]:
    """Return the messages of a whole turn: the agent's calls, their results and its reply.

    Args:
        steps: all steps of the turn.
        call_count: number of calls in the dialogue before the turn.

    Raises:
        DataError: the tool results do not match the calls.
    """
    log = MessageLog("", call_count)
    for step in steps:
        add_step(log, step)
    log.add_reply(steps[-1].action.text)
    return read_messages(f"[{log.text[1:]}]")


_Written = tuple[Branch, list[Message]]


def _pair(one: _Written, other: _Written, rule: PairRule) -> _Pair | str:
    """Return the pair of two branches, or the reason for which they do not make one."""
    shared = _shared(one[1], other[1])
    if shared == len(one[1]) == len(other[1]):
        return "same messages"
    order = _order(one[0], other[0], rule.ranking)
    if isinstance(order, str):
        return order
    (better, said), (worse, other_said) = (one, other) if order > 0 else (other, one)
    margin = _margin(better, worse)
    if margin is not None and margin < rule.min_margin:
        return "below min_margin"
    chosen, rejected = said[shared], other_said[shared]
    if chosen["role"] != "assistant":
        return "tools answered differently"
    return _Pair(better, worse, margin, said[:shared], chosen, rejected)


def _order(one: Branch, other: Branch, ranking: Sequence[str]) -> float | str:
    """Return a positive number if the first is better, a negative one if the second is."""
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
    """Return the number of messages before the first that differs."""
    # Compared as JSON, since 1 and true are equal in Python.
    same = (_encode_sorted(a) == _encode_sorted(b) for a, b in zip(one, other, strict=False))
    return next((number for number, equal in enumerate(same) if not equal), len(one))


def _by_margin(pair: _Pair) -> float:
    return math.inf if pair.margin is None else -pair.margin


def _distinct(pairs: Sequence[_Pair], tally: Tally) -> Iterator[_Pair]:
    """Yield pairs without those whose messages equal those of a pair with a larger margin."""
    seen: set[bytes] = set()
    for pair in pairs:
        key = _encode_sorted((pair.shared, pair.chosen, pair.rejected))
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


def labels_of_pairs(pairs: Iterable[PreferenceRow], tally: Tally) -> Iterator[LabelledRow]:
    """Yield rows for Kahneman-Tversky optimisation from preference pairs."""
    rows = (row for pair in pairs for row in rows_of_pair(pair))
    return distinct(rows, tally, "prompt", "tools", "completion", "label")


def rows_of_pair(pair: PreferenceRow) -> Iterator[LabelledRow]:
    """Yield the two messages of a pair: the better one as good, the worse one as bad."""
    sides = (
        (pair.chosen, True, pair.chosen_reward, pair.chosen_policy),
        (pair.rejected, False, pair.rejected_reward, pair.rejected_policy),
    )
    for completion, label, reward, policy in sides:
        yield LabelledRow(
            prompt=pair.prompt,
            completion=completion,
            label=label,
            tools=pair.tools,
            reward=reward,
            policy=policy,
            dialogue_id=pair.dialogue_id,
            split=pair.split,
            turn=pair.turn,
            step=pair.step,
        )


def common_states(episodes: Iterable[Episode], tally: Tally | None = None) -> Iterator[BranchPoint]:
    """Yield the turns that began with the same conversation, byte for byte, in several episodes.

    Args:
        episodes: episodes of several policies or seeds, in any order. They are sorted in temporary
            files, so memory does not grow with their number.
        tally: counts the episodes that cannot be paired, since no other has their dialogue.

    Raises:
        DataError: an episode is inconsistent.
        StorageError: the disk has no room for temporary files.
    """
    for group in _by_dialogue(episodes):
        if len(group) == 1 and tally is not None:
            tally.leave_out("the only episode of its dialogue, where a pair needs two")
        yield from _branch_points(group)


def _by_dialogue(episodes: Iterable[Episode]) -> Iterator[list[Episode]]:
    """Group episodes like the hash join of a database: partition on disk, then in memory."""
    with _temporary_folder() as folder:
        for path in _partition(episodes, folder):
            groups: defaultdict[bytes, list[Episode]] = defaultdict(list)
            for episode in read_episodes(path):
                groups[_dialogue(episode)].append(episode)
            yield from groups.values()


def _partition(episodes: Iterable[Episode], folder: Path) -> list[Path]:
    paths = [folder / f"{number}.jsonl" for number in range(_PARTITIONS)]
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("wb")) for path in paths]
        for episode in episodes:
            file = files[zlib.crc32(_dialogue(episode)) % _PARTITIONS]
            file.write(_encode(episode) + b"\n")
    return paths


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    try:
        with tempfile.TemporaryDirectory(prefix="agent-gym-") as folder:
            yield Path(folder)
    except OSError as error:
        raise StorageError(
            f"cannot write temporary files: {error.strerror or error}. Make room for them, or name "
            "another folder by the environment variable TMPDIR"
        ) from error


def _dialogue(episode: Episode) -> bytes:
    """Return the key of the episodes that can have states in common."""
    return _encode((episode.corpus, episode.dialogue_id, episode.tools, episode.reward))


def _branch_points(group: Sequence[Episode]) -> Iterator[BranchPoint]:
    states: defaultdict[tuple[int, str], list[Branch]] = defaultdict(list)
    for episode in group:
        values = episode.turn_values
        for number, (opening, _, _) in enumerate(transcript(episode)):
            states[number, opening.messages].append(_branch(episode, number, values[number]))
    for (turn, messages), branches in states.items():
        if len(branches) > 1:
            yield _branch_point(group[0], turn, messages, branches)


def _branch(episode: Episode, turn: int, value: float | None) -> Branch:
    played = episode.turns[turn]
    return Branch(
        policy=episode.policy,
        seed=episode.seed,
        steps=played.steps,
        reward=value,
        components=played.components,
    )


def _branch_point(
    episode: Episode, turn: int, messages: str, branches: Sequence[Branch]
) -> BranchPoint:
    return BranchPoint(
        dialogue_id=episode.dialogue_id,
        split=episode.split,
        corpus=episode.corpus,
        schema_variant=episode.schema_variant,
        services=episode.services,
        seen_services=episode.seen_services,
        date=episode.date,
        reward=episode.reward,
        turn=turn,
        messages=messages,
        branches=tuple(branches),
        tools=episode.tools,
    )
