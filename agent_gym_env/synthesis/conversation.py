"""The course of a dialogue: one errand of the user after the other, and the words between them."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from agent_gym_env.corpus.sgd import Dialogue
from agent_gym_env.synthesis.asking import Asking
from agent_gym_env.synthesis.booking import Booking
from agent_gym_env.synthesis.habits import Habits
from agent_gym_env.synthesis.moves import Move, intent_move
from agent_gym_env.synthesis.searching import Searching
from agent_gym_env.synthesis.service_model import Row, ServiceModel
from agent_gym_env.synthesis.stage import Stage
from agent_gym_env.synthesis.transcript import NO_INTENT
from agent_gym_env.synthesis.wishes import Wishes, booking_wishes, search_wishes


class Errand(NamedTuple):
    """What a user wants of a service: intents, each of which takes up the row of the one before."""

    model: ServiceModel
    intents: list[str]


def converse(
    errands: Sequence[Errand], dialogue_id: str, *, rng: Random, habits: Habits
) -> Dialogue:
    """Play errands, which are of different services, and return the dialogue."""
    stage = Stage(rng, habits)
    for index, errand in enumerate(errands):
        intent = _run(stage, errand)
        stage.remember(errand.model)
        _part(stage, errand.model, intent, is_last=index == len(errands) - 1)
    return stage.script.dialogue(dialogue_id)


def _run(stage: Stage, errand: Errand) -> str:
    """Play an errand and return the intent that is active at its end."""
    model = errand.model
    row: Row = {}
    before = None
    for intent in errand.intents:
        row = row or _entity_in_mind(stage, model, intent)
        wishes = _wishes(stage, model, intent, row)
        asking = Asking(stage, model, intent, wishes)
        if before is None:
            asking.open()
        else:
            asking.take_up(before)
        asking.complete()
        if model.intent(intent).is_transactional:
            Booking(stage, model, intent, wishes, row).settle()
            return intent
        chosen = Searching(stage, model, intent, wishes).choose()
        if chosen is None:
            return intent
        row, before = chosen, intent
        stage.script.user(model, intent, Move("SELECT"))
    return _decline(stage, model, errand.intents[-1])


def _entity_in_mind(stage: Stage, model: ServiceModel, intent: str) -> Row:
    """The entity that a user knows by name who books without a search."""
    books = model.intent(intent).is_transactional and model.search_before(intent) is not None
    return stage.rng.choice(model.entities()) if books else {}


def _wishes(stage: Stage, model: ServiceModel, intent: str, row: Row) -> Wishes:
    """Draw what the user wants, in keeping with what is settled and with the chosen row."""
    parameters = model.parameters(intent)
    settled = stage.script.memory(model).values
    known = {slot: it.canonical for slot, it in stage.carried(model, intent).items()}
    known |= {slot: settled[slot] for slot in parameters if slot in settled}
    known |= {slot: row[slot] for slot in parameters if slot in row}
    draw = booking_wishes if model.intent(intent).is_transactional else search_wishes
    return draw(model, intent, known, stage.rng)


def _decline(stage: Stage, model: ServiceModel, intent: str) -> str:
    """Perhaps let the system propose what could come next, which the user does not want."""
    proposals = model.intents_after(intent)
    if not proposals or not stage.happens(stage.habits.vain_proposal):
        return intent
    proposed = intent_move("OFFER_INTENT", stage.rng.choice(proposals))
    stage.script.system(model, intent, proposed)
    stage.script.user(model, NO_INTENT, Move("NEGATE_INTENT"))
    return NO_INTENT


def _part(stage: Stage, model: ServiceModel, intent: str, *, is_last: bool) -> None:
    """Go over to the next errand, or close the dialogue."""
    script, habits = stage.script, stage.habits
    if script.awaits_system:
        if is_last and stage.happens(habits.goodbye_at_once):
            script.user(model, intent, Move("GOODBYE"))
            script.system(model, intent, Move("GOODBYE"))
            return
        if not is_last and stage.happens(habits.next_at_once):
            return
        script.system(model, intent, Move("REQ_MORE"))
    if is_last:
        script.user(model, NO_INTENT, Move("NEGATE"), Move("THANK_YOU"))
        script.system(model, NO_INTENT, Move("GOODBYE"))
