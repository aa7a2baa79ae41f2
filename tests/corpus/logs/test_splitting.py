"""Users and near-duplicates stay in one split, whatever the order of the conversations."""

from __future__ import annotations

import doctest
import random
from collections.abc import Sequence

import numpy as np
import pytest

from agent_gym_env.corpus.logs import splitting as module
from agent_gym_env.corpus.logs.splitting import SPLITS, SplitPlan, Splitter, signatures


def words(rng: random.Random, count: int = 120) -> list[str]:
    return [f"w{rng.randrange(3000)}" for _ in range(count)]


def plan_of(texts: Sequence[tuple[str, str]], **options: object) -> SplitPlan:
    splitter = Splitter(**options)  # type: ignore[arg-type]
    for unit, text in texts:
        splitter.add(unit, text)
    return splitter.plan()


def test_shares_are_kept_and_the_seed_matters() -> None:
    rng = random.Random(0)
    texts = [(str(number), " ".join(words(rng))) for number in range(2000)]
    plan = plan_of(texts, shares=(0.6, 0.3, 0.1))
    counts = np.bincount(plan.places, minlength=3) / 2000
    assert counts == pytest.approx([0.6, 0.3, 0.1], abs=0.04)
    assert (plan.places == plan_of(texts, shares=(0.6, 0.3, 0.1)).places).all()
    assert (plan.places != plan_of(texts, shares=(0.6, 0.3, 0.1), seed=1).places).any()
    assert plan.near_duplicates == plan.moved == 0


def test_order_and_company_do_not_matter() -> None:
    rng = random.Random(1)
    texts = []
    for number in range(300):
        text = words(rng)
        texts.append((f"{number}a", " ".join(text)))
        if number % 3 == 0:
            text[5] = "changed"
            texts.append((f"{number}b", " ".join(text)))
    places = dict(zip((unit for unit, _ in texts), plan_of(texts).places, strict=True))
    shuffled = rng.sample(texts, len(texts))
    assert places == dict(
        zip((unit for unit, _ in shuffled), plan_of(shuffled).places, strict=True)
    )


def test_near_duplicates_do_not_cross() -> None:
    rng = random.Random(2)
    texts = []
    for number in range(500):
        text = words(rng)
        texts.append((f"{number}", " ".join(text)))
        text[rng.randrange(len(text))] = "changed"
        texts.append((f"copy of {number}", " ".join(text)))
    plan = plan_of(texts)
    assert (plan.places[::2] == plan.places[1::2]).all()
    assert plan.near_duplicates == 1000
    assert 100 < plan.moved < 250  # a third of the pairs, of which one moves
    assert plan.largest_group == 2
    apart = plan_of(texts, similarity=None)
    assert (apart.places[::2] != apart.places[1::2]).sum() == plan.moved


def test_many_copies_are_one_group() -> None:
    rng = random.Random(3)
    text = " ".join(words(rng))
    plan = plan_of([(str(number), text) for number in range(3000)])
    assert len(set(plan.places.tolist())) == 1
    assert plan.largest_group == plan.near_duplicates == 3000


def test_a_user_stays_in_one_split_and_so_do_users_with_near_duplicates() -> None:
    rng = random.Random(4)
    shared = " ".join(words(rng))
    texts = [(f"user {number % 40}", " ".join(words(rng))) for number in range(400)]
    texts += [("user 1", shared), ("user 2", shared)]
    plan = plan_of(texts)
    by_user: dict[str, set[int]] = {}
    for (user, _), place in zip(texts, plan.places.tolist(), strict=True):
        by_user.setdefault(user, set()).add(place)
    assert all(len(places) == 1 for places in by_user.values())
    assert by_user["user 1"] == by_user["user 2"]
    assert len({place for places in by_user.values() for place in places}) == 3


def test_the_logs_own_splits_are_kept_and_crossing_ones_are_counted() -> None:
    splitter = Splitter()
    for split in ("test", "train", "dev"):
        splitter.add(split, "the same words in all of them", split)
    plan = splitter.plan()
    assert [SPLITS[place] for place in plan.places] == ["test", "train", "dev"]
    assert (plan.near_duplicates, plan.moved, plan.across) == (3, 0, 2)


def test_signatures_estimate_the_share_of_common_shingles() -> None:
    rng = random.Random(5)
    errors = []
    for _ in range(60):
        one = words(rng)
        other = [w if rng.random() > 0.05 else "changed" for w in one]
        shingles = [{tuple(text[i : i + 3]) for i in range(len(text) - 2)} for text in (one, other)]
        true = len(shingles[0] & shingles[1]) / len(shingles[0] | shingles[1])
        first, second = signatures([" ".join(one).encode(), " ".join(other).encode()])
        errors.append((first == second).mean() - true)
    assert abs(np.mean(errors)) < 0.03
    assert np.std(errors) < 0.1


@pytest.mark.parametrize("text", ["", "a", "a b", "a b c", "é ü", "?!", "a" * 300_000, "x y " * 9])
def test_signatures_do_not_depend_on_the_batch(text: str) -> None:
    alone = signatures([text.encode()])[0]
    among = signatures([b"other words here", text.encode(), b"", b"and more of them"])[1]
    assert (alone == among).all()


def test_case_and_punctuation_do_not_matter() -> None:
    one, other = signatures([b"Hello, good Morning to you.", b"hello good morning - to YOU"])
    assert (one == other).all()


def test_no_conversation_is_no_plan() -> None:
    assert len(Splitter().plan().places) == 0


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.5, 0.4, 0.2), (1.2, -0.1, -0.1), ()])
def test_shares_must_add_up(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="that add up to 1"):
        Splitter(shares)


def test_similarity_must_be_in_its_range() -> None:
    with pytest.raises(ValueError, match=r"from 0\.5 to 1"):
        Splitter(similarity=0.2)


def test_examples_run() -> None:
    assert doctest.testmod(module).failed == 0
