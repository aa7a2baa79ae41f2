"""Episodes as OpenTelemetry spans: in OTLP's JSON, and through the real SDK."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest

from agent_gym_env.assembly import play_episodes
from agent_gym_env.export.spans import Span, spans_of, traces
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.types import Completion, Usage
from tests.evaluation.episode_factory import FIND, call, episode, turn
from tests.export.test_atif import BY_A_MODEL, modelled

CONTENT = {
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.tool.definitions",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
}


def tree(spans: list[Span]) -> list[tuple[str, str | None]]:
    parents = [None if span.parent is None else spans[span.parent].name for span in spans]
    return [(span.name, parent) for span, parent in zip(spans, parents, strict=True)]


def attribute_names(spans: list[Span]) -> set[str]:
    return {name for span in spans for name in span.attributes}


def test_turns_completions_and_calls_are_spans_inside_one_another() -> None:
    assert tree(spans_of(modelled(BY_A_MODEL), ended_at_s=100.0)) == [
        ("episode", None),
        ("invoke_agent agent", "episode"),
        ("chat gemini/flash", "invoke_agent agent"),
        (f"execute_tool {FIND}", "invoke_agent agent"),
    ]


def test_a_policy_without_a_model_has_no_chat() -> None:
    spans = spans_of(episode(turn(made=[call()])), ended_at_s=100.0)
    assert [span.name.split()[0] for span in spans] == ["episode", "invoke_agent", "execute_tool"]


def test_what_was_said_is_left_out_unless_it_is_asked_for() -> None:
    played = modelled(BY_A_MODEL)
    without = spans_of(played, ended_at_s=100.0)
    assert not CONTENT & attribute_names(without)
    assert "A room" not in str(without)
    assert "free" not in str(without)
    assert attribute_names(spans_of(played, ended_at_s=100.0, content=True)) >= CONTENT


def test_messages_are_parts_and_results_name_their_calls() -> None:
    two = episode(turn(made=[call(city="Köln")]), *modelled(BY_A_MODEL).turns)
    *_, chat, _ = spans_of(two, ended_at_s=100.0, content=True)
    before = json.loads(str(chat.attributes["gen_ai.input.messages"]))
    assert [message["role"] for message in before] == [
        "user", "assistant", "tool", "assistant", "user",
    ]  # fmt: skip
    asked = {"type": "tool_call", "id": "call_0", "name": FIND, "arguments": {"city": "Köln"}}
    assert before[1]["parts"] == [asked]
    assert before[2]["parts"][0]["id"] == "call_0"
    (answer,) = json.loads(str(chat.attributes["gen_ai.output.messages"]))
    assert [part["type"] for part in answer["parts"]] == ["tool_call", "text"]
    assert answer["parts"][0]["id"] == "call_1"


def test_a_completion_has_its_own_time_and_the_rest_is_shared_out() -> None:
    played = msgspec.structs.replace(modelled(BY_A_MODEL), duration_s=4.0)
    root, agent, chat, tool = spans_of(played, ended_at_s=100.0)
    seconds = [(span.start_ns / 1e9, span.end_ns / 1e9) for span in (root, agent, chat, tool)]
    assert seconds == [(96.0, 100.0), (96.0, 100.0), (96.0, 97.5), (97.5, 100.0)]


def test_completions_that_took_longer_than_the_episode_make_it_longer() -> None:
    root, *_ = spans_of(modelled(BY_A_MODEL), ended_at_s=100.0)
    assert root.end_ns - root.start_ns == 1_500_000_000


def test_tokens_and_cost_are_attributes_of_the_chat() -> None:
    chat = spans_of(modelled(BY_A_MODEL), ended_at_s=100.0)[2]
    assert chat.attributes["gen_ai.provider.name"] == "gcp.gemini"
    assert chat.attributes["gen_ai.usage.input_tokens"] == 30
    assert chat.attributes["gen_ai.usage.output_tokens"] == 4
    assert chat.attributes["agent_gym.cost_usd"] == 0.25


def test_rewards_are_evaluations_of_the_turn() -> None:
    agent = spans_of(modelled(BY_A_MODEL), ended_at_s=100.0)[1]
    assert [tuple(event.attributes.values()) for event in agent.events] == [
        ("ground_truth", 0.5),
        ("ground_truth.reply", 1.0),
    ]


def test_a_failed_episode_and_an_invalid_call_are_errors_without_their_words() -> None:
    failed = episode(turn(), error="ValueError: secret", terminated=False)
    root = spans_of(failed, ended_at_s=1.0)[0]
    assert (root.error, root.attributes["error.type"]) == ("ValueError", "ValueError")
    assert "secret" not in str(root)


def test_the_same_episodes_give_the_same_bytes_and_each_its_own_trace() -> None:
    played = [episode(turn()), episode(turn())]
    first, again = (
        [msgspec.json.encode(each) for each in traces(played, ended_at_s=5.0)] for _ in range(2)
    )
    assert first == again
    assert len({trace_ids(json.loads(line)) for line in first}) == 2


def trace_ids(trace: dict[str, Any]) -> str:
    (resource,) = trace["resourceSpans"]
    (trace_id,) = {span["traceId"] for span in resource["scopeSpans"][0]["spans"]}
    return str(trace_id)


def sampled() -> list[Episode]:
    completion = Completion("raw", "m", Usage(1, 2), None, 0.5)
    return [*play_episodes("oracle", split="train", episodes=2), modelled(completion)]


def in_otlp(trace: bytes) -> Any:
    """Parse a trace with OpenTelemetry's own messages."""
    json_format = pytest.importorskip("google.protobuf.json_format")
    service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    decoded = json.loads(trace)
    for span in decoded["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        # OTLP writes ids in hexadecimal, where protobuf's own JSON has base64.
        for name in ("traceId", "spanId", "parentSpanId"):
            span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
    return json_format.ParseDict(decoded, service.ExportTraceServiceRequest())


def value_of(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(map(value_of, value.array_value.values))
    return getattr(value, kind)


def test_the_file_says_what_the_sdk_says() -> None:
    pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk: extra otel")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from agent_gym_env.export.opentelemetry_tracer import trace_episode

    for played in sampled():
        memory = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(memory))
        trace_episode(played, tracer=provider.get_tracer("t"), content=True, ended_at_s=100.0)
        sent = sorted(memory.get_finished_spans(), key=lambda span: (span.start_time, span.name))
        (trace,) = traces([played], ended_at_s=100.0, content=True)
        (resource,) = in_otlp(msgspec.json.encode(trace)).resource_spans
        read = sorted(
            resource.scope_spans[0].spans, key=lambda span: (span.start_time_unix_nano, span.name)
        )
        assert len(sent) == len(read) > 2
        for one, other in zip(sent, read, strict=True):
            assert one.name == other.name
            assert one.kind.value + 1 == other.kind
            assert (one.start_time, one.end_time) == (
                other.start_time_unix_nano,
                other.end_time_unix_nano,
            )
            assert dict(one.attributes or {}) == {
                each.key: value_of(each.value) for each in other.attributes
            }
            assert [event.name for event in one.events] == [each.name for each in other.events]
            assert (one.parent is None) == (other.parent_span_id == b"")


def test_an_episode_is_a_trace_of_its_own_inside_another_span() -> None:
    pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk: extra otel")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from agent_gym_env.export.opentelemetry_tracer import trace_episode

    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("t")
    with tracer.start_as_current_span("outer"):
        trace_episode(episode(turn()), tracer=tracer)
    found = {span.name: span for span in memory.get_finished_spans()}
    assert found["episode"].parent is None
    assert found["episode"].context.trace_id != found["outer"].context.trace_id
