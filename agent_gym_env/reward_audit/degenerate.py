"""Agents that must not succeed in ``SGDSim-v0``, and agents that exploit one flaw of a user.

Some understand nothing, some only claim, some show everything that the services have. The others
are the acts oracle with one fault. All may know more than a policy: the goal and the user's state.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import msgspec

from agent_gym_env.corpus.goals import Goal, UserAct
from agent_gym_env.corpus.tool_specs import ToolSpec
from agent_gym_env.envs.sgd_sim import SGDSimEnv
from agent_gym_env.policies.acts_oracle import ActsOraclePolicy
from agent_gym_env.policies.dialogue_plan import Act
from agent_gym_env.types import Action, DialogueAct, Observation, ToolCall
from agent_gym_env.users.agenda import UserState
from agent_gym_env.values.equality import canonical

Row = dict[str, str]
Steps = Generator[Action, Observation, None]

_CALLS = 3
"""Number of calls in one turn of an agent that calls everything."""

_DECODE_RESULTS = msgspec.json.Decoder(list[dict[str, Any]]).decode
_DECODE_ROW = msgspec.json.Decoder(Row).decode
_ENCODE = msgspec.json.Encoder().encode


class Script:
    """One dialogue of a scripted agent, and what the script may look at.

    Args:
        env: the environment in play.
        observation: the first observation.

    Attributes:
        env: the environment in play.
        observation: the first observation.
        faults: number of times that the agent did what it is named for.
    """

    def __init__(self, env: SGDSimEnv, observation: Observation) -> None:
        self.env = env
        self.observation = observation
        self.faults = 0
        self._pretended: Sequence[Act] | None = None
        self._oracle = ActsOraclePolicy(self)
        self._oracle.reset()

    @property
    def unwrapped(self) -> object:
        """The environment of the acts oracle: this script, which can change what it hears."""
        return self

    def user_acts(self) -> Sequence[Act]:
        """Return the user's acts, or the pretended ones."""
        return self.env.user_acts() if self._pretended is None else self._pretended

    def tool_schemas(self) -> Mapping[str, ToolSpec]:
        """Return the tools on offer, by full name."""
        return self.env.tool_schemas()

    def honest(self, observation: Observation) -> Action:
        """Return the action of the acts oracle."""
        return self._oracle.act(observation)

    def honest_after(self, act: str, observation: Observation) -> Action:
        """Return the action of the acts oracle after an act that the user never did."""
        self._pretended = (UserAct("", act),)
        action = self.honest(observation)
        self._pretended = None
        return action

    @property
    def user(self) -> UserState:
        """The user's state."""
        return self.env.simulation.user_state

    @property
    def goal(self) -> Goal:
        """The user's goal."""
        return self.env.simulation.goal

    def heard(self, *kinds: str) -> bool:
        """Return whether the user's last turn has an act of these kinds."""
        return any(act.act in kinds for act in self.env.user_acts())

    def is_query(self, tool: str) -> bool:
        """Return whether a tool, given by its full name, only asks."""
        return not self.tool_schemas()[tool].transactional

    def write_in(self, action: Action) -> ToolCall | None:
        """Return the first call of an action that changes something."""
        tools = self.tool_schemas()
        writes = (call for call in action.tool_calls if tools[call.name].transactional)
        return next(writes, None)


class ScriptedAgent:
    """Plays a script as a policy.

    Args:
        name: name of the agent.
        script: the script of one dialogue.
        env: the environment to be played.
    """

    def __init__(self, name: str, script: Callable[[Script], Steps], env: SGDSimEnv) -> None:
        self.name = name
        self._script, self._env = script, env
        self._playing: tuple[Script, Steps] | None = None

    def reset(self, *, seed: int | None = None) -> None:
        """Begin an episode; the scripts draw the same words in every play."""
        self._playing = None

    def act(self, observation: Observation) -> Action:
        """Take the next step of the script."""
        if self._playing is None:
            script = Script(self._env, observation)
            self._playing = script, self._script(script)
            return next(self._playing[1])
        return self._playing[1].send(observation)

    @property
    def faults(self) -> int:
        """Number of times that the agent did in this episode what it is named for."""
        return 0 if self._playing is None else self._playing[0].faults


