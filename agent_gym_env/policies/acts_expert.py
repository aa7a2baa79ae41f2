"""The acts oracle's answer at every state of a dialogue that another agent plays."""

from __future__ import annotations

import msgspec

from agent_gym_env.corpus.sgd import TODAY
from agent_gym_env.policies.acts_oracle import ToldActs
from agent_gym_env.policies.agent_wording import Speaker, Wording
from agent_gym_env.policies.dialogue_memory import DialogueMemory, Errand
from agent_gym_env.policies.dialogue_plan import (
    DialoguePlan,
    PlanState,
    Row,
    Steps,
    Tool,
    acts_of,
    read_result,
)
from agent_gym_env.policies.oracle import HasUnwrapped
from agent_gym_env.types import Action, DialogueAct, Observation, ToolCall
from agent_gym_env.users.agent_turn import AgentTurn
from agent_gym_env.values.equality import DONTCARE, same_value

_DECODE_ARRAY = msgspec.json.Decoder(list[msgspec.Raw]).decode
_REPORTS = {"success": "NOTIFY_SUCCESS", "failure": "NOTIFY_FAILURE", "counter": "NOTIFY_FAILURE"}


class ActsExpert:
    """Acts oracle for a dialogue that another agent plays.

    In turn: `advise` at each observation, then `note` with what the other agent did. A memory
    follows the dialogue; at each turn of the user, the oracle's plan goes on from what the memory
    holds. So its rules are those of `ActsOraclePolicy`.

    Args:
        env: the environment that the other agent plays, with a simulated user.
        wording: as in `ActsOraclePolicy`.

    Raises:
        TypeError: the environment has no simulated user.
        ValueError: the style is unknown.
    """

    def __init__(self, env: HasUnwrapped, *, wording: str | Wording = "plain") -> None:
        self._user = ToldActs(env)
        self._wording = wording
        self.reset()

    def reset(self) -> None:
        """Begin a dialogue."""
        self._memory = DialogueMemory()
        self._speaker = Speaker(self._wording)
        self._offers, self._offered_by = Errand(), ""
        self._calls: tuple[ToolCall, ...] = ()
        self._meaning: AgentTurn | None = None
        self._plan: DialoguePlan | None = None
        self._steps: Steps | None = None
        self._advice = Action()

    def advise(self, observation: Observation) -> Action:
        """Return what the acts oracle would do now."""
        if self._calls:
            results = _DECODE_ARRAY(observation["tool_result"])
            for call, result in zip(self._calls, results, strict=True):
                self._look_at(call, {**observation, "tool_result": f"[{bytes(result).decode()}]"})
        if self._meaning is not None:
            self._memory.note_said(_acts(self._meaning), self.tool)
        if observation["user"]:
            self._hear()
        return self._advice

    def note(self, action: Action, meaning: AgentTurn | None) -> None:
        """Take in what the other agent did.

        Args:
            action: its action.
            meaning: meaning of the turn that the action closed, as the user understood it; ``None``
                if the turn is open, or if the user did not understand it.
        """
        self._calls, self._meaning = action.tool_calls, meaning

    @property
    def tool(self) -> Tool | None:
        """The tool under way; ``None`` before the first."""
        return self._user.tools().get(self._memory.tool)

    def _hear(self) -> None:
        """Let the user speak, and plan the turn."""
        memory, errand = self._memory, self._memory.errand
        if errand.row is not None:
            self._offers, self._offered_by = errand, memory.tool
        state = self._state()
        memory.hear(self._user, self._user.tools())
        if "UNCLEAR" in memory.heard:
            # The other agent achieved nothing, so the advice holds.
            self._advice = self._advice if self._advice.tool_calls else self._speaker.say_again()
            return
        if memory.errand is not errand:
            memory.errand.is_settled = False  # the user chose a row of the errand before
            if "AFFIRM_INTENT" in memory.heard:  # the other agent proposed this errand
                state = state._replace(tool=self.tool, phase="new")
        plan = self._plan = DialoguePlan(self._user.tools(), self._user, self._speaker)
        plan.resume(state)
        self._steps = plan.play()
        self._advice = next(self._steps)
        memory.said = {service: dict(values) for service, values in plan.said.items()}
        memory.chosen = dict(plan.chosen)

    def _state(self) -> PlanState:
        """Return the point that the dialogue has reached, before the user speaks."""
        memory, errand, tool = self._memory, self._memory.errand, self.tool
        offers = errand if errand.row is not None or errand.rows else self._offers
        return PlanState(
            tool=tool,
            phase=self._phase(tool),
            said=memory.said,
            chosen=memory.chosen,
            asked=memory.requests,
            rows=offers.rows,
            shown=offers.shown,
            row=offers.row,
            row_tool=self._user.tools().get(self._offered_by),
            done=errand.booked or (errand.row or {} if errand.is_settled else {}),
            counter={} if tool is None else self._changed(tool),
        )

    def _phase(self, tool: Tool | None) -> str:
        errand, kind = self._memory.errand, self._memory.last_kind
        if errand.booked is not None:
            return "done"
        if kind == "counter" and errand.counter:
            return "counter"
        if kind == "failure":
            return "failed"
        if errand.outcome in ("counter", "failed", "empty") and kind in ("more", "inform"):
            return "failed"
        if tool is not None and tool.transactional:
            return kind if kind in ("confirm", "request") else "new"
        if errand.row is not None:
            return "done" if errand.is_settled else "offered"
        return "request" if kind == "request" else "new"

    def _changed(self, tool: Tool) -> Row:
        """Return the values in which a counter-offer differs from what was asked for."""
        known, counter = self._memory.arguments(tool), self._memory.errand.counter or {}
        return {slot: value for slot, value in counter.items() if known.get(slot, value) != value}

    def _look_at(self, call: ToolCall, observation: Observation) -> None:
        """Take in the result of one of the other agent's calls."""
        tool, plan, steps = self.tool, self._plan, self._steps
        if tool is None or plan is None or steps is None:
            return
        status, rows = read_result(observation)
        is_own = call.name == tool.name
        if is_own:
            self._memory.note_result(tool, status, rows)
        if any(_is_same(call, advised) for advised in self._advice.tool_calls):
            self._advice = steps.send(observation)
        elif is_own and tool.transactional and status == "success":
            self._steps = plan.book()
            next(self._steps)
            self._advice = self._steps.send(observation)


