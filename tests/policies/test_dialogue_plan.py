"""The plan of an agent: what it does after each kind of user turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from agent_gym_env.corpus.goals import UserAct
from agent_gym_env.corpus.tool_specs import tool_specs
from agent_gym_env.policies.agent_wording import Speaker
from agent_gym_env.policies.dialogue_plan import DialoguePlan
from agent_gym_env.types import Action, Observation
from tests.corpora import ASSAM, GYOKURO, SENCHA, TEAS

ROWS = [SENCHA, GYOKURO, ASSAM]
FIND = UserAct("Teas_1", "INFORM_INTENT", "intent", "FindTea")
ORDER = UserAct("Teas_1", "INFORM_INTENT", "intent", "Order")


class _Talk:
    """A dialogue in which the test speaks for the user and for the services."""

    def __init__(self) -> None:
        self._acts: Sequence[UserAct] = ()
        self._steps = DialoguePlan(tool_specs([TEAS]), self, Speaker()).play()
        self._begun = False
        self.calls: list[tuple[str, dict[str, str]]] = []

    def acts(self) -> Sequence[UserAct]:
        """Return the user's acts."""
        return self._acts

    def asked(self, row: Mapping[str, str]) -> list[str]:
        """Return the slots that the user asks about."""
        return [act.slot for act in self._acts if act.act == "REQUEST"]

    def says(self, *acts: UserAct | str, status: str = "success") -> set[tuple[str, str]]:
        """Speak for the user; return the kinds and slots of what the agent says in the end."""
        self._acts = [UserAct("Teas_1", act) if isinstance(act, str) else act for act in acts]
        action = self._step({})
        while action.tool_calls:
            [call] = action.tool_calls
            self.calls.append((call.name, call.arguments))
            rows = ROWS if call.name == "Teas_1-FindTea" else [SENCHA]
            results = rows if status == "success" else []
            result = {"name": call.name, "status": status, "results": results}
            action = self._step({"tool_result": msgspec.json.encode([result]).decode()})
        return {(act.act, act.slot) for act in action.acts}

    def _step(self, observation: Observation) -> Action:
        if self._begun:
            return self._steps.send(observation)
        self._begun = True
        return next(self._steps)


def _inform(slot: str, value: str) -> UserAct:
    return UserAct("Teas_1", "INFORM", slot, value)


def _name_offered(said: set[tuple[str, str]]) -> bool:
    return ("OFFER", "name") in said


def test_it_asks_for_what_is_required_then_searches_and_offers() -> None:
    talk = _Talk()
    assert talk.says(FIND) == {("REQUEST", "kind")}
    assert _name_offered(talk.says(_inform("kind", "green")))
    assert talk.calls == [("Teas_1-FindTea", {"kind": "green"})]


def test_it_books_only_after_consent() -> None:
    talk = _Talk()
    asked = talk.says(ORDER, _inform("name", "Sencha"), _inform("grams", "50"))
    assert asked == {("CONFIRM", "name"), ("CONFIRM", "grams"), ("CONFIRM", "wrapped")}
    assert talk.calls == []
    assert talk.says("AFFIRM") == {("NOTIFY_SUCCESS", "")}
    expected = {"name": "Sencha", "grams": "50", "wrapped": "False"}
    assert talk.calls == [("Teas_1-Order", expected)]


def test_naming_the_booking_that_was_made_does_not_make_it_again() -> None:
    talk = _Talk()
    talk.says(ORDER, _inform("name", "Sencha"), _inform("grams", "50"))
    talk.says("AFFIRM")
    assert talk.says(ORDER) == {("REQ_MORE", "")}
    assert ("CONFIRM", "grams") in talk.says(ORDER, _inform("grams", "80"))
    assert len(talk.calls) == 1


def test_another_row_is_offered_until_there_is_none() -> None:
    talk = _Talk()
    talk.says(FIND, _inform("kind", "green"))
    assert _name_offered(talk.says("REQUEST_ALTS"))
    assert _name_offered(talk.says("REQUEST_ALTS"))
    assert talk.says("REQUEST_ALTS") == {("NOTIFY_FAILURE", ""), ("REQ_MORE", "")}


def test_a_row_that_is_chosen_by_its_name_is_booked() -> None:
    talk = _Talk()
    talk.says(FIND, _inform("kind", "green"))
    chosen = UserAct("Teas_1", "SELECT", "name", "Assam")
    talk.says(chosen, ORDER, _inform("grams", "50"))
    talk.says("AFFIRM")
    assert talk.calls[-1][1]["name"] == "Assam"


def test_after_a_failure_only_the_optional_wishes_that_are_said_again_count() -> None:
    talk = _Talk()
    talk.says(FIND, _inform("kind", "green"), _inform("origin", "Uji"), status="failure")
    talk.says(FIND, _inform("kind", "green"))
    assert talk.calls[-1] == ("Teas_1-FindTea", {"kind": "green"})


def test_the_wishes_of_a_failed_search_count_for_another_tool() -> None:
    talk = _Talk()
    talk.says(ORDER, _inform("name", "Sencha"), _inform("wrapped", "True"), _inform("grams", "5"))
    talk.says("AFFIRM", status="failure")
    talk.says(FIND, _inform("kind", "green"))
    assert ("CONFIRM", "wrapped") in talk.says("SELECT", ORDER)
    talk.says("AFFIRM")
    assert talk.calls[-1][1]["wrapped"] == "True"


def test_what_was_not_understood_is_repeated_once_then_the_user_is_asked() -> None:
    talk = _Talk()
    talk.says(FIND)
    assert talk.says("UNCLEAR") == {("REQUEST", "kind")}
    assert talk.says("UNCLEAR") == {("REQ_MORE", "")}


def test_a_user_who_wants_another_row_gets_it_even_after_a_question_about_something_else() -> None:
    talk = _Talk()
    talk.says(FIND, _inform("kind", "green"))
    assert talk.says(ORDER) == {("REQUEST", "grams")}
    assert _name_offered(talk.says("REQUEST_ALTS"))
