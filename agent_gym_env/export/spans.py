"""Episodes as OpenTelemetry spans, with the conventions for generative AI.

An episode is a trace of four kinds of spans, each inside the one before:

- ``episode``: the dialogue, with how it ended and its reward;
- ``invoke_agent {policy}``: a turn, with an event ``gen_ai.evaluation.result`` for its reward and
  for each component of it;
- ``chat {model}``: a completion of a language model, with its tokens;
- ``execute_tool {tool}``: a tool call.

What was said, and arguments and results of calls, are attributes only where ``content`` is true.
Conventions: https://github.com/open-telemetry/semantic-conventions-genai, version 0.1.0.

A record has the length of its episode and of each completion, no other times. So completions get
their own time, and the rest of the episode is shared out evenly to its steps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from agent_gym_env.chat import (
    Message,
    answered_call,
    calls_of,
    functions_of,
    read_messages,
    read_result,
    read_tools,
)
from agent_gym_env.rollout.episode import (
    Episode,
    StepRecord,
    TurnRecord,
    add_step,
    results_of,
    transcript,
)
from agent_gym_env.types import Completion, ToolCall

SCOPE = "agent_gym_env"
"""Name of the instrumentation that the spans say they come from."""

AttributeValue = str | bool | int | float | tuple[str, ...]
Attributes = Mapping[str, AttributeValue]

_PROVIDERS = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex_ai": "gcp.vertex_ai",
    "xai": "x_ai",
}
"""Names of providers in the conventions, by the prefix of a model's name where they differ."""

_NS_PER_S = 1_000_000_000


class Event(msgspec.Struct, frozen=True):
    """An event at the end of a span.

    Attributes:
        name: name of the event.
        attributes: values by name.
    """

    name: str
    attributes: Attributes


class Span(msgspec.Struct, frozen=True):
    """A span of an episode.

    Attributes:
        name: name of the span.
        kind: ``client`` for requests to a model, otherwise ``internal``.
        parent: place of the enclosing span among the spans of the episode; ``None`` for the first.
        start_ns: beginning, nanoseconds since 1970.
        end_ns: end, nanoseconds since 1970.
        attributes: values by name.
        events: events at the end of the span.
        error: class of the error that the operation ended with; ``None`` without one.
    """

    name: str
    kind: Literal["internal", "client"]
    parent: int | None
    start_ns: int
    end_ns: int
    attributes: Attributes
    events: tuple[Event, ...] = ()
    error: str | None = None


def spans_of(episode: Episode, *, ended_at_s: float, content: bool = False) -> list[Span]:
    """Return the spans of an episode; a span comes after the one that it is in.

    Args:
        episode: an episode of any policy, perhaps failed or unfinished.
        ended_at_s: end of the episode, seconds since 1970.
        content: whether messages, system prompt, tools, arguments and results are attributes.

    Raises:
        DataError: the episode is inconsistent.
    """
    return _Spans(episode, ended_at_s, content).make()


