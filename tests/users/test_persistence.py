"""The user does not stop a dialogue that can still succeed: questions, wishes, patience."""

from __future__ import annotations

import pytest

from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.corpus.goals import Binding, Decision, Errand, Goal, UserAct
from agent_gym_env.envs.sgd_sim import SGDSimEnv
from agent_gym_env.policies.acts_oracle import ActsOraclePolicy
from agent_gym_env.types import Action, DialogueAct, ToolCall
from agent_gym_env.users.agenda import AgendaUser
from agent_gym_env.users.agent_turn import AgentTurn
from agent_gym_env.users.verdict import judge

_DINING = "Dining_1"


def _search(*, voiced: dict[str, tuple[str, ...]], final: dict[str, str]) -> Errand:
    said = Binding("user")
    return Errand(
        _DINING, "FindRestaurants", False, False, voiced, final, dict.fromkeys(final, said),
        "success", True, {},
    )  # fmt: skip


def _booking(decisions: dict[str, Decision]) -> Errand:
    final = {"restaurant_name": "Nopa", "city": "Denver", "booking_time": "19:00"}
    said = Binding("user")
    return Errand(
        _DINING, "ReserveTable", True, False, {slot: (value,) for slot, value in final.items()},
        final, dict.fromkeys(final, said), "success", False, decisions,
    )  # fmt: skip


def _user(*errands: Errand, patience: int = 4) -> AgendaUser:
    first = errands[0]
    opening = (UserAct(first.service, "INFORM_INTENT", "intent", first.intent),)
    tools = open_corpus("sample").split("dev").tools
    user = AgendaUser(Goal(opening, errands), tools, "2019-03-01", patience=patience)
    user.open()
    return user


def _acts(acts: tuple[UserAct, ...]) -> set[tuple[str, str, str]]:
    return {(act.act, act.slot, act.value) for act in acts}


def _book(user: AgendaUser, errand: Errand) -> None:
    tools = open_corpus("sample").split("dev").tools
    assert errand.final is not None
    row = {**errand.final, "phone_number": "555-0100"}
    user.note_result(tools[errand.tool], errand.final, "success", [row])


_ASKS = Decision((UserAct(_DINING, "AFFIRM"), UserAct(_DINING, "REQUEST", "phone_number")), 1)
_THANKS = Decision((UserAct(_DINING, "NEGATE"), UserAct(_DINING, "THANK_YOU")), 2)


def test_a_question_that_was_not_heard_is_asked_again_after_the_booking() -> None:
    errand = _booking({"confirm:1": _ASKS, "success:1": _THANKS})
    user = _user(errand)
    assert errand.final is not None
    user.react(AgentTurn("confirm", confirmed=errand.final))
    _book(user, errand)
    asked = user.react(AgentTurn("success"))
    assert _acts(asked) == {("REQUEST", "phone_number", "")}
    assert not user.is_over()
    told = user.react(AgentTurn("inform", informed={"phone_number": "555-0100"}))
    assert ("THANK_YOU", "", "") in _acts(told)
    goal = Goal((), (errand,))
    assert judge(goal, user.state, []).strict


def test_a_question_is_asked_again_until_the_right_answer_comes() -> None:
    errand = _booking({"confirm:1": _ASKS, "success:1": _THANKS})
    user = _user(errand)
    assert errand.final is not None
    user.react(AgentTurn("confirm", confirmed=errand.final))
    _book(user, errand)
    for turn in (
        AgentTurn("success"),
        AgentTurn("inform", informed={"phone_number": "555-9999"}),
        AgentTurn("more"),
    ):
        assert _acts(user.react(turn)) == {("REQUEST", "phone_number", "")}
    told = user.react(AgentTurn("inform", informed={"phone_number": "555-0100"}))
    assert ("THANK_YOU", "", "") in _acts(told)


def test_an_agent_that_misses_a_question_once_still_succeeds() -> None:
    """In whole dialogues of the sample: the oracle does not hear the question the first time."""
    env = SGDSimEnv(split="test", understanding="acts")
    repeated = 0
    for dialogue_id in env.split.dialogue_ids():
        policy = ActsOraclePolicy(env)
        policy.reset()
        observation, info = env.reset(options={"dialogue_id": dialogue_id})
        over = missed = False
        while not over:
            action = policy.act(observation)
            kinds = {act.act for act in action.acts}
            if {"NOTIFY_SUCCESS", "INFORM"} <= kinds and not missed:
                missed = True
                action = Action("It is done.", acts=(DialogueAct("NOTIFY_SUCCESS"),))
                observation, _, over, _, info = env.step(action)
                assert any(act.act == "REQUEST" for act in env.user_acts()), dialogue_id
            else:
                observation, _, over, _, info = env.step(action)
        repeated += missed
        assert info["task"]["strict"], (dialogue_id, info["task"])
    assert repeated >= 5


