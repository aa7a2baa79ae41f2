from __future__ import annotations

from agent_gym_env.synthesis.surfaces import Surface
from agent_gym_env.synthesis.templates import Mention, Value, fill, join, sentence, spell


def _value(text: str, lead: str = "", takes_on: bool = True) -> Value:
    return Value("Bakery_1", "what", text, Surface(text, lead, takes_on))


def test_a_mention_has_the_place_of_its_value() -> None:
    text, mentions = spell([sentence(fill("a table in {city}", {"city": _value("Austin")}))])
    assert text == "A table in Austin."
    assert mentions == [Mention("Bakery_1", "what", "Austin", 11, 17)]


def test_a_value_at_the_head_of_a_sentence_gets_a_capital() -> None:
    text, [mention] = spell([["Good."], [_value("tomorrow"), " is fine."]])
    assert text == "Good. Tomorrow is fine."
    assert text[mention.start : mention.end] == "Tomorrow"


def test_words_after_a_full_stop_inside_a_phrase_get_a_capital() -> None:
    text, _ = spell([["That might work. ", "what is it", "?"]])
    assert text == "That might work. What is it?"


def test_on_precedes_dates_but_not_days_relative_to_today() -> None:
    template = "a room on {day}"
    dated = fill(template, {"day": _value("March 4th")})
    relative = fill(template, {"day": _value("tomorrow", takes_on=False)})
    ordinal = fill(template, {"day": _value("4th of March", lead="the ")})
    assert [spell([it])[0] for it in (dated, relative, ordinal)] == [
        "A room on March 4th",
        "A room tomorrow",
        "A room on the 4th of March",
    ]


def test_the_article_fits_the_value() -> None:
    assert spell([fill("a {it} cafe", {"it": _value("Italian")})])[0] == "An Italian cafe"
    assert spell([fill("has a {it} cafe", {"it": _value("Greek")})])[0] == "Has a Greek cafe"
    assert spell([fill("a {it} percent fee", {"it": _value("8")})])[0] == "An 8 percent fee"
    assert spell([fill("a {it} percent fee", {"it": _value("110")})])[0] == "A 110 percent fee"


def test_joined_phrases_skip_empty_ones() -> None:
    assert spell([join([["a"], [], ["b"]], ", ")])[0] == "A, b"


def test_a_sentence_is_closed_once() -> None:
    assert sentence(["Really?"]) == ["Really?"]
    assert sentence(["Really"]) == ["Really", "."]
