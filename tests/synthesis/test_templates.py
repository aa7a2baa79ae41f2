from __future__ import annotations

from random import Random

import pytest

from agent_gym_env.synthesis.templates import check, choose, slots, split


def test_each_choice_is_settled_by_one_of_its_alternatives() -> None:
    drawn = {choose("[a|b[1|2]|] {x} [c|d]", Random(seed)) for seed in range(200)}
    assert drawn == {f"{a}{{x}} {c}" for a in ("a ", "b1 ", "b2 ", "") for c in ("c", "d")}


def test_the_same_generator_state_draws_the_same_words() -> None:
    template = "[a|b|c] [d|e|f] [g|h|i]"
    assert choose(template, Random(7)) == choose(template, Random(7))


def test_slots_are_the_names_in_braces() -> None:
    assert slots("from {from_city} to {to_city}[ on {day}|]") == {"from_city", "to_city", "day"}


def test_splitting_keeps_every_word_and_hole_in_order() -> None:
    assert split("a {x} b {y}") == [("a ", "x"), (" b ", "y"), ("", None)]


@pytest.mark.parametrize("broken", ["[a|b", "a]", "{city", "{the city}", "}", " ", ""])
def test_a_broken_template_is_told(broken: str) -> None:
    assert check(broken) is not None


@pytest.mark.parametrize("sound", ["a", "[a|b[c|]]", "{city} and {}", "a | b"])
def test_a_sound_template_passes(sound: str) -> None:
    assert check(sound) is None
