"""A Minari data set has each step as the environment took it, and loads without this package."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("minari", reason="minari is not installed: extra data")

from agent_gym_env.assembly import rollout
from agent_gym_env.errors import StorageError
from agent_gym_env.export.minari_dataset import LEAVES, write_minari
from agent_gym_env.export.rows import Tally
from agent_gym_env.rollout.episode import Episode, observations
from tests.evaluation.episode_factory import FIND, call, episode, turn

READ = """
import json, sys
import minari

dataset = minari.MinariDataset(sys.argv[1])


def are_members(space, texts, steps):
    return all(space.contains({leaf: texts[leaf][step] for leaf in texts}) for step in range(steps))


def as_lists(data, about):
    steps = len(data.rewards)
    assert are_members(dataset.observation_space, data.observations, steps + 1)
    assert are_members(dataset.action_space, data.actions, steps)
    return {
        "observations": data.observations,
        "actions": data.actions,
        "rewards": data.rewards.tolist(),
        "terminations": data.terminations.tolist(),
        "truncations": data.truncations.tolist(),
        "reward_valid": data.infos["reward_valid"].tolist(),
        "options": about["options"],
        "seed": about.get("seed"),
        "policy": about["policy"],
        "split": about["split"],
    }


about = dataset.storage.get_episode_metadata(dataset.episode_indices)
episodes = [as_lists(*each) for each in zip(dataset.iterate_episodes(), about)]
assert "agent_gym_env" not in sys.modules
found = {
    "id": dataset.id,
    "algorithm": dataset.storage.metadata["algorithm_name"],
    "steps": dataset.total_steps,
    "episodes": episodes,
}
print(json.dumps(found))
"""
"""Script of a reader who knows only Minari and Gymnasium."""


def exported(
    folder: Path, episodes: Sequence[Episode], leaves: Sequence[str] = LEAVES
) -> tuple[dict[str, Any], Tally]:
    """Write a data set, and read it in a process that does not know this package."""
    tally = Tally()
    write_minari(folder, lambda: episodes, tally, leaves=leaves)
    command = [sys.executable, "-I", "-c", READ, str(folder / "data")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found, tally


def test_a_dialogue_is_there_step_by_step(tmp_path: Path) -> None:
    played = episode(
        turn(0.5, user="Hi", made=[call(city="Köln \U0001f3e8")], says="One."),
        turn(None, user="Bye", says=""),
        tools='[{"function":{"name":"T"}}]',
        policy="teacher",
        seed=7,
    )
    found, tally = exported(tmp_path / "teacher-v0", [played])
    (data,) = found["episodes"]
    request = f'[{{"name":"{FIND}","arguments":{{"city":"Köln \U0001f3e8"}}}}]'
    result = f'[{{"name":"{FIND}","status":"success","results":[]}}]'
    assert data["actions"] == {"text": ["", "One.", ""], "tool_calls": [request, "", ""]}
    assert data["observations"]["user"] == ["Hi", "", "Bye", ""]
    assert data["observations"]["tool_result"] == ["", result, "", ""]
    assert data["observations"]["tools"] == ['[{"function":{"name":"T"}}]'] * 4
    assert data["rewards"] == [0.0, 0.5, 0.0]
    assert data["reward_valid"] == [True, True, True, False]
    assert data["terminations"] == [False, False, True]
    assert data["truncations"] == [False, False, False]
    assert (data["seed"], data["options"]) == (7, {"dialogue_id": "1_00000"})
    assert (data["policy"], data["split"]) == ("teacher", "test")
    assert (found["id"], found["algorithm"], found["steps"]) == ("teacher-v0", "teacher", 3)
    assert tally.written == 3


def test_every_observation_of_every_policy_comes_back(tmp_path: Path, tiny_corpus: Path) -> None:
    played = [
        one
        for policy in ("oracle", "uniform")
        for one in rollout(policy, corpus=tiny_corpus, split="train")
    ]
    found, _ = exported(tmp_path / "tiny-v0", played)
    for data, one in zip(found["episodes"], played, strict=True):
        seen = list(observations(one))
        assert data["observations"] == {leaf: [each[leaf] for each in seen] for leaf in LEAVES}
    assert found["algorithm"] == "oracle, uniform"


def test_an_episode_that_did_not_come_to_its_end_is_truncated(tmp_path: Path) -> None:
    failed = episode(turn(), terminated=False, error="LMError: no")
    nothing = episode(terminated=False, error="LMError: no")
    found, tally = exported(tmp_path / "failed-v0", [failed, nothing])
    (data,) = found["episodes"]
    assert (data["terminations"], data["truncations"]) == ([False], [True])
    assert tally.left_out == {"no turns": 1}


def test_only_the_leaves_asked_for_are_there(tmp_path: Path) -> None:
    found, _ = exported(tmp_path / "small-v0", [episode(turn())], ("user", "tool_result"))
    assert found["episodes"][0]["observations"].keys() == {"user", "tool_result"}


def test_a_nul_is_replaced(tmp_path: Path) -> None:
    found, _ = exported(tmp_path / "nul-v0", [episode(turn(says="a\0b"))])
    assert found["episodes"][0]["actions"]["text"] == ["a\N{REPLACEMENT CHARACTER}b"]


@pytest.mark.parametrize(
    ("name", "leaves", "said"),
    [
        ("no version", LEAVES, "Malformed dataset ID"),
        ("a-v0", ("image",), "leaves must be some of"),
        ("a-v0", (), "leaves must be some of"),
    ],
)
def test_a_wrong_argument_is_refused(
    tmp_path: Path, name: str, leaves: tuple[str, ...], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        write_minari(tmp_path / name, lambda: [], Tally(), leaves=leaves)


def test_a_folder_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there already"):
        write_minari(_made(tmp_path / "a-v0"), lambda: [], Tally())


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_a_run_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    reads = iter([1, 2])

    def read() -> Iterator[Episode]:
        yield episode(turn())
        if next(reads) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_minari(tmp_path / "a-v0", read, Tally())
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        write_minari(tmp_path / "file" / "a-v0", lambda: [episode(turn())], Tally())
