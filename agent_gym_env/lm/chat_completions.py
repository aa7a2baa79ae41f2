"""OpenAI's chat-completions protocol: what is sent, and how the answer is read."""

from __future__ import annotations

from collections.abc import Iterator
from types import NoneType
from typing import Any

import msgspec

from agent_gym_env.lm.base import Request, Response
from agent_gym_env.lm.call_forms import is_call, read_call, words_of, wraps_call
from agent_gym_env.lm.parse import read_arguments, tagged_call
from agent_gym_env.lm.prices import Price
from agent_gym_env.lm.wire import Failure
from agent_gym_env.types import ToolCall, Usage


def payload(request: Request, model: str) -> dict[str, Any]:
    """Write a request; what it leaves open is not sent."""
    body: dict[str, Any] = {"model": model, "messages": list(request.messages)}
    if request.tools:
        body["tools"] = list(request.tools)
    if request.response_format is not None:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": request.response_format, "strict": True},
        }
    if request.stop:
        body["stop"] = list(request.stop)
    for name in ("tool_choice", "parallel_tool_calls", "temperature", "max_tokens", "seed"):
        value = getattr(request, name)
        if value is not None and (name != "parallel_tool_calls" or request.tools):
            body[name] = value
    return {**body, **request.extra}


class _Function(msgspec.Struct):
    name: str
    arguments: str | dict[str, Any] | None = None


class _Call(msgspec.Struct):
    function: _Function
    id: str | None = None


class _Message(msgspec.Struct):
    content: str | list[str | dict[str, Any]] | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None
    function_call: _Function | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None
    model: str | None = None


_decode = msgspec.json.Decoder(_Completion).decode


def read_completion(body: bytes | str, model: str, price: Price | None) -> Response | Failure:
    """Read an answer; one that says nothing is a failure that was billed.

    Args:
        body: JSON.
        model: as asked for, where the answer does not name it.
        price: what tokens cost.
    """
    try:
        completion = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Failure("transient", f"the answer is no chat completion: {error}")
    usage, cost_usd = _bill(completion.usage, price)
    if not completion.choices:
        reason = "the answer has no choices"
        return Failure("transient", reason, usage=usage, cost_usd=cost_usd)
    choice = completion.choices[0]
    finish_reason = _FINISH_REASONS.get(choice.finish_reason or "stop", choice.finish_reason)
    text, made = _text(choice.message), list(_calls(choice.message))
    # What was cut off says why it is empty; of everything else the next try may say something.
    calls_are_lost = finish_reason == "tool_calls" and not (text or "").strip()
    is_cut_off = finish_reason in ("length", "content_filter")
    if not made and not is_cut_off and (text is None or calls_are_lost):
        reason = f"the answer has neither text nor calls ({finish_reason})"
        return Failure("transient", reason, usage=usage, cost_usd=cost_usd)
    read = [(call, read_arguments(call.function.arguments)) for call in made]
    unread = [
        tagged_call(call.function.name, call.function.arguments)
        for call, arguments in read
        if arguments is None
    ]
    return Response(
        text="\n".join(filter(None, (text, *unread))),
        tool_calls=tuple(
            ToolCall(call.function.name, arguments)
            for call, arguments in read
            if arguments is not None
        ),
        tool_call_ids=tuple(call.id or "" for call, arguments in read if arguments is not None),
        model=completion.model or model,
        finish_reason=finish_reason or "stop",
        usage=usage,
        cost_usd=cost_usd,
    )


_FINISH_REASONS = {"function_call": "tool_calls"}
"""Names that older servers use."""


def _text(message: _Message) -> str | None:
    """Return the words; ``None`` if the message has none."""
    content = message.content
    if isinstance(content, list):
        content = words_of(content)
    return content or message.refusal or content


def _calls(message: _Message) -> Iterator[_Call]:
    """Yield the calls, including the older ``function_call`` and those in content parts."""
    yield from message.tool_calls or ()
    if message.function_call is not None and not message.tool_calls:
        yield _Call(message.function_call)
    for part in message.content if isinstance(message.content, list) else ():
        if isinstance(part, dict) and (is_call(part) or wraps_call(part)):
            form = read_call(part)
            if isinstance(form.name, str) and isinstance(form.arguments, (str, dict, NoneType)):
                yield _Call(_Function(form.name, form.arguments), part.get("id"))


def _bill(usage: _Usage | None, price: Price | None) -> tuple[Usage | None, float | None]:
    if usage is None:
        return None, None
    billed = Usage(usage.prompt_tokens or 0, usage.completion_tokens or 0)
    details = usage.prompt_tokens_details
    cached = (details.cached_tokens or 0) if details else 0
    return billed, None if price is None else price.cost_usd(billed, cached)
