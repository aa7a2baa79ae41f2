"""A damaged file of episodes is refused with its place, or is read by all that reads episodes."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from agent_gym_env.assembly import collect, make_reward, rollout
from agent_gym_env.errors import AgentGymError, DataError
from agent_gym_env.evaluation.compare import compare
from agent_gym_env.evaluation.evaluate import summarize
from agent_gym_env.evaluation.report import write_report
from agent_gym_env.evaluation.rescore import rescore
from agent_gym_env.export.from_episodes import conversations, corrections, labels, prompts
from agent_gym_env.export.preference_pairs import common_states, preferences
from agent_gym_env.export.rows import Tally, write_rows
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.journal.reading import read_branches, read_episodes, write_episodes
from tests.reliability.damage import damaged_bytes, damaged_lines
from tests.reliability.playing import sized

Export = Callable[[Iterator[Episode], Tally], Iterator[msgspec.Struct]]

NOT_ALIKE = (
    "an evaluation is of one policy",
    "one side of a comparison is one policy",
    "the episodes cannot be compared",
    "share no episode",
    "played dialogue",
    "no episodes",
    "at least one episode",
)
"""Messages of the commands about valid episodes that mix policies or settings."""


@pytest.fixture
def whole(tiny_corpus: Path, tmp_path: Path) -> Path:
    """Episodes of three dialogues, with calls and replies."""
    path = tmp_path / "whole.jsonl"
    played = rollout("oracle", corpus=str(tiny_corpus), split="train", reward="balanced")
    assert len(list(write_episodes(path, played))) == 3
    return path


@pytest.fixture
def users(whole: Path, tiny_corpus: Path, tmp_path: Path) -> list[Callable[[Path], object]]:
    """All that reads episodes, as the commands do."""
    rewards = [
        make_reward(name, corpus=str(tiny_corpus), split="train")
        for name in ("ground_truth", "balanced")
    ]

    def report(path: Path) -> None:
        episodes = list(read_episodes(path))
        write_report(tmp_path / "report.html", [(summarize(episodes, resamples=20), episodes)])

    def export(make: Export) -> Callable[[Path], object]:
        def use(path: Path) -> None:
            tally = Tally()
            write_rows(tmp_path / "rows.jsonl", make(read_episodes(path), tally), tally)

        return use

    def pairs(episodes: Iterator[Episode], tally: Tally) -> Iterator[msgspec.Struct]:
        yield from preferences(common_states([*episodes, *read_episodes(whole)]), tally)

    exports: tuple[Export, ...] = (
        conversations,
        lambda episodes, tally: corrections(episodes, tally, below=2.0),
        labels,
        prompts,
        pairs,
    )
    return [
        report,
        lambda path: compare(read_episodes(path), read_episodes(whole), resamples=20),
        *(
            lambda path, reward=reward: [rescore(each, reward) for each in read_episodes(path)]
            for reward in rewards
        ),
        *map(export, exports),
    ]


def attempt(use: Callable[[Path], object], path: Path) -> str:
    """Use a file; gives what came of it."""
    try:
        use(path)
    except AgentGymError:
        return "refused"
    except ValueError as error:
        if any(said in str(error) for said in NOT_ALIKE):
            return "not alike"
        raise
    return "used"


def outcomes_of(
    content: bytes,
    damage: Callable[[bytes, random.Random], bytes],
    users: Sequence[Callable[[Path], object]],
    path: Path,
) -> Counter[str]:
    """Use files that are damaged in many ways; counts what came of it."""
    random_ = random.Random(0)
    outcomes: Counter[str] = Counter()
    for _ in range(sized(100, 2_000)):
        path.write_bytes(damage(content, random_))
        outcomes.update(attempt(use, path) for use in users)
    print(dict(outcomes))
    return outcomes


def test_a_damaged_file_of_episodes_is_refused_or_used(
    whole: Path, users: list[Callable[[Path], object]], tmp_path: Path
) -> None:
    outcomes = outcomes_of(whole.read_bytes(), damaged_lines, users, tmp_path / "damaged.jsonl")
    assert min(outcomes["refused"], outcomes["used"]) > outcomes.total() / 20


def test_damaged_branch_points_are_refused_or_used(tiny_corpus: Path, tmp_path: Path) -> None:
    policies = ["oracle", "silent"]
    collect(policies, tmp_path / "run", branches=1, corpus=str(tiny_corpus), split="train")
    journal = tmp_path / "run" / "branches-00000.jsonl"
    # Without checksums, as somebody else would write it.
    content = re.sub(rb'"crc":"[0-9a-f]*",', b"", journal.read_bytes())

    def use(path: Path) -> None:
        tally = Tally()
        write_rows(tmp_path / "rows.jsonl", preferences(read_branches(path), tally), tally)

    outcomes = outcomes_of(content, damaged_lines, [use], tmp_path / "damaged.jsonl")
    assert min(outcomes["refused"], outcomes["used"]) > outcomes.total() / 20


def test_a_damaged_table_of_episodes_is_refused_or_read(whole: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs the extra 'data'")
    from agent_gym_env.export.parquet import read_parquet, write_parquet

    path = tmp_path / "damaged.parquet"
    write_parquet(path, read_episodes(whole), Tally())
    episodes = list(read_episodes(whole))
    assert list(read_parquet(path)) == episodes
    use = [lambda path: list(read_parquet(path))]
    outcomes = outcomes_of(path.read_bytes(), damaged_bytes, use, path)
    assert outcomes["refused"] > outcomes.total() / 20


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ((b'"steps":[', b'"steps":[],"was":['), "at least 1|length >= 1"),
        ((b'"tools":"[', b'"tools":"x['), "tools must be a JSON array in OpenAI's function format"),
        ((b'"date":"2019-03-01"', b'"date":"1 March"'), "date must be like 2019-03-01"),
        ((b'"reward":1.0', b'"reward":1e300'), "<= 1000000000"),
    ],
)
def test_an_episode_that_nothing_could_use_is_refused_where_it_is_read(
    whole: Path, tmp_path: Path, damage: tuple[bytes, bytes], said: str
) -> None:
    path = tmp_path / "damaged.jsonl"
    path.write_bytes(whole.read_bytes().replace(*damage, 1))
    with pytest.raises(DataError, match=said) as caught:
        list(read_episodes(path))
    assert caught.value.file == f"{path}:1"
