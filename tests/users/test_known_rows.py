"""The user insists on rows that fit its wishes, not on those that an agent found by mistake."""

from __future__ import annotations

from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.users.agenda import AgendaUser
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
