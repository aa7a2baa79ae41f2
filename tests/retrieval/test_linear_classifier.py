import numpy as np
import pytest

from agent_gym_env.retrieval.linear_classifier import LinearClassifier, Option, TrainableClassifier
from agent_gym_env.retrieval.tokens import hashed

NOTHING = hashed("flag", [])


def option(*words: str, flags: tuple[str, ...] = ()) -> Option:
    return Option(hashed("tool", words), hashed("flag", flags))


def said(*words: str) -> np.ndarray:
    return hashed("user", ["always", *words])


def taught(**options: float) -> TrainableClassifier:
    """Learned, from teas and cakes, that what is named is wanted."""
    classifier = TrainableClassifier(np.random.default_rng(0), **options)
    options_ = [option("find", "tea"), option("find", "cake")]
    for _ in range(200):
        classifier.update(said("tea"), options_, 0)
        classifier.update(said("cake"), options_, 1)
    return classifier


def test_without_training_all_options_are_equally_probable() -> None:
    chances = LinearClassifier().probabilities(
        said("tea"), [option("tea"), option("cake"), option("jam")]
    )
    assert chances == pytest.approx([1 / 3] * 3)


def test_it_learns_which_words_go_with_which_option() -> None:
    chances = taught().probabilities(said("cake"), [option("find", "tea"), option("find", "cake")])
    assert chances.argmax() == 1
    assert chances.sum() == pytest.approx(1.0)


def test_an_option_never_met_is_known_by_the_words_it_shares() -> None:
    chances = taught().probabilities(said("tea"), [option("bake", "cake"), option("brew", "tea")])
    assert chances.argmax() == 1


def test_the_order_of_options_does_not_matter() -> None:
    classifier = taught()
    one, other, third = option("tea"), option("cake"), option("jam")
    forwards = classifier.probabilities(said("tea"), [one, other, third])
    backwards = classifier.probabilities(said("tea"), [third, other, one])
    assert forwards == pytest.approx(backwards[::-1])


def test_with_all_words_left_out_flags_alone_are_learned() -> None:
    classifier = TrainableClassifier(np.random.default_rng(0), drop_all=1.0)
    options = [option("tea", flags=("none",)), option("tea", flags=("next",))]
    for _ in range(1000):
        classifier.update(said("another"), options, 1)
    other_words = [option("bus", flags=("none",)), option("bus", flags=("next",))]
    assert classifier.probabilities(said("another"), other_words)[1] > 0.9


def test_the_same_draws_teach_the_same() -> None:
    assert np.array_equal(taught().weights, taught().weights)


def test_options_may_have_no_features() -> None:
    bare = Option(NOTHING, hashed("flag", ["none"]))
    chances = LinearClassifier().probabilities(said(), [option(), bare, option("tea"), option()])
    assert chances == pytest.approx([1 / 4] * 4)
