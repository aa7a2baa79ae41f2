"""The phases of a dialogue: the user asks for an intent, chooses an entity, books it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from random import Random
from typing import Literal

from agent_gym_env.synthesis.habits import Habits
from agent_gym_env.synthesis.moves import Move, about, each, intent_move
from agent_gym_env.synthesis.service_model import Answer, Row, ServiceModel
from agent_gym_env.synthesis.transcript import Carried, Transcript
from agent_gym_env.synthesis.wishes import Wishes, another_booking, another_search
from agent_gym_env.values.equality import DONTCARE

_Step = Literal["take", "next", "change"]

_MOST_STEPS = 4
"""Number of steps after which the user takes the row that is offered."""

_FEW = 3
"""A slot with at most this many values gets no examples: the question may list them itself."""


class Context:
    """Everything that the phases of one dialogue share.

    Attributes:
        script: turns so far.
        rng: generator of all random draws.
        habits: probabilities of what users and systems may do.
    """

    def __init__(self, rng: Random, habits: Habits) -> None:
        self.script = Transcript(rng)
        self.rng = rng
        self.habits = habits
        self._known: dict[str, Carried] = {}
        self._told: dict[str, set[str]] = {}

    def happens(self, share: float) -> bool:
        """Return true with a probability."""
        return self.rng.random() < share

    def remember(self, model: ServiceModel) -> None:
        """Remember the values of a service, so that other services can take them over."""
        known = self.script.known_values(model)
        for slot, value in known.values.items():
            concept = model.concept(slot)
            if concept is not None and value != DONTCARE:
                self._known[concept] = Carried(value, known.spoken[slot])

    def carried(self, model: ServiceModel, intent: str) -> dict[str, Carried]:
        """Return the values of other services that slots of an intent may take over."""
        known = {
            slot: self._known.get(model.concept(slot) or "") for slot in model.parameters(intent)
        }
        return {
            slot: value
            for slot, value in known.items()
            if value is not None and model.takes(slot, value.canonical)
        }

    def parameters(self, model: ServiceModel, intent: str) -> dict[str, str]:
        """Return the arguments of a call: settled values, and for a transaction its defaults."""
        settled = self.script.settled(model)
        signature = model.intent(intent)
        sent = {}
        for slot in model.parameters(intent):
            value = settled.get(slot)
            if value is None and signature.is_transactional:
                value = signature.optional_slots.get(slot)
            if value is not None and value != DONTCARE:
                sent[slot] = value
        return sent

    def show(self, model: ServiceModel, said: Collection[str]) -> None:
        """Record that the system presents another row with some of its slots."""
        self._told[model.name] = set(said)

    def untold_attributes(self, model: ServiceModel, row: Row) -> list[str]:
        """Draw one or two attributes of a row that the user does not know, if there are such."""
        told = self._told.setdefault(model.name, set())
        known = told | self.script.settled(model).keys()
        slots = [slot for slot in row if slot not in known and model.is_unknown(slot)]
        wanted = 2 if self.happens(self.habits.second_question) else 1
        asked = self.rng.sample(slots, min(wanted, len(slots)))
        told.update(asked)
        return asked

    def question(self, model: ServiceModel, intent: str, row: Row) -> None:
        """Play a question of the user about unknown attributes of a row, if there are such."""
        if asked := self.untold_attributes(model, row):
            self.script.user(model, intent, *about("REQUEST", asked))
            self.script.system(model, intent, *each("INFORM", {slot: row[slot] for slot in asked}))


class RequestPhase:
    """The user asks for an intent, and the system asks for the values that are missing."""

    def __init__(self, context: Context, model: ServiceModel, intent: str, wishes: Wishes) -> None:
        self._context = context
        self._model = model
        self._intent = intent
        self._wishes = wishes
        self._required = model.intent(intent).required_slots

    def open(self) -> None:
        """Play the user's request for the intent as a new subject."""
        untold = self._untold()
        carried = self._silently(untold)
        spoken = {slot: it for slot, it in untold.items() if slot not in carried}
        told = self._told_at_once(spoken, self._context.habits.required_at_once)
        opening = intent_move("INFORM_INTENT", self._intent)
        self._user(opening, *each("INFORM", told), carried=carried)

    def take_up(self, search: str) -> None:
        """Play the user's request for the intent, or its acceptance, for the row of a search."""
        given = self._model.row_gives(search, self._intent)
        opening = intent_move("INFORM_INTENT", self._intent)
        if self._context.happens(self._context.habits.proposal):
            proposal = intent_move("OFFER_INTENT", self._intent)
            self._context.script.system(self._model, search, proposal)
            opening = Move("AFFIRM_INTENT")
        untold = {slot: it for slot, it in self._untold().items() if slot not in given}
        told = self._told_at_once(untold, self._context.habits.details_at_once)
        self._user(opening, *each("INFORM", told))

    def complete(self) -> None:
        """Play questions of the system until all required values are known."""
        habits = self._context.habits
        while missing := self._missing():
            asked = missing[: 2 if self._context.happens(habits.two_requests) else 1]
            is_last = len(asked) == len(missing)
            if (
                len(asked) == 1
                and self._is_listed(asked[0])
                and self._context.happens(habits.right_guess)
            ):
                self._guess(asked[0], is_last)
            else:
                requests = [self._request(slot, alone=len(asked) == 1) for slot in asked]
                self._context.script.system(self._model, self._intent, *requests)
                self._user(*each("INFORM", self._answers(asked, is_last)))

    def _missing(self) -> list[str]:
        settled = self._context.script.settled(self._model)
        return [slot for slot in self._required if slot not in settled]

    def _guess(self, slot: str, is_last: bool) -> None:
        guess = Move("REQUEST", slot, (self._wishes[slot],))
        self._context.script.system(self._model, self._intent, guess)
        others = self._answers([], is_last)
        others.pop(slot, None)
        self._user(Move("AFFIRM"), *each("INFORM", others))

    def _answers(self, asked: Collection[str], is_last: bool) -> Wishes:
        """Return the values that were asked for; with the last answer, also the optional ones."""
        untold = self._untold().items()
        return {s: it for s, it in untold if s in asked or (is_last and s not in self._required)}

    def _request(self, slot: str, alone: bool) -> Move:
        values = self._model.examples(slot)
        habit = self._context.habits.examples
        if alone and self._is_listed(slot) and len(values) > _FEW and self._context.happens(habit):
            return Move("REQUEST", slot, tuple(self._context.rng.sample(values, 2)))
        return Move("REQUEST", slot)

    def _is_listed(self, slot: str) -> bool:
        return self._model.is_categorical(slot) and self._model.kind(slot) == "text"

    def _untold(self) -> Wishes:
        settled = self._context.script.known_values(self._model).values
        return {slot: it for slot, it in self._wishes.items() if settled.get(slot) != it}

    def _silently(self, untold: Wishes) -> dict[str, Carried]:
        habit = self._context.habits.silent_carrying
        carried = self._context.carried(self._model, self._intent).items()
        same = {slot: it for slot, it in carried if untold.get(slot) == it.canonical}
        return {slot: it for slot, it in same.items() if self._context.happens(habit)}

    def _told_at_once(self, untold: Wishes, share: float) -> Wishes:
        """Draw the values in the user's first words: all, unless the system will ask for some."""
        required = [slot for slot in untold if slot in self._required]
        told = {slot for slot in required if self._context.happens(share)}
        nothing_to_ask = len(told) == len(required)
        if nothing_to_ask or self._context.happens(self._context.habits.optional_at_once):
            told |= untold.keys() - set(required)
        return {slot: it for slot, it in untold.items() if slot in told}

    def _user(self, *moves: Move, carried: Mapping[str, Carried] | None = None) -> None:
        self._context.script.user(self._model, self._intent, *moves, carried=carried)


