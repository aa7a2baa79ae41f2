"""OpenAI's chat-completions protocol, as a client and as a server speak it.

- A client writes a request with `payload` and reads the answer with `read_completion`.
- A server reads a request with `read_body` and writes the answer with `completion`, `events` or
  `failure`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from types import NoneType
from typing import Annotated, Any, Literal

import msgspec

from agent_gym_env.chat import Message, call_object
from agent_gym_env.lm.base import Request, Response
from agent_gym_env.lm.budget import Price
from agent_gym_env.lm.call_forms import is_call, is_reasoning, read_call, words_of, wraps_call
from agent_gym_env.lm.lenient_json import MAX_DEPTH, nests_deeper
from agent_gym_env.lm.parse import read_arguments, tagged_call, without_reasoning
from agent_gym_env.lm.transport import Failure
from agent_gym_env.types import ToolCall, Usage

_encode = msgspec.json.Encoder().encode


def payload(request: Request, model: str) -> dict[str, Any]:
    """Write a request; parameters that are ``None`` are left out."""
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


class _CalledFunction(msgspec.Struct):
    name: str
    arguments: str | dict[str, Any] | None = None


class _MadeCall(msgspec.Struct):
    function: _CalledFunction
    id: str | None = None


class _Answer(msgspec.Struct):
    content: str | list[str | dict[str, Any]] | None = None
    refusal: str | None = None
    tool_calls: list[_MadeCall] | None = None
    function_call: _CalledFunction | None = None


class _AnswerChoice(msgspec.Struct):
    message: _Answer
    finish_reason: str | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _BilledUsage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None


class _Completion(msgspec.Struct):
    choices: list[_AnswerChoice]
    usage: _BilledUsage | None = None
    model: str | None = None


_decode_completion = msgspec.json.Decoder(_Completion).decode


def read_completion(body: bytes | str, model: str, price: Price | None) -> Response | Failure:
    """Read an answer; an answer with neither words nor calls is a failure that was billed.

    Args:
        body: JSON.
        model: name of the requested model, used if the answer names none.
        price: price of tokens; ``None`` if it is unknown.
    """
    try:
        completion = _decode_completion(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Failure("transient", f"the answer is not a chat completion: {error}")
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
            [
                ToolCall(call.function.name, arguments)
                for call, arguments in read
                if arguments is not None
            ]
        ),
        tool_call_ids=tuple([call.id or "" for call, arguments in read if arguments is not None]),
        model=completion.model or model,
        finish_reason=finish_reason or "stop",
        usage=usage,
        cost_usd=cost_usd,
    )


_FINISH_REASONS = {"function_call": "tool_calls"}
"""Names that older servers use."""


def _text(message: _Answer) -> str | None:
    """Return the words; ``None`` if the message has none."""
    content = message.content
    if isinstance(content, list):
        content = words_of(content)
    return content or message.refusal or content


def _calls(message: _Answer) -> Iterator[_MadeCall]:
    """Yield the calls, including the older ``function_call`` and those in content parts."""
    yield from message.tool_calls or ()
    if message.function_call is not None and not message.tool_calls:
        yield _MadeCall(message.function_call)
    for part in message.content if isinstance(message.content, list) else ():
        if isinstance(part, dict) and (is_call(part) or wraps_call(part)):
            form = read_call(part)
            if isinstance(form.name, str) and isinstance(form.arguments, (str, dict, NoneType)):
                yield _MadeCall(_CalledFunction(form.name, form.arguments), part.get("id"))


def _bill(usage: _BilledUsage | None, price: Price | None) -> tuple[Usage | None, float | None]:
    if usage is None:
        return None, None
    billed = Usage(usage.prompt_tokens or 0, usage.completion_tokens or 0)
    details = usage.prompt_tokens_details
    cached = (details.cached_tokens or 0) if details else 0
    return billed, None if price is None else price.cost_usd(billed, cached)


MAX_SCHEMA_DEPTH = 64
"""Levels of lists and objects inside a tool's parameters or the schema of an answer."""


