"""The words and calls of an assistant's message, in the forms that libraries use.

Read are chat completions, responses and legacy functions (OpenAI and what speaks its protocols),
content blocks (Anthropic, Bedrock), parts (Gemini, Pydantic AI) and LangChain's messages: a message
by itself, a list of them, a list of their parts, or the whole completion around them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from agent_gym_env.lm.call_forms import is_call, is_nothing, is_reasoning, wraps_call
from agent_gym_env.lm.parse import without_reasoning

_ROLES = ("assistant", "model", "ai")
_OTHER_SPEAKERS = ("human", "user", "system", "tool")
_WORDS = ("text", "content", "parts", "blocks")
_ONE_CALL = ("tool_call", "function_call", "functionCall", "toolCall")
_LISTED_CALLS = ("tool_calls", "toolCalls", "invalid_tool_calls")
_REPEATED = frozenset(("tool_call_chunks",))
"""Keys that hold calls once more."""

_KNOWN = frozenset((*_WORDS, "refusal", *_ONE_CALL, *_LISTED_CALLS, "additional_kwargs"))
_OF_MESSAGES = ("role", "content", "parts", "blocks", "tool_calls", "tool_call", "message")
_WORDS_OF_PARTS = ("text", "refusal", "content")
_AROUND = ("choices", "candidates", "output", "message")
_ABOUT = frozenset((
    "role", "type", "id", "name", "model", "object", "status", "phase", "kind", "completion",
    "annotations", "citations", "logprobs", "finish_reason", "finish_message", "stop_reason",
    "stop_sequence", "stop_details", "usage", "usage_metadata", "response_metadata", "metadata",
    "provider_specific_fields", "provider_name", "provider_details", "provider_response_id",
    "provider_url", "timestamp", "created_at", "container", "context_management", "weight",
    "token_ids", "run_id", "conversation_id", "chunk_position", "part_kind", "block_type",
    "thought_signature", "thoughtSignature", "cache_control", "extra_content", "extras", "parsed",
    "model_name", "source", "models_usage", "token_usage", "meta", "raw", "raw_data",
))  # fmt: skip
"""Keys that hold neither words nor calls."""

_OF_PARTS = _ABOUT.union(_WORDS_OF_PARTS, ("thought",))


class CallsText(NamedTuple):
    """Calls as one JSON text.

    Attributes:
        text: JSON, a list of calls or one call.
    """

    text: str


class AssistantMessage(NamedTuple):
    """The words and calls of a message.

    Attributes:
        text: words for the user.
        calls: calls as they were written, in order; `CallsText` for those in JSON.
        beside: calls under keys for a single call; they may repeat one of ``calls``.
        unread: whether something was left out that is neither words nor a call nor reasoning.
        unfinished: whether the words broke off in the reasoning.
    """

    text: str
    calls: list[Any]
    beside: list[Any]
    unread: bool
    unfinished: bool


def read_message(action: Any) -> AssistantMessage:
    """Read a message of the assistant, or several.

    Raises:
        TypeError: it is neither, or a part is of a type that cannot be text or a call.
        ValueError: it is a mapping without any of the known keys, or of another speaker.
    """
    reader = _Reader()
    try:
        if isinstance(action, (list, tuple)):
            reader.add_all(action)
        else:
            reader.add(_message(action), alone=True)
    except RecursionError as error:
        raise ValueError("an action is a message; this one is nested too deeply") from error
    return reader.result()


def _message(action: Any) -> Mapping[str, Any]:
    message = as_mapping(action)
    if message is None:
        raise TypeError(
            "an action is a mapping with 'text' and 'tool_calls', an Action, an assistant message, "
            f"a list of those, or a string; this is {type(action).__name__}"
        )
    return message


def as_mapping(value: Any) -> Mapping[str, Any] | None:
    """Return the members of a mapping, struct, dataclass or pydantic model; ``None`` for others."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, type):
        return None
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.asdict(value)
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    dump = getattr(value, "model_dump", None)
    dumped = dump() if callable(dump) else None
    return dumped if isinstance(dumped, Mapping) else None