def test_a_wish_that_no_service_can_fulfil_gives_way_to_the_final_one() -> None:
    final = {"city": "Denver", "cuisine": "Thai"}
    user = _user(
        _search(voiced={"city": ("Atlantis", "Denver"), "cuisine": ("Thai",)}, final=final)
    )
    said = user.react(AgentTurn("request", slots=("city", "cuisine")))
    assert ("INFORM", "city", "Atlantis") in _acts(said)
    patience = user.state.patience
    said = user.react(AgentTurn("failure"))
    assert ("INFORM", "city", "Denver") in _acts(said)
    assert patience - user.state.patience <= 1


def test_patience_is_full_again_in_the_next_errand() -> None:
    first = _booking({})
    user = _user(first, _search(voiced={"city": ("Denver",)}, final={"city": "Denver"}))
    for _ in range(3):
        user.react(AgentTurn("none"))
    assert user.state.patience == 1
    assert first.final is not None
    user.react(AgentTurn("confirm", confirmed=first.final))
    _book(user, first)
    user.react(AgentTurn("success"))
    assert user.state.errand == 1
    assert user.state.patience == 4


def test_a_booking_that_failed_for_other_values_does_not_settle_the_errand() -> None:
    failing = _booking({})
    failing = Errand(
        failing.service, failing.intent, True, False, failing.voiced, failing.final,
        failing.bindings, "failure", False, {},
    )  # fmt: skip
    tools = open_corpus("sample").split("dev").tools
    for arguments, settled in (
        ({**(failing.final or {}), "booking_time": "03:10"}, False),
        (failing.final or {}, True),
    ):
        user = _user(failing)
        user.react(AgentTurn("confirm", confirmed=failing.final or {}))
        user.note_result(tools[failing.tool], arguments, "failure", [])
        user.react(AgentTurn("failure"))
        assert judge(Goal((), (failing,)), user.state, []).strict is settled


def test_a_failure_that_another_errand_had_does_not_count() -> None:
    """Two bookings with the same tool: the second one was never tried."""
    first = _booking({})
    failing = Errand(
        first.service, first.intent, True, False, first.voiced, first.final, first.bindings,
        "failure", False, {},
    )  # fmt: skip
    tools = open_corpus("sample").split("dev").tools
    user = _user(failing, failing)
    user.react(AgentTurn("confirm", confirmed=failing.final or {}))
    user.note_result(tools[failing.tool], failing.final or {}, "failure", [])
    user.react(AgentTurn("failure"))
    assert user.state.errand == 1
    user.react(AgentTurn("failure"))
    verdict = judge(Goal((), (failing, failing)), user.state, [])
    assert "errand_1_not_settled" in verdict.reasons
    assert "false_failure" in verdict.reasons


def test_no_row_is_no_answer_while_one_that_fits_was_not_shown() -> None:
    final = {"city": "Denver", "cuisine": "Thai"}
    errand = _search(voiced={"city": ("Denver",), "cuisine": ("Thai",)}, final=final)
    tools = open_corpus("sample").split("dev").tools
    row = {"restaurant_name": "Nopa", **final}
    for rows, is_false in (([row], True), ([{**row, "cuisine": "Greek"}], False), ([], False)):
        user = _user(errand)
        user.react(AgentTurn("request", slots=("city", "cuisine")))
        user.note_result(tools[errand.tool], final, "success", rows)
        user.react(AgentTurn("failure"))
        assert ("false_failure" in user.state.faults) is is_false


def test_a_confirmation_of_nothing_is_no_consent() -> None:
    errand = _booking({})
    user = _user(errand)
    for confirmed in ({}, {"": ""}, {"no_such_slot": "x"}):
        assert _acts(user.react(AgentTurn("confirm", confirmed=confirmed))) == {("UNCLEAR", "", "")}
    _book(user, errand)
    user.react(AgentTurn("success"))
    assert "write_without_consent" in judge(Goal((), (errand,)), user.state, []).reasons


