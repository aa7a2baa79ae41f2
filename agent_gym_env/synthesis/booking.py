"""The scene in which the system confirms a transaction and carries it out."""

from __future__ import annotations

from collections.abc import Mapping

from agent_gym_env.synthesis.moves import Move, about, each, intent_move
from agent_gym_env.synthesis.service_model import Answer, Row, ServiceModel
from agent_gym_env.synthesis.stage import Stage
from agent_gym_env.synthesis.wishes import Wishes, another_booking


class Booking:
    """Confirms and calls until the transaction succeeds or the user gives up.

    Args:
        stage: the dialogue.
        model: the service.
        intent: the transaction.
        wishes: what the user wants; it changes where the user does.
        row: the chosen entity, empty where the transaction needs none.
    """

    def __init__(
        self, stage: Stage, model: ServiceModel, intent: str, wishes: Wishes, row: Row
    ) -> None:
        self._stage = stage
        self._model = model
        self._intent = intent
        self._wishes = wishes
        self._row = row

    def settle(self) -> None:
        """Play the scene."""
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
        """Let the system repeat the values, and the user correct one at most."""
        self._system(*each("CONFIRM", self._parameters()))
        if not self._stage.happens(self._stage.habits.correction):
            return
        if (other := self._another_wish()) is not None:
            self._user(Move("NEGATE"), other)
            self._system(*each("CONFIRM", self._parameters()))

    def _affirm(self, answer: Answer) -> Row:
        """Let the user agree; return the attributes that the user asks for with it."""
        slots: list[str] = []
        if answer.rows and self._stage.happens(self._stage.habits.question_at_confirmation):
            slots = self._stage.untold_attributes(self._model, answer.rows[0])
        self._user(Move("AFFIRM"), *about("REQUEST", slots))
        return {slot: answer.rows[0][slot] for slot in slots}

    def _succeed(self, answer: Answer, parameters: Row, asked: Row) -> None:
        informs = each("INFORM", asked)
        self._system(Move("NOTIFY_SUCCESS"), *informs, call=parameters, results=answer.rows)
        if self._stage.happens(self._stage.habits.question_after_booking):
            self._stage.question(self._model, self._intent, answer.rows[0])
        self._user(Move("THANK_YOU"))

    def _counter_offer(self, answer: Answer, parameters: Row, asked: Row) -> None:
        """Offer the row that differs, which the user takes or leaves."""
        other = answer.rows[0]
        offered = {
            slot: other[slot] for slot in parameters if self._is_offered(slot, parameters, other)
        }
        moves = [Move("NOTIFY_FAILURE"), *each("INFORM", asked), *each("OFFER", offered)]
        self._system(*moves, call=parameters, results=answer.rows)
        if not self._stage.happens(self._stage.habits.counter_offer_taken):
            self._user(Move("NEGATE"))
            return
        self._user(Move("AFFIRM"))
        parameters = self._parameters()
        self._succeed(self._model.book(self._intent, parameters, self._row), parameters, {})

    def _is_offered(self, slot: str, parameters: Mapping[str, str], other: Row) -> bool:
        """A counter-offer says what differs, and the day."""
        return other[slot] != parameters[slot] or self._model.kind(slot) == "date"

    def _retry(self) -> bool:
        """After a failure, perhaps let the user try another value."""
        if not self._stage.happens(self._stage.habits.retry):
            return False
        if (other := self._another_wish()) is None:
            return False
        self._user(intent_move("INFORM_INTENT", self._intent), other)
        return True

    def _another_wish(self) -> Move | None:
        """Change a value that belongs to the transaction alone."""
        fixed = {slot for slot in self._wishes if self._model.is_attribute(slot)}
        other = another_booking(self._model, self._wishes, fixed, self._stage.rng)
        if other is None:
            return None
        slot, value = other
        self._wishes[slot] = value
        return Move("INFORM", slot, (value,))

    def _parameters(self) -> Row:
        return self._stage.parameters(self._model, self._intent)

    def _user(self, *moves: Move) -> None:
        self._stage.script.user(self._model, self._intent, *moves)

    def _system(
        self, *moves: Move, call: Row | None = None, results: list[Row] | None = None
    ) -> None:
        self._stage.script.system(self._model, self._intent, *moves, call=call, results=results)
