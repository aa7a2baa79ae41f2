"""OpenAI's chat completions and Gemini's ``generateContent`` as a server reads and writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from agent_gym_env.types import ToolCall

_GEMINI_PATH = re.compile(r"/v1(?:beta|alpha)?/models/([^/:]+):generateContent")
_SNAKE = re.compile(r"_([a-z])")


@dataclass(frozen=True)
class ChatRequest:
    """A client's request, in the same form for every protocol.

    Attributes:
        protocol: protocol of the request.
        model: model that is asked for.
        messages: messages in OpenAI's chat format.
        tools: tools in OpenAI's function format.
        schema: JSON schema that the answer must follow, or ``None``.
        path: path as sent, with its query.
        headers: headers as sent, with names in lower case.
        body: body as sent.
    """

    protocol: Literal["openai", "gemini"]
    model: str
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    schema: dict[str, Any] | None
    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]

    @property
    def system(self) -> str:
        """The system message; ``""`` for none."""
        return "".join(m["content"] for m in self.messages if m["role"] == "system")

    @property
    def last(self) -> dict[str, Any]:
        """The last message."""
        return self.messages[-1]


@dataclass(frozen=True)
class ChatAnswer:
    """Answer of the model behind the server.

    Attributes:
        text: text of the answer; ``None`` is sent as null.
        tool_calls: tool calls of the answer.
        finish_reason: finish reason in OpenAI's terms; by default the one that fits the answer.
        model: model that the server names; ``None`` for the one that was asked for.
    """

    text: str | None = None
    tool_calls: Sequence[ToolCall] = field(default=())
    finish_reason: str | None = None
    model: str | None = None


@dataclass(frozen=True)
class Tokens:
    """Tokens that the server bills for one answer; four bytes count as a token."""

    prompt: int
    completion: int


def read_request(path: str, headers: Mapping[str, str], body: bytes) -> ChatRequest | None:
    """Understand a request; ``None`` if no protocol has this path."""
    content = msgspec.json.decode(body)
    bare = path.partition("?")[0]
    if bare.endswith("/chat/completions"):
        return _from_openai(path, headers, content)
    gemini = _GEMINI_PATH.search(bare)
    return None if gemini is None else _from_gemini(gemini[1], path, headers, content)


def bill(request: ChatRequest, answer: ChatAnswer) -> Tokens:
    """Count tokens."""
    written = msgspec.json.encode([answer.text, list(answer.tool_calls)])
    return Tokens(len(msgspec.json.encode(request.messages)) // 4, len(written) // 4)


def write_answer(request: ChatRequest, answer: ChatAnswer, tokens: Tokens, serial: int) -> bytes:
    """Write an answer in the request's protocol; the serial makes ids differ."""
    write = _to_openai if request.protocol == "openai" else _to_gemini
    return msgspec.json.encode(write(request, answer, tokens, serial))


def write_no_choices(request: ChatRequest, tokens: Tokens) -> bytes:
    """An answer that is billed and says nothing."""
    if request.protocol == "openai":
        return msgspec.json.encode(
            {"id": "x", "object": "chat.completion", "created": 1, "model": request.model}
            | {"choices": [], "usage": _openai_usage(tokens)}
        )
    return msgspec.json.encode({"candidates": [], "usageMetadata": _gemini_usage(tokens)})


def write_error(request: ChatRequest, status: int, message: str) -> bytes:
    """An error's body in the request's protocol."""
    if request.protocol == "openai":
        return msgspec.json.encode({"error": {"message": message, "type": "error", "code": None}})
    return msgspec.json.encode({"error": {"code": status, "message": message, "status": "ERROR"}})


def _from_openai(path: str, headers: Mapping[str, str], body: dict[str, Any]) -> ChatRequest:
    response_format = body.get("response_format") or {}
    return ChatRequest(
        protocol="openai",
        model=body["model"],
        messages=body["messages"],
        tools=body.get("tools") or [],
        schema=(response_format.get("json_schema") or {}).get("schema"),
        path=path,
        headers=headers,
        body=body,
    )


