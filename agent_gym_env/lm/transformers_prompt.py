"""Conversations as token ids, by the chat template of a model."""

from __future__ import annotations

import bisect
import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import jinja2

from agent_gym_env.chat import (
    Message,
    call_message,
    call_object,
    calls_of,
    with_arguments,
    with_function,
)
from agent_gym_env.errors import ContextExceeded, PermanentLMError
from agent_gym_env.lm.base import Request
from agent_gym_env.lm.bounded_template import render
from agent_gym_env.lm.chat_templates import MARKS
from agent_gym_env.lm.lenient_json import UnreadableError, read_strictly
from agent_gym_env.lm.parse import ends_with_open_reasoning

MAX_CHARACTERS_PER_TOKEN = 16
"""A prompt that fits only if its tokens are longer on average is refused before it is tokenised."""

_MAX_REASON = 500

_Prepared = TypeVar("_Prepared")


class ChatTokenizer:
    """Encoder of requests as token ids.

    Args:
        tokenizer: tokenizer of transformers with a chat template.
        context: number of tokens that the model can read and write.

    Raises:
        ValueError: the tokenizer has no chat template.
    """

    def __init__(self, tokenizer: Any, context: int) -> None:
        if not tokenizer.chat_template:
            raise ValueError(
                "the tokenizer has no chat template, so that a conversation cannot be written for "
                "the model; expected chat_template.jinja in its folder, or chat_template "
                "(--chat-template): a file, `hermes`, `compact` or `signatures`"
            )
        self.context = context
        self._tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder
        special = {token for token, written in added.items() if written.special}
        self._special = special - {tokenizer.unk_token_id}
        marks = sorted({*MARKS, *map(str, added.values())}, key=len, reverse=True)
        self._marks = re.compile("|".join(map(re.escape, marks)))

    def encode(self, requests: Sequence[Request], room: int) -> list[list[int] | PermanentLMError]:
        """Encode each request up to where the assistant's words begin.

        If a conversation is too long its oldest turns are left out, never the system message and
        the tools.

        Args:
            requests: requests to encode.
            room: number of tokens that must stay free for the answer.
        """
        most = self.context - room
        texts = [_tried(self._whole, request, most) for request in requests]
        short = [text for text in texts if isinstance(text, str) and self._may_fit(text, most)]
        found = dict(zip(short, self._ids_of_each(short), strict=True))
        return [
            self._fitting(request, found.get(text, text) if isinstance(text, str) else text, most)
            for request, text in zip(requests, texts, strict=True)
        ]

    def decode(self, ids: Sequence[int]) -> str:
        """Decode tokens to text, including the marks of calls and turns."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=False))

    def end_of_turn(self) -> int | None:
        """Return the token that the template writes after an assistant's words."""
        said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        try:
            text = render(self._tokenizer, said)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"[:_MAX_REASON]
            raise ValueError(f"the chat template cannot write a conversation: {reason}") from error
        _, _, behind = text.rpartition("b")
        return next((token for token in self._ids([behind])[0] if token in self._special), None)

    def opens_reasoning(self, prompt: Sequence[int]) -> bool:
        """Return whether a prompt ends inside the model's reasoning, which some templates open."""
        return ends_with_open_reasoning(self.decode(prompt[-_OPENING:]))

    def writes_hermes_calls(self) -> bool:
        """Return whether the template writes calls in the form of `agent_gym_env.lm.guided`."""
        call = call_object("1", "f", {"a": "b"})
        said: list[Message] = [{"role": "user", "content": "a"}, call_message([call], "")]
        try:
            text = render(self._tokenizer, said)
        except jinja2.TemplateError:  # it does not support calls
            return False
        return '<tool_call>\n{"name": "f", "arguments": {"a": "b"}}\n</tool_call>' in text

    def _whole(self, request: Request, most: int) -> str | None:
        """Write a request with all its turns; ``None`` where they are too many to be tried."""
        if _parts(request.messages) > most:
            return None
        return self._text(template_messages(request.messages), request)

    def _may_fit(self, text: str, most: int) -> bool:
        """Return whether a text is short enough to be worth the time that its tokens take."""
        return len(text) <= max(0, most) * MAX_CHARACTERS_PER_TOKEN

    def _fitting(
        self, request: Request, prompt: list[int] | str | PermanentLMError | None, most: int
    ) -> list[int] | PermanentLMError:
        if isinstance(prompt, PermanentLMError):
            return prompt
        if prompt is None or isinstance(prompt, str) or len(prompt) > most:
            return _tried(self._shortened, request, most)
        return prompt if prompt else PermanentLMError("the model's chat template writes nothing")

    def _shortened(self, request: Request, most: int) -> list[int]:
        system, turns = _turns(template_messages(request.messages))

        def last(kept: int) -> list[Message]:
            return [message for turn in turns[len(turns) - kept :] for message in turn]

        @functools.cache
        def prompt(kept: int) -> list[int] | str:
            text = self._text([*system, *last(kept)], request)
            return self._ids([text])[0] if self._may_fit(text, most) else text

        def is_too_long(kept: int) -> bool:
            if _parts(last(kept)) > most:
                return True
            found = prompt(kept)
            return isinstance(found, str) or len(found) > most

        if (parts := _parts([*system, *last(1)])) > most:
            raise ContextExceeded(
                f"the last turn has {parts} messages and calls with the system message, and the "
                f"model reads {most} tokens beside its answer: shorten it, or take a model with a "
                "longer context"
            )
        # The most turns that fit, from the last one on: the prompt only gets longer, and what is
        # much too long is not written at all.
        limit = 1
        while limit <= len(turns) and not is_too_long(limit):
            limit *= 2
        tried = range(1, min(limit, len(turns) + 1))
        kept = bisect.bisect_left(tried, True, key=is_too_long)
        shortest = prompt(max(kept, min(1, len(turns))))
        if kept and not isinstance(shortest, str):
            return shortest
        unit = "characters" if isinstance(shortest, str) else "tokens"
        raise ContextExceeded(
            f"the prompt has {len(shortest)} {unit} without all the earlier turns, and the model "
            f"reads {most} beside its answer (tokens, of at most {MAX_CHARACTERS_PER_TOKEN} "
            "characters on average): offer fewer tools, shorten their results, or take a model "
            "with a longer context"
        )

    def _text(self, messages: list[Message], request: Request) -> str:
        tools = None if request.tool_choice == "none" else template_tools(request.tools) or None
        unmarked = [self.unmarked(message) for message in messages]
        return render(self._tokenizer, unmarked, tools, goes_on=True)

    def unmarked(self, message: Message) -> Message:
        """Break the marks of the template in what users and tools say: nobody can forge a turn.

        Args:
            message: a message as `template_messages` returns it.
        """
        content = message["content"]
        if message["role"] not in ("user", "tool") or not self._marks.search(content):
            return message
        broken = self._marks.sub(lambda mark: f"{mark[0][0]} {mark[0][1:]}", content)
        return {**message, "content": broken}

    def _ids_of_each(self, texts: list[str]) -> list[list[int] | PermanentLMError]:
        """Tokenise texts in one call, which is faster; if it fails, one by one."""
        try:
            return [*self._ids(texts)]
        except Exception:  # noqa: BLE001  (one of the texts, which is found below)
            return [_tried(lambda text: self._ids([text])[0], text) for text in texts]

    def _ids(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        encoded = self._tokenizer(texts, add_special_tokens=False, return_attention_mask=False)
        return list(encoded["input_ids"])


def _tried(prepare: Callable[..., _Prepared], *request: Any) -> _Prepared | PermanentLMError:
    """Prepare a part of a request; return the exception of this request if that fails."""
    try:
        return prepare(*request)
    except PermanentLMError as error:
        return error
    except Exception as error:  # noqa: BLE001  (a template is foreign code, a schema anything)
        reason = str(error) if isinstance(error, jinja2.TemplateError) else repr(error)
        return PermanentLMError(
            f"the model's chat template refuses the request: {reason[:_MAX_REASON]}"
        )


def template_messages(messages: Iterable[Message]) -> list[Message]:
    """Return messages as chat templates expect them: arguments as objects, texts not null."""
    return [_for_template(message) for message in messages]


def _for_template(message: Message) -> Message:
    written = {**message, "content": message.get("content") or ""}
    return with_arguments(written, _as_object)


def template_tools(tools: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return tools in the form that chat templates expect: functions may lack parameters."""
    return [with_function(tool, _with_parameters) for tool in tools]


def _with_parameters(function: dict[str, Any]) -> dict[str, Any]:
    if function.get("parameters") is not None:
        return function
    return {**function, "parameters": {"type": "object", "properties": {}}}


def _as_object(arguments: Any) -> Any:
    """Decode the arguments of a call; leave those that cannot be decoded as they are."""
    if not isinstance(arguments, str):
        return arguments or {}
    try:
        return read_strictly(arguments or "{}")
    except UnreadableError:
        return arguments


def _parts(messages: Sequence[Message]) -> int:
    """Count messages and calls; no template that shows them needs fewer tokens."""
    return sum(1 + len(calls_of(message)) for message in messages)


def _turns(messages: list[Message]) -> tuple[list[Message], list[list[Message]]]:
    """Return the messages before the first of the user's, and then one list for each of those."""
    system: list[Message] = []
    turns: list[list[Message]] = []
    for message in messages:
        if message["role"] == "user":
            turns.append([])
        (turns[-1] if turns else system).append(message)
    return system, turns


_OPENING = 16
"""Number of tokens at the end of a prompt that are searched for an opening mark of reasoning."""
