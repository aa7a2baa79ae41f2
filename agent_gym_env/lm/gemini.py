"""Gemini: names, keys and successors of its models, and its ``generateContent`` protocol.

The protocol is what Google's libraries send and receive: see `contents`, `config`, `tool_config`
and `read_generated`.
"""

from __future__ import annotations

import base64
import datetime
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from agent_gym_env.chat import Message, answered_call, calls_of, required_tool
from agent_gym_env.errors import MissingCredentials, RetiredModelError
from agent_gym_env.lm.base import MODEL_VARIABLE, Request, Response
from agent_gym_env.lm.budget import Price
from agent_gym_env.lm.credentials import Secret, key_from_environment
from agent_gym_env.lm.parse import read_arguments
from agent_gym_env.lm.transport import Failure
from agent_gym_env.types import ToolCall, Usage

KEY_VARIABLES = ("GOOGLE_API_KEY", "GEMINI_API_KEY")
"""Environment variables that may hold the key; the first that is set is used."""

_SIGNATURE = "__thought__"
"""Between an id and the signature of the reasoning behind a call; as litellm writes it."""

_UNSIGNED = base64.b64encode(b"skip_thought_signature_validator").decode()
"""Signature that Google accepts for a call that another model made.

https://ai.google.dev/gemini-api/docs/thought-signatures
"""

_CHOICES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
_REASONS = {"STOP": "stop", "MAX_TOKENS": "length"}
_BLOCKED = frozenset(("SAFETY", "RECITATION", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII"))

_log = logging.getLogger(__name__)

_GEMINI_HOST = "generativelanguage.googleapis.com"
_ADDRESS_VARIABLES = ("GEMINI_API_BASE", "GOOGLE_GEMINI_BASE_URL")
"""The variables by which litellm and google-genai are sent to another address than Google's."""

_NO_KEY = f"no key is in the environment either: set {' or '.join(KEY_VARIABLES)}"
_DEPRECATIONS = "https://ai.google.dev/gemini-api/docs/deprecations"

WhenRetired = Literal["refuse", "successor", "ask"]
"""Treatment of a retired model: raise an error, ask its first successor, or ask it anyway."""


class RetiredModel(msgspec.Struct, frozen=True):
    """A model that its provider no longer serves.

    Attributes:
        name: the model's name without litellm's prefix.
        day: the day of the shutdown.
        successors: the models to ask in its place, the nearest first.
        source: address of the page that announces it.
    """

    name: str
    day: datetime.date
    successors: tuple[str, ...]
    source: str = _DEPRECATIONS


_NEAREST = ("gemini-3.1-pro-preview", "gemini-3.8-flash")

RETIRED_GEMINI_MODELS = {
    model.name: model
    for model in (
        RetiredModel("gemini-3-pro-preview", datetime.date(2026, 3, 9), _NEAREST),
        RetiredModel("gemini-2.5-pro-preview-03-25", datetime.date(2025, 12, 2), _NEAREST),
        RetiredModel("gemini-2.5-pro-preview-05-06", datetime.date(2025, 12, 2), _NEAREST),
        RetiredModel("gemini-2.5-pro-preview-06-05", datetime.date(2025, 12, 2), _NEAREST),
    )
}
"""Retired models by name, without gemini-2.5-pro and -flash: sources disagree on their last day."""


def model_to_ask(model: str, api_base: str | None, when_retired: WhenRetired) -> str:
    """Return the model to ask for a configured Gemini model.

    Only Google's own address is known not to serve a retired model: a proxy, a recording or a
    server for tests may serve any name, so other addresses are asked as configured.

    Args:
        model: the configured name, with or without litellm's prefix.
        api_base: the configured address; ``None`` for the provider's own.
        when_retired: what to do about a retired model.

    Raises:
        RetiredModelError: the model is retired, and no fall-back was chosen.
    """
    bare = bare_name(model)
    retired = RETIRED_GEMINI_MODELS.get(bare)
    if retired is None or when_retired == "ask" or not _is_googles(api_base):
        return model
    prefix = model.removesuffix(bare)
    if when_retired == "refuse":
        raise RetiredModelError(_refusal(retired))
    successor = prefix + retired.successors[0]
    _log.warning("%s was shut down on %s; asking %s in its place", model, retired.day, successor)
    return successor


def _is_googles(api_base: str | None) -> bool:
    if api_base is not None:
        return urlsplit(api_base).hostname == _GEMINI_HOST
    return not any(os.environ.get(name) for name in _ADDRESS_VARIABLES)


def _refusal(retired: RetiredModel) -> str:
    nearest, *others = (f"gemini/{name}" for name in retired.successors)
    more = "".join(f" or {name}" for name in others)
    return (
        f"gemini/{retired.name} was retired by Google on {retired.day} ({retired.source}). "
        f"Name a successor, {nearest} (nearest){more}: with --model {nearest}, in the environment "
        f'variable {MODEL_VARIABLE}, or as "model" in a configuration. With '
        '"when_retired": "successor" the nearest is asked in its place, with "ask" the retired '
        "model itself" + ("" if any(map(os.environ.get, KEY_VARIABLES)) else f"; {_NO_KEY}")
    )


def gemini_key(model: str, given: str | None = None) -> Secret:
    """Return the key for Gemini.

    Args:
        model: name of the model, for the error message.
        given: key that the user passed; ``None`` to read it from the environment.

    Raises:
        MissingCredentials: no key is set.
    """
    key = Secret(given) if given else key_from_environment(*KEY_VARIABLES)
    if key is None:
        variables = " or ".join(KEY_VARIABLES)
        raise MissingCredentials(
            f"no key is set for {model}: set the environment variable {variables}"
        )
    return key


def bare_name(model: str) -> str:
    """Return a model's name without litellm's prefix and Google's own."""
    return model.removeprefix("gemini/").removeprefix("models/")


def system_instruction(messages: Sequence[Message]) -> str | None:
    """Return the system message, which Gemini takes separately from the conversation."""
    texts = [message["content"] for message in messages if message["role"] == "system"]
    return "\n".join(texts) or None


def contents(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Write the conversation; neighbours of one role are one content, and bytes are base64."""
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


_decode_generated = msgspec.json.Decoder(_Generated).decode


def read_generated(body: bytes | str, model: str, price: Price | None) -> Response | Failure:
    """Read an answer; an answer with neither words nor calls is a failure that was billed.

    Args:
        body: JSON.
        model: name of the requested model, used if the answer names none.
        price: price of tokens; ``None`` if it is unknown.
    """
    try:
        generated = _decode_generated(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Failure("transient", f"the answer is not generated content: {error}")
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
    text, calls, ids = _split_parts(parts)
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


def _split_parts(
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