class SearchPhase:
    """The system presents entities until the user takes one or gives up."""

    def __init__(self, context: Context, model: ServiceModel, intent: str, wishes: Wishes) -> None:
        self._context = context
        self._model = model
        self._intent = intent
        self._wishes = wishes
        self._rows: list[Row] = []
        self._shown: list[Row] = []
        self._steps = 0

    def choose(self) -> Row | None:
        """Play the phase, and return the entity that the user takes, if any."""
        self._look_up()
        while self._rows or self._retry():
            if self._context.happens(self._context.habits.question):
                self._context.question(self._model, self._intent, self._rows[0])
            step = self._next_step()
            if step == "next":
                self._show_next()
            elif step == "take" or not self._change():
                return self._rows[0]
        return None

    def _next_step(self) -> _Step:
        habits = self._context.habits
        self._steps += 1
        if self._steps > _MOST_STEPS:
            return "take"
        is_last = len(self._rows) == 1
        if self._context.happens(habits.after_the_last if is_last else habits.alternative):
            return "next"
        return "change" if self._context.happens(habits.change) else "take"

    def _look_up(self) -> None:
        """Call the service, and present the first entity or report that nothing was found."""
        parameters = self._context.parameters(self._model, self._intent)
        self._rows = self._model.search(self._intent, parameters, self._indifferent())
        if not self._rows:
            self._report_nothing(parameters)
            return
        moves = self._offer()
        if self._context.happens(self._count_habit()):
            moves.append(Move("INFORM_COUNT", "count", (str(len(self._rows)),)))
        self._system(*moves, call=parameters, results=self._rows)

    def _count_habit(self) -> float:
        if len(self._rows) > 1:
            return self._context.habits.count
        return self._context.habits.count_of_one if self._model.name_slot() else 0.0

    def _show_next(self) -> None:
        self._user(Move("REQUEST_ALTS"))
        del self._rows[:1]
        if self._rows:
            self._system(*self._offer())
        else:
            self._report_nothing(self._context.parameters(self._model, self._intent))

    def _report_nothing(self, parameters: dict[str, str]) -> None:
        failure = (Move("NOTIFY_FAILURE"), Move("REQ_MORE"))
        self._system(*failure, call=parameters, results=[])

    def _change(self) -> bool:
        """Play a change of a value, and return whether another value was found."""
        return self._ask_again(Move("REQUEST_ALTS"))

    def _retry(self) -> bool:
        """Draw whether the user tries another value after a failure, and play it."""
        wants_to = self._context.happens(self._context.habits.retry)
        return wants_to and self._ask_again(intent_move("INFORM_INTENT", self._intent))

    def _ask_again(self, asking: Move) -> bool:
        other = another_search(
            self._model, self._intent, self._wishes, self._shown, self._context.rng
        )
        if other is None:
            return False
        slot, value = other
        self._wishes[slot] = value
        self._user(asking, Move("INFORM", slot, (value,)))
        self._look_up()
        return True

    def _offer(self) -> list[Move]:
        """Return the moves that present the first row, with all slots of the next intent."""
        later = self._model.intents_after(self._intent)
        needed = {it for intent in later for it in self._model.row_gives(self._intent, intent)}
        wording = self._model.wording
        offered = wording.offered_slots(self._intent, needed, self._context.rng)
        self._context.show(self._model, offered)
        self._shown.append(self._rows[0])
        return each("OFFER", {slot: self._rows[0][slot] for slot in offered})

    def _indifferent(self) -> list[str]:
        settled = self._context.script.settled(self._model)
        return [slot for slot, value in settled.items() if value == DONTCARE]

    def _user(self, *moves: Move) -> None:
        self._context.script.user(self._model, self._intent, *moves)

    def _system(
        self, *moves: Move, call: dict[str, str] | None = None, results: list[Row] | None = None
    ) -> None:
        rows = None if results is None else list(results)
        self._context.script.system(self._model, self._intent, *moves, call=call, results=rows)