def _to_openai(
    request: ChatRequest, answer: ChatAnswer, tokens: Tokens, serial: int
) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text}
    if answer.tool_calls:
        message["tool_calls"] = [
            {
                "id": f"call_{serial}_{number}",
                "type": "function",
                "function": {
                    "name": call.name,
                    "arguments": msgspec.json.encode(call.arguments).decode(),
                },
            }
            for number, call in enumerate(answer.tool_calls)
        ]
    reason = answer.finish_reason or ("tool_calls" if answer.tool_calls else "stop")
    return {
        "id": f"chatcmpl-{serial}",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": answer.model or request.model,
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": _openai_usage(tokens),
    }


def _openai_usage(tokens: Tokens) -> dict[str, int]:
    return {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.completion,
        "total_tokens": tokens.prompt + tokens.completion,
    }


def _from_gemini(
    model: str, path: str, headers: Mapping[str, str], body: dict[str, Any]
) -> ChatRequest:
    body = _camel(body)
    messages: list[dict[str, Any]] = []
    if "systemInstruction" in body:
        text = "".join(part.get("text", "") for part in body["systemInstruction"]["parts"])
        messages.append({"role": "system", "content": text})
    for content in body.get("contents", ()):
        messages += _messages_of(content)
    tools = [
        {"type": "function", "function": _as_openai_function(declaration)}
        for tool in body.get("tools") or ()
        for declaration in tool.get("functionDeclarations", ())
    ]
    config = body.get("generationConfig") or {}
    schema = config.get("responseJsonSchema") or config.get("responseSchema")
    return ChatRequest("gemini", model, messages, tools, schema, path, headers, body)


def _as_openai_function(declaration: dict[str, Any]) -> dict[str, Any]:
    parameters = declaration.get("parametersJsonSchema") or declaration.get("parameters") or {}
    return {
        "name": declaration["name"],
        "description": declaration.get("description", ""),
        "parameters": parameters,
    }


def _messages_of(content: dict[str, Any]) -> list[dict[str, Any]]:
    """One Gemini content can be several messages: words, calls, and a result each."""
    role = "assistant" if content.get("role") == "model" else "user"
    text = "".join(part["text"] for part in content["parts"] if "text" in part)
    calls = [part["functionCall"] for part in content["parts"] if "functionCall" in part]
    results = [part["functionResponse"] for part in content["parts"] if "functionResponse" in part]
    messages: list[dict[str, Any]] = [
        {
            "role": "tool",
            "tool_call_id": result["name"],
            "content": msgspec.json.encode(result["response"]).decode(),
        }
        for result in results
    ]
    if calls:
        messages.append({"role": role, "content": text or None, "tool_calls": [
            {"id": call["name"], "type": "function", "function": {
                "name": call["name"],
                "arguments": msgspec.json.encode(call.get("args") or {}).decode(),
            }}
            for call in calls
        ]})  # fmt: skip
    elif text or not results:
        messages.append({"role": role, "content": text})
    return messages


def _to_gemini(
    request: ChatRequest, answer: ChatAnswer, tokens: Tokens, serial: int
) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [] if answer.text is None else [{"text": answer.text}]
    parts += [
        {
            "functionCall": {"name": call.name, "args": call.arguments},
            "thoughtSignature": f"c2lnbmF0dXJl{serial:04}",
        }
        for call in answer.tool_calls
    ]
    content: dict[str, Any] = {"role": "model"}
    if parts:
        content["parts"] = parts
    reasons = {"length": "MAX_TOKENS", "content_filter": "SAFETY"}
    return {
        "candidates": [
            {
                "content": content,
                "finishReason": reasons.get(answer.finish_reason or "", "STOP"),
                "index": 0,
            }
        ],
        "usageMetadata": _gemini_usage(tokens),
        "modelVersion": answer.model or request.model,
    }


def _gemini_usage(tokens: Tokens) -> dict[str, int]:
    return {
        "promptTokenCount": tokens.prompt,
        "candidatesTokenCount": tokens.completion,
        "totalTokenCount": tokens.prompt + tokens.completion,
    }


def _camel(value: Any) -> Any:
    """Gemini takes either spelling of a field; schemas and arguments are left alone."""
    if isinstance(value, list):
        return [_camel(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        (name := _SNAKE.sub(lambda match: match[1].upper(), key)): content
        if name in ("args", "response", "parameters", "parametersJsonSchema", "responseSchema",
                    "responseJsonSchema")
        else _camel(content)
        for key, content in value.items()
    }  # fmt: skip