class _Spans:
    """Spans of one episode in the making, and the time that they have reached.

    Args:
        episode: as in `spans_of`.
        ended_at_s: as in `spans_of`.
        content: as in `spans_of`.
    """

    def __init__(self, episode: Episode, ended_at_s: float, content: bool) -> None:
        self._episode = episode
        self._content = content
        steps = [step for turn in episode.turns for step in turn.steps]
        in_models = sum(map(_latency_ns, steps))
        length = max(round(episode.duration_s * _NS_PER_S), in_models)
        self._share = (length - in_models) // max(len(steps), 1)
        self._end = round(ended_at_s * _NS_PER_S)
        self._now = self._end - length
        self._calls = 0
        self._spans: list[Span] = []

    def make(self) -> list[Span]:
        episode = self._episode
        error = None if episode.error is None else episode.error.partition(":")[0]
        attributes = _of_episode(episode) | self._if_content(lambda: _system_and_tools(episode))
        place = self._begin("episode", None, attributes, error=error)
        for turn, messages in zip(episode.turns, transcript(episode), strict=True):
            self._turn(place, turn, messages.opening)
        self._close(place, self._end)
        return self._spans

    def _turn(self, parent: int, turn: TurnRecord, log: Any) -> None:
        episode = self._episode
        attributes: dict[str, AttributeValue] = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.provider.name": SCOPE,
            "gen_ai.agent.name": episode.policy,
            "gen_ai.conversation.id": _conversation(episode),
        }
        attributes |= self._if_content(
            lambda: {
                "gen_ai.input.messages": _json([_text_message("user", turn.user)]),
                "gen_ai.output.messages": _json([_text_message("assistant", turn.reply)]),
            }
        )
        name = f"invoke_agent {episode.policy}"
        place = self._begin(name, parent, attributes, events=_evaluations(episode, turn))
        for step in turn.steps:
            if step.action.completion is not None:
                self._completion(place, step, step.action.completion, log.messages)
            self._tools(place, step)
            add_step(log, step)
        self._close(place, self._now)

    def _completion(
        self, parent: int, step: StepRecord, completion: Completion, messages: str
    ) -> None:
        calls = step.action.tool_calls
        attributes: dict[str, AttributeValue] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": _provider(completion.model),
            "gen_ai.conversation.id": _conversation(self._episode),
            "gen_ai.response.finish_reasons": ("tool_call" if calls else "stop",),
        }
        if completion.model:
            attributes["gen_ai.request.model"] = completion.model
        if completion.usage is not None:
            attributes["gen_ai.usage.input_tokens"] = completion.usage.prompt_tokens
            attributes["gen_ai.usage.output_tokens"] = completion.usage.completion_tokens
        if completion.cost_usd is not None:
            attributes["agent_gym.cost_usd"] = completion.cost_usd
        attributes |= self._if_content(
            lambda: {
                "gen_ai.input.messages": _json([*map(_as_parts, read_messages(messages))]),
                "gen_ai.output.messages": _json([self._answer(step)]),
            }
        )
        place = self._begin(f"chat {completion.model}".strip(), parent, attributes, kind="client")
        self._now += _latency_ns(step)
        self._close(place, self._now)

    def _answer(self, step: StepRecord) -> dict[str, Any]:
        numbered = enumerate(step.action.tool_calls, start=self._calls)
        parts = [_call_part(f"call_{number}", call) for number, call in numbered]
        if step.action.text or not parts:
            parts.append({"type": "text", "content": step.action.text})
        return {"role": "assistant", "parts": parts}

    def _tools(self, parent: int, step: StepRecord) -> None:
        calls, results = step.action.tool_calls, results_of(step)
        end = self._now + self._share
        for call, result in zip(calls, results, strict=True):
            self._tool(parent, call, result, self._share // len(calls))
        self._now = end

    def _tool(self, parent: int, call: ToolCall, result: str, length_ns: int) -> None:
        status = _status(result)
        attributes: dict[str, AttributeValue] = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": call.name,
            "gen_ai.tool.call.id": f"call_{self._calls}",
            "agent_gym.tool.status": status,
        }
        attributes |= self._if_content(
            lambda: {
                "gen_ai.tool.call.arguments": _json(call.arguments),
                "gen_ai.tool.call.result": result,
            }
        )
        error = "invalid_call" if status == "error" else None
        place = self._begin(f"execute_tool {call.name}", parent, attributes, error=error)
        self._calls += 1
        self._now += length_ns
        self._close(place, self._now)

    def _if_content(self, attributes: Any) -> dict[str, AttributeValue]:
        return attributes() if self._content else {}

    def _begin(
        self,
        name: str,
        parent: int | None,
        attributes: Attributes,
        *,
        kind: Literal["internal", "client"] = "internal",
        events: tuple[Event, ...] = (),
        error: str | None = None,
    ) -> int:
        if error is not None:
            attributes = {**attributes, "error.type": error}
        span = Span(name, kind, parent, self._now, self._now, attributes, events, error)
        self._spans.append(span)
        return len(self._spans) - 1

    def _close(self, place: int, end_ns: int) -> None:
        self._spans[place] = msgspec.structs.replace(self._spans[place], end_ns=end_ns)


def _latency_ns(step: StepRecord) -> int:
    completion = step.action.completion
    latency_s = None if completion is None else completion.latency_s
    return round((latency_s or 0.0) * _NS_PER_S)


def _conversation(episode: Episode) -> str:
    seed = "" if episode.seed is None else f"/{episode.seed}"
    return f"{episode.split}/{episode.dialogue_id}{seed}"


def _of_episode(episode: Episode) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue | None] = {
        "gen_ai.agent.name": episode.policy,
        "gen_ai.conversation.id": _conversation(episode),
        "agent_gym.dialogue_id": episode.dialogue_id,
        "agent_gym.split": episode.split,
        "agent_gym.corpus": episode.corpus,
        "agent_gym.services": episode.services,
        "agent_gym.schema_variant": episode.schema_variant,
        "agent_gym.seed": episode.seed,
        "agent_gym.reward.name": episode.reward,
        "agent_gym.reward": episode.ranking_reward,
        "agent_gym.terminated": episode.terminated,
        "agent_gym.truncated": episode.truncated,
    }
    return {name: value for name, value in attributes.items() if value is not None}


