"""Sends episodes as spans through OpenTelemetry, to wherever its tracer provider sends them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from agent_gym_env.export.spans import SCOPE, Span, spans_of
from agent_gym_env.extras import require
from agent_gym_env.rollout.episode import Episode

require("opentelemetry.trace", extra="otel")

from opentelemetry import trace as otel  # noqa: E402

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

_KINDS = {"internal": otel.SpanKind.INTERNAL, "client": otel.SpanKind.CLIENT}


def trace_episode(
    episode: Episode,
    *,
    tracer: Tracer | None = None,
    content: bool = False,
    ended_at_s: float | None = None,
) -> None:
    """Send an episode as one trace; see `agent_gym_env.export.spans` for its spans.

    Args:
        episode: an episode of any policy, perhaps failed or unfinished.
        tracer: tracer to send with; by default one of OpenTelemetry's global tracer provider.
        content: whether messages, system prompt, tools, arguments and results are attributes.
        ended_at_s: end of the episode, seconds since 1970; now by default.

    Raises:
        DataError: the episode is inconsistent.
        MissingDependency: OpenTelemetry is not installed.
    """
    tracer = tracer or otel.get_tracer(SCOPE)
    ended_at_s = time.time() if ended_at_s is None else ended_at_s
    found = spans_of(episode, ended_at_s=ended_at_s, content=content)
    begun: list[otel.Span] = []
    for span in found:
        begun.append(_begin(tracer, span, begun))
    for span, open_span in reversed(list(zip(found, begun, strict=True))):
        for event in span.events:
            open_span.add_event(event.name, event.attributes, timestamp=span.end_ns)
        if span.error is not None:
            open_span.set_status(otel.StatusCode.ERROR)
        open_span.end(end_time=span.end_ns)


def _begin(tracer: Tracer, span: Span, begun: list[otel.Span]) -> otel.Span:
    # A new trace, also where the caller is inside a span.
    outer = otel.INVALID_SPAN if span.parent is None else begun[span.parent]
    return tracer.start_span(
        span.name,
        context=otel.set_span_in_context(outer),
        kind=_KINDS[span.kind],
        attributes=span.attributes,
        start_time=span.start_ns,
    )
