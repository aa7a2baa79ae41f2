import pytest

from agent_gym_env.corpus.sgd import TODAY
from agent_gym_env.retrieval.mentions import find_mentions
from agent_gym_env.retrieval.tokens import tokens_of

COMMON = {"i", "hi", "is", "book", "take"}


def mentions(text: str, *phrases: str) -> list[tuple[str, str]]:
    found = find_mentions(text, tokens_of(text), today=TODAY, phrases=[set(phrases)], common=COMMON)
    return [(mention.kind, mention.text) for mention in found]


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("on march 8th please", "date", "march 8th"),
        ("at 5 pm please", "time", "5 pm"),
        ("for three please", "number", "three"),
        ("take me to Saint Ann's Hill now", "name", "Saint Ann's Hill"),
        ("go to 12 Elm Street now", "name", "12 Elm Street"),
        ("to the House of the Moon please", "name", "House of the Moon"),
    ],
)
def test_values_of_each_kind_are_found(text: str, kind: str, said: str) -> None:
    assert (kind, said) in mentions(text)


def test_a_common_word_at_the_beginning_of_a_sentence_is_not_a_name() -> None:
    assert mentions("Hi. Book it. Is it far?") == []


def test_the_word_for_the_speaker_is_not_a_name() -> None:
    assert mentions("so I come, as I'd like to") == []


def test_known_phrases_are_found_in_any_case_and_number() -> None:
    assert mentions("some green TEAS today", "green tea") == [
        ("known", "green TEAS"),
        ("date", "today"),
    ]


def test_of_two_that_overlap_the_longer_wins() -> None:
    assert mentions("see The Two Towers now", "two") == [("name", "The Two Towers")]


def test_of_two_of_one_length_the_known_phrase_wins() -> None:
    assert mentions("fly to Lund", "lund") == [("known", "Lund")]


def test_a_mention_has_the_canonical_value() -> None:
    text = "tomorrow at noon for two"
    found = find_mentions(text, tokens_of(text), today=TODAY, phrases=[], common=COMMON)
    assert [mention.value for mention in found] == ["2019-03-02", "12:00", "2"]


@pytest.mark.parametrize("text", ["", "?!", "\ud800", "\u0130" * 50])
def test_no_text_is_too_strange(text: str) -> None:
    assert isinstance(mentions(text), list)
