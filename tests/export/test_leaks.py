from pathlib import Path

import msgspec
import pytest

from agent_gym_env.assembly import rollout
from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.errors import DataError
from agent_gym_env.export.leaks import HeldOut, without_leaks
from agent_gym_env.export.rows import Tally, counted
from agent_gym_env.rollout.episode import Episode
from tests.rollout.branch_factory import branch, point


@pytest.fixture(scope="module")
def held_out(tiny_corpus: Path) -> HeldOut:
    return HeldOut([open_corpus(tiny_corpus).split("dev")])


@pytest.fixture(scope="module")
def train(tiny_corpus: Path) -> list[Episode]:
    return list(rollout("oracle", corpus=tiny_corpus, split="train"))


@pytest.fixture(scope="module")
def dev(tiny_corpus: Path) -> list[Episode]:
    return list(rollout("oracle", corpus=tiny_corpus, split="dev"))


def test_a_held_out_dialogue_is_known(held_out: HeldOut, dev: list[Episode]) -> None:
    assert all(map(held_out.has, dev))


def test_it_is_known_in_another_split_and_under_another_id(
    held_out: HeldOut, dev: list[Episode]
) -> None:
    moved = msgspec.structs.replace(dev[0], split="train", dialogue_id="9_00000", corpus="another")
    assert held_out.has(moved)


def test_it_is_known_in_another_schema(held_out: HeldOut, dev: list[Episode]) -> None:
    first = dev[0].turns[:1]
    begun = msgspec.structs.replace(dev[0], corpus="a variant", turns=first)
    assert held_out.has(begun)


def test_an_id_alone_tells_nothing(held_out: HeldOut, train: list[Episode]) -> None:
    # The tiny corpus has this very dialogue in train and in dev; the other ids are in both, too.
    assert [each.dialogue_id for each in train if held_out.has(each)] == ["1_00001"]


def test_what_is_of_a_split_of_that_name_is_held_out_whatever_its_corpus(
    held_out: HeldOut, train: list[Episode]
) -> None:
    other = msgspec.structs.replace(train[0], split="dev", corpus="another")
    assert not held_out.has(train[0])
    assert held_out.has(other)


def said_by(episode: Episode, turns: int) -> str:
    users = [{"role": "user", "content": turn.user} for turn in episode.turns[:turns]]
    return msgspec.json.encode(users).decode()


def test_first_words_alone_make_no_state_of_a_held_out_dialogue(
    held_out: HeldOut, dev: list[Episode]
) -> None:
    assert not held_out.has(point(branch(1.0), messages=said_by(dev[0], 1)))


def test_the_first_states_of_a_renamed_copy_are_known_by_its_later_ones(
    held_out: HeldOut, train: list[Episode], dev: list[Episode]
) -> None:
    copy = dev[0]
    assert len(copy.turns) > 1
    states = [
        point(branch(1.0), dialogue_id=name, messages=said_by(episode, turns))
        for name, episode in (("1_00000", train[0]), ("renamed", copy))
        for turns in range(1, len(episode.turns) + 1)
    ]
    tally = Tally()
    kept = list(without_leaks(states, held_out, tally, drop=True))
    assert {state.dialogue_id for state in kept} == {"1_00000"}
    assert tally.left_out == {"held out": len(copy.turns)}


def test_leaks_are_refused_at_the_end_with_their_number(
    held_out: HeldOut, train: list[Episode], dev: list[Episode]
) -> None:
    tally = Tally()
    passing = without_leaks(counted([*train, *dev], tally), held_out, tally, drop=False)
    with pytest.raises(DataError, match="3 of 5 records are of held-out dialogues") as caught:
        list(passing)
    assert caught.value.dialogue_id == "1_00001"


def test_leaks_are_left_out_and_counted_where_that_is_wanted(
    held_out: HeldOut, train: list[Episode]
) -> None:
    tally = Tally()
    kept = list(without_leaks(train, held_out, tally, drop=True))
    assert [each.dialogue_id for each in kept] == ["1_00000", "1_00002"]
    assert tally.left_out == {"held out": 1}


def test_the_splits_of_sgd_share_no_dialogue(sgd_path: Path) -> None:
    corpus = open_corpus(sgd_path)
    held_out = HeldOut([corpus.split("dev"), corpus.split("test")])
    played = rollout("silent", corpus=sgd_path, split="train", episodes=300)
    assert not any(map(held_out.has, played))
