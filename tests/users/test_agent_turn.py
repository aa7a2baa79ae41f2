"""The meaning of an agent's acts: contradictions tell nothing, and an offer names a row."""

from __future__ import annotations

import pytest

from agent_gym_env.types import DialogueAct
from agent_gym_env.users.agent_turn import read_acts

_NOPA = {"restaurant_name": "Nopa", "city": "Denver", "phone_number": "555-0100"}
_OASIS = {"restaurant_name": "Oasis", "city": "Denver", "phone_number": "555-0101"}
_TODAY = "2019-03-01"


def _offer(*rows: dict[str, str]) -> list[DialogueAct]:
    return [DialogueAct("OFFER", slot, value) for row in rows for slot, value in row.items()]


def test_an_offer_is_the_row_that_it_names() -> None:
    turn = read_acts(_offer(_OASIS), [_NOPA, _OASIS], _TODAY)
    assert (turn.kind, turn.offered) == ("offer", _OASIS)


@pytest.mark.parametrize(
    "acts",
    [
        _offer(_NOPA, _OASIS),  # every row at once
        [DialogueAct("OFFER")],
        [DialogueAct("OFFER", "restaurant_name", "Elsewhere")],
    ],
)
def test_an_offer_of_several_rows_or_of_none_offers_nothing(acts: list[DialogueAct]) -> None:
    turn = read_acts(acts, [_NOPA, _OASIS], _TODAY)
    assert (turn.kind, turn.offered) == ("offer", None)


@pytest.mark.parametrize("kind", ["INFORM", "CONFIRM"])
def test_a_slot_with_two_values_was_not_told(kind: str) -> None:
    acts = [
        DialogueAct(kind, "phone_number", "555-0100"),
        DialogueAct(kind, "phone_number", "555-0101"),
        DialogueAct(kind, "city", "Denver"),
        DialogueAct(kind, "city", "Denver"),
    ]
    turn = read_acts(acts, [], _TODAY)
    assert (turn.informed or turn.confirmed) == {"city": "Denver"}


def test_a_question_with_two_suggestions_stays_a_question() -> None:
    acts = [DialogueAct("REQUEST", "city", "Denver"), DialogueAct("REQUEST", "city", "Oakland")]
    turn = read_acts(acts, [], _TODAY)
    assert (turn.slots, turn.suggested) == (("city",), {})
