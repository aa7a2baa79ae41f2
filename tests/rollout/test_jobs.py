"""Each job of a collection is one dialogue with its own seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent_gym_env.assembly import collect
from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.errors import DataError
from agent_gym_env.rollout.jobs import Collection
from agent_gym_env.rollout.journal.reading import read_played
from agent_gym_env.rollout.play import episode_seed

IDS = ["1_00000", "1_00001"]


def collection(**options: Any) -> Collection:
    arguments: dict[str, Any] = {"policies": ({"name": "oracle"},), "jobs": 4, **options}
    return Collection(world={}, corpus="0" * 64, **arguments)


def jobs(**options: Any) -> list[tuple[str, tuple[int, ...]]]:
    what = collection(**options)
    return [what.job(number, IDS)[1:] for number in range(what.jobs)]


def seed(dialogue_id: str, more: int = 0) -> int:
    return episode_seed(0, dialogue_id) + more


def test_the_first_episode_of_a_dialogue_has_the_seed_that_evaluation_gives_it() -> None:
    assert jobs(jobs=2) == [(IDS[0], (seed(IDS[0]),)), (IDS[1], (seed(IDS[1]),))]


def test_more_jobs_than_dialogues_play_them_again_with_other_seeds() -> None:
    assert jobs(jobs=3)[2] == (IDS[0], (seed(IDS[0], 1),))


def test_the_best_of_several_has_a_seed_for_each() -> None:
    first, _, again, _ = jobs(best_of=3)
    assert first == (IDS[0], tuple(seed(IDS[0], more) for more in (0, 1, 2)))
    assert again == (IDS[0], tuple(seed(IDS[0], more) for more in (3, 4, 5)))


def test_all_of_several_are_jobs_of_the_same_seeds() -> None:
    kept = jobs(jobs=12, best_of=3, keep_all=True)
    assert {(name, seed) for name, (seed,) in kept} == {
        (name, seed) for name, seeds in jobs(best_of=3) for seed in seeds
    }
    assert [name for name, _ in kept[:4]] == [IDS[0]] * 3 + [IDS[1]]


def test_branches_of_a_dialogue_that_is_played_again_have_other_seeds() -> None:
    # Each adds 0 and 1 to the seed of its way.
    first, _, again, _ = jobs(branches=2)
    assert again == (first[0], (first[1][0] + 2,))


def test_no_seed_of_a_dialogue_comes_twice() -> None:
    seeds = [(name, seed) for name, (seed,) in jobs(jobs=1000)]
    assert len(set(seeds)) == 1000


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"policies": ()}, "expected one policy, found 0"),
        ({"policies": ({"name": "oracle"}, {"name": "silent"})}, "expected one policy, found 2"),
        ({"best_of": 0}, "best_of must be at least 1"),
        ({"branches": 2, "best_of": 2}, "all branches are kept"),
        ({"keep_all": True}, "best_of, which must be above 1"),
    ],
)
def test_what_cannot_be_collected_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        collection(**options)


def test_a_collection_is_written_down_without_credentials() -> None:
    def written(password: str) -> dict[str, Any]:
        address = f"http://user:{password}@host/v1?api_key={password}"
        policy = {"name": "llm", "client": "local", "api_base": address}
        judge = {"name": "llm_judge", "model": {"client": "local", "api_base": address}}
        return Collection(
            policies=(policy,), world={"reward": judge}, corpus="0" * 64, jobs=1, path=policy
        ).as_json()

    config = written("PW-secret")
    assert config == written("another")
    assert config["policies"][0]["api_base"] == "http://host/v1"
    assert config["world"]["reward"]["model"]["api_base"] == "http://host/v1"
    assert "PW-secret" not in str(config)


def test_named_dialogues_are_written_down_and_drawn_ones_are_not() -> None:
    assert "dialogue_ids" not in collection().as_json()
    assert collection(dialogue_ids=("b", "a")).as_json()["dialogue_ids"] == ["b", "a"]


def test_named_dialogues_are_played_in_their_order(tmp_path: Path) -> None:
    every = open_corpus("sample").split("dev").dialogue_ids()
    ids = [every[9], every[2], every[5]]
    collect("silent", tmp_path, dialogue_ids=ids, split="dev")
    assert [each.dialogue_id for each in read_played(tmp_path)] == ids
    with pytest.raises(ValueError, match="names a dialogue twice"):
        collect("silent", tmp_path / "a", dialogue_ids=ids[:1] * 2, split="dev")
    with pytest.raises(ValueError, match="so leave episodes away"):
        collect("silent", tmp_path / "a", dialogue_ids=ids, episodes=3, split="dev")
    with pytest.raises(DataError, match="has no dialogue '9_9'"):
        collect("silent", tmp_path / "a", dialogue_ids=["9_9"], split="dev")