def _system_and_tools(episode: Episode) -> dict[str, AttributeValue]:
    tools = read_tools(episode.tools)
    functions = functions_of(tools)
    named = [{"type": tool["type"], **each} for tool, each in zip(tools, functions, strict=True)]
    found: dict[str, AttributeValue] = {"gen_ai.tool.definitions": _json(named)}
    if episode.system is not None:
        found["gen_ai.system_instructions"] = _json([{"type": "text", "content": episode.system}])
    return found


def _evaluations(episode: Episode, turn: TurnRecord) -> tuple[Event, ...]:
    components = {f"{episode.reward}.{name}": each for name, each in turn.components.items()}
    scores = {episode.reward: turn.reward, **components}
    return tuple(
        Event(
            "gen_ai.evaluation.result",
            {"gen_ai.evaluation.name": name, "gen_ai.evaluation.score.value": float(score)},
        )
        for name, score in scores.items()
        if score is not None
    )


def _provider(model: str) -> str:
    prefix, slash, _ = model.partition("/")
    return _PROVIDERS.get(prefix, prefix) if slash else SCOPE


def _status(result: str) -> str:
    try:
        return read_result(result).status
    except msgspec.DecodeError:  # any JSON value, from a tool of a log
        return "success"


def _text_message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}


def _call_part(call_id: str, call: ToolCall) -> dict[str, Any]:
    return {"type": "tool_call", "id": call_id, "name": call.name, "arguments": call.arguments}


def _as_parts(message: Message) -> dict[str, Any]:
    """Convert a message in OpenAI's chat format to the conventions' format."""
    answered = answered_call(message)
    if answered is not None:
        part = {"type": "tool_call_response", "id": answered, "response": message["content"]}
        return {"role": message["role"], "parts": [part]}
    parts = [_call_part(each.id, ToolCall(each.name, each.arguments)) for each in calls_of(message)]
    if message["content"]:
        parts.append({"type": "text", "content": message["content"]})
    return {"role": message["role"], "parts": parts}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


class OtlpTrace(msgspec.Struct, frozen=True, rename="camel"):
    """A trace as OTLP sends it: the body of a POST to ``/v1/traces``, as JSON.

    Attributes:
        resource_spans: one object, with all spans of the trace.
    """

    resource_spans: tuple[dict[str, Any], ...]


def traces(
    episodes: Iterable[Episode], *, ended_at_s: float, content: bool = False
) -> Iterator[OtlpTrace]:
    """Yield a trace for each episode.

    Ids of traces and spans follow from the episode and its place, so the same episodes give the
    same traces.

    Args:
        episodes: episodes of any policies, failed and unfinished ones included.
        ended_at_s: as in `spans_of`, for all episodes.
        content: as in `spans_of`.

    Raises:
        DataError: an episode is inconsistent.
    """
    for number, episode in enumerate(episodes):
        spans = spans_of(episode, ended_at_s=ended_at_s, content=content)
        place = f"{number} {episode.corpus} {episode.policy} {_conversation(episode)}"
        trace_id = hashlib.sha256(place.encode()).hexdigest()[:32]
        service = {"key": "service.name", "value": {"stringValue": "agent-gym"}}
        yield OtlpTrace(
            (
                {
                    "resource": {"attributes": [service]},
                    "scopeSpans": [
                        {"scope": {"name": SCOPE}, "spans": _otlp_spans(trace_id, spans)}
                    ],
                },
            )
        )


def _otlp_spans(trace_id: str, spans: Sequence[Span]) -> list[dict[str, Any]]:
    ids = [
        hashlib.sha256(f"{trace_id} {number}".encode()).hexdigest()[:16]
        for number in range(len(spans))
    ]
    return [
        {
            "traceId": trace_id,
            "spanId": ids[number],
            "parentSpanId": "" if span.parent is None else ids[span.parent],
            "name": span.name,
            "kind": {"internal": 1, "client": 3}[span.kind],
            "startTimeUnixNano": str(span.start_ns),
            "endTimeUnixNano": str(span.end_ns),
            "attributes": _otlp_attributes(span.attributes),
            "events": [
                {
                    "name": event.name,
                    "timeUnixNano": str(span.end_ns),
                    "attributes": _otlp_attributes(event.attributes),
                }
                for event in span.events
            ],
            "status": {} if span.error is None else {"code": 2},
        }
        for number, span in enumerate(spans)
    ]


def _otlp_attributes(attributes: Attributes) -> list[dict[str, Any]]:
    return [{"key": name, "value": _otlp_value(value)} for name, value in attributes.items()]


def _otlp_value(value: AttributeValue) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, str):
        return {"stringValue": value}
    return {"arrayValue": {"values": [{"stringValue": each} for each in value]}}
