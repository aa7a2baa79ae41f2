"""The record of a played dialogue, and the conversation, observations and costs in it."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Annotated, Any, NamedTuple

import msgspec

from agent_gym_env.chat import MessageLog, begin_log, functions_reader
from agent_gym_env.corpus.goals import UserAct
from agent_gym_env.corpus.task import Turn
from agent_gym_env.errors import DataError
from agent_gym_env.rewards.task import Verdict
from agent_gym_env.types import Action, Observation, ToolCall
from agent_gym_env.users.agent_turn import AgentTurn
from agent_gym_env.values.equality import value_text

EPISODE_FORMAT = 1

Number = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]
"""A reward or a component of one. Rewards of the environment lie in [0, 1]; those of other rewards
may not, but their sums must not overflow."""
POLICY_FAILED = "policy_failed"
"""The ``action_error`` of a step that was played in silence because the policy had failed."""


class StepRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One call of ``env.step``.

    Attributes:
        action: the policy's action, as the environment understood it.
        tool_result: ``tool_result`` of the next observation; ``""`` without calls.
        action_error: stable code if the action was repaired or partly refused;
            ``policy_failed`` if silence was played because the policy had failed.
    """

    action: Action
    tool_result: str = ""
    action_error: str | None = None


class SimulatedTurn(msgspec.Struct, frozen=True, omit_defaults=True):
    """A turn of the agent as the simulated user took it.

    Attributes:
        service: service of the user's errand when the turn began.
        meaning: meaning of the turn, as the user read it.
        verdict: verdict on the dialogue at the end of the turn.
        understood: whether the user understood the turn.
        recorded: whether the recorded user gave the same answer in the same situation.
        answer: acts of the user's answer.
        events: what the user counted in this turn, see
            `agent_gym_env.users.agenda.UserState.counters`; a name occurs once for each count.
    """

    service: str
    meaning: AgentTurn
    verdict: Verdict
    understood: bool = True
    recorded: bool = False
    answer: tuple[UserAct, ...] = ()
    events: tuple[str, ...] = ()


class SimulatedUser(msgspec.Struct, frozen=True, omit_defaults=True):
    """The simulated user of an episode.

    Attributes:
        goal: id of the user's goal, which is that of the dialogue that it was recorded in.
        options: options that determine how the user behaves, such as ``understanding``.
        errands: number of errands of the goal.
        writes: number of errands of the goal that change something.
        opening: verdict on the dialogue before the first turn.
        leaves: whether the user left because patience was lost.
    """

    goal: str
    options: dict[str, Any]
    errands: int
    writes: int
    opening: Verdict
    leaves: bool = False


class TurnRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One turn of the agent.

    Attributes:
        user: the user's words that opened the turn.
        steps: at least one step.
        target: the corpus's recording of the turn; ``None`` in a simulated dialogue.
        reward: reward in [0, 1]; ``None`` if it is unknown. In a simulated dialogue it may be
            negative.
        components: components of the reward; ``None`` for one that does not apply.
        reason: reason for a missing reward, or a judge's explanation.
        simulated: the turn as the simulated user took it; ``None`` in a recorded dialogue.
    """

    user: str
    steps: Annotated[tuple[StepRecord, ...], msgspec.Meta(min_length=1)]
    target: Turn | None = None
    reward: Number | None = None
    components: dict[str, Number | None] = {}
    reason: str | None = None
    simulated: SimulatedTurn | None = None

    @property
    def reply(self) -> str:
        """The agent's words that closed the turn; ``""`` if it was silent."""
        return self.steps[-1].action.text

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """All calls of the turn, in order."""
        return tuple(call for step in self.steps for call in step.action.tool_calls)


