"""A user with a goal, without a language model: it reacts to what the agent says and does.

Where the recorded user once answered the same situation, that answer is given again; elsewhere the
goal says what to answer. Every value that the agent offers, confirms or tells is compared with what
the user has said and with what the services have answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from zlib import crc32

import msgspec

from agent_gym_env.corpus.entities import MAX_ROWS
from agent_gym_env.corpus.goals import Decision, Errand, Goal, Kind, Situations, UserAct
from agent_gym_env.corpus.task import Task
from agent_gym_env.corpus.tool_specs import ToolSpec
from agent_gym_env.users.agent_turn import AgentTurn, Row
from agent_gym_env.users.phrase_book import wishes_of
from agent_gym_env.users.wording import ActsToSay
from agent_gym_env.values.equality import DONTCARE, canonical

PATIENCE = 4
"""Number of turns without progress that the user accepts in an errand."""

_MAX_SAME_REQUESTS = 2
"""Number of times that the same slots may be asked for before it costs patience."""

_MAX_IDLE_TURNS = 2
"""Number of turns in a row that may change nothing before they cost patience."""


class Question(msgspec.Struct, array_like=True):
    """A question of the user.

    Attributes:
        errand: index of the errand in which it was asked.
        slot: slot that was asked for.
        row: key of the row that was asked about; ``None`` where none was on the table.
        answered: whether the right value was told.
    """

    errand: int
    slot: str
    row: int | None = None
    answered: bool = False


class UserState(msgspec.Struct, omit_defaults=True):
    """The user's state between two turns; all of it can be written as JSON.

    Attributes:
        errand: index of the errand under way.
        counts: number of situations of each kind in it.
        said: values by service and slot, as the user last said them.
        here: the slots of them that were said in this errand.
        named: the slots whose value the agent has rightly named in a confirmation of this errand.
        changes: number of changes of the values that were said.
        row: the row on the table.
        seen: keys of the rows offered in this errand.
        known: keys of the rows that this errand's queries returned and that fit the user's wishes.
        rows: the rows that the last query with an answer returned.
        source: full name of the tool of that query.
        asked: what that query asked for, by argument; defaults are among it, no preference is not.
        searched: whether a query of this errand would have found all rows that fit the user's
            wishes.
        chosen: the row that the user took, by errand.
        questions: in the order in which they were asked.
        patience: number of turns without progress that the user still accepts in this errand.
        idle: number of turns in a row that have changed nothing.
        consented: errands whose write the user has agreed to, and not changed since.
        written: errands whose write was right.
        verdicts: verdict on each write that went through or that the user did not want: ``right``,
            or a stable code of its fault.
        unconsented: number of writes that were tried without consent.
        reported: errands of which the agent reported a success.
        failed: errands of which the agent reported a failure.
        refused: keys of counter-offers that the user turned down.
        wants_other: whether the user waits for another row.
        faults: stable codes of what the agent did against the rules, in order.
        counters: number of turns that were not understood, of default answers and so on, by name.
        answer: first row of the last transaction's answer; empty for none.
        outcome: outcome of the last call of this turn: ``rows`` or ``empty`` of a query,
            ``success``, ``counter`` or ``failure`` of a transaction; ``""`` for no call.
            It outlives a turn that the user missed, since the agent then says the same again.
        booked: the row of the last write that went through, by tool.
        attempts: outcome of the last attempt at the write of an errand, by errand.
        acts: the user's last acts.
        turn: index of the recorded turn that opens with words for such acts, with other values
            perhaps; ``None`` for acts that the recorded user never did.
        finished: whether the user has said goodbye.
        left: whether the user has lost patience.
    """

    errand: int = 0
    counts: dict[str, int] = {}
    said: dict[str, dict[str, str]] = {}
    here: list[str] = []
    named: list[str] = []
    changes: int = 0
    row: Row | None = None
    seen: list[int] = []
    known: list[int] = []
    rows: list[Row] = []
    source: str = ""
    asked: dict[str, str] = {}
    searched: bool = False
    chosen: dict[int, Row] = {}
    questions: list[Question] = []
    patience: int = PATIENCE
    idle: int = 0
    consented: list[int] = []
    written: list[int] = []
    verdicts: list[str] = []
    unconsented: int = 0
    reported: list[int] = []
    failed: list[int] = []
    refused: list[int] = []
    wants_other: bool = False
    faults: list[str] = []
    counters: dict[str, int] = {}
    answer: Row = {}
    outcome: str = ""
    booked: dict[str, Row] = {}
    attempts: dict[int, str] = {}
    acts: tuple[UserAct, ...] = ()
    turn: int | None = None
    finished: bool = False
    left: bool = False

    def waits_for_another_row(self) -> bool:
        """Return whether the user wants another row, and there may be one not yet offered."""
        return self.wants_other and (not self.searched or self.has_unseen_row())

    def has_unseen_row(self) -> bool:
        """Return whether a query of this errand returned a row that fits and was not offered."""
        return any(key not in self.seen for key in self.known)


class AgendaUser:
    """Plays one goal.

    Args:
        goal: goal of the user.
        tools: tools of the dialogue's services, by full name.
        today: the day of the dialogue, ISO.
        patience: number of turns without progress that the user accepts in an errand.
        state: state to continue from; ``None`` at the beginning.

    Attributes:
        state: the user's state.
        understood: whether the user understood the agent's last turn.
    """

    __slots__ = (
        "_decision",
        "_goal",
        "_patience",
        "_situations",
        "_specs",
        "_today",
        "_turn_kind",
        "_volunteers",
        "_wishes",
        "state",
        "understood",
    )  # fmt: skip

    def __init__(
        self,
        goal: Goal,
        tools: Mapping[str, ToolSpec],
        today: str | None,
        *,
        patience: int = PATIENCE,
        state: UserState | None = None,
    ) -> None:
        self._goal = goal
        self._specs = [tools[errand.tool] for errand in goal.errands]
        self._today = today
        self._patience = patience
        self.state = UserState(patience=patience) if state is None else state
        self._situations = Situations()
        self._situations.counts = self.state.counts
        self._turn_kind: Kind = "none"
        self._volunteers = True
        self.understood = True
        self._decision: Decision | None = None
        self._wishes = wishes_of(goal)

    def open(self) -> tuple[UserAct, ...]:
        """Begin the dialogue and return the user's first acts."""
        for act in self._goal.opening:
            if act.act == "INFORM":
                self._note_said(act)
        self.state.acts, self.state.turn = self._goal.opening, 0
        return self._goal.opening

    def is_over(self) -> bool:
        """Return whether the user has said goodbye or has left."""
        return self.state.finished or self.state.left

    # What the services did.

    def note_result(
        self, spec: ToolSpec, arguments: Mapping[str, Any], status: str, rows: Sequence[Row]
    ) -> None:
        """Take note of a call's result: the user compares with it what the agent says.

        Args:
            spec: the tool.
            arguments: those of the call.
            status: ``success`` or ``failure``.
            rows: the service's answer.
        """
        state = self.state
        state.outcome = _outcome(spec, status, rows)
        if not spec.transactional:
            self._note_rows(spec, arguments, rows)
            return
        state.answer = dict(rows[0]) if rows else {}
        verdict = self._verdict(spec, arguments)
        state.unconsented += state.errand not in state.consented
        if verdict in ("right", "twice"):
            state.attempts[state.errand] = status
        if status == "success" or verdict != "right":
            state.verdicts.append(verdict)  # to try what nobody wants is wrong, even if it fails
        if verdict == "twice":
            state.faults.append("written_twice")
        if status == "success":
            state.booked[spec.name] = state.answer
            if verdict == "right":
                state.written.append(state.errand)

    def _note_rows(self, spec: ToolSpec, arguments: Mapping[str, Any], rows: Sequence[Row]) -> None:
        state = self.state
        given = {**spec.defaults, **{slot: str(value) for slot, value in arguments.items()}}
        asked = {slot: value for slot, value in given.items() if value != DONTCARE}
        if rows:
            state.rows, state.source, state.asked = list(rows), spec.name, asked
        if spec.name == self.errand().tool:
            wishes = self._said_here()
            known = (self._row_key(row) for row in rows if not self._broken(wishes, row, asked))
            state.known += [key for key in known if key not in state.known]
            is_wide = len(rows) < MAX_ROWS or asked.keys() >= wishes.keys()
            if is_wide and not state.searched:
                state.searched = self._asks_for_wishes_only(spec, asked, wishes)

    def _asks_for_wishes_only(
        self, spec: ToolSpec, asked: Mapping[str, str], said: Mapping[str, str]
    ) -> bool:
        """Return whether a query leaves out no row that fits what the agent can know."""
        for slot, value in asked.items():
            if said.get(slot) == value or (slot not in said and value == spec.defaults.get(slot)):
                continue
            wish = self.wish(slot)
            must_choose = slot in spec.required and wish in (None, DONTCARE)
            if not must_choose and self._key(value) != self._key(wish or ""):
                return False
        return True

    def _verdict(self, spec: ToolSpec, arguments: Mapping[str, Any]) -> str:
        """Return ``right`` for a write that the user wants as it is made, else what is wrong."""
        errand = self.errand()
        if errand.tool != spec.name:
            return "unwanted"
        if self.state.errand in self.state.written:
            return "twice"
        given = {name: self._key(value) for name, value in arguments.items()}
        problems = (self._problem(errand, spec, slot, given.get(slot)) for slot in spec.arguments)
        return next(filter(None, problems), "right")

    def _problem(self, errand: Errand, spec: ToolSpec, slot: str, given: str | None) -> str | None:
        default = self._key(spec.defaults[slot]) if slot in spec.defaults else None
        absent = given is None or given in (DONTCARE, default)
        if not (slot in (errand.final or {}) or slot in self.state.here or slot in errand.voiced):
            rows = [self.said(), self.state.row or {}, *self.state.chosen.values()]
            fits = any(slot in row and self._key(row[slot]) == given for row in rows)
            return None if absent or fits else f"extra:{slot}"
        wanted = self.wish(slot)
        key = None if wanted is None else self._key(wanted)
        if key == DONTCARE:
            return None
        if given is None or given == DONTCARE:
            return None if default is not None and key == default else f"missing:{slot}"
        return None if given == key else f"wrong:{slot}"

    # What the user knows and wants.

    def errand(self) -> Errand:
        """Return the errand under way."""
        return self._goal.errands[self.state.errand]

    def spec(self) -> ToolSpec:
        """Return the tool of the errand under way."""
        return self._specs[self.state.errand]

    def _key(self, value: object) -> str:
        return canonical(value, self._today)

    def _row_key(self, row: Mapping[str, str]) -> int:
        """Return the same number for rows that say the same."""
        return crc32(repr(sorted((slot, self._key(value)) for slot, value in row.items())).encode())

    def said(self) -> Mapping[str, str]:
        """Return what the user has said to the service under way, by slot."""
        return self.state.said.get(self.errand().service, {})

    def wish(self, slot: str) -> str | None:
        """Return the value that the user wants: said, meant, or that of the row they chose."""
        errand, state = self.errand(), self.state
        said = self.said().get(slot)
        if said is not None and self._is_said_here(slot, said):
            return said
        if slot in errand.voiced:
            return errand.voiced[slot][0]
        binding = errand.bindings.get(slot)
        if binding is not None and binding.errand >= 0:
            row = state.chosen.get(binding.errand)
            if row is not None and binding.slot in row:
                return row[binding.slot]
        final = errand.final
        if final is not None and (slot in final or slot in self.spec().defaults):
            return final.get(slot)
        same_service = [other for other in self._goal.errands if other.service == errand.service]
        voiced = (other.voiced[slot][0] for other in same_service if slot in other.voiced)
        finals = (o.final[slot] for o in same_service if o.final is not None and slot in o.final)
        return next(voiced, None) or next(finals, None)

    def _unsaid(self) -> dict[str, str]:
        """Return the wishes of this errand that the user has not said yet."""
        said, arguments = self.said(), self.spec().arguments
        return {
            slot: values[0]
            for slot, values in self.errand().voiced.items()
            if slot not in said and slot in arguments
        }

    def is_done(self) -> bool:
        """Return whether the errand under way needs nothing more from the agent."""
        errand, state = self.errand(), self.state
        told_failure = state.errand in state.failed
        if errand.transactional:
            if errand.outcome == "success":
                return state.errand in state.reported
            return state.errand in state.reported or told_failure
        expects_failure = any(key.startswith("failure:") for key in errand.decisions)
        return bool(state.seen) or (told_failure and (not errand.offered or expects_failure))

    def open_questions(self) -> list[str]:
        """Return the slots that the user has asked for in this errand and was not told yet."""
        return [question.slot for question in self._unanswered()]

    def has_seen(self, row: Mapping[str, str]) -> bool:
        """Return whether a row was offered in this errand."""
        return self._row_key(row) in self.state.seen

    # What the user does.

    def miss(self) -> tuple[UserAct, ...]:
        """Answer a turn that the user has not heard."""
        self._turn_kind, self._decision = "none", None
        self.state.turn = None
        return tuple(self._not_understood("missed"))

    def react(self, turn: AgentTurn, *, volunteers: bool = True) -> tuple[UserAct, ...]:
        """Answer a turn of the agent; no acts where the agent has said goodbye.

        Args:
            turn: what the agent said.
            volunteers: whether the user adds wishes that were not asked for.
        """
        self._turn_kind, self._decision, self._volunteers = turn.kind, None, volunteers
        self.understood = True
        before, patience = self._progress(), self.state.patience
        states = turn.informed or turn.confirmed or turn.reports
        is_false = states and self._states_a_falsehood(turn)
        acts = (*_ANSWERS[turn.kind](self, turn),)
        if is_false and self.understood:
            self.state.faults.append("false_statement")
        self.state.outcome = ""
        if self.state.patience == patience:
            self._note_idle_turn(before)
        decision = self._decision
        same = decision is not None and (
            decision.acts is acts or _without_values(decision.acts) == _without_values(acts)
        )
        self.state.turn = decision.turn if decision is not None and same else None
        return acts

    def to_say(
        self, acts: tuple[UserAct, ...], task: Task, draw: int, answered: str = ""
    ) -> ActsToSay:
        """Return acts with all that their words depend on.

        Args:
            acts: the last acts, or what noise has left of them.
            task: the recorded dialogue.
            draw: picks among several wordings.
            answered: the agent's text that they answer.
        """
        turn, places = self.state.turn, self._goal.places
        recorded = self._goal.opening if self._decision is None else self._decision.acts
        return ActsToSay(
            acts=acts,
            task=task,
            after=self._turn_kind,
            turn=turn,
            recorded=() if turn is None else recorded,
            places=places[turn] if turn is not None and turn < len(places) else (),
            wishes=self._wishes,
            draw=draw,
            answered=answered,
        )

    def _progress(self) -> tuple[int, ...]:
        """Return what changes when a turn gets the dialogue any further."""
        state = self.state
        return (
            state.errand, state.changes, len(state.seen), len(state.chosen), len(state.questions),
            sum(question.answered for question in state.questions),
            len(state.written), len(state.reported), len(state.failed), len(state.refused),
        )  # fmt: skip

    def _note_idle_turn(self, before: tuple[int, ...]) -> None:
        self.state.idle = self.state.idle + 1 if self._progress() == before else 0
        if self.state.idle > _MAX_IDLE_TURNS:
            self.count("nothing_changed")
            self._lose_patience()

    def _on_nothing(self, turn: AgentTurn) -> Iterable[UserAct]:
        return self._not_understood("not_understood")

    def _on_goodbye(self, turn: AgentTurn) -> Iterable[UserAct]:
        self.state.left, self.state.acts = True, ()
        return ()

    def _on_request(self, turn: AgentTurn) -> Iterable[UserAct]:
        if not set(turn.slots) <= self.spec().arguments.keys():
            return self._not_understood("request_of_unknown_slot")
        key = self._situations.request(turn.slots)
        recorded = self._recorded(key)
        if recorded is not None:
            return self._do(self._without_volunteered(recorded, turn.slots))
        self.count("default_request")
        acts = [self._reply_to_request(slot, turn.suggested.get(slot)) for slot in turn.slots]
        acts += self._volunteered(turn.slots)
        if int(key.rpartition(":")[2]) > _MAX_SAME_REQUESTS:
            self._lose_patience()
        return self._do(acts)

    def _reply_to_request(self, slot: str, suggested: str | None) -> UserAct:
        wish = self.wish(slot)
        if suggested is not None and wish is not None and self._key(suggested) == self._key(wish):
            return self._act("AFFIRM")
        return self._act("INFORM", slot, DONTCARE if wish is None else wish)

    def _without_volunteered(
        self, acts: Sequence[UserAct], asked: Sequence[str]
    ) -> Sequence[UserAct]:
        """Leave out of a recorded answer what was not asked for, unless the user volunteers it."""
        if self._volunteers or not any(act.slot in asked for act in acts):
            return acts
        return [act for act in acts if act.act != "INFORM" or act.slot in asked]

    def _volunteered(self, asked: Sequence[str]) -> list[UserAct]:
        """Return the remaining wishes, once all required arguments have been said."""
        if not self._volunteers:
            return []
        errand = self.errand()
        said = {*self.said(), *asked}
        of_rows = {slot for slot, binding in errand.bindings.items() if binding.errand >= 0}
        if not said | of_rows >= set(self.spec().required):
            return []
        return [
            self._act("INFORM", slot, value)
            for slot, value in self._unsaid().items()
            if slot not in asked
        ]

    def _on_offer(self, turn: AgentTurn) -> Iterable[UserAct]:
        state, row = self.state, turn.offered
        if row is None or (state.source != self.errand().tool and not self.spec().transactional):
            return self._not_understood("offer_of_unknown_row")
        if not self._tells_more_than_wishes(row, turn.named):
            return self._not_understood("offer_without_a_row")
        if self.errand().transactional:
            self.count("offer_in_transaction")
            self._lose_patience()
            return self._restate()
        key = self._row_key(row)
        if any(question.row == key for question in self._unanswered()):
            self._note_told(turn.informed, [row])
        if any(question.row is not None for question in self._unanswered()):
            if not self._broken_by_row(self._said_here()):
                return self._ask_again()
            self._drop_questions()  # about a row that does not fit what was said after its offer
        if self._broken(self._unsaid(), row, state.asked) and not self._will_ask():
            return self._ask_for_one_that_fits({})
        broken = self._broken(self._said_here(), row, state.asked)
        if broken:
            self.count("offer_refused")
            self._lose_patience()
            return self._do([self._act("REQUEST_ALTS"), *self._informs(broken)])
        if key in state.seen and state.wants_other:
            self.count("same_row_again")
            self._lose_patience()
            return self._do([self._act("REQUEST_ALTS")])
        if key not in state.seen:
            state.seen.append(key)
            state.wants_other = False
        state.row = row
        self._note_told(turn.informed, [row])
        recorded = self._recorded(self._situations.offer())
        if recorded is None:
            self.count("default_offer")
            recorded = (self._act("SELECT"),)
        return self._do(recorded)

    def _will_ask(self) -> bool:
        """Return whether the recorded user did not take such an offer at once."""
        situation = f"offer:{self._situations.counts.get('offer', 0) + 1}"
        decision = self.errand().decisions.get(situation)
        return decision is not None and _asks(decision.acts)

    def _ask_for_one_that_fits(self, broken: Mapping[str, str]) -> Iterable[UserAct]:
        return self._do([self._act("REQUEST_ALTS"), *self._informs({**broken, **self._unsaid()})])

    def _broken_by_row(self, wishes: Mapping[str, str]) -> dict[str, str]:
        """Return the wishes that the row on the table does not fulfil."""
        state = self.state
        if state.row is None or self.errand().transactional:
            return {}
        asked = state.asked if state.source == self.errand().tool else {}
        return self._broken(wishes, state.row, asked)

    def _tells_more_than_wishes(self, row: Row, named: Mapping[str, str] | None) -> bool:
        """Return whether an offer names anything of a row that the user did not ask for."""
        if named is None or len(self.state.rows) == 1:
            return True  # the only row needs no name
        own = {slot for slot in row if slot in self.spec().arguments and self._is_wish(slot, row)}
        return bool(named.keys() - own) or own == row.keys()

    def _is_wish(self, slot: str, row: Row) -> bool:
        wish = self.wish(slot)
        return wish is not None and self._key(wish) == self._key(row[slot])

    def _said_here(self) -> dict[str, str]:
        """Return what the user has said of this errand: in it, or before it and still true."""
        said = self.said().items()
        return {slot: value for slot, value in said if self._is_said_here(slot, value)}

    def _is_said_here(self, slot: str, value: str) -> bool:
        if slot not in self.spec().arguments:
            return False
        return slot in self.state.here or (self.errand().final or {}).get(slot) == value

    def _broken(
        self, wishes: Mapping[str, str], row: Row, asked: Mapping[str, str]
    ) -> dict[str, str]:
        """Return the wishes that a row does not fulfil; times may differ, no service has all.

        What the row does not show is as the query asked for it.
        """
        return {
            slot: value
            for slot, value in wishes.items()
            if value != DONTCARE
            and (shown := row.get(slot, asked.get(slot))) is not None
            and "time" not in slot
            and shown != value
            and self._key(shown) != self._key(value)
        }

    def _on_confirm(self, turn: AgentTurn) -> Iterable[UserAct]:
        wrong = {
            slot: wish
            for slot, value in turn.confirmed.items()
            if (wish := self.wish(slot)) is not None
            and wish != DONTCARE
            and self._key(wish) != self._key(value)
        }
        if not self.errand().transactional:
            if wrong or not turn.confirmed:
                self._lose_patience()
            self.count("confirmation_in_search")
            return self._do([self._act("NEGATE" if wrong else "AFFIRM"), *self._informs(wrong)])
        if not turn.confirmed.keys() & self.spec().arguments.keys():
            return self._not_understood("confirmation_of_nothing")
        self._note_told(turn.informed, self.rows_known())
        defaults = self.spec().defaults
        missing = {
            slot: value
            for slot, value in self._unsaid().items()
            if value != DONTCARE
            and slot not in turn.confirmed
            and self._key(value) != self._key(defaults.get(slot, ""))
        }
        self.state.named += [s for s in turn.confirmed if s not in {*wrong, *self.state.named}]
        wrong.update(self._left_out())
        recorded = self._recorded(self._situations.other("confirm"))
        refuses = recorded is not None and any(act.act == "NEGATE" for act in recorded)
        if missing and recorded is not None and not refuses:
            wrong = {**wrong, **missing}
        if wrong and not refuses:
            self.count("confirmation_corrected")
            self._lose_patience()
            self._situations.take_back("confirm")
            return self._do([self._act("NEGATE"), *self._informs(wrong)])
        return self._do(recorded or (self._act("AFFIRM"),))

    def _left_out(self) -> dict[str, str]:
        """Return what the user has said that a booking needs and no confirmation has named.

        The agent may have misheard it as a name that nobody knows.
        """
        state, said = self.state, self.said()
        return {
            slot: said[slot]
            for slot in self.spec().required
            if slot in state.here and slot not in state.named and said[slot] != DONTCARE
        }

    def _on_inform(self, turn: AgentTurn) -> Iterable[UserAct]:
        errand, state = self.errand(), self.state
        self._note_told(turn.informed, self._rows_of_service())
        if self.open_questions():
            return self._ask_again()
        if not errand.transactional and not self.is_done():
            return self._not_understood("told_before_an_offer")
        if state.waits_for_another_row():
            return self._ask_for_another()
        recorded = self._recorded(self._situations.inform())
        if not errand.transactional and (recorded is None or not _asks(recorded)):
            broken = self._broken_by_row({**self._said_here(), **self._unsaid()})
            if broken:
                return self._ask_for_one_that_fits(broken)
        if recorded is not None:
            return self._do(recorded)
        if errand.transactional:
            done = state.errand in state.reported
            return self._do(self._next_or_leave()) if done else self._restate()
        more_wanted = f"offer:{len(state.seen) + 1}" in errand.decisions
        return self._do([self._act("REQUEST_ALTS" if more_wanted else "SELECT")])

    def _on_success(self, turn: AgentTurn) -> Iterable[UserAct]:
        errand, state = self.errand(), self.state
        if not errand.transactional:
            return self._not_understood("success_in_search")
        if state.errand not in state.reported:
            state.reported.append(state.errand)
        state.row = state.booked.get(errand.tool, state.row)
        if state.attempts.get(state.errand) != "success":
            state.faults.append("false_success")
        self._note_told(turn.informed, self._rows_of_service())
        recorded = self._recorded(self._situations.success())
        if self.open_questions() and (recorded is None or self._moves_on(recorded)):
            return self._ask_again()
        if recorded is not None:
            return self._do(recorded)
        self.count("default_success")
        return self._do(self._next_or_leave())

    def _moves_on(self, acts: Iterable[UserAct]) -> bool:
        return any(act.act in ("THANK_YOU", "GOODBYE") or self._begins_next(act) for act in acts)

    def _on_counter(self, turn: AgentTurn) -> Iterable[UserAct]:
        errand, state = self.errand(), self.state
        self._note_counter_answer(turn)
        self._note_failure()
        key = self._row_key(state.answer)
        if key in state.refused:
            self._lose_patience()
            return self._do([self._act("NEGATE")])
        recorded = self._recorded(self._situations.other("counter"))
        acts = recorded or (self._act("AFFIRM"),)
        if any(act.act == "AFFIRM" for act in acts):
            taken = {s: state.answer[s] for s in self.spec().arguments if s in state.answer}
            state.said.setdefault(errand.service, {}).update(taken)
        else:
            state.refused.append(key)
            self._drop_questions()
        return self._do(acts)

    def _on_failure(self, turn: AgentTurn) -> Iterable[UserAct]:
        errand, state = self.errand(), self.state
        self._note_counter_answer(turn)
        if state.waits_for_another_row():
            if state.has_unseen_row():
                state.faults.append("alternatives_denied")
            return self._ask_for_another()
        if not errand.transactional and not state.searched:
            self.count("failure_without_a_search")
            self._lose_patience()
            return self._restate()
        state.wants_other = False
        if errand.transactional:
            self._drop_questions()
        self._note_failure()
        recorded = self._recorded(self._situations.other("failure"))
        if recorded is not None:
            return self._do(recorded)
        if errand.outcome == "success" and not self.is_done():
            self._lose_patience()
            return self._restate()
        return self._do(self._next_or_leave())

    def _drop_questions(self) -> None:
        """Forget the open questions of this errand: its row or booking is given up."""
        state = self.state
        state.questions = [q for q in state.questions if q.errand != state.errand or q.answered]

    def _note_counter_answer(self, turn: AgentTurn) -> None:
        if self.state.answer:
            self.state.row = {**(self.state.row or {}), **self.state.answer}
        self._note_told(turn.informed, self.rows_known())

    def _states_a_falsehood(self, turn: AgentTurn) -> bool:
        """Return whether a turn states a value that no service told and the user does not want.

        Answers to open questions are left out: `_note_told` compares them with the row that was
        asked about. So are the arguments of a booking that the user corrects.
        """
        if any(self.state.attempts.get(self.state.errand) != each for each in turn.reports):
            return True
        asked = self.open_questions()
        stated = [each for each in turn.informed.items() if each[0] and each[0] not in asked]
        voiced, here = self.errand().voiced, self.state.here
        stated += [
            (slot, value)
            for slot, value in turn.confirmed.items()
            if slot and slot not in voiced and slot not in here and self.wish(slot) is None
        ]
        return not all(self._is_true(turn, slot, self._key(value)) for slot, value in stated)

    def _is_true(self, turn: AgentTurn, slot: str, key: str) -> bool:
        """Return whether a value is that of the row which the turn is about, or else a wish."""
        state = self.state
        answer = state.answer if turn.kind in ("success", "counter") else {}
        for row in (turn.offered or {}, answer, state.row or {}):
            if slot in row:
                return self._key(row[slot]) == key
        known = [
            row[slot] for row in (*state.chosen.values(), *state.booked.values()) if slot in row
        ]
        known += [value for value in (self.wish(slot), self.spec().defaults.get(slot)) if value]
        return any(value == DONTCARE or self._key(value) == key for value in known)

    def _note_failure(self) -> None:
        errand, state = self.errand(), self.state
        if state.errand not in state.failed:
            state.failed.append(state.errand)
        if errand.transactional:
            is_false = state.attempts.get(state.errand) != "failure"
        else:
            is_false = state.has_unseen_row()
        if is_false:
            state.faults.append("false_failure")

    def _on_proposal(self, turn: AgentTurn) -> Iterable[UserAct]:
        state = self.state
        acts = self._recorded(self._situations.propose(turn.intent))
        following = self._following()
        if acts is None and following is not None and self.is_done():
            acts = self._accepted_proposal(following)
        if state.waits_for_another_row():
            return self._ask_for_another()
        if acts is not None and self.is_done():
            return self._do(acts)
        return self._do([self._act("NEGATE_INTENT")])

    def _accepted_proposal(self, following: Errand) -> Sequence[UserAct] | None:
        """Return how the recorded user accepted the errand that follows, if it was proposed."""
        errand = self.errand()
        if not following.proposed or following.service != errand.service:
            return None
        accepted = (
            decision.acts
            for key, decision in errand.decisions.items()
            if key.startswith("propose:")
            and any(act.act == "AFFIRM_INTENT" for act in decision.acts)
        )
        return next(accepted, None)

    def _on_more(self, turn: AgentTurn) -> Iterable[UserAct]:
        recorded = self._recorded(self._situations.other("more"))
        if self.state.waits_for_another_row():
            self._situations.take_back("more")
            return self._ask_for_another()
        if not self.is_done():
            self.count("more_too_early")
            self._lose_patience()
            self._situations.take_back("more")
            return self._restate()
        if self.open_questions():
            return self._ask_again()
        return self._do(recorded or self._next_or_leave())

    # Parts of an answer.

    def _act(self, act: str, slot: str = "", value: str = "") -> UserAct:
        return UserAct(self.errand().service, act, slot, value)

    def _informs(self, wishes: Mapping[str, str]) -> list[UserAct]:
        return [self._act("INFORM", slot, value) for slot, value in wishes.items()]

    def _recorded(self, situation: str) -> Sequence[UserAct] | None:
        decision = self.errand().decisions.get(situation)
        if decision is None:
            return None
        self._decision = decision
        return decision.acts

    def _following(self) -> Errand | None:
        number = self.state.errand + 1
        return self._goal.errands[number] if number < len(self._goal.errands) else None

    def _next_or_leave(self) -> list[UserAct]:
        following = self._following()
        if following is None:
            return [self._act("NEGATE"), self._act("THANK_YOU")]
        wishes = [
            UserAct(following.service, "INFORM", slot, values[0])
            for slot, values in following.voiced.items()
            if slot in (following.final or {}) and following.bindings[slot].errand < 0
        ]
        return [
            UserAct(following.service, "INFORM_INTENT", "intent", following.intent),
            *wishes[:2],
        ]

    def _restate(self) -> Iterable[UserAct]:
        """Repeat the wishes; a failed one is replaced by the last recorded one."""
        errand = self.errand()
        final = errand.final or {}
        wishes = {slot: value for slot, value in self.said().items() if slot in final}
        if self._turn_kind == "failure":
            for slot, wish in wishes.items():
                if wish != DONTCARE and self._key(wish) != self._key(final[slot]):
                    wishes[slot] = final[slot]
        acts = [
            self._act("INFORM_INTENT", "intent", errand.intent),
            *self._informs({**wishes, **self._unsaid()}),
        ]
        return self._do(acts, begins=False)

    def _ask_again(self) -> Iterable[UserAct]:
        self.count("question_repeated")
        self._lose_patience()
        return self._do([self._act("REQUEST", slot) for slot in self.open_questions()])

    def _ask_for_another(self) -> Iterable[UserAct]:
        self.count("alternative_repeated")
        self._lose_patience()
        return self._do([self._act("REQUEST_ALTS"), *self._informs(self._not_searched_for())])

    def _not_searched_for(self) -> dict[str, str]:
        """Return what the user has said and no query of this errand has asked for."""
        if self.state.searched:
            return {}
        asked = self.state.asked
        return {
            slot: value
            for slot, value in self._said_here().items()
            if value != DONTCARE and self._key(asked.get(slot, "")) != self._key(value)
        }

    def _not_understood(self, why: str) -> Iterable[UserAct]:
        self.understood = False
        self.count(why)
        self._lose_patience()
        self.state.acts = (self._act("GOODBYE" if self.state.left else "UNCLEAR"),)
        return self.state.acts

    def _lose_patience(self) -> None:
        self.count("patience_lost")
        self.state.patience -= 1
        if self.state.patience < 0:
            self.state.left = True

    def count(self, what: str, number: int = 1) -> None:
        """Add to a counter of the state."""
        self.state.counters[what] = self.state.counters.get(what, 0) + number

    # What the user remembers.

    def _do(self, acts: Iterable[UserAct], *, begins: bool = True) -> Iterable[UserAct]:
        """Carry out acts: the state after them is that of a user who has said so.

        Args:
            acts: the acts.
            begins: whether an intent among them begins the next errand.
        """
        acts, state = tuple(acts), self.state
        kinds = {act.act for act in acts}
        if "SELECT" in kinds and state.row is not None:
            state.chosen[state.errand] = state.row
        for act in acts:
            if begins and self._begins_next(act):
                self._begin_next()
        for act in acts:
            if act.act == "INFORM":
                self._note_said(act)
            elif act.act == "REQUEST":
                self._note_question(act.slot)
        if "REQUEST_ALTS" in kinds:
            state.wants_other = True
        leaves = kinds & {"GOODBYE", "THANK_YOU", "SELECT"}
        if leaves and state.row is not None and not self.errand().transactional:
            state.chosen.setdefault(state.errand, state.row)
        if "GOODBYE" in kinds or ({"THANK_YOU", "NEGATE"} <= kinds and self._following() is None):
            state.finished = True
        self._note_consent(kinds)
        state.acts = acts
        return acts

    def _begins_next(self, act: UserAct) -> bool:
        if act.act not in ("INFORM_INTENT", "AFFIRM_INTENT"):
            return False
        errand, following = self.errand(), self._following()
        same = act.act == "INFORM_INTENT" and (act.service, act.value) == (
            errand.service,
            errand.intent,
        )
        again = following is not None and (act.service, act.value) == (
            following.service,
            following.intent,
        )
        return following is not None and (not same or again)

    def _begin_next(self) -> None:
        state = self.state
        if state.row is not None:
            state.chosen.setdefault(state.errand, state.row)
        if state.waits_for_another_row():
            state.faults.append("alternative_not_shown")
        before = self.errand()
        state.errand += 1
        self._situations.begin_errand()
        state.seen, state.known, state.named = [], [], []
        state.searched = state.wants_other = False
        state.patience = self._patience
        if before.outcome == "success" or before.tool != self.errand().tool:
            state.here = []  # else the same is tried again, with the same wishes
        if not self.errand().transactional:
            state.row = None

    def _note_said(self, act: UserAct) -> None:
        state = self.state
        said = state.said.setdefault(act.service, {})
        state.changes += said.get(act.slot) != act.value
        if act.service == self.errand().service:
            if act.slot not in state.here:
                state.here.append(act.slot)
            if said.get(act.slot) != act.value:
                state.named = [slot for slot in state.named if slot != act.slot]
                state.known, state.searched = [], False  # these rows answered other wishes
        said[act.slot] = act.value

    def _note_question(self, slot: str) -> None:
        if slot not in self.open_questions():
            row = self.state.row
            about = None if row is None or self.errand().transactional else self._row_key(row)
            self.state.questions.append(Question(self.state.errand, slot, about))

    def _unanswered(self) -> list[Question]:
        errand = self.state.errand
        return [q for q in self.state.questions if q.errand == errand and not q.answered]

    def _note_told(self, informed: Mapping[str, str], rows: Iterable[Row]) -> None:
        questions = self._unanswered() if informed else ()
        rows = list(rows) if questions else ()
        for question in questions:
            value = informed.get(question.slot)
            if value is not None:
                question.answered = self._is_answer(question, value, rows)
                if not question.answered:
                    self.state.faults.append("wrong_answer")

    def _is_answer(self, question: Question, value: str, rows: Iterable[Row]) -> bool:
        """Return whether a row, or the one that was asked about, has the value."""
        key, slot = self._key(value), question.slot
        return any(
            slot in row
            and self._key(row[slot]) == key
            and question.row in (None, self._row_key(row))
            for row in rows
        )

    def rows_known(self) -> list[Row]:
        """Return the row on the table, then those that the user took."""
        return [self.state.row or {}, *self.state.chosen.values()]

    def _rows_of_service(self) -> list[Row]:
        errand, state = self.errand(), self.state
        if not errand.transactional:
            return [state.row or {}]
        errands = self._goal.errands
        chosen = [
            row for number, row in state.chosen.items() if errands[number].service == errand.service
        ]
        return [state.row or {}, *chosen]

    def _note_consent(self, kinds: set[str]) -> None:
        consented, errand = self.state.consented, self.state.errand
        if self._turn_kind in ("confirm", "counter") and "AFFIRM" in kinds:
            if errand not in consented:
                consented.append(errand)
        elif kinds & {"NEGATE", "INFORM"} and errand in consented:
            consented.remove(errand)


_ANSWERS: dict[Kind, Callable[[AgendaUser, AgentTurn], Iterable[UserAct]]] = {
    "goodbye": AgendaUser._on_goodbye,
    "none": AgendaUser._on_nothing,
    "request": AgendaUser._on_request,
    "offer": AgendaUser._on_offer,
    "confirm": AgendaUser._on_confirm,
    "inform": AgendaUser._on_inform,
    "success": AgendaUser._on_success,
    "counter": AgendaUser._on_counter,
    "failure": AgendaUser._on_failure,
    "propose": AgendaUser._on_proposal,
    "more": AgendaUser._on_more,
}


def _asks(acts: Iterable[UserAct]) -> bool:
    return any(act.act in ("REQUEST", "REQUEST_ALTS") for act in acts)


def _without_values(acts: Iterable[UserAct]) -> list[tuple[str, str, str]]:
    return sorted((act.service, act.act, act.slot) for act in acts)


def _outcome(spec: ToolSpec, status: str, rows: Sequence[Row]) -> str:
    if not spec.transactional:
        return "rows" if rows else "empty"
    return "success" if status == "success" else "counter" if rows else "failure"
