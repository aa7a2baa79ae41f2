"""An agent that deceives the user earns no strict success, and an honest one keeps it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from msgspec import structs

from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.corpus.goals import Binding, Decision, Errand, Goal, UserAct
from agent_gym_env.corpus.tool_specs import ToolSpec
from agent_gym_env.types import DialogueAct
from agent_gym_env.users.agenda import AgendaUser
from agent_gym_env.users.agent_turn import read_acts
from agent_gym_env.users.verdict import judge

_DINING = "Dining_1"
_TODAY = "2019-03-01"
_WISHES = {"restaurant_name": "Nopa", "city": "Denver", "booking_time": "19:00"}
_THANKS = Decision((UserAct(_DINING, "NEGATE"), UserAct(_DINING, "THANK_YOU")), 2)


def _errand(intent: str, wishes: Mapping[str, str], *, decisions: dict[str, Decision]) -> Errand:
    return Errand(
        _DINING, intent, intent == "ReserveTable", False,
        {slot: (value,) for slot, value in wishes.items()}, dict(wishes),
        dict.fromkeys(wishes, Binding("user")), "success", intent != "ReserveTable", decisions,
    )  # fmt: skip


def _tools() -> Mapping[str, ToolSpec]:
    return open_corpus("sample").split("dev").tools


class _Play:
    """A user with one errand, and the verdict on what the agent does."""

    def __init__(self, errand: Errand) -> None:
        self.goal = Goal((UserAct(_DINING, "INFORM_INTENT", "intent", errand.intent),), (errand,))
        self.user = AgendaUser(self.goal, _tools(), _TODAY)
        self.user.open()
        self.queried: set[str] = set()

    def call(
        self,
        tool: str,
        arguments: Mapping[str, str],
        *rows: dict[str, str],
        status: str = "success",
    ) -> None:
        """Let the user know of a call."""
        self.user.note_result(_tools()[tool], arguments, status, rows)
        self.queried.add(tool)

    def say(self, *acts: DialogueAct) -> set[str]:
        """Return the kinds of the user's acts after acts of the agent."""
        turn = read_acts(acts, self.user.state.rows, _TODAY)
        return {act.act for act in self.user.react(turn)}

    def reasons(self) -> tuple[str, ...]:
        """Return what keeps the dialogue from a strict success."""
        verdict = judge(self.goal, self.user.state, self.queried)
        assert verdict.strict is (not verdict.reasons)
        return verdict.reasons


_BOOK = f"{_DINING}-ReserveTable"
_DONE = DialogueAct("NOTIFY_SUCCESS")


def _confirmed(*beside: DialogueAct) -> _Play:
    """Return a play in which the agent has asked for consent."""
    play = _Play(_errand("ReserveTable", _WISHES, decisions={"success:1": _THANKS}))
    asked = (DialogueAct("CONFIRM", slot, value) for slot, value in _WISHES.items())
    assert play.say(*asked, *beside) == {"AFFIRM"}
    return play


def _told(act: str, slot: str, value: str) -> DialogueAct:
    return DialogueAct(act, slot, value)


@pytest.mark.parametrize(
    ("told", "is_false"),
    [
        ((), False),
        ((_told("INFORM", "booking_time", "7 pm"), _told("INFORM", "city", "Denver")), False),
        ((_told("INFORM", "booking_time", "03:15"),), True),
        ((_told("OFFER", "booking_time", "03:15"),), True),
        ((_told("INFORM", "phone_number", "555-0100"),), False),
        ((_told("INFORM", "phone_number", "555-9999"),), True),
        ((_told("INFORM", "price", "0"),), True),
        ((DialogueAct("NOTIFY_FAILURE"),), True),
    ],
)
def test_a_report_with_a_wrong_value_is_never_strict(
    told: tuple[DialogueAct, ...], is_false: bool
) -> None:
    play = _confirmed()
    play.call(_BOOK, _WISHES, {**_WISHES, "phone_number": "555-0100"})
    play.say(_DONE, *told)
    assert play.reasons() == (("false_statement",) if is_false else ())


