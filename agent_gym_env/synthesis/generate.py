"""Draws the goals of users and turns them into dialogues."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random

from agent_gym_env.corpus.sgd import Dialogue, Service
from agent_gym_env.errors import DataError
from agent_gym_env.synthesis.conversation import Errand, converse
from agent_gym_env.synthesis.entities import ServiceEntry
from agent_gym_env.synthesis.habits import Habits
from agent_gym_env.synthesis.service_model import ServiceModel

_MOST_TRIES = 50
DIALOGUES_PER_SHARD = 64


def synthesize(
    services: Sequence[Service],
    entities: Mapping[str, ServiceEntry],
    *,
    dialogues: int,
    seed: int,
    habits: Habits | None = None,
) -> Iterator[Dialogue]:
    """Write dialogues about some services, one after the other.

    The same arguments give the same dialogues, and no two of them have the same words. Ids number
    shards of `DIALOGUES_PER_SHARD`, as SGD's do: ``"1_00000"`` is the first of the first shard.

    Args:
        services: the schema.
        entities: what is known of each service, by its name.
        dialogues: how many to write.
        seed: of all randomness.
        habits: how often users and systems do what they may do or leave.

    Raises:
        DataError: the services are too small for so many different dialogues.
    """
    if dialogues < 1:
        raise ValueError(f"expected at least 1 dialogue to write, found {dialogues}")
    models = [ServiceModel(it, entities.get(it.service_name, ServiceEntry())) for it in services]
    told: set[str] = set()
    for index in range(dialogues):
        shard, place = divmod(index, DIALOGUES_PER_SHARD)
        dialogue_id = f"{shard + 1}_{place:05}"
        yield _unlike(models, told, dialogue_id, f"{seed}/{index}", habits or Habits())


def _unlike(
    models: Sequence[ServiceModel], told: set[str], dialogue_id: str, seed: str, habits: Habits
) -> Dialogue:
    """Write a dialogue whose words are unlike those of the ones that are told already."""
    for attempt in range(_MOST_TRIES):
        rng = Random(f"{seed}/{attempt}")
        dialogue = converse(_goal(models, rng, habits), dialogue_id, rng=rng, habits=habits)
        words = "\n".join(turn.utterance for turn in dialogue.turns)
        if words not in told:
            told.add(words)
            return dialogue
    raise DataError(
        f"could not write a dialogue unlike the {len(told)} before: ask for fewer, or give the "
        "services more entities and values"
    )


def _goal(models: Sequence[ServiceModel], rng: Random, habits: Habits) -> list[Errand]:
    """Draw one to three services that have something to do with each other, and errands there."""
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
    """Draw a last intent and the searches before it."""
    books = bool(model.transactions) and rng.random() < habits.ends_in_booking
    last = rng.choice(model.transactions if books or not model.searches else model.searches)
    chain = [last]
    if model.intent(last).is_transactional and rng.random() < habits.knows_entity:
        return Errand(model, chain)
    while (search := model.search_before(chain[0])) is not None:
        chain.insert(0, search)
    return Errand(model, chain)
