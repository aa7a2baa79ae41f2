"""Gemini's ``generateContent`` protocol: what is sent, and how the answer is read."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from agent_gym_env.chat import Message, answered_call, calls_of, required_tool
from agent_gym_env.lm.base import Request, Response
from agent_gym_env.lm.budget import Price
from agent_gym_env.lm.parse import read_arguments
from agent_gym_env.lm.transport import Failure
from agent_gym_env.types import ToolCall, Usage

_SIGNATURE = "__thought__"
"""Between an id and the signature of the reasoning behind a call; as litellm writes it."""

_UNSIGNED = base64.b64encode(b"skip_thought_signature_validator").decode()
"""What Google takes for a call that another model made.

https://ai.google.dev/gemini-api/docs/thought-signatures
"""

_CHOICES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
_REASONS = {"STOP": "stop", "MAX_TOKENS": "length"}
_BLOCKED = frozenset(("SAFETY", "RECITATION", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII"))


def system_instruction(messages: Sequence[Message]) -> str | None:
    """Give the system message, which Gemini takes apart from the conversation."""
    texts = [message["content"] for message in messages if message["role"] == "system"]
    return "\n".join(texts) or None


def contents(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Write the conversation; bytes are base64, neighbours of one role are one content."""
    names: dict[str, str] = {}
    written: list[dict[str, Any]] = []
    for message in messages:
        if message["role"] == "system":
            continue
        role = "model" if message["role"] == "assistant" else "user"
        parts = list(_parts(message, names))
        if written and written[-1]["role"] == role:
            written[-1]["parts"] += parts
        elif parts:
            written.append({"role": role, "parts": parts})
    return written


def _parts(message: Message, names: dict[str, str]) -> Iterator[dict[str, Any]]:
    content = message.get("content")
    if message["role"] == "tool":
        call_id = answered_call(message) or ""
        name = names.get(call_id, call_id)
        yield {"function_response": {"name": name, "response": {"result": content}}}
        return
    if content:
        yield {"text": content}
    for number, call in enumerate(calls_of(message)):
        names[call.id] = call.name
        _, _, signature = call.id.partition(_SIGNATURE)
        part: dict[str, Any] = {
            "function_call": {"name": call.name, "args": read_arguments(call.arguments) or {}}
        }
        # Of calls made at once Gemini signs the first.
        if signature or number == 0:
            part["thought_signature"] = signature or _UNSIGNED
        yield part


def config(request: Request) -> dict[str, Any]:
    """Write the parameters of sampling."""
    values: dict[str, Any] = {
        "temperature": request.temperature,
        "max_output_tokens": request.max_tokens,
        "seed": request.seed,
        "stop_sequences": list(request.stop) or None,
    }
    if request.response_format is not None:
        values["response_mime_type"] = "application/json"
        values["response_json_schema"] = request.response_format
    return {name: value for name, value in values.items() if value is not None} | request.extra


def tool_config(request: Request) -> dict[str, Any] | None:
    """Write whether tools may, must or must not be called."""
    choice = request.tool_choice
    if choice is None:
        return None
    name = required_tool(choice)
    if name is not None:
        return {"function_calling_config": {"mode": "ANY", "allowed_function_names": [name]}}
    return {"function_calling_config": {"mode": _CHOICES[str(choice)]}}


class _Camel(msgspec.Struct, rename="camel"):
    pass


class _FunctionCall(_Camel):
    name: str
    args: dict[str, Any] | None = None
    id: str | None = None


class _Part(_Camel):
    text: str | None = None
    thought: bool | None = None
    function_call: _FunctionCall | None = None
    thought_signature: str | None = None


class _Content(_Camel):
    parts: list[_Part] | None = None


class _Candidate(_Camel):
    content: _Content | None = None
    finish_reason: str | int | None = None


class _Feedback(_Camel):
    block_reason: str | int | None = None


class _Metadata(_Camel):
    prompt_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    cached_content_token_count: int | None = None


class _Generated(_Camel):
    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: _Metadata | None = None
    model_version: str | None = None


_decode = msgspec.json.Decoder(_Generated).decode


def read_generated(body: bytes | str, model: str, price: Price | None) -> Response | Failure:
    """Read an answer; one that says nothing is a failure that was billed.

    Args:
        body: JSON.
        model: as asked for, where the answer does not name it.
        price: what tokens cost.
    """
    try:
        generated = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Failure("transient", f"the answer is no generated content: {error}")
    usage, cost_usd = _bill(generated.usage_metadata, price)

    def unread(reason: str) -> Failure:
        return Failure("transient", reason, usage=usage, cost_usd=cost_usd)

    feedback = generated.prompt_feedback
    blocked = feedback is not None and feedback.block_reason
    if not generated.candidates and not blocked:
        return unread("the answer has no candidates")
    candidate = (generated.candidates or [_Candidate()])[0]
    parts = (candidate.content and candidate.content.parts) or []
    reason = "SAFETY" if blocked else str(candidate.finish_reason or "STOP")
    text, calls, ids = _taken_apart(parts)
    if not text and not calls and reason not in ("MAX_TOKENS", *_BLOCKED):
        return unread(f"the answer has neither text nor calls ({reason})")
    return Response(
        text=text,
        tool_calls=calls,
        tool_call_ids=ids,
        model=generated.model_version or model,
        finish_reason="content_filter" if reason in _BLOCKED else _finish_reason(reason, calls),
        usage=usage,
        cost_usd=cost_usd,
    )


def _finish_reason(reason: str, calls: Sequence[ToolCall]) -> str:
    return "tool_calls" if calls else _REASONS.get(reason, "stop")


def _taken_apart(
    parts: Iterable[_Part],
) -> tuple[str, tuple[ToolCall, ...], tuple[str, ...]]:
    text = ""
    calls: list[ToolCall] = []
    ids: list[str] = []
    for part in parts:
        if part.text and not part.thought:
            text += part.text
        call = part.function_call
        if call is None:
            continue
        identity = call.id or f"call_{len(calls)}"
        signature = f"{_SIGNATURE}{part.thought_signature}" if part.thought_signature else ""
        calls.append(ToolCall(call.name, call.args or {}))
        ids.append(identity + signature)
    return text, tuple(calls), tuple(ids)


def _bill(metadata: _Metadata | None, price: Price | None) -> tuple[Usage | None, float | None]:
    if metadata is None:
        return None, None
    written = (metadata.candidates_token_count or 0) + (metadata.thoughts_token_count or 0)
    usage = Usage(metadata.prompt_token_count or 0, written)
    cached = metadata.cached_content_token_count or 0
    return usage, None if price is None else price.cost_usd(usage, cached)