class BookingPhase:
    """The system confirms and calls until the transaction succeeds or the user gives up.

    Args:
        context: shared state of the dialogue.
        model: service.
        intent: transaction.
        wishes: values that the user wants; updated when the user changes one.
        row: chosen entity; empty if the transaction needs none.
    """

    def __init__(
        self, context: Context, model: ServiceModel, intent: str, wishes: Wishes, row: Row
    ) -> None:
        self._context = context
        self._model = model
        self._intent = intent
        self._wishes = wishes
        self._row = row

    def settle(self) -> None:
        """Play the phase."""
        while True:
            self._confirm()
            parameters = self._parameters()
            answer = self._model.book(self._intent, parameters, self._row)
            asked = self._affirm(answer)
            if answer.succeeded:
                self._succeed(answer, parameters, asked)
                return
            if answer.rows:
                self._counter_offer(answer, parameters, asked)
                return
            self._system(Move("NOTIFY_FAILURE"), Move("REQ_MORE"), call=parameters, results=[])
            if not self._retry():
                return

    def _confirm(self) -> None:
        """Play the confirmation of the values, with at most one correction by the user."""
        self._system(*each("CONFIRM", self._parameters()))
        if not self._context.happens(self._context.habits.correction):
            return
        if (other := self._another_wish()) is not None:
            self._user(Move("NEGATE"), other)
            self._system(*each("CONFIRM", self._parameters()))

    def _affirm(self, answer: Answer) -> Row:
        """Play the user's agreement, and return the attributes that the user asks for with it."""
        slots: list[str] = []
        if answer.rows and self._context.happens(self._context.habits.question_at_confirmation):
            slots = self._context.untold_attributes(self._model, answer.rows[0])
        self._user(Move("AFFIRM"), *about("REQUEST", slots))
        return {slot: answer.rows[0][slot] for slot in slots}

    def _succeed(self, answer: Answer, parameters: Row, asked: Row) -> None:
        informs = each("INFORM", asked)
        self._system(Move("NOTIFY_SUCCESS"), *informs, call=parameters, results=answer.rows)
        if self._context.happens(self._context.habits.question_after_booking):
            self._context.question(self._model, self._intent, answer.rows[0])
        self._user(Move("THANK_YOU"))

    def _counter_offer(self, answer: Answer, parameters: Row, asked: Row) -> None:
        """Play an offer of another row, which the user takes or declines."""
        other = answer.rows[0]
        offered = {
            slot: other[slot] for slot in parameters if self._is_offered(slot, parameters, other)
        }
        moves = [Move("NOTIFY_FAILURE"), *each("INFORM", asked), *each("OFFER", offered)]
        self._system(*moves, call=parameters, results=answer.rows)
        if not self._context.happens(self._context.habits.counter_offer_taken):
            self._user(Move("NEGATE"))
            return
        self._user(Move("AFFIRM"))
        parameters = self._parameters()
        self._succeed(self._model.book(self._intent, parameters, self._row), parameters, {})

    def _is_offered(self, slot: str, parameters: Mapping[str, str], other: Row) -> bool:
        """Return whether a counter-offer says a slot: what differs, and the day."""
        return other[slot] != parameters[slot] or self._model.kind(slot) == "date"

    def _retry(self) -> bool:
        """Draw whether the user tries another value after a failure, and play it."""
        if not self._context.happens(self._context.habits.retry):
            return False
        if (other := self._another_wish()) is None:
            return False
        self._user(intent_move("INFORM_INTENT", self._intent), other)
        return True

    def _another_wish(self) -> Move | None:
        """Change a value that only the transaction uses; return the move, if there is one."""
        fixed = {slot for slot in self._wishes if self._model.is_attribute(slot)}
        other = another_booking(self._model, self._wishes, fixed, self._context.rng)
        if other is None:
            return None
        slot, value = other
        self._wishes[slot] = value
        return Move("INFORM", slot, (value,))

    def _parameters(self) -> Row:
        return self._context.parameters(self._model, self._intent)

    def _user(self, *moves: Move) -> None:
        self._context.script.user(self._model, self._intent, *moves)

    def _system(
        self, *moves: Move, call: Row | None = None, results: list[Row] | None = None
    ) -> None:
        self._context.script.system(self._model, self._intent, *moves, call=call, results=results)
