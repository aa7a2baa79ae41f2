"""The values that a user says, beyond those that the tracker is sure of."""

from __future__ import annotations

import pytest

from agent_gym_env.policies.said_values import said_values
from agent_gym_env.retrieval.state import State
from agent_gym_env.retrieval.understanding import Question, update_state
from tests.retrieval.scenes import ORDER, answering, state

CAKE = "Cakes_1-Order"


def _heard(user: str, tool: str, slots: dict[str, str]) -> State:
    """Listen with a tracker that is sure of these slots alone; they are given with their words."""

    def answer(question: Question) -> str | None:
        if question.topic == "tool":
            return tool
        said = None if question.mention is None else question.mention.text
        return next((slot for slot, words in slots.items() if words == said), None)

    scene = state(tool)
    update_state(scene, user, answering(answer))
    return scene


def _values(user: str, *asked: str, informs: bool = True, tool: str = CAKE, **slots: str) -> object:
    found = said_values(_heard(user, tool, slots), asked, informs=informs)
    assert {service for service, _ in found} <= {tool.partition("-")[0]}
    return {slot: value for (_, slot), value in found.items()}


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("No. The cake should be white forest.", {"cake": "white forest"}),
        ("The day is March 8th. The cake should be Sacher.",
         {"day": "2019-03-08", "cake": "Sacher"}),
        ("Hmm, with the cake white forest with day March 8th, please.",
         {"cake": "white forest", "day": "2019-03-08"}),
        ("One change: with cake white forest instead.", {"cake": "white forest"}),
    ],
)  # fmt: skip
def test_a_slot_that_is_called_by_its_name_gets_the_value_after_it(
    user: str, expected: dict[str, str]
) -> None:
    assert _values(user, informs=False) == expected


def test_yes_is_a_value_of_a_boolean_slot_and_nothing_else_is() -> None:
    stated = {"wrapped": "True"}
    assert _values("The wrapped should be yes.", tool=ORDER, informs=False) == stated
    assert _values("The wrapped should be lovely.", tool=ORDER, informs=False) == {}


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("No, it should be wrapped, please.", {"wrapped": "True"}),
        ("It need not be wrapped. Send it.", {"wrapped": "False"}),
        ("The name should be Assam it should be wrapped", {"name": "Assam", "wrapped": "True"}),
        ("It should come soon. Wrapped, was it?", {}),
    ],
)
def test_a_clause_that_wants_what_a_boolean_slot_names_says_its_value(
    user: str, expected: dict[str, str]
) -> None:
    assert _values(user, tool=ORDER, informs=False) == expected


def test_words_that_are_no_date_are_no_value_of_a_slot_for_dates() -> None:
    assert _values("The day should be sunny.", informs=False) == {}
    assert _values("Sorry", "day") == {}


def test_what_the_user_states_corrects_the_tracker() -> None:
    user = "The cake should be March 8th."
    assert _values(user, day="March 8th") == {"cake": "2019-03-08"}


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("Okay, to white forest on March 8th.", "white forest"),
        ("I'm thinking of white forest if you can.", "white forest"),
        ("White forest would be good, please.", "White forest"),
        ("Let me see, white forest", "white forest"),
        ("In Uji, please", "Uji"),
    ],
)
def test_the_answer_to_a_question_for_a_text_is_the_rest_of_the_sentence(
    user: str, expected: str
) -> None:
    assert _values(user, "cake", day="March 8th") in (
        {"cake": expected},
        {"cake": expected, "day": "2019-03-08"},
    )


def test_a_slot_that_was_asked_for_takes_the_mention_that_no_other_slot_has() -> None:
    assert _values("The Black Forest on March 8th", "cake", day="March 8th") == {
        "cake": "Black Forest",
        "day": "2019-03-08",
    }


def test_the_tracker_s_values_are_kept_and_nothing_is_guessed_beside_them() -> None:
    assert _values("I said on March 8th, to Anna", day="March 8th") == {"day": "2019-03-08"}
    assert _values("Okay, go on.", informs=False) == {}
