from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_gym_env.corpus.sgd import Act, Dialogue, SystemTurn, UserTurn
from agent_gym_env.synthesis.entities import ServiceEntry, SlotEntry
from agent_gym_env.synthesis.generate import DIALOGUES_PER_SHARD, synthesize
from agent_gym_env.synthesis.habits import Habits
from agent_gym_env.synthesis.shape import measure
from agent_gym_env.values.equality import DONTCARE
from tests.synthesis.bakery import BAKERY, CAKES, ENTITIES, SERVICES
from tests.synthesis.laws import broken_laws


@pytest.fixture(scope="module")
def bakery_dialogues() -> list[Dialogue]:
    return list(synthesize(SERVICES, ENTITIES, dialogues=150, seed=3))


def _acts(turn: UserTurn | SystemTurn) -> set[Act]:
    return {action.act for frame in turn.frames for action in frame.actions}


def _turns_with(dialogues: list[Dialogue], act: Act) -> list[UserTurn | SystemTurn]:
    return [turn for it in dialogues for turn in it.turns if act in _acts(turn)]


@given(seed=st.integers(0, 2**32))
@settings(max_examples=25)
def test_every_dialogue_keeps_the_laws_of_the_format(seed: int) -> None:
    for dialogue in synthesize(SERVICES, ENTITIES, dialogues=4, seed=seed):
        assert broken_laws(dialogue, SERVICES) == []


def test_a_dialogue_survives_the_strict_reader(bakery_dialogues: list[Dialogue]) -> None:
    for dialogue in bakery_dialogues[:20]:
        assert msgspec.json.decode(msgspec.json.encode(dialogue), type=Dialogue) == dialogue


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    def written(seed: int) -> bytes:
        return msgspec.json.encode(list(synthesize(SERVICES, ENTITIES, dialogues=5, seed=seed)))

    assert written(8) == written(8)
    assert written(8) != written(9)


def test_a_longer_run_begins_like_a_shorter_one() -> None:
    short = list(synthesize(SERVICES, ENTITIES, dialogues=5, seed=1))
    assert list(synthesize(SERVICES, ENTITIES, dialogues=9, seed=1))[:5] == short


def test_ids_number_shards_and_dialogues_as_sgd_does() -> None:
    count = DIALOGUES_PER_SHARD + 2
    ids = [it.dialogue_id for it in synthesize(SERVICES, ENTITIES, dialogues=count, seed=1)]
    assert ids[0] == "1_00000"
    assert ids[-2:] == ["2_00000", "2_00001"]


def test_no_two_dialogues_read_alike(bakery_dialogues: list[Dialogue]) -> None:
    texts = Counter(tuple(turn.utterance for turn in it.turns) for it in bakery_dialogues)
    assert max(texts.values()) == 1


def test_system_turns_combine_acts_as_sgd_does(bakery_dialogues: list[Dialogue]) -> None:
    assert measure(bakery_dialogues).odd_turns == 0


@pytest.mark.parametrize(
    "act",
    [
        *("INFORM", "REQUEST", "CONFIRM", "OFFER", "OFFER_INTENT", "INFORM_COUNT", "REQ_MORE"),
        *("NOTIFY_SUCCESS", "NOTIFY_FAILURE", "GOODBYE", "INFORM_INTENT", "NEGATE_INTENT"),
        *("AFFIRM_INTENT", "AFFIRM", "NEGATE", "SELECT", "REQUEST_ALTS", "THANK_YOU"),
    ],
)
def test_every_act_of_the_format_occurs(bakery_dialogues: list[Dialogue], act: Act) -> None:
    assert _turns_with(bakery_dialogues, act)


def test_an_exhausted_list_is_asked_for_again_and_found_empty() -> None:
    habits = Habits(alternative=1.0, after_the_last=1.0, question=0.0, knows_entity=0.0)
    [dialogue, *_] = synthesize([BAKERY], ENTITIES, dialogues=1, seed=5, habits=habits)
    frames = [it.frames[0] for it in dialogue.turns if isinstance(it, SystemTurn)]
    calls = [(it.service_call, it.service_results) for it in frames if it.service_call]
    assert calls[0][0] == calls[1][0]
    assert calls[0][1]
    assert calls[1][1] == []


def test_an_entity_has_the_same_attributes_in_all_dialogues(
    bakery_dialogues: list[Dialogue],
) -> None:
    known = {row["cake_name"]: row for row in CAKES}
    frames = [
        it.frames[0] for d in bakery_dialogues for it in d.turns if isinstance(it, SystemTurn)
    ]
    rows = [row for frame in frames for row in frame.service_results or () if "size" in row]
    assert rows
    for row in rows:
        assert row == {slot: known[row["cake_name"]][slot] for slot in row}


def test_a_counter_offer_is_accepted_by_a_call_with_its_time() -> None:
    habits = Habits(counter_offer_taken=1.0, ends_in_booking=1.0, correction=0.0)
    dialogues = list(synthesize([BAKERY], ENTITIES, dialogues=60, seed=2, habits=habits))
    checked = 0
    for dialogue in dialogues:
        for index, turn in enumerate(dialogue.turns):
            if _acts(turn) >= {"NOTIFY_FAILURE", "OFFER"}:
                refused, taken = (dialogue.turns[index + step].frames[0] for step in (0, 2))
                assert _acts(dialogue.turns[index + 1]) == {"AFFIRM"}
                assert taken.service_call.parameters == {  # type: ignore[union-attr]
                    **refused.service_call.parameters,  # type: ignore[union-attr]
                    "pickup_time": refused.service_results[0]["pickup_time"],  # type: ignore[union-attr,index]
                }
                checked += 1
    assert checked


def test_a_value_that_one_service_learned_is_taken_over_by_the_next() -> None:
    habits = Habits(services=(0.0, 1.0, 0.0), silent_carrying=1.0)
    taken_over = 0
    for dialogue in synthesize(SERVICES, ENTITIES, dialogues=40, seed=1, habits=habits):
        town = None
        user_turns = (turn for turn in dialogue.turns if isinstance(turn, UserTurn))
        for frame in (frame for turn in user_turns for frame in turn.frames):
            said = {it.slot: it.canonical_values[0] for it in frame.actions if it.act == "INFORM"}
            acts = {action.act for action in frame.actions}
            if frame.service == "Bakery_1" and said.get("town", DONTCARE) != DONTCARE:
                town = said["town"]
            if frame.service == "Courier_1" and "INFORM_INTENT" in acts and town is not None:
                assert "town" not in said
                assert "town" in frame.state.slot_values
                taken_over += 1
                break
    assert taken_over


def test_a_schema_without_any_wordings_will_do() -> None:
    bare = {
        "Bakery_1": ServiceEntry(rows=CAKES),
        "Courier_1": ServiceEntry(
            slots={
                name: SlotEntry(values=["x", "y"])
                for name in ("town", "parcel_weight", "tracking_code")
            }
        ),
    }
    for dialogue in synthesize(SERVICES, bare, dialogues=40, seed=1):
        assert broken_laws(dialogue, SERVICES) == []


def test_no_dialogue_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        list(synthesize(SERVICES, ENTITIES, dialogues=0, seed=1))