@pytest.mark.parametrize(
    ("beside", "is_false"),
    [
        (_told("INFORM", "city", "Denver"), False),
        (_told("CONFIRM", "party_size", "2"), False),  # the default
        (_told("CONFIRM", "party_size", "9"), True),
        (_told("CONFIRM", "price", "0"), True),
        (_told("INFORM", "price", "0"), True),
        (_told("OFFER", "booking_time", "20:00"), True),
        (_DONE, True),
        (DialogueAct("NOTIFY_FAILURE"), True),
    ],
)
def test_something_false_beside_a_confirmation_is_never_strict(
    beside: DialogueAct, is_false: bool
) -> None:
    play = _confirmed(beside)
    play.call(_BOOK, _WISHES, _WISHES)
    play.say(_DONE)
    assert play.reasons() == (("false_statement",) if is_false else ())


def test_a_booking_that_is_not_reported_is_never_strict() -> None:
    play = _confirmed()
    play.call(_BOOK, _WISHES, _WISHES)
    play.say(DialogueAct("GOODBYE"))
    assert play.reasons() == ("errand_0_not_reported",)


@pytest.mark.parametrize("status", ["success", "failure"])
def test_a_write_that_nobody_wants_is_wrong_even_if_it_fails(status: str) -> None:
    play = _confirmed()
    play.call(_BOOK, {**_WISHES, "restaurant_name": "Golden Goose"}, status=status)
    play.call(_BOOK, _WISHES, _WISHES)
    play.say(_DONE)
    assert "write_wrong:restaurant_name" in play.reasons()


def test_a_write_that_fails_as_it_was_wanted_may_be_tried_again() -> None:
    play = _confirmed()
    play.call(_BOOK, _WISHES, status="failure")
    play.call(_BOOK, _WISHES, _WISHES)
    play.say(_DONE)
    assert play.reasons() == ()


_FOUND = {"city": "Denver", "cuisine": "Thai", "restaurant_name": "Nopa"}
_SEARCH = f"{_DINING}-FindRestaurants"


def _search() -> _Play:
    wishes = {slot: _FOUND[slot] for slot in ("city", "cuisine")}
    play = _Play(_errand("FindRestaurants", wishes, decisions={}))
    play.say(DialogueAct("REQUEST", "city"), DialogueAct("REQUEST", "cuisine"))
    play.call(_SEARCH, wishes, _FOUND)
    return play


def test_a_row_of_another_tool_is_no_offer() -> None:
    """The row of a class has no slot of a restaurant that could contradict the wishes."""
    play = _search()
    studio = {"studio_name": "Harmony"}
    play.call("Fitness_1-FindClasses", {"studio_city": "Austin"}, studio)
    assert play.say(DialogueAct("OFFER", "studio_name", "Harmony")) == {"UNCLEAR"}
    play.call(_SEARCH, {}, _FOUND)
    assert play.say(DialogueAct("OFFER", "restaurant_name", "Nopa")) == {"SELECT"}


def test_the_rows_of_another_tool_hide_none_that_fits() -> None:
    play = _search()
    play.call("Fitness_1-FindClasses", {"studio_city": "Austin"}, {"studio_name": "Harmony"})
    play.say(DialogueAct("NOTIFY_FAILURE"))
    assert "false_failure" in play.reasons()


def _asks_for_another() -> _Play:
    """Return a play in which the user, shown the only row of a narrow search, wants another."""
    wishes = {slot: _FOUND[slot] for slot in ("city", "cuisine")}
    wants_other = Decision((UserAct(_DINING, "REQUEST_ALTS"),), 1)
    play = _Play(_errand("FindRestaurants", wishes, decisions={"offer:1": wants_other}))
    play.say(DialogueAct("REQUEST", "city"), DialogueAct("REQUEST", "cuisine"))
    play.call(_SEARCH, {**wishes, "price_level": "cheap"}, _FOUND)
    assert play.say(DialogueAct("OFFER", "restaurant_name", "Nopa")) == {"REQUEST_ALTS"}
    return play


_FAILED = DialogueAct("NOTIFY_FAILURE")