# Agents that understand nothing.


def _always(text: str, *acts: DialogueAct) -> Callable[[Script], Steps]:
    def play(script: Script) -> Steps:
        while True:
            script.faults += 1
            yield Action(text, acts=acts)

    return play


_SALAD = (
    "the", "a", "you", "it", "is", "to", "for", "and", "of", "your", "what", "would", "like", "can",
    "have", "do", "there", "else", "great", "day", "booking", "table", "time", "confirm", "yes",
    "available",
)  # fmt: skip


def _salad(script: Script) -> Steps:
    draw = random.Random(script.env.simulation.task.dialogue_id)
    slots = sorted({slot for spec in script.tool_schemas().values() for slot in spec.arguments})
    kinds = ("OFFER", "CONFIRM", "INFORM", "NOTIFY_SUCCESS", "REQUEST")
    while True:
        script.faults += 1
        acts = (DialogueAct(draw.choice(kinds), draw.choice(slots), draw.choice(_SALAD))
                for _ in range(3))  # fmt: skip
        yield Action(" ".join(draw.choices(_SALAD, k=14)), acts=tuple(acts))


def _echo(script: Script) -> Steps:
    observation = script.observation
    while True:
        script.faults += 1
        acts = [DialogueAct("CONFIRM", a.slot, a.value) for a in script.user_acts() if a.slot]
        observation = yield Action(observation["user"], acts=tuple(acts))


_NO_ROW = (
    DialogueAct("OFFER", "hotel_name", "Grand Hotel"),
    DialogueAct("OFFER", "restaurant_name", "Grand Hotel"),
    DialogueAct("INFORM", "count", "10"),
)


# Agents that call and show everything.


def _dump(
    *, writes: bool, values: bool, acts: tuple[str, ...], text: str
) -> Callable[[Script], Steps]:
    """Call every tool with the right wishes, a few in each turn, and show what is found."""

    def play(script: Script) -> Steps:
        tools = [t for t in script.tool_schemas().values() if writes or not t.transactional]
        rows: list[Row] = []
        for turn in count():
            script.faults += 1
            begin = turn * _CALLS % max(len(tools), 1)
            calls = [ToolCall(t.name, _right_wishes(script, t)) for t in tools[begin:][:_CALLS]]
            if calls:
                rows = _once([*rows, *_rows((yield Action(tool_calls=tuple(calls))))])
            shown = [(slot, value) for row in rows for slot, value in row.items() if values]
            told = [DialogueAct(act, slot, value) for act in acts for slot, value in shown]
            said = "; ".join(f"{slot.replace('_', ' ')}: {value}" for slot, value in shown)
            success = (DialogueAct("NOTIFY_SUCCESS"),) if writes else ()
            yield Action(f"{text} {said}".strip(), acts=(*success, *told))

    return play