class _Reader:
    """Gathers words and calls."""

    def __init__(self) -> None:
        self._words: list[str] = []
        self._calls: list[Any] = []
        self._beside: list[Any] = []
        self._unread = False
        self._unfinished = False

    def result(self) -> AssistantMessage:
        """Return all calls, and the last message's words."""
        said = [words for words in self._words if words]
        unread = self._unread or any(words != said[-1] for words in said)
        text = said[-1] if said else ""
        return AssistantMessage(text, self._calls, self._beside, unread, self._unfinished)

    def add_all(self, items: Iterable[Any]) -> None:
        """Read a list of messages or of parts of one message."""
        parts = ""
        for item in items:
            message = as_mapping(item)
            if message is None:
                raise TypeError(
                    f"a list as an action holds assistant messages, not {type(item).__name__}"
                )
            if "part_kind" in message or all(message.get(key) is None for key in _OF_MESSAGES):
                parts += self._part(message)
                continue
            self._words.append(parts)
            parts = ""
            self.add(message)
        self._words.append(parts)

    def add(self, message: Mapping[str, Any], *, alone: bool = False) -> None:
        """Read one message, or the completion that holds it."""
        if is_call(message):
            self._calls.append(message)
            return
        _check_speaker(message)
        inside = _inside(message)
        if isinstance(inside, Mapping):
            self.add(inside)
            if "content" in message:  # what is written beside it belongs to the same message
                self._message({key: message[key] for key in message.keys() & _KNOWN - {"content"}})
            return
        if inside is not None:
            self.add_all(inside)
            return
        if alone and "role" not in message and not _KNOWN & message.keys():
            raise ValueError(
                "an action needs 'text', 'tool_calls' or 'tool_call' (in SGDSim-v0 also 'acts'), "
                "or the 'content' of an assistant message; its keys are "
                f"{sorted(map(str, message))[:8]}"
            )
        self._message(message)

    def _message(self, message: Mapping[str, Any]) -> None:
        words = [self._text(message.get(key), key) for key in ("refusal", *_WORDS)]
        self._words += words
        for key in _LISTED_CALLS:
            self._add_calls(message.get(key))
        self._beside += _single_calls(message)
        if not self._calls:
            self._older(as_mapping(message.get("additional_kwargs")) or {})
        self._unread |= any(
            _may_matter(message[key])
            for key in message.keys() - _KNOWN - _ABOUT
            if not is_reasoning({"type": str(key)}) and not (key in _REPEATED and self._calls)
        )

    def _older(self, kept: Mapping[str, Any]) -> None:
        """Read the calls that a library has kept beside its own form of a message."""
        self._add_calls(kept.get("tool_calls"))
        self._beside += _single_calls(kept)

    def _add_calls(self, calls: Any) -> None:
        if isinstance(calls, str):
            self._calls += [CallsText(calls)] if calls else []
        elif isinstance(calls, (list, tuple)):
            self._calls += calls
        elif (call := as_mapping(calls)) is not None:
            listed = call.get("tool_calls")
            self._calls += listed if isinstance(listed, (list, tuple)) else [call]
        elif calls is not None:
            raise TypeError(
                f"'tool_calls' is a JSON text or a list of calls, not {type(calls).__name__}"
            )

    def _text(self, value: Any, key: str) -> str:
        """Read text that may be ``None`` or a list of parts."""
        if isinstance(value, str):
            # In the action space's own form text is text, tags and all.
            return value if key == "text" else self._reasoned(value)
        if value is None:
            return ""
        if isinstance(value, (list, tuple)):
            return "".join(map(self._part, value))
        raise TypeError(f"an action's text is a string, not {type(value).__name__}")

    def _reasoned(self, text: str) -> str:
        words, unfinished = without_reasoning(text)
        self._unfinished |= unfinished
        return words

    def _part(self, part: Any) -> str:
        """Read a part of a message; return its words."""
        if isinstance(part, str):
            return part
        members = as_mapping(part)
        if members is None:
            self._unread = True
            return ""
        if is_reasoning(members):
            return ""
        if is_call(members) or wraps_call(members):
            self._calls.append(members)
            return ""
        self._unread |= any(_may_matter(members[key]) for key in members.keys() - _OF_PARTS)
        words = (members.get(key) for key in _WORDS_OF_PARTS)
        return next((str(text) for text in words if isinstance(text, str)), "")


def _check_speaker(message: Mapping[str, Any]) -> None:
    """Raise `ValueError` for a message of anyone but the assistant."""
    role = message.get("role", message.get("type"))
    if role in _OTHER_SPEAKERS or message.get("role", "assistant") not in _ROLES:
        raise ValueError(f"only an assistant's message is an action; this one's role is {role!r}")


def _single_calls(message: Mapping[str, Any]) -> Iterator[Any]:
    for key in _ONE_CALL:
        call = message.get(key)
        if call is not None and (key == "tool_call" or not is_nothing(call)):
            yield call


def _inside(message: Mapping[str, Any]) -> Mapping[str, Any] | Sequence[Any] | None:
    """Return the messages of a completion; ``None`` where this is a message itself."""
    if (content := as_mapping(message.get("content"))) is not None:
        return content
    if _KNOWN & message.keys():
        return None
    for key in _AROUND:
        value = message.get(key)
        if key in ("choices", "candidates") and isinstance(value, (list, tuple)):
            if len(value) != 1:
                raise ValueError(
                    f"a completion has one answer to be played; {key} has {len(value)}"
                )
            return as_mapping(value[0])
        if isinstance(value, (list, tuple)):
            return value
        if (inside := as_mapping(value)) is not None:
            return inside
    return None


def _may_matter(value: Any) -> bool:
    """Return whether a value could be words or a call."""
    return not isinstance(value, (bool, int, float)) and not is_nothing(value)