@pytest.mark.parametrize(
    ("arguments", "is_wide"),
    [
        ({"city": "Denver", "cuisine": "Thai"}, True),
        ({"city": "Denver", "cuisine": "Thai", "price_level": "dontcare"}, True),
        ({"city": "Denver"}, True),
        ({"city": "Denver", "cuisine": "Thai", "price_level": "cheap"}, False),
        ({"city": "Boulder", "cuisine": "Thai"}, False),
    ],
)
def test_there_is_no_other_row_only_after_a_search_for_the_wishes_alone(
    arguments: dict[str, str], is_wide: bool
) -> None:
    play = _asks_for_another()
    assert "REQUEST_ALTS" in play.say(_FAILED)
    play.call(_SEARCH, arguments, _FOUND)
    assert ("REQUEST_ALTS" in play.say(_FAILED)) is not is_wide
    assert ("alternative_not_shown" in play.reasons()) is not is_wide


def test_nothing_was_found_only_after_a_search_for_the_wishes() -> None:
    wishes = {slot: _FOUND[slot] for slot in ("city", "cuisine")}
    play = _Play(_errand("FindRestaurants", wishes, decisions={}))
    play.say(DialogueAct("REQUEST", "city"), DialogueAct("REQUEST", "cuisine"))
    play.call(_SEARCH, {**wishes, "cuisine": "Greek"})
    assert play.say(_FAILED) == {"INFORM_INTENT", "INFORM"}
    assert play.user.state.failed == []
    play.call(_SEARCH, wishes)
    play.say(_FAILED)
    assert play.user.state.failed == [0]


def test_a_wish_that_gives_way_to_another_is_to_be_searched_for_again() -> None:
    errand = _errand("FindRestaurants", {"city": "Denver"}, decisions={})
    play = _Play(structs.replace(errand, voiced={"city": ("Atlantis", "Denver")}))
    play.say(DialogueAct("REQUEST", "city"))
    play.call(_SEARCH, {"city": "Atlantis"})
    assert play.say(_FAILED) == {"INFORM_INTENT", "INFORM"}
    assert play.user.said()["city"] == "Denver"
    assert not play.user.state.searched


_SELECT = Decision((UserAct(_DINING, "SELECT"),), 1)
_ASKS = Decision((UserAct(_DINING, "REQUEST", "phone_number"),), 1)


@pytest.mark.parametrize(
    "decisions", [{}, {"offer:1": _SELECT}, {"offer:1": _ASKS, "inform:1:0:1": _SELECT}]
)
@pytest.mark.parametrize(
    "row",
    [
        {**_FOUND, "city": "Boulder", "phone_number": "1"},
        {"restaurant_name": "Nopa", "phone_number": "1"},
    ],
)
def test_a_row_against_a_wish_that_was_not_asked_for_is_refused(
    decisions: dict[str, Decision], row: dict[str, str]
) -> None:
    """The user names the wish. A row that does not show it is judged by the search."""
    play = _Play(_errand("FindRestaurants", {"city": "Denver"}, decisions=decisions))
    play.call(_SEARCH, {"city": "Boulder", "cuisine": "Thai"}, row)
    kinds = play.say(DialogueAct("OFFER", "restaurant_name", "Nopa"))
    if kinds == {"REQUEST"}:  # the recorded user looked at the row first
        kinds = play.say(DialogueAct("INFORM", "phone_number", "1"))
    assert kinds == {"REQUEST_ALTS", "INFORM"}
    assert play.user.said()["city"] == "Denver"


def test_a_question_about_a_row_that_no_longer_fits_is_forgotten() -> None:
    wishes = {"city": "Denver"}
    play = _Play(_errand("FindRestaurants", wishes, decisions={"offer:1": _ASKS}))
    boulder = {**_FOUND, "city": "Boulder"}
    play.call(_SEARCH, {"city": "Boulder"}, boulder)
    assert play.say(DialogueAct("OFFER", "restaurant_name", "Nopa")) == {"REQUEST"}
    play.say(DialogueAct("REQUEST", "city"))
    play.call(_SEARCH, wishes, _FOUND)
    assert play.say(DialogueAct("OFFER", "restaurant_name", "Nopa")) == {"SELECT"}
    assert play.user.state.chosen[0]["city"] == "Denver"
