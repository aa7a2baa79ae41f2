"""The scene in which the system looks entities up and the user chooses among them."""

from __future__ import annotations

from typing import Literal

from agent_gym_env.synthesis.moves import Move, each, intent_move
from agent_gym_env.synthesis.service_model import Row, ServiceModel
from agent_gym_env.synthesis.stage import Stage
from agent_gym_env.synthesis.wishes import Wishes, another_search
from agent_gym_env.values.equality import DONTCARE

_Step = Literal["take", "next", "change"]

_MOST_STEPS = 4
"""Then the user takes what there is."""


class Searching:
    """Shows entities until the user takes one or gives up."""

    def __init__(self, stage: Stage, model: ServiceModel, intent: str, wishes: Wishes) -> None:
        self._stage = stage
        self._model = model
        self._intent = intent
        self._wishes = wishes
        self._rows: list[Row] = []
        self._shown: list[Row] = []
        self._steps = 0

    def choose(self) -> Row | None:
        """Play the scene; return the entity that the user takes, if any."""
        self._look_up()
        while self._rows or self._retry():
            if self._stage.happens(self._stage.habits.question):
                self._stage.question(self._model, self._intent, self._rows[0])
            step = self._next_step()
            if step == "next":
                self._show_next()
            elif step == "take" or not self._change():
                return self._rows[0]
        return None

    def _next_step(self) -> _Step:
        habits = self._stage.habits
        self._steps += 1
        if self._steps > _MOST_STEPS:
            return "take"
        is_last = len(self._rows) == 1
        if self._stage.happens(habits.after_the_last if is_last else habits.alternative):
            return "next"
        return "change" if self._stage.happens(habits.change) else "take"

    def _look_up(self) -> None:
        """Call the service and show the first entity, or say that there is none."""
        parameters = self._stage.parameters(self._model, self._intent)
        self._rows = self._model.search(self._intent, parameters, self._indifferent())
        if not self._rows:
            self._report_nothing(parameters)
            return
        moves = self._offer()
        if self._stage.happens(self._count_habit()):
            moves.append(Move("INFORM_COUNT", "count", (str(len(self._rows)),)))
        self._system(*moves, call=parameters, results=self._rows)

    def _count_habit(self) -> float:
        if len(self._rows) > 1:
            return self._stage.habits.count
        return self._stage.habits.count_of_one if self._model.name_slot() else 0.0

    def _show_next(self) -> None:
        self._user(Move("REQUEST_ALTS"))
        del self._rows[:1]
        if self._rows:
            self._system(*self._offer())
        else:
            self._report_nothing(self._stage.parameters(self._model, self._intent))

    def _report_nothing(self, parameters: dict[str, str]) -> None:
        failure = (Move("NOTIFY_FAILURE"), Move("REQ_MORE"))
        self._system(*failure, call=parameters, results=[])

    def _change(self) -> bool:
        """Let the user want something else, and look it up; whether there is something else."""
        return self._ask_again(Move("REQUEST_ALTS"))

    def _retry(self) -> bool:
        """After a failure, perhaps let the user ask for something else."""
        wants_to = self._stage.happens(self._stage.habits.retry)
        return wants_to and self._ask_again(intent_move("INFORM_INTENT", self._intent))

    def _ask_again(self, asking: Move) -> bool:
        other = another_search(
            self._model, self._intent, self._wishes, self._shown, self._stage.rng
        )
        if other is None:
            return False
        slot, value = other
        self._wishes[slot] = value
        self._user(asking, Move("INFORM", slot, (value,)))
        self._look_up()
        return True

    def _offer(self) -> list[Move]:
        """Present the first row by a sentence's slots, with all that the next intent takes up."""
        later = self._model.intents_after(self._intent)
        needed = {it for intent in later for it in self._model.row_gives(self._intent, intent)}
        wording = self._model.wording
        offered = wording.offered_slots(self._intent, needed, self._stage.rng)
        self._stage.show(self._model, offered)
        self._shown.append(self._rows[0])
        return each("OFFER", {slot: self._rows[0][slot] for slot in offered})

    def _indifferent(self) -> list[str]:
        settled = self._stage.script.settled(self._model)
        return [slot for slot, value in settled.items() if value == DONTCARE]

    def _user(self, *moves: Move) -> None:
        self._stage.script.user(self._model, self._intent, *moves)

    def _system(
        self, *moves: Move, call: dict[str, str] | None = None, results: list[Row] | None = None
    ) -> None:
        rows = None if results is None else list(results)
        self._stage.script.system(self._model, self._intent, *moves, call=call, results=rows)