class InvalidRequest(Exception):  # noqa: N818  (OpenAI's word for it)
    """A request that is refused.

    Args:
        message: problem, and the expected form.
        status: HTTP status.
        code: machine-readable code of the problem.
    """

    def __init__(self, message: str, *, status: int = 400, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class _SentFunction(msgspec.Struct):
    name: str
    arguments: str | dict[str, Any] = "{}"

    def __post_init__(self) -> None:
        if _is_too_deep(self.arguments):
            raise ValueError(f"the arguments of a call nest more than {MAX_DEPTH} levels")


class _SentCall(msgspec.Struct):
    function: _SentFunction
    id: str = ""
    type: str = "function"


class _SentMessage(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[str | dict[str, Any]] | None = None
    refusal: str | None = None
    tool_calls: list[_SentCall] | None = None
    tool_call_id: str | None = None
    function_call: dict[str, Any] | None = None
    audio: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.function_call or self.audio:
            raise ValueError("messages have tool_calls here, not function_call or audio")


class _OfferedFunction(msgspec.Struct, omit_defaults=True):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    description: str | None = None
    parameters: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        _check_schema(self.parameters)


class _OfferedTool(msgspec.Struct):
    function: _OfferedFunction
    type: Literal["function"] = "function"


class _NamedFunction(msgspec.Struct):
    name: str


class _ToolChoice(msgspec.Struct):
    function: _NamedFunction
    type: Literal["function"] = "function"


class _JSONSchema(msgspec.Struct):
    schema: dict[str, Any]

    def __post_init__(self) -> None:
        _check_schema(self.schema)


class _AnswerFormat(msgspec.Struct):
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

    messages: Annotated[list[_SentMessage], msgspec.Meta(min_length=1)]
    model: str = ""
    tools: list[_OfferedTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | _ToolChoice | None = None
    response_format: _AnswerFormat | None = None
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
        """True if a stream's last event reports the usage."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def request(self) -> Request:
        """Return the request as our models take it."""
        choice = self.tool_choice
        form = self.response_format
        return Request(
            messages=[_message(message) for message in self.messages],
            tools=msgspec.to_builtins(self.tools or []),
            tool_choice=msgspec.to_builtins(choice) if isinstance(choice, _ToolChoice) else choice,
            response_format=form.json_schema.schema if form and form.json_schema else None,
            temperature=self.temperature,
            max_tokens=self.max_completion_tokens or self.max_tokens,
            seed=self.seed,
            stop=(self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ()),
            parallel_tool_calls=self.parallel_tool_calls,
        )


_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
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
        model: name of the served model.

    Raises:
        InvalidRequest: the request cannot be answered.
    """
    try:
        sent = _decode_object(body)
        chat = msgspec.convert(sent, ChatBody)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is not a chat completion request: {error}") from None
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


def _message(message: _SentMessage) -> Message:
    role = "system" if message.role == "developer" else message.role
    written: Message = {"role": role, "content": _content(message)}
    if message.tool_calls:
        written["tool_calls"] = msgspec.to_builtins(message.tool_calls)
    if message.tool_call_id is not None:
        written["tool_call_id"] = message.tool_call_id
    return written


def _content(message: _SentMessage) -> str:
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
        "message": {"role": "assistant", **_answer_fields(response)},
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
    """Write an answer as server-sent events, whole in one event.

    Args:
        response: answer to write.
        tells_usage: whether a last event reports the usage, as OpenAI's ``include_usage`` asks.
    """
    head = _head(response, "chat.completion.chunk")
    if tells_usage:
        head["usage"] = None
    delta = {"role": "assistant", **_answer_fields(response)}
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


def _answer_fields(response: Response) -> dict[str, Any]:
    """Return words and calls, without reasoning. The words are null only beside calls."""
    text, _ = without_reasoning(response.text)
    if not response.tool_calls:
        return {"content": text}
    calls = [
        call_object(f"call_{secrets.token_hex(12)}", call.name, _encode(call.arguments).decode())
        for call in response.tool_calls
    ]
    return {"content": text or None, "tool_calls": calls}
