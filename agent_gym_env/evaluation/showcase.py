"""Choosing the episodes that a report shows, and encoding them as JSON for its page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec import structs

from agent_gym_env.rollout.episode import Episode

MAX_TEXT_CHARS = 4_000
MAX_DATA_BYTES = 1_500_000

_Key = tuple[str, int | None]
_Interest = tuple[bool, bool, float]


class Showcase(NamedTuple):
    """Episodes to embed in a page.

    Attributes:
        json: ``{"policies": [name], "open": number, "shown": [{"policy": number, "episode":
            episode}]}``, without characters that could end the surrounding script element. ``open``
            is the index in ``shown`` of the episode that the page opens on.
        episodes: number of episodes.
    """

    json: str
    episodes: int


def showcase(groups: Sequence[Iterable[Episode]], policies: Sequence[str], limit: int) -> Showcase:
    """Choose and encode some of the episodes of each policy.

    Strings are clipped at `MAX_TEXT_CHARS`. An episode with which the data would exceed
    `MAX_DATA_BYTES` is left out.

    Args:
        groups: episodes of each policy; iterated twice.
        policies: names of the policies.
        limit: largest number of episodes to show.
    """
    shown: list[dict[str, Any]] = []
    interest: list[_Interest] = []
    room = MAX_DATA_BYTES
    for number, episode in choose_episodes(groups, limit):
        written = _escape(msgspec.json.encode(shown_episode(episode)))
        if len(written) <= room:
            room -= len(written)
            shown.append({"policy": number, "episode": msgspec.Raw(written)})
            interest.append(instructiveness(episode))
    names = _escape(msgspec.json.encode(policies))
    first = interest.index(max(interest)) if interest else 0
    data = msgspec.json.encode({"policies": msgspec.Raw(names), "open": first, "shown": shown})
    return Showcase(data.decode(), len(shown))


def choose_episodes(groups: Sequence[Iterable[Episode]], limit: int) -> list[tuple[int, Episode]]:
    """Choose episodes of the same dialogues in each group, from the worst to the best.

    Args:
        groups: episodes of each policy; iterated twice, so that few are in memory at once.
        limit: number of episodes to choose in all; at least one dialogue is chosen.

    Returns:
        Pairs of the index of a group and an episode, worst dialogue first.
    """
    rewards: dict[_Key, list[float | None]] = defaultdict(list)
    for episodes in groups:
        for episode in episodes:
            rewards[_key(episode)].append(episode.ranking_reward)
    ranked = sorted(rewards, key=lambda key: (_mean_or_worst(rewards[key]), str(key)))
    wanted = min(max(limit // len(groups), 1), len(ranked))
    places = np.linspace(0, len(ranked) - 1, wanted).round().astype(int)
    chosen = {ranked[place]: rank for rank, place in enumerate(places)}
    found = [
        (number, episode)
        for number, episodes in enumerate(groups)
        for episode in episodes
        if _key(episode) in chosen
    ]
    return sorted(found, key=lambda pair: chosen[_key(pair[1])])


def instructiveness(episode: Episode) -> _Interest:
    """Return the rank of an episode; the page opens on the episode with the highest rank.

    Episodes that did not fail come first, then those with a tool call, then those whose rewards
    differ most between turns (by standard deviation): they show successes and mistakes.
    """
    rewards = [turn.reward for turn in episode.turns if turn.reward is not None]
    calls = any(step.action.tool_calls for turn in episode.turns for step in turn.steps)
    return episode.error is None, calls, float(np.std(rewards)) if rewards else 0.0


def _key(episode: Episode) -> _Key:
    return episode.dialogue_id, episode.seed


def _mean_or_worst(rewards: Iterable[float | None]) -> float:
    known = [reward for reward in rewards if reward is not None]
    return sum(known) / len(known) if known else -1.0


def shown_episode(episode: Episode) -> Any:
    """Return an episode as JSON values, clipped, and without tools and raw completions."""
    plain = msgspec.to_builtins(structs.replace(episode, tools="[]"))
    for turn in plain["turns"]:
        for step in turn["steps"]:
            completion = step["action"].get("completion", {})
            for raw in ("text", "token_ids"):
                completion.pop(raw, None)
    return _clip(plain)


def _escape(json: bytes) -> bytes:
    """Replace characters that could open or end an HTML element by JSON escapes."""
    return json.replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")


def _clip(value: Any) -> Any:
    """Shorten every string inside a JSON value, and make each one encodable."""
    if isinstance(value, str):
        clipped = value.encode("utf-8", "replace").decode()
        left_out = len(clipped) - MAX_TEXT_CHARS
        return clipped if left_out <= 0 else f"{clipped[:MAX_TEXT_CHARS]} … ({left_out} more)"
    if isinstance(value, dict):
        return {_clip(key): _clip(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clip(item) for item in value]
    return value