def _is_same(call: ToolCall, other: ToolCall) -> bool:
    """Return whether two calls ask for the same."""
    one, two = _wanted(call), _wanted(other)
    return (
        call.name == other.name
        and one.keys() == two.keys()
        and all(same_value(value, two[slot], TODAY) for slot, value in one.items())
    )


def _wanted(call: ToolCall) -> dict[str, object]:
    return {slot: value for slot, value in call.arguments.items() if value != DONTCARE}


def _acts(turn: AgentTurn) -> list[DialogueAct]:
    """Return acts with the meaning of a turn."""
    acts = [DialogueAct("REQUEST", slot) for slot in turn.slots]
    if turn.kind == "offer":
        acts += acts_of("OFFER", turn.named or turn.offered or {})
    elif turn.kind == "counter":
        acts += acts_of("OFFER", turn.informed) or (DialogueAct("OFFER"),)
    elif turn.kind == "propose":
        acts.append(DialogueAct("OFFER_INTENT", "intent", turn.intent))
    if turn.kind in _REPORTS:
        acts.append(DialogueAct(_REPORTS[turn.kind]))
    if turn.kind == "more":
        acts.append(DialogueAct("REQ_MORE"))
    if turn.kind == "goodbye":
        acts.append(DialogueAct("GOODBYE"))
    acts += acts_of("CONFIRM", turn.confirmed)
    acts += acts_of("INFORM", turn.informed)
    return acts
