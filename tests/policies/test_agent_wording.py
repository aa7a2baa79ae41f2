"""The words of an agent: each style says every value and keeps the kind of turn."""

from __future__ import annotations

import pytest

from agent_gym_env.corpus.sgd import Slot
from agent_gym_env.policies.agent_wording import STYLES, Speaker, Style, agent_words, offered_values
from agent_gym_env.types import DialogueAct


def _slot(name: str, description: str, *values: str) -> Slot:
    return Slot(
        name=name,
        description=description,
        is_categorical=bool(values),
        possible_values=list(values),
    )


SLOTS = {
    slot.name: slot
    for slot in (
        _slot("restaurant_name", "Name of the restaurant"),
        _slot("date", "The date of the reservation."),
        _slot("time", "How late to come"),
        _slot("pets_allowed", "Whether pets are allowed", "True", "False"),
    )
}


def _acts(kind: str, **values: str) -> list[DialogueAct]:
    return [DialogueAct(kind, slot, value) for slot, value in values.items()]


def test_a_plain_request_asks_for_each_slot() -> None:
    acts = [DialogueAct("REQUEST", "restaurant_name"), DialogueAct("REQUEST", "pets_allowed")]
    assert agent_words(acts, SLOTS) == (
        "What restaurant name would you like? Should pets be allowed?"
    )


def test_a_descriptive_request_uses_the_schema_where_it_begins_with_a_noun() -> None:
    acts = [DialogueAct("REQUEST", slot) for slot in ("date", "time", "unknown_slot")]
    assert agent_words(acts, SLOTS, style="descriptive") == (
        "Could you tell me the date of the reservation and the time and the unknown slot?"
    )


def test_a_suggested_value_is_asked_about() -> None:
    acts = [DialogueAct("REQUEST", "time", "17:15")]
    assert agent_words(acts, SLOTS) == "Should the time be 5:15 pm?"


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    "acts",
    [
        _acts("OFFER", restaurant_name="Bella", date="2019-03-08", time="17:00"),
        _acts("CONFIRM", restaurant_name="Bella", date="2019-03-08", time="17:00"),
        _acts("INFORM", restaurant_name="Bella", date="2019-03-08", time="17:00"),
        [DialogueAct("NOTIFY_SUCCESS"), *_acts("INFORM", inn="Bella", day="2019-03-08", t="17:00")],
        [DialogueAct("NOTIFY_FAILURE"), *_acts("OFFER", inn="Bella", day="2019-03-08", t="17:00")],
    ],
)
def test_every_value_is_said_as_people_say_it(style: Style, acts: list[DialogueAct]) -> None:
    text = agent_words(acts, SLOTS, style=style, intent="ReserveRestaurant")
    for said in ("Bella", "March 8th", "5 pm"):
        assert text.count(said) == 1, text


@pytest.mark.parametrize("style", STYLES)
def test_a_boolean_is_a_clause(style: Style) -> None:
    said = [
        agent_words(_acts("INFORM", pets_allowed=value), SLOTS, style=style)
        for value in ("True", "False")
    ]
    assert said == ["Pets are allowed.", "Pets are not allowed."]


@pytest.mark.parametrize("style", STYLES)
def test_the_kinds_of_turn_have_words_of_their_own(style: Style) -> None:
    kinds = ("NOTIFY_SUCCESS", "NOTIFY_FAILURE", "REQ_MORE", "GOODBYE", "OFFER_INTENT", "")
    acts = [[DialogueAct(kind, value="BuyTicket")] if kind else [] for kind in kinds]
    texts = {agent_words(each, SLOTS, style=style, intent="FindBus") for each in acts}
    assert len(texts) == len(kinds)
    assert all(texts)


def test_a_failure_that_goes_on_asks_what_else() -> None:
    acts = [DialogueAct("NOTIFY_FAILURE"), DialogueAct("REQ_MORE")]
    assert agent_words(acts, {}) == (
        "Sorry, I was unable to do that. Is there anything else I can help you with?"
    )


def test_a_value_that_is_no_date_of_the_calendar_is_said_as_it_is() -> None:
    assert "2019-02-30" in agent_words(_acts("INFORM", date="2019-02-30"), SLOTS)


def test_an_offer_says_the_name_and_what_tells_the_row_from_the_others() -> None:
    first = {"a": "1", "b": "2", "cafe_name": "Lark", "c": "3", "d": "4"}
    row = {**first, "e": "5", "garden": "True"}
    assert offered_values(row, [row]) == first
    other = {**row, "garden": "False"}
    assert offered_values(row, [other, row]) == row


def test_the_same_acts_are_said_again_in_another_style() -> None:
    speaker = Speaker("verbose")
    acts = [DialogueAct("REQUEST", "date")]
    first = speaker.say(acts, SLOTS, "", 0)
    again = [speaker.say_again() for _ in STYLES]
    assert {action.acts for action in (first, *again)} == {tuple(acts)}
    assert len({action.text for action in again}) == len(STYLES)
    assert again[-1].text == first.text


def test_a_function_words_the_acts_and_is_called_again() -> None:
    heard = []

    def wording(acts: object, slots: object, intent: str, found: int) -> str:
        heard.append((intent, found))
        return f"take {len(heard)}"

    speaker = Speaker(wording)
    assert speaker.say([DialogueAct("REQ_MORE")], {}, "FindBus", 3).text == "take 1"
    assert speaker.say_again().text == "take 2"
    assert heard == [("FindBus", 3)] * 2


def test_an_unknown_style_is_refused() -> None:
    with pytest.raises(ValueError, match="verbos"):
        Speaker("verbos")
