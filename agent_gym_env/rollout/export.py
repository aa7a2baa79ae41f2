"""Training rows out of recorded episodes and branch points, and files of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from agent_gym_env.lm.prompt import RULES
from agent_gym_env.rollout.branches import BranchPoint
from agent_gym_env.rollout.chat_rows import ConversationRow, conversation_row
from agent_gym_env.rollout.corrections import correction_rows
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.labelled_rows import LabelledRow, rows_of_episode, rows_of_pair
from agent_gym_env.rollout.preferences import PairRule, PreferenceRow, preference_rows
from agent_gym_env.rollout.prompt_rows import PromptRow, prompt_rows
from agent_gym_env.rollout.selection import Tally, distinct, whole_episodes
from agent_gym_env.storage.files import written_whole

_encode = msgspec.json.Encoder().encode


def conversations(
    episodes: Iterable[Episode],
    tally: Tally,
    *,
    min_reward: float | None = None,
    rules: str = RULES,
) -> Iterator[ConversationRow]:
    """Make the rows of supervised fine-tuning, one an episode that came to its end.

    Args:
        episodes: of any policies.
        tally: counts what is left out.
        min_reward: least mean of an episode's rewards.
        rules: of the system message.
    """
    kept = whole_episodes(episodes, tally, min_reward=min_reward)
    rows = (conversation_row(episode, rules=rules) for episode in kept)
    return distinct(rows, tally, "messages", "tools")


def corrections(
    episodes: Iterable[Episode], tally: Tally, *, below: float, rules: str = RULES
) -> Iterator[ConversationRow]:
    """Make rows of what the corpus would have done where policies did otherwise.

    Args:
        episodes: of any policies, also such as have not come to their end.
        tally: counts what is left out.
        below: turns that earned as much or more are left as they are.
        rules: of the system message.
    """
    rows = (row for episode in episodes for row in correction_rows(episode, below, rules=rules))
    return distinct(rows, tally, "messages", "tools")


def preferences(
    points: Iterable[BranchPoint],
    tally: Tally,
    *,
    rule: PairRule | None = None,
    rules: str = RULES,
) -> Iterator[PreferenceRow]:
    """Make the rows of direct preference optimisation.

    Args:
        points: collected as such, or found in episodes by `common_states`.
        tally: counts the pairs that are left out.
        rule: chooses the pairs.
        rules: of the system message.
    """
    rule = rule or PairRule()
    rows = (row for point in points for row in preference_rows(point, rule, tally, rules=rules))
    return distinct(rows, tally, "prompt", "tools", "chosen", "rejected")


def labels_of_pairs(pairs: Iterable[PreferenceRow], tally: Tally) -> Iterator[LabelledRow]:
    """Make the rows of Kahneman-Tversky optimisation out of pairs."""
    rows = (row for pair in pairs for row in rows_of_pair(pair))
    return distinct(rows, tally, "prompt", "tools", "completion", "label")


def labels(
    episodes: Iterable[Episode], tally: Tally, *, threshold: float = 0.5, rules: str = RULES
) -> Iterator[LabelledRow]:
    """Make the rows of Kahneman-Tversky optimisation by the rewards of turns.

    Args:
        episodes: of any policies, also such as have not come to their end.
        tally: counts what is left out.
        threshold: the least reward of a good turn.
        rules: of the system message.
    """
    rows = (
        row
        for episode in episodes
        if episode.turns
        for row in rows_of_episode(episode, threshold, tally, rules=rules)
    )
    return distinct(rows, tally, "prompt", "tools", "completion", "label")


def prompts(
    episodes: Iterable[Episode],
    tally: Tally,
    *,
    min_reward: float | None = None,
    rules: str = RULES,
) -> Iterator[PromptRow]:
    """Make the rows of group relative policy optimisation, one a turn.

    Args:
        episodes: they are the ways to the turns.
        tally: counts what is left out.
        min_reward: least mean of an episode's rewards.
        rules: of the system message.
    """
    kept = whole_episodes(episodes, tally, min_reward=min_reward)
    rows = (row for episode in kept for row in prompt_rows(episode, rules=rules))
    return distinct(rows, tally, "prompt", "tools")


def write_rows(
    path: Path, rows: Iterable[msgspec.Struct], tally: Tally, *, max_bytes: int | None = None
) -> None:
    """Write rows, one JSON line each; the file appears when the last one is written.

    Args:
        path: of the file.
        rows: written as they come.
        tally: counts them.
        max_bytes: longer lines are left out.

    Raises:
        StorageError: the disk does not take it.
        AgentGymError: nothing was left to write.
    """
    with written_whole(path) as file:
        for row in rows:
            line = _encode(row)
            if max_bytes is not None and len(line) > max_bytes:
                tally.leave_out("longer than max_bytes")
                continue
            file.write(line + b"\n")
            tally.written += 1
        tally.require_rows()
