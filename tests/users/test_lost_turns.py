"""The user insists on what it wants where the agent, or the user, has not heard the other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from msgspec import structs

from agent_gym_env.corpus.corpus import Split, open_corpus
from agent_gym_env.corpus.goals import Decision, Goal, UserAct
from agent_gym_env.users.agenda import PATIENCE, AgendaUser
from agent_gym_env.users.agent_turn import AgentTurn
from agent_gym_env.values.equality import DONTCARE


def test_a_row_that_does_not_fit_is_not_an_alternative() -> None:
    split = open_corpus("sample").split("train")
    compared = 0
    for index in range(len(split)):
        goal = split.goal(index)
        user = AgendaUser(goal, split.tools, split.task(index).date)
        said = {act.slot: act.value for act in user.open() if act.act == "INFORM"}
        spec = user.spec()
        wishes = [
            slot
            for slot, value in said.items()
            if slot in spec.result_slots and "time" not in slot and value != DONTCARE
        ]
        if spec.transactional or not wishes:
            continue
        fits = {slot: said.get(slot, "any") for slot in spec.result_slots}
        wrong = {**fits, wishes[0]: "something else"}
        user.note_result(spec, said, "success", [wrong])
        assert user.state.known == []
        user.note_result(spec, said, "success", [wrong, fits])
        assert len(user.state.known) == 1
        compared += 1
    assert compared > 20


def user_of(goal: Goal, split: Split, index: int) -> AgendaUser:
    user = AgendaUser(goal, split.tools, split.task(index).date)
    user.open()
    return user


def goals(split: Split, *, transactional: bool) -> Iterator[tuple[int, Goal]]:
    """Yield the goals whose first errand is a booking, or is none."""
    for index in range(len(split)):
        goal = split.goal(index)
        if goal.errands[0].transactional == transactional:
            yield index, goal


def test_an_offer_in_a_booking_is_answered_with_what_is_wanted() -> None:
    """The agent has not heard that the user has chosen, and offers the row once more."""
    split = open_corpus("sample").split("train")
    for index, goal in islice(goals(split, transactional=True), 20):
        user = user_of(goal, split, index)
        acts = user.react(AgentTurn("offer", offered={"name": "The same again"}))
        wanted = goal.errands[0]
        assert UserAct(wanted.service, "INFORM_INTENT", "intent", wanted.intent) in acts
        assert user.state.patience == PATIENCE - 1


def test_wishes_said_again_do_not_begin_the_next_errand_of_the_same_kind() -> None:
    split = open_corpus("sample").split("train")
    for index, goal in islice(goals(split, transactional=True), 20):
        twice = Goal(goal.opening, (goal.errands[0], goal.errands[0]))
        user = user_of(twice, split, index)
        acts = user.react(AgentTurn("more"))
        assert any(act.act == "INFORM_INTENT" for act in acts)
        assert user.state.errand == 0


def test_a_question_about_a_booking_that_is_off_is_dropped() -> None:
    split = open_corpus("sample").split("train")
    [index, goal] = next(goals(split, transactional=True))
    [errand, *_] = goal.errands
    question = UserAct(errand.service, "REQUEST", "price")
    refusal = UserAct(errand.service, "NEGATE")
    decisions = {"confirm:1": Decision((question,), 1), "counter:1": Decision((refusal,), 2)}
    goal = Goal(goal.opening, (structs.replace(errand, decisions=decisions),))
    user = user_of(goal, split, index)
    wishes = {slot: user.wish(slot) or "" for slot in user.spec().required}
    assert question in user.react(AgentTurn("confirm", confirmed=wishes))
    assert user.open_questions() == ["price"]
    user.note_result(user.spec(), wishes, "failure", [{"time": "17:00"}])
    assert refusal in user.react(AgentTurn("counter"))
    assert user.open_questions() == []


def test_a_question_about_a_row_is_answered_by_the_offer_of_this_row_only() -> None:
    split = open_corpus("sample").split("train")
    [index, goal] = next(goals(split, transactional=False))
    [errand, *_] = goal.errands
    question = UserAct(errand.service, "REQUEST", "price")
    decisions = {"offer:1": Decision((question,), 1)}
    goal = Goal(goal.opening, (structs.replace(errand, voiced={}, decisions=decisions),))
    user = AgendaUser(goal, split.tools, split.task(index).date)
    one, other = {"name": "One", "price": "1"}, {"name": "Other", "price": "2"}
    user.note_result(user.spec(), {}, "success", [one, other])
    assert question in user.react(AgentTurn("offer", offered=one))
    assert question in user.react(AgentTurn("offer", offered=other, informed={"price": "2"}))
    assert question in user.react(AgentTurn("offer", offered=one, informed={"price": "2"}))
    user.react(AgentTurn("offer", offered=one, informed={"price": "1"}))
    assert user.open_questions() == []


def test_a_confirmation_without_what_was_said_is_no_reason_to_agree() -> None:
    """The agent confirms a name that it misheard and nobody knows, or leaves it out."""
    split = open_corpus("sample").split("train")
    corrected = 0
    for index, goal in islice(goals(split, transactional=True), 20):
        alone = Goal(goal.opening, (structs.replace(goal.errands[0], decisions={}),))
        user = user_of(alone, split, index)
        required = user.spec().required
        said = {act.slot: act.value for act in user.react(AgentTurn("request", slots=required))}
        wishes = {slot: user.wish(slot) or "" for slot in required}
        named = dict(list(wishes.items())[1:])
        left_out = required[0]
        if left_out not in said or not named or wishes[left_out] == DONTCARE:
            continue
        acts = user.react(AgentTurn("confirm", confirmed=named))
        service = goal.errands[0].service
        assert UserAct(service, "INFORM", left_out, wishes[left_out]) in acts
        assert user.state.consented == []
        assert UserAct(service, "AFFIRM") in user.react(AgentTurn("confirm", confirmed=wishes))
        corrected += 1
    assert corrected > 5
