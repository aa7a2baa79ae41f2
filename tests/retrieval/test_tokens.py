import pytest

from agent_gym_env.retrieval.tokens import (
    content_words,
    hashed,
    identifier_words,
    pairs,
    phrase_key,
    stem,
    tokens_of,
)


def test_tokens_keep_their_places() -> None:
    text = "Two teas, please!"
    assert [text[token.start : token.end] for token in tokens_of(text)] == ["Two", "teas", "please"]


@pytest.mark.parametrize(
    ("word", "expected"),
    [("teas", "tea"), ("cities", "city"), ("class", "class"), ("gas", "gas"), ("bus", "bus")],
)
def test_a_stem_lacks_the_ending_of_the_plural(word: str, expected: str) -> None:
    assert stem(word) == expected


@pytest.mark.parametrize(
    ("identifier", "words"),
    [
        ("FindTeas", ("find", "tea")),
        ("has_wifi", ("has", "wifi")),
        ("Teas_1", ("tea",)),
        ("GetATMList", ("get", "atm", "list")),
        ("", ()),
    ],
)
def test_identifiers_fall_into_words(identifier: str, words: tuple[str, ...]) -> None:
    assert identifier_words(identifier) == words


def test_a_description_keeps_what_says_something() -> None:
    assert content_words("Name of the tea that you would like") == ("name", "tea", "would", "like")


def test_phrases_are_the_same_whatever_their_case_and_number() -> None:
    assert phrase_key("Green teas!") == phrase_key("green tea") == "green tea"


def test_pairs_mark_begin_and_end() -> None:
    assert pairs(["no", "thanks"]) == ["^ no", "no thanks", "thanks $"]
    assert pairs([]) == ["^ $"]


def test_a_hash_depends_on_word_and_namespace() -> None:
    one, other, of_one = *hashed("user", ["tea", "cake"]), *hashed("agent", ["tea"])
    assert len({int(one), int(other), int(of_one)}) == 3
    assert hashed("user", []).shape == (0,)


def test_lone_surrogates_can_be_hashed() -> None:
    assert len(hashed("user", ["\ud800"])) == 1