class Episode(msgspec.Struct, frozen=True, omit_defaults=True):
    """One dialogue played by one policy.

    Attributes:
        dialogue_id: id of the dialogue, unique within its split only.
        split: split of the dialogue.
        corpus: fingerprint of the compiled split.
        schema_variant: ``v1`` to ``v5``, or ``None`` for the original schema.
        services: services of the dialogue.
        seen_services: those of them that the train split has; ``None`` if the corpus has no train
            split.
        date: the dialogue's "today", ISO; ``None`` if it is not known.
        policy: name of the policy.
        reward: name of the reward.
        seed: seed of the episode.
        tools: tools on offer, JSON in OpenAI's function format.
        turns: closed turns, in order.
        terminated: true if the dialogue was played to the end.
        truncated: true if a time limit ended the episode.
        error: exception of the policy as ``Class: message``; a failed episode is a record, too. If
            ``terminated`` is true, the rest of the dialogue was played in silence.
        duration_s: wall-clock seconds.
        simulated_user: the user of a simulated dialogue; ``None`` for a recorded dialogue.
        system: system prompt that the messages began with; ``None`` without one.
        format: version of the record's format.
    """

    dialogue_id: str
    split: str
    corpus: str
    services: tuple[str, ...]
    date: str | None
    policy: str
    reward: str
    turns: tuple[TurnRecord, ...]
    schema_variant: str | None = None
    seen_services: tuple[str, ...] | None = None
    seed: int | None = None
    tools: str = "[]"
    terminated: bool = False
    truncated: bool = False
    error: str | None = None
    duration_s: float = 0.0
    simulated_user: SimulatedUser | None = None
    system: str | None = None
    format: int = EPISODE_FORMAT

    def __post_init__(self) -> None:
        """Check the date, the tools and the turns; decoders call this, too.

        Raises:
            ValueError: ``date`` or ``tools`` is malformed, or a turn is not of the episode's kind.
        """
        check_date_and_tools(self.date, self.tools)
        lacking = "target" if self.simulated_user is None else "simulated"
        for number, turn in enumerate(self.turns):
            if getattr(turn, lacking) is None:
                kind = "recorded" if self.simulated_user is None else "simulated"
                raise ValueError(f"turn {number} of a {kind} dialogue lacks `{lacking}`")

    @property
    def ranking_reward(self) -> float | None:
        """Number by which episodes are ranked; ``None`` if no turn was scored.

        It is the mean reward of the scored turns. Rewards of simulated dialogues are earned for the
        whole dialogue, so there it is their sum.
        """
        scored = [turn.reward for turn in self.turns if turn.reward is not None]
        if not scored:
            return None
        return sum(scored) / (len(scored) if self.simulated_user is None else 1)

    @property
    def turn_values(self) -> list[float | None]:
        """Reward by which each turn is judged; ``None`` if it is unknown.

        It is the reward of the turn. In a simulated dialogue, whose success shows at its end, it is
        the sum of the rewards from the turn on.
        """
        rewards = [turn.reward for turn in self.turns]
        if self.simulated_user is None:
            return rewards
        values: list[float | None] = []
        for reward in reversed(rewards):
            later = values[-1] if values else 0.0
            values.append(None if reward is None or later is None else reward + later)
        return values[::-1]


def check_date_and_tools(day: str | None, tools: str) -> None:
    """Check the date and the tools of a record.

    Args:
        day: date, ISO; ``None`` if it is not known.
        tools: tools as JSON in OpenAI's function format.

    Raises:
        ValueError: one of them is malformed.
    """
    try:
        is_date = day is None or date.fromisoformat(day).isoformat() == day
    except ValueError:
        is_date = False
    if not is_date:
        raise ValueError(f"date must be like 2019-03-01, not {day!r:.40}")
    defaults_by_tool(tools)


@functools.lru_cache(maxsize=64)
def defaults_by_tool(tools: str) -> Mapping[str, Mapping[str, str]]:
    """Return, for each tool, the defaults of its optional arguments.

    Args:
        tools: an episode's ``tools``, JSON in OpenAI's function format.

    Raises:
        ValueError: ``tools`` is malformed.
    """
    try:
        functions = _read_functions(tools)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(
            f"tools must be a JSON array in OpenAI's function format, not {tools!r:.40}: {error}"
        ) from error
    return {
        function.name: {
            name: value_text(argument["default"])
            for name, argument in _objects(function.parameters.properties)
            if argument.get("default") is not None
        }
        for function in functions
    }


def _objects(properties: Any) -> list[tuple[str, dict[str, Any]]]:
    """Return the properties whose schemas are objects; a schema may be ``true``, too."""
    named = properties.items() if isinstance(properties, dict) else ()
    return [(name, schema) for name, schema in named if isinstance(schema, dict)]


class _Parameters(msgspec.Struct):
    properties: Any = None


class _Function(msgspec.Struct):
    name: str
    parameters: _Parameters = msgspec.field(default_factory=_Parameters)