def _asking_about_a_row() -> AgendaUser:
    """A user who has been shown Nopa, and has asked for its phone number."""
    final = {"city": "Denver", "cuisine": "Thai"}
    asks = Decision((UserAct(_DINING, "REQUEST", "phone_number"),), 1)
    said = Binding("user")
    errand = Errand(
        _DINING, "FindRestaurants", False, False, {slot: (v,) for slot, v in final.items()}, final,
        dict.fromkeys(final, said), "success", True, {"offer:1": asks},
    )  # fmt: skip
    user = _user(errand)
    user.react(AgentTurn("request", slots=("city", "cuisine")))
    tools = open_corpus("sample").split("dev").tools
    user.note_result(tools[errand.tool], final, "success", [_NOPA, _OASIS])
    user.react(AgentTurn("offer", offered=_NOPA))
    return user


_NOPA = {"restaurant_name": "Nopa", "city": "Denver", "cuisine": "Thai", "phone_number": "555-1"}
_OASIS = {**_NOPA, "restaurant_name": "Oasis", "phone_number": "555-2"}


def test_a_wrong_answer_that_is_corrected_is_never_strict() -> None:
    for answers, faults in ((("555-1",), []), (("555-2", "555-1"), ["wrong_answer"])):
        user = _asking_about_a_row()
        for answer in answers:
            user.react(AgentTurn("inform", informed={"phone_number": answer}))
        assert user.open_questions() == []
        assert user.state.faults == faults


def test_another_row_and_a_confirmation_answer_no_question_about_a_row() -> None:
    for turn in (
        AgentTurn("offer", offered=_OASIS, informed={"phone_number": "555-2"}),
        AgentTurn("confirm", confirmed={"city": "Denver"}, informed={"phone_number": "555-1"}),
    ):
        user = _asking_about_a_row()
        user.react(turn)
        assert user.open_questions() == ["phone_number"]
        assert user.state.row == _NOPA


def test_a_counter_offer_that_no_service_made_is_a_fault() -> None:
    errand = _booking({})
    tools = open_corpus("sample").split("dev").tools
    for told, is_fault in (("20:00", False), ("8 pm", False), ("21:00", True)):
        user = _user(errand)
        assert errand.final is not None
        user.react(AgentTurn("confirm", confirmed=errand.final))
        offered = {**errand.final, "booking_time": "20:00"}
        user.note_result(tools[errand.tool], errand.final, "failure", [offered])
        user.react(AgentTurn("counter", informed={"booking_time": told}))
        assert ("false_statement" in user.state.faults) is is_fault


def test_an_offer_that_names_nothing_but_the_wishes_is_no_offer() -> None:
    """ "There is one in Portland": the agent must say something of the row."""
    env = SGDSimEnv(split="dev", understanding="acts")
    env.reset(options={"dialogue_id": "1_00013"})
    call = ToolCall("Salon_1-FindProvider", {"salon_city": "Portland"})
    env.step(Action(tool_calls=(call,)))
    row = env.simulation.user_state.rows[0]
    *_, info = env.step(Action("?", acts=(DialogueAct("OFFER", "salon_city", "Portland"),)))
    assert info["user_understood"] is False
    named = tuple(DialogueAct("OFFER", slot, value) for slot, value in row.items())
    *_, info = env.step(Action("?", acts=named))
    assert info["user_understood"] is True


@pytest.mark.parametrize(
    ("text", "understood"),
    [
        ("The Golden Scissors is a great salon in Portland. Would you like it?", False),
        ("There's a nice salon in Portland. Shall I go with that one?", False),
        ("How about {}? It is in Portland.", True),
        ("How about {}? It costs $777.", False),
    ],
)
def test_an_offer_in_text_says_the_name_and_no_invented_price(text: str, understood: bool) -> None:
    env = SGDSimEnv(split="dev")
    env.reset(options={"dialogue_id": "1_00013"})
    call = ToolCall("Salon_1-FindProvider", {"salon_city": "Portland"})
    env.step(Action(tool_calls=(call,)))
    row = env.simulation.user_state.rows[0]
    name = next(value for slot, value in row.items() if slot.endswith("name"))
    *_, info = env.step(text.format(name))
    assert info["user_understood"] is understood
