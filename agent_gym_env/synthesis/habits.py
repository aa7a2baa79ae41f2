"""Probabilities of what users and systems may do in a dialogue."""

from __future__ import annotations

import msgspec


class Habits(msgspec.Struct, frozen=True):
    """Probabilities, each for one occasion.

    The default values give corpora the shape of the Schema-Guided Dialogue dataset.

    Attributes:
        services: weights of dialogues with one, two and three services.
        ends_in_booking: an errand ends with a transaction where its service has one.
        knows_entity: the user books by name, without a search.
        silent_carrying: a value from another service is taken over without a word.
        required_at_once: the user's first words say a required slot.
        details_at_once: the same, for an intent that uses a chosen row.
        optional_at_once: the first words say optional values although the system will ask more.
        two_requests: the system asks for two slots at once.
        examples: the system adds examples to a question.
        right_guess: the system asks by suggesting what the user wants.
        count: the system says how many rows it found.
        count_of_one: the same, for a single row.
        question: the user asks for attributes of an offered row.
        second_question: the user asks for a second attribute.
        alternative: the user asks for another row.
        after_the_last: the user asks for another row although no row is left.
        change: the user changes a wish.
        proposal: the system proposes the next intent before the user asks for it.
        vain_proposal: the system proposes an intent that the user does not want.
        correction: the user corrects a value at the confirmation.
        question_at_confirmation: the user confirms and asks for an attribute.
        question_after_booking: the user asks for an attribute of what was booked.
        counter_offer_taken: the user takes another time.
        retry: the user tries other values after a failure.
        goodbye_at_once: the user says goodbye with the last words on an errand.
        next_at_once: the user goes over to the next errand in the same turn.
    """

    services: tuple[float, float, float] = (0.46, 0.48, 0.06)
    ends_in_booking: float = 0.65
    knows_entity: float = 0.12
    silent_carrying: float = 0.5
    required_at_once: float = 0.45
    details_at_once: float = 0.42
    optional_at_once: float = 0.6
    two_requests: float = 0.35
    examples: float = 0.25
    right_guess: float = 0.06
    count: float = 0.7
    count_of_one: float = 0.3
    question: float = 0.38
    second_question: float = 0.35
    alternative: float = 0.16
    after_the_last: float = 0.05
    change: float = 0.2
    proposal: float = 0.42
    vain_proposal: float = 0.48
    correction: float = 0.19
    question_at_confirmation: float = 0.3
    question_after_booking: float = 0.18
    counter_offer_taken: float = 0.82
    retry: float = 0.62
    goodbye_at_once: float = 0.33
    next_at_once: float = 0.7