_read_functions = functions_reader(_Function)
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


class TurnMessages(NamedTuple):
    """The conversation around one turn of the agent.

    Attributes:
        opening: log at the opening of the turn; the user's words are its last message.
        log: text of the log before the agent's reply, a JSON array without its closing bracket.
        reply: the agent's reply.
    """

    opening: MessageLog
    log: str
    reply: str

    @property
    def closed(self) -> str:
        """The conversation with the reply at its end, as JSON."""
        log = MessageLog(self.log)
        log.add_reply(self.reply)
        return log.messages


def transcript(episode: Episode) -> Iterator[TurnMessages]:
    """Yield the conversation around each turn, byte for byte as the environment wrote it.

    The last one is the whole conversation.

    Raises:
        DataError: a step's tool results do not match its calls.
    """
    log = _begun(episode)
    for number, turn in enumerate(episode.turns):
        if number:
            log.add_user(turn.user)
        opening = log.copy()
        try:
            for step in turn.steps:
                add_step(log, step)
        except DataError as error:
            raise DataError(error.problem, dialogue_id=episode.dialogue_id, turn=number) from error
        yield TurnMessages(opening, log.text, turn.reply)
        log.add_reply(turn.reply)


def observations(episode: Episode) -> Iterator[Observation]:
    """Yield the observation before each step, and the one after the last step.

    If the episode did not terminate, its last observation lacks the user's next words.

    Raises:
        DataError: a step's tool results do not match its calls.
    """
    log, tool_result = _begun(episode), ""
    for number, turn in enumerate(episode.turns):
        if number:
            log.add_user(turn.user)
        user = turn.user
        for step in turn.steps:
            yield _observation(episode, user, tool_result, log)
            add_step(log, step)
            user, tool_result = "", step.tool_result
        log.add_reply(turn.reply)
    yield _observation(episode, "", tool_result, log)


def _begun(episode: Episode) -> MessageLog:
    """Return the conversation before the agent's first turn."""
    return begin_log(episode.turns[0].user if episode.turns else "", episode.system)


def _observation(episode: Episode, user: str, tool_result: str, log: MessageLog) -> Observation:
    return {
        "user": user,
        "tool_result": tool_result,
        "messages": log.messages,
        "tools": episode.tools,
    }


def add_step(log: MessageLog, step: StepRecord) -> None:
    """Append the calls of a step and their results; nothing for a step without calls.

    Raises:
        DataError: the tool results do not match the calls.
    """
    results = results_of(step)
    if results:
        log.add_calls(step.action.tool_calls, results)


def results_of(step: StepRecord) -> list[str]:
    """Return the result of each call of a step, as JSON; empty for a step without calls.

    Raises:
        DataError: the tool results do not match the calls.
    """
    calls = step.action.tool_calls
    if not calls:
        return []
    try:
        results = [bytes(result).decode() for result in _decode_array(step.tool_result)]
        if len(results) != len(calls):
            raise ValueError(f"{len(calls)} calls, but {len(results) or 'no'} results")
    except (ValueError, msgspec.DecodeError) as problem:
        raise DataError(f"the tool results do not answer the calls: {problem}") from problem
    return results


class Spending(msgspec.Struct, frozen=True):
    """Completions of language models, their tokens and their cost.

    Attributes:
        completions: number of actions that a model wrote.
        prompt_tokens: sum over the completions whose usage is known.
        completion_tokens: sum over the completions whose usage is known.
        cost_usd: sum over the completions whose price is known.
        unpriced: number of completions whose price is unknown.
    """

    completions: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0

    def __add__(self, other: Spending) -> Spending:
        return Spending(
            self.completions + other.completions,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cost_usd + other.cost_usd,
            self.unpriced + other.unpriced,
        )


def spent_on(steps: Iterable[StepRecord]) -> Spending | None:
    """Add up the spending on recorded steps; ``None`` if no model wrote any of them."""
    total = Spending()
    for step in steps:
        completion = step.action.completion
        if completion is None:
            continue
        usage, cost_usd = completion.usage, completion.cost_usd
        total += Spending(
            1,
            0 if usage is None else usage.prompt_tokens,
            0 if usage is None else usage.completion_tokens,
            cost_usd or 0.0,
            int(cost_usd is None),
        )
    return total if total.completions else None