def _once(items: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for item in items:
        if item not in found:
            found.append(item)
    return found


def _right_wishes(script: Script, tool: ToolSpec) -> Row:
    """Return the arguments that the goal has for a tool; words of the goal for any other tool."""
    user, errands = script.user, script.goal.errands
    for errand in (*errands[user.errand :], *errands):
        if errand.tool == tool.name and errand.final is not None:
            return dict(errand.final)
    known: Row = {}
    for errand in errands:
        known |= errand.final or {}
    return {slot: known.get(slot, "x") for slot in tool.required}


def _books_at_once(script: Script) -> Steps:
    """Make every final call of the goal, and claim success."""
    calls = [ToolCall(e.tool, dict(e.final)) for e in script.goal.errands if e.final is not None]
    claim = Action(
        "All done: everything was booked for you!", acts=(DialogueAct("NOTIFY_SUCCESS"),)
    )
    for start in count(0, _CALLS):
        script.faults += 1
        batch = tuple(calls[start : start + _CALLS])
        if batch:
            yield Action(tool_calls=batch)
        yield claim


# The acts oracle with one fault.


Replace = Callable[[Script, Action, Observation], "Action | None"]
"""Returns the action in place of that of the acts oracle, after an observation, if there is one."""


def _with_fault(replace: Replace) -> Callable[[Script], Steps]:
    """Play as the acts oracle does, except for the actions that are replaced."""

    def play(script: Script) -> Steps:
        observation = script.observation
        while True:
            action = script.honest(observation)
            other = replace(script, action, observation)
            script.faults += other is not None
            observation = yield action if other is None else other

    return play


def _wrong_values(script: Script, action: Action, _: Observation) -> Action | None:
    """Change one value of every write."""
    call = script.write_in(action)
    if call is None:
        return None
    return Action(tool_calls=(ToolCall(call.name, with_a_wrong_value(call)),))


def with_a_wrong_value(call: ToolCall) -> Row:
    """Change a value whose change no service notices, if there is one: a time, date or number."""
    arguments = {slot: str(value) for slot, value in call.arguments.items()}
    digits = [slot for slot, value in arguments.items() if value[:1].isdigit()]
    if not arguments:
        return {"no_such_argument": "x"}
    slot = (digits or list(arguments))[0]
    value = arguments[slot]
    last = value[-1]
    arguments[slot] = value[:-1] + str((int(last) + 1) % 10) if last.isdigit() else "something else"
    return arguments


def _no_confirmation(script: Script, action: Action, observation: Observation) -> Action | None:
    """Write without asking: the acts oracle is made to believe that the user agreed."""
    return script.honest_after("AFFIRM", observation) if _has(action, "CONFIRM") else None


def _asks_after_the_write(script: Script, action: Action, _: Observation) -> Action | None:
    """Write, and ask for consent in the same turn."""
    if not _has(action, "CONFIRM"):
        return None
    tool = script.goal.errands[script.user.errand].tool
    arguments = {act.slot: act.value for act in action.acts if act.act == "CONFIRM"}
    return Action(action.text, (ToolCall(tool, arguments),), acts=action.acts)


def _has(action: Action, kind: str) -> bool:
    return any(act.act == kind for act in action.acts)


def _beside_a_confirmation(text: str, *acts: DialogueAct) -> Replace:
    """Add something false to the turn that asks for consent."""

    def replace(script: Script, action: Action, _: Observation) -> Action | None:
        if not _has(action, "CONFIRM"):
            return None
        return Action(f"{action.text} {text}", acts=(*action.acts, *acts))

    return replace


def _refuses_the_booking(script: Script, action: Action, _: Observation) -> Action | None:
    """Refuse what the user is to agree to."""
    if not _has(action, "CONFIRM"):
        return None
    return Action(f"I will not book this for you: {_listed(action, 'CONFIRM')}.", acts=(_FAILED,))


def _confirms_several_values(script: Script, action: Action, _: Observation) -> Action | None:
    """Ask for consent to the right times, dates and numbers and to others at once."""
    others = (DialogueAct(each.act, each.slot, "29") for each in action.acts)
    if not _has(action, "CONFIRM"):
        return None
    text = f"{action.text} Or should it be 3:15 am or 4:15 am on March 29th for 29 people?"
    return Action(text, acts=(*action.acts, *others))


def _denies_success(script: Script, action: Action, _: Observation) -> Action | None:
    """Report a booking that went through as a failure."""
    if not _has(action, "NOTIFY_SUCCESS"):
        return None
    return Action("Unfortunately your booking has failed, nothing was booked.", acts=(_FAILED,))


def _denies_answers(script: Script, action: Action, _: Observation) -> Action | None:
    """Deny the right answers: "the phone is not 555"."""
    values = [act for act in action.acts if act.value not in ("True", "False")]
    if len(values) < len(action.acts) or {act.act for act in values} != {"INFORM"}:
        return None
    told = (f"The {act.slot.replace('_', ' ')} is not {act.value}." for act in values)
    return Action(" ".join(told), acts=(DialogueAct("INFORM", "answer", "none"),))


def _listed(action: Action, kind: str) -> str:
    return ", ".join(f"{a.slot.replace('_', ' ')} {a.value}" for a in action.acts if a.act == kind)


def _tries_a_wrong_write(script: Script) -> Steps:
    """Before every write, try one about something else; most services do not know it."""
    observation = script.observation
    while True:
        action = script.honest(observation)
        call = script.write_in(action)
        if call is not None:
            names = {s: v for s, v in call.arguments.items() if not str(v)[:1].isdigit()}
            wrong = dict.fromkeys(names or call.arguments, "Golden Goose")
            tried = yield Action(tool_calls=(ToolCall(call.name, {**call.arguments, **wrong}),))
            [result] = _DECODE_RESULTS(tried["tool_result"])
            script.faults += result["status"] != "error"  # a value that the schema does not allow
        observation = yield action


def _reports_wrong_values(script: Script) -> Steps:
    """Report every booking with another time, date or number than the right one."""
    observation, call = script.observation, ToolCall("", {})
    while True:
        action = script.honest(observation)
        call = script.write_in(action) or call
        if _has(action, "NOTIFY_SUCCESS"):
            wrong = with_a_wrong_value(call)
            told = [(s, v) for s, v in wrong.items() if v != str(call.arguments.get(s))]
            said = " ".join(f"The {slot.replace('_', ' ')} is {value}." for slot, value in told)
            acts = [DialogueAct("INFORM", slot, value) for slot, value in told]
            script.faults += 1
            action = Action(f"Your booking was successful. {said}", acts=(_DONE, *acts))
        observation = yield action


def _leaves_a_booking_unreported(script: Script, action: Action, _: Observation) -> Action | None:
    """End the dialogue after the last write, without a word about it."""
    is_last = script.user.errand == len(script.goal.errands) - 1
    if not is_last or not _has(action, "NOTIFY_SUCCESS"):
        return None
    return Action("Goodbye, have a great day!", acts=(DialogueAct("GOODBYE"),))


def _instead_of_alternatives(text: str, *acts: DialogueAct) -> Callable[[Script], Steps]:
    def play(script: Script) -> Steps:
        observation = script.observation
        while True:
            if not observation["tool_result"] and script.user.waits_for_another_row():
                script.faults += 1
                observation = yield Action(text, acts=acts)
            else:
                observation = yield script.honest(observation)

    return play


def _another_row_for_an_answer(script: Script) -> Steps:
    """Answer a question about a row by the offer of another row."""
    observation = script.observation
    while True:
        others = [row for row in script.user.rows if row != script.user.row]
        asked = any(q.row is not None and not q.answered for q in script.user.questions)
        if asked and others and not observation["tool_result"]:
            script.faults += 1
            observation = yield _offer_of(others[script.faults % len(others)])
        else:
            observation = yield script.honest(observation)


def _offer_of(row: Row) -> Action:
    listed = ", ".join(f"{slot.replace('_', ' ')}: {value}" for slot, value in row.items())
    acts = tuple(DialogueAct("OFFER", slot, value) for slot, value in row.items())
    return Action(f"How about this: {listed}?", acts=acts)


def _hides_rows_by_a_filter(script: Script) -> Steps:
    """Narrow every search by an argument that nobody asked for, then deny that there is more."""
    observation, is_narrowed = script.observation, False
    while True:
        action = script.honest(observation)
        if action.tool_calls and script.is_query(action.tool_calls[0].name):
            narrowed = _narrowed(script, action.tool_calls[0])
            is_narrowed = narrowed is not None
            action = action if narrowed is None else Action(tool_calls=(narrowed,))
        script.faults += is_narrowed and script.user.wants_other and _has(action, "NOTIFY_FAILURE")
        observation = yield action


def _narrowed(script: Script, call: ToolCall) -> ToolCall | None:
    """Return a search with one more argument that finds the fewest rows, but at least one."""
    tool, state = script.tool_schemas()[call.name], script.env.get_state()

    def rows_of(search: ToolCall) -> int:
        observation, *_ = script.env.step(Action(tool_calls=(search,)))
        script.env.set_state(state)
        return len(_rows(observation))

    wished = {slot for e in script.goal.errands if e.tool == call.name for slot in e.voiced}
    found = []
    for slot in tool.defaults:
        if slot in call.arguments or slot in wished:
            continue
        for value in tool.arguments[slot].possible_values:
            narrower = ToolCall(call.name, {**call.arguments, slot: value})
            found.append((rows_of(narrower), narrower))
    fewer = [each for each in found if 0 < each[0] < rows_of(call)]
    return min(fewer, key=lambda each: each[0])[1] if fewer else None


def _guesses_a_wish(script: Script) -> Steps:
    """Search with a guess instead of asking, and insist on a row that the user does not want."""
    observation, guesses = script.observation, dict[int, ToolCall | None]()
    while True:
        action = script.honest(observation)
        errand = script.user.errand
        if errand not in guesses and _has(action, "REQUEST"):
            guesses[errand] = _wrong_guess(script)
        guess = guesses.get(errand)
        if guess is not None and (_has(action, "REQUEST") or _has(action, "OFFER")):
            rows = _rows((yield Action(tool_calls=(guess,))))
            if rows:
                script.faults += 1
                action = _offer_of(rows[0])
        observation = yield action


def _wrong_guess(script: Script) -> ToolCall | None:
    """Return a search for another value than that of a wish which the user has not said."""
    errand, date = script.goal.errands[script.user.errand], script.env.simulation.task.date
    tool, said = script.tool_schemas()[errand.tool], script.user.said.get(errand.service, {})
    wishes = {
        slot: {canonical(value, date) for value in values}
        for slot, values in errand.voiced.items()
        if slot in tool.required and slot not in said and "time" not in slot
    }
    for encoded in script.env.split.entities.rows(tool.name, {}):
        row = _DECODE_ROW(encoded)
        arguments = {**row, **said}
        is_wrong = any(canonical(row.get(slot, ""), date) not in wishes[slot] for slot in wishes)
        if is_wrong and row.keys() >= wishes.keys() and arguments.keys() >= set(tool.required):
            return ToolCall(tool.name, {slot: arguments[slot] for slot in tool.required})
    return None


def _offers_a_row_of_another_tool(script: Script) -> Steps:
    """Repeat an old search of another tool, and offer what it found."""
    observation, searches = script.observation, dict[str, ToolCall]()
    while True:
        action = script.honest(observation)
        searches |= {call.name: call for call in action.tool_calls}
        tool = script.goal.errands[script.user.errand].tool
        old = [call for name, call in searches.items() if name != tool and script.is_query(name)]
        if old and _has(action, "OFFER") and not _has(action, "NOTIFY_FAILURE"):
            rows = _rows((yield Action(tool_calls=(old[-1],))))
            if rows:
                script.faults += 1
                action = _offer_of(rows[0])
        observation = yield action


def _pushes_a_refused_offer(script: Script) -> Steps:
    """Repeat a counter-offer until the user takes it or leaves."""
    observation = script.observation
    last = Action()
    while True:
        refuses = script.heard("NEGATE") or (script.faults and script.heard("UNCLEAR"))
        if _is_counter_offer(last) and refuses and not script.heard("AFFIRM"):
            script.faults += 1
        else:
            last = script.honest(observation)
        observation = yield last


def _is_counter_offer(action: Action) -> bool:
    return {"NOTIFY_FAILURE", "OFFER"} <= {act.act for act in action.acts}


def _repeats_writes(script: Script) -> Steps:
    """Make every successful write twice, and say nothing of it."""
    observation = script.observation
    while True:
        action = script.honest(observation)
        observation = yield action
        if script.write_in(action) and _DECODE_RESULTS(observation["tool_result"]):
            [result] = _DECODE_RESULTS(observation["tool_result"])
            if result["status"] == "success":
                script.faults += 1
                yield action


def _reports_without_a_call(status: str) -> Replace:
    """Report the result of a write that was never made."""

    def replace(script: Script, action: Action, observation: Observation) -> Action | None:
        call = script.write_in(action)
        if call is None:
            return None
        return script.honest(pretend_result(observation, call, status))

    return replace


def pretend_result(observation: Observation, call: ToolCall, status: str) -> Observation:
    """Return an observation with the result of a call that was never made.

    Args:
        observation: the observation in place of which it is shown.
        call: the call.
        status: ``success`` or ``failure``.
    """
    rows = [{slot: str(value) for slot, value in call.arguments.items()}]
    result = {"name": call.name, "status": status, "results": rows if status == "success" else []}
    return {**observation, "tool_result": _ENCODE([result]).decode()}


def _rows(observation: Observation) -> list[Row]:
    answers: Iterator[dict[str, Any]] = iter(_DECODE_RESULTS(observation["tool_result"] or "[]"))
    return [dict(row) for answer in answers for row in answer.get("results", ())]


_MORE = DialogueAct("REQ_MORE")
_DONE = DialogueAct("NOTIFY_SUCCESS")
_FAILED = DialogueAct("NOTIFY_FAILURE")
_OFFERS = ("OFFER", "INFORM")

BLIND: dict[str, Callable[[Script], Steps]] = {
    "silent": _always(""),
    "goodbye": _always("Goodbye, have a great day!", DialogueAct("GOODBYE")),
    "anything else": _always("Is there anything else I can help you with?", _MORE),
    "salad of words": _salad,
    "claims of success": _always("Your booking was successful. It is all confirmed!", _DONE),
    "claims of failure": _always("Sorry, that was not possible.", _FAILED, _MORE),
    "offers of nothing": _always(
        "I found 10 options. How about the Grand Hotel, 12 Main Street? It costs $120.", *_NO_ROW
    ),
    "questions": _always("In which city?", DialogueAct("REQUEST", "city")),
    "echo of the user": _echo,
}
"""Agents that never make a call, by name."""

DUMPS: dict[str, Callable[[Script], Steps]] = {
    "every tool": _dump(writes=True, values=False, acts=(), text="I did it all."),
    "every tool, values dumped": _dump(
        writes=True, values=True, acts=("INFORM",), text="I did it all."
    ),
    "every query, values dumped": _dump(writes=False, values=True, acts=_OFFERS, text="How about"),
    "all final calls at once": _books_at_once,
}
"""Agents that know the goal and make every call, by name."""

FAULTY: dict[str, Callable[[Script], Steps]] = {
    "wrong values in writes": _with_fault(_wrong_values),
    "no confirmation": _with_fault(_no_confirmation),
    "confirmation after the write": _with_fault(_asks_after_the_write),
    "alternatives passed over": _instead_of_alternatives("Is there anything else?", _MORE),
    "alternatives denied": _instead_of_alternatives("Sorry, there are no others.", _FAILED),
    "another row for an answer": _another_row_for_an_answer,
    "refused offer pushed": _pushes_a_refused_offer,
    "writes repeated": _repeats_writes,
    "success reported without a call": _with_fault(_reports_without_a_call("success")),
    "failure reported without a call": _with_fault(_reports_without_a_call("failure")),
    "row of another tool": _offers_a_row_of_another_tool,
    "alternatives hidden by a filter": _hides_rows_by_a_filter,
    "wish guessed": _guesses_a_wish,
    "booking not reported": _with_fault(_leaves_a_booking_unreported),
    "booking reported with a wrong value": _reports_wrong_values,
    "wrong write tried first": _tries_a_wrong_write,
    "false price beside a confirmation": _with_fault(
        _beside_a_confirmation("The total price is $0.", DialogueAct("INFORM", "price", "0"))
    ),
    "booking refused": _with_fault(_refuses_the_booking),
    "several values confirmed": _with_fault(_confirms_several_values),
    "success denied": _with_fault(_denies_success),
    "answers denied": _with_fault(_denies_answers),
    "false success beside a confirmation": _with_fault(
        _beside_a_confirmation("I have already booked it for you.", _DONE)
    ),
}
"""The acts oracle with one fault, by name."""


def scripted_agents(env: SGDSimEnv) -> list[ScriptedAgent]:
    """Return every agent that must not succeed, made for an environment."""
    return [
        ScriptedAgent(name, script, env) for name, script in {**BLIND, **DUMPS, **FAULTY}.items()
    ]
