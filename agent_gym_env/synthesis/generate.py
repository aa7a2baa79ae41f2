"""Drawing the goals of users, and writing the dialogues in which they reach them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import NamedTuple

from agent_gym_env.corpus.sgd import Dialogue, Service
from agent_gym_env.errors import DataError
from agent_gym_env.synthesis.entities import ServiceEntry
from agent_gym_env.synthesis.habits import Habits
from agent_gym_env.synthesis.moves import Move, intent_move
from agent_gym_env.synthesis.phases import BookingPhase, Context, RequestPhase, SearchPhase
from agent_gym_env.synthesis.service_model import Row, ServiceModel
from agent_gym_env.synthesis.transcript import NO_INTENT
from agent_gym_env.synthesis.wishes import Wishes, booking_wishes, search_wishes

_MOST_TRIES = 50
"""Number of drafts of one dialogue; a draft with the words of an earlier dialogue is dropped."""

DIALOGUES_PER_SHARD = 64


class Errand(NamedTuple):
    """A goal of the user at one service.

    Attributes:
        model: service.
        intents: intents in order; each uses the row that was chosen in the one before.
    """

    model: ServiceModel
    intents: list[str]


def synthesize(
    services: Sequence[Service],
    entities: Mapping[str, ServiceEntry],
    *,
    dialogues: int,
    seed: int,
    habits: Habits | None = None,
) -> Iterator[Dialogue]:
    """Yield dialogues about services of a schema.

    Equal arguments give equal dialogues, and no two dialogues have the same words. The ids number
    shards of `DIALOGUES_PER_SHARD` dialogues, as in SGD: ``"1_00000"`` is the first dialogue of
    the first shard.

    Args:
        services: services of the schema.
        entities: entry of each service in the entities file, by the service's name.
        dialogues: number of dialogues, at least 1.
        seed: seed of all random draws.
        habits: probabilities of what users and systems may do.

    Raises:
        DataError: the services have too few entities and values for so many different dialogues.
        ValueError: ``dialogues`` is below 1.
    """
    if dialogues < 1:
        raise ValueError(f"expected at least 1 dialogue to write, found {dialogues}")
    models = [ServiceModel(it, entities.get(it.service_name, ServiceEntry())) for it in services]
    written: set[str] = set()
    for index in range(dialogues):
        shard, place = divmod(index, DIALOGUES_PER_SHARD)
        dialogue_id = f"{shard + 1}_{place:05}"
        yield _unlike(models, written, dialogue_id, f"{seed}/{index}", habits or Habits())


def _unlike(
    models: Sequence[ServiceModel], written: set[str], dialogue_id: str, seed: str, habits: Habits
) -> Dialogue:
    """Write a dialogue whose words differ from those of all dialogues so far."""
    for attempt in range(_MOST_TRIES):
        rng = Random(f"{seed}/{attempt}")
        dialogue = converse(_goal(models, rng, habits), dialogue_id, rng=rng, habits=habits)
        words = "\n".join(turn.utterance for turn in dialogue.turns)
        if words not in written:
            written.add(words)
            return dialogue
    raise DataError(
        f"could not write a dialogue unlike the {len(written)} before: ask for fewer, or give the "
        "services more entities and values"
    )


def _goal(models: Sequence[ServiceModel], rng: Random, habits: Habits) -> list[Errand]:
    """Draw one to three related services, and an errand at each."""
    count = rng.choices((1, 2, 3), habits.services)[0]
    drawn = [rng.choice(models)]
    while len(drawn) < count:
        others = [model for model in models if model not in drawn]
        related = [model for model in others if any(_are_related(model, it) for it in drawn)]
        if not others:
            break
        drawn.append(rng.choice(related or others))
    return [_errand(model, rng, habits) for model in drawn]


def _are_related(one: ServiceModel, other: ServiceModel) -> bool:
    return bool(one.concepts() & other.concepts())


def _errand(model: ServiceModel, rng: Random, habits: Habits) -> Errand:
    """Draw the last intent of an errand, and add the searches before it."""
    books = bool(model.transactions) and rng.random() < habits.ends_in_booking
    last = rng.choice(model.transactions if books or not model.searches else model.searches)
    chain = [last]
    if model.intent(last).is_transactional and rng.random() < habits.knows_entity:
        return Errand(model, chain)
    while (search := model.search_before(chain[0])) is not None:
        chain.insert(0, search)
    return Errand(model, chain)


def converse(
    errands: Sequence[Errand], dialogue_id: str, *, rng: Random, habits: Habits
) -> Dialogue:
    """Return the dialogue in which a user does errands at different services."""
    context = Context(rng, habits)
    for index, errand in enumerate(errands):
        intent = _run(context, errand)
        context.remember(errand.model)
        _part(context, errand.model, intent, is_last=index == len(errands) - 1)
    return context.script.dialogue(dialogue_id)


def _run(context: Context, errand: Errand) -> str:
    """Play an errand, and return the intent that is active at its end."""
    model = errand.model
    row: Row = {}
    before = None
    for intent in errand.intents:
        row = row or _entity_in_mind(context, model, intent)
        wishes = _wishes(context, model, intent, row)
        request = RequestPhase(context, model, intent, wishes)
        if before is None:
            request.open()
        else:
            request.take_up(before)
        request.complete()
        if model.intent(intent).is_transactional:
            BookingPhase(context, model, intent, wishes, row).settle()
            return intent
        chosen = SearchPhase(context, model, intent, wishes).choose()
        if chosen is None:
            return intent
        row, before = chosen, intent
        context.script.user(model, intent, Move("SELECT"))
    return _decline(context, model, errand.intents[-1])


def _entity_in_mind(context: Context, model: ServiceModel, intent: str) -> Row:
    """Draw the entity that a user books by name without a search; empty with a search."""
    books = model.intent(intent).is_transactional and model.search_before(intent) is not None
    return context.rng.choice(model.entities()) if books else {}


def _wishes(context: Context, model: ServiceModel, intent: str, row: Row) -> Wishes:
    """Draw the values that the user wants, consistent with settled values and the chosen row."""
    parameters = model.parameters(intent)
    settled = context.script.known_values(model).values
    known = {slot: it.canonical for slot, it in context.carried(model, intent).items()}
    known |= {slot: settled[slot] for slot in parameters if slot in settled}
    known |= {slot: row[slot] for slot in parameters if slot in row}
    draw = booking_wishes if model.intent(intent).is_transactional else search_wishes
    return draw(model, intent, known, context.rng)


def _decline(context: Context, model: ServiceModel, intent: str) -> str:
    """Draw whether the system proposes a next intent that the user declines, and play it."""
    proposals = model.intents_after(intent)
    if not proposals or not context.happens(context.habits.vain_proposal):
        return intent
    proposed = intent_move("OFFER_INTENT", context.rng.choice(proposals))
    context.script.system(model, intent, proposed)
    context.script.user(model, NO_INTENT, Move("NEGATE_INTENT"))
    return NO_INTENT


def _part(context: Context, model: ServiceModel, intent: str, *, is_last: bool) -> None:
    """Play the words between two errands, or the end of the dialogue."""
    script, habits = context.script, context.habits
    if script.awaits_system:
        if is_last and context.happens(habits.goodbye_at_once):
            script.user(model, intent, Move("GOODBYE"))
            script.system(model, intent, Move("GOODBYE"))
            return
        if not is_last and context.happens(habits.next_at_once):
            return
        script.system(model, intent, Move("REQ_MORE"))
    if is_last:
        script.user(model, NO_INTENT, Move("NEGATE"), Move("THANK_YOU"))
        script.system(model, NO_INTENT, Move("GOODBYE"))
