"""OpenAI's chat-completions protocol as a server sees it: what is asked, how it is answered."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec

from agent_gym_env.chat import Message
from agent_gym_env.lm.base import Request, Response
from agent_gym_env.lm.call_forms import is_reasoning, words_of
from agent_gym_env.lm.lenient_json import MAX_DEPTH, nests_deeper
from agent_gym_env.lm.parse import without_reasoning
from agent_gym_env.types import Usage

MAX_SCHEMA_DEPTH = 64
"""Levels of lists and objects inside a tool's parameters or the schema of an answer."""


class InvalidRequest(Exception):  # noqa: N818  (OpenAI's word for it)
    """A request that is refused.

    Args:
        message: what is wrong, and what is expected.
        status: of HTTP.
        code: for machines.
    """

    def __init__(self, message: str, *, status: int = 400, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class _Function(msgspec.Struct):
    name: str
    arguments: str | dict[str, Any] = "{}"

    def __post_init__(self) -> None:
        if _is_too_deep(self.arguments):
            raise ValueError(f"the arguments of a call nest more than {MAX_DEPTH} levels")


class _Call(msgspec.Struct):
    function: _Function
    id: str = ""
    type: str = "function"


class _Message(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[str | dict[str, Any]] | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None
    function_call: dict[str, Any] | None = None
    audio: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.function_call or self.audio:
            raise ValueError("messages have tool_calls here, not function_call or audio")


class _ToolFunction(msgspec.Struct, omit_defaults=True):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    description: str | None = None
    parameters: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        _check_schema(self.parameters)


class _Tool(msgspec.Struct):
    function: _ToolFunction
    type: Literal["function"] = "function"


class _Named(msgspec.Struct):
    name: str


class _Choice(msgspec.Struct):
    function: _Named
    type: Literal["function"] = "function"


class _JSONSchema(msgspec.Struct):
    schema: dict[str, Any]

    def __post_init__(self) -> None:
        _check_schema(self.schema)


class _Format(msgspec.Struct):
    type: Literal["text", "json_schema"]
    json_schema: _JSONSchema | None = None

    def __post_init__(self) -> None:
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError("json_schema needs the schema that the answer is to follow")


_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Positive = Annotated[int, msgspec.Meta(ge=1)]


class _StreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatBody(msgspec.Struct):
    """The body of a request: the supported parameters. `read_body` refuses others."""

    messages: Annotated[list[_Message], msgspec.Meta(min_length=1)]
    model: str = ""
    tools: list[_Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | _Choice | None = None
    response_format: _Format | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    max_tokens: _Positive | None = None
    max_completion_tokens: _Positive | None = None
    seed: int | None = None
    stop: _Text | Annotated[list[_Text], msgspec.Meta(max_length=16)] | None = None
    parallel_tool_calls: bool | None = None
    stream: bool | None = False
    stream_options: _StreamOptions | None = None

    def __post_init__(self) -> None:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options is for requests with stream")

    @property
    def tells_usage(self) -> bool:
        """Whether the events of a stream end with the usage."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def request(self) -> Request:
        """Give what is asked."""
        choice = self.tool_choice
        form = self.response_format
        return Request(
            messages=[_message(message) for message in self.messages],
            tools=msgspec.to_builtins(self.tools or []),
            tool_choice=msgspec.to_builtins(choice) if isinstance(choice, _Choice) else choice,
            response_format=form.json_schema.schema if form and form.json_schema else None,
            temperature=self.temperature,
            max_tokens=self.max_completion_tokens or self.max_tokens,
            seed=self.seed,
            stop=(self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ()),
            parallel_tool_calls=self.parallel_tool_calls,
        )


_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode
_FIXED: dict[str, Any] = {
    "n": 1, "top_p": 1, "logprobs": False, "top_logprobs": 0, "frequency_penalty": 0,
    "presence_penalty": 0, "logit_bias": {}, "modalities": ["text"], "store": False,
    "functions": [],
}  # fmt: skip
"""Parameters that are accepted only with these values, which change nothing."""

_INDIFFERENT = frozenset((
    "user", "metadata", "service_tier", "safety_identifier", "prompt_cache_key",
    "prompt_cache_retention",
))  # fmt: skip
"""Parameters that are accepted and ignored: no answer depends on them."""


def _is_too_deep(arguments: str | dict[str, Any]) -> bool:
    """Return whether arguments of a call are nested too deeply; ``False`` if they are not JSON."""
    if isinstance(arguments, dict):
        return nests_deeper(arguments, MAX_DEPTH)
    if arguments.count("{") + arguments.count("[") <= MAX_DEPTH:
        return False
    try:
        return nests_deeper(msgspec.json.decode(arguments), MAX_DEPTH)
    except RecursionError:
        return True
    except (msgspec.DecodeError, UnicodeEncodeError):
        return False


def _check_schema(schema: dict[str, Any] | None) -> None:
    if nests_deeper(schema, MAX_SCHEMA_DEPTH):
        raise ValueError(f"the schema nests more than {MAX_SCHEMA_DEPTH} levels")


def read_body(body: bytes, model: str) -> ChatBody:
    """Read a request.

    Args:
        body: JSON.
        model: the one that is served.

    Raises:
        InvalidRequest: it cannot be answered.
    """
    try:
        sent = _decode(body)
        chat = msgspec.convert(sent, ChatBody)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is no chat completion request: {error}") from None
    if chat.model not in ("", model):
        raise InvalidRequest(
            f"the model {chat.model[:100]!r} is not served here; expected {model!r}",
            status=404,
            code="model_not_found",
        )
    _check_parameters(sent)
    return chat


def _check_parameters(sent: dict[str, Any]) -> None:
    """Refuse unsupported parameters that would change the answer."""
    known = _INDIFFERENT.union(ChatBody.__struct_fields__)
    for name, value in sent.items():
        if name in known or value is None:
            continue
        if name not in _FIXED:
            hint = ": offer tools instead" if name == "function_call" else ""
            problem = f"the parameter {name[:100]!r} is not supported here{hint}"
            raise InvalidRequest(problem, code="unsupported_parameter")
        if value != _FIXED[name]:
            hint = ": offer tools instead" if name == "functions" else ""
            problem = f"{name} must be {_encode(_FIXED[name]).decode()} here{hint}"
            raise InvalidRequest(problem, code="unsupported_parameter")


def _message(message: _Message) -> Message:
    role = "system" if message.role == "developer" else message.role
    written: Message = {"role": role, "content": _content(message)}
    if message.tool_calls:
        written["tool_calls"] = msgspec.to_builtins(message.tool_calls)
    if message.tool_call_id is not None:
        written["tool_call_id"] = message.tool_call_id
    return written


def _content(message: _Message) -> str:
    """Return the words of a message, without reasoning."""
    if not isinstance(message.content, list):
        return message.content or message.refusal or ""
    for part in message.content:
        if isinstance(part, dict) and not (is_reasoning(part) or _has_words(part)):
            raise InvalidRequest("this model reads text only; expected parts of the type text")
    return words_of(message.content) or ""


def _has_words(part: dict[str, Any]) -> bool:
    return any(isinstance(part.get(key), str) for key in ("text", "refusal"))


def completion(response: Response) -> bytes:
    """Write an answer."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", **_said(response)},
        "logprobs": None,
        "finish_reason": response.finish_reason,
    }
    return _encode(
        {
            **_head(response, "chat.completion"),
            "choices": [choice],
            "usage": _usage(response),
        }
    )


def events(response: Response, *, tells_usage: bool = False) -> Iterator[bytes]:
    """Write an answer as server-sent events: whole, in one piece.

    Args:
        response: the answer.
        tells_usage: whether an event with the usage comes last, as OpenAI's ``include_usage`` asks.
    """
    head = _head(response, "chat.completion.chunk")
    if tells_usage:
        head["usage"] = None
    delta = {"role": "assistant", **_said(response)}
    for number, call in enumerate(delta.get("tool_calls", ())):
        call["index"] = number
    for piece, reason in ((delta, None), ({}, response.finish_reason)):
        choice = {"index": 0, "delta": piece, "finish_reason": reason}
        yield _event({**head, "choices": [choice]})
    if tells_usage:
        yield _event({**head, "choices": [], "usage": _usage(response)})
    yield b"data: [DONE]\n\n"


def _event(content: dict[str, Any]) -> bytes:
    return b"data: " + _encode(content) + b"\n\n"


def _usage(response: Response) -> dict[str, int]:
    usage = response.usage or Usage()
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def failure(message: str, status: int, code: str | None = None) -> bytes:
    """Write an error."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return _encode({"error": {"message": message, "type": kind, "param": None, "code": code}})


def _head(response: Response, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{secrets.token_hex(12)}",
        "object": kind,
        "created": int(time.time()),
        "model": response.model,
    }


def _said(response: Response) -> dict[str, Any]:
    """Return words and calls, without reasoning. The words are null only beside calls."""
    text, _ = without_reasoning(response.text)
    if not response.tool_calls:
        return {"content": text}
    calls = [
        {
            "id": f"call_{secrets.token_hex(12)}",
            "type": "function",
            "function": {"name": call.name, "arguments": _encode(call.arguments).decode()},
        }
        for call in response.tool_calls
    ]
    return {"content": text or None, "tool_calls": calls}
