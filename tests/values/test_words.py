from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_gym_env.values.words import words


def test_words_are_lower_case_runs_without_punctuation() -> None:
    assert words("It's 7:30 pm, snake_case!") == [b"it", b"s", b"7", b"30", b"pm", b"snake_case"]


@pytest.mark.parametrize("text", ["", " \n\t", "?!… —"])
def test_a_text_without_words_has_none(text: str) -> None:
    assert words(text) == []


def test_words_outside_ascii_are_utf8() -> None:
    assert words("Café Ünter") == ["café".encode(), "ünter".encode()]


def test_a_lone_surrogate_breaks_nothing() -> None:
    assert words("a\ud800b") == [b"a", b"b"]


@given(st.one_of(st.text(), st.text(alphabet=st.characters(max_codepoint=127))))
def test_words_equal_the_matches_of_the_regular_expression(text: str) -> None:
    expected = re.findall(r"\w+", text.lower())
    assert words(text) == [word.encode() for word in expected]


def test_every_ascii_character_is_treated_as_the_regular_expression_does() -> None:
    for code in range(128):
        text = f"a{chr(code)}b"
        assert words(text) == [word.encode() for word in re.findall(r"\w+", text.lower())]
