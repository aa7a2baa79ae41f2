"""A conversation as the token ids that a model was trained to read: its chat template's."""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable, Sequence
from typing import Any

import jinja2
import msgspec

from agent_gym_env.errors import ContextExceeded, PermanentLMError
from agent_gym_env.lm.base import Message, Request
from agent_gym_env.lm.chat_templates import MARKS
from agent_gym_env.lm.parse import without_reasoning


class ChatTokenizer:
    """Writes requests as token ids.

    Args:
        tokenizer: of transformers, with a chat template.
        context: tokens that the model can read and write.

    Raises:
        ValueError: the tokenizer has no chat template.
    """

    def __init__(self, tokenizer: Any, context: int) -> None:
        if not tokenizer.chat_template:
            raise ValueError(
                "the tokenizer has no chat template, so that a conversation cannot be written for "
                "the model; expected chat_template.jinja in its folder, or chat_template "
                "(--chat-template): a file, `hermes` or `compact`"
            )
        self.context = context
        self._tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder
        special = {token for token, written in added.items() if written.special}
        self._special = special - {tokenizer.unk_token_id}
        marks = sorted({*MARKS, *map(str, added.values())}, key=len, reverse=True)
        self._marks = re.compile("|".join(map(re.escape, marks)))

    def encode(self, requests: Sequence[Request], room: int) -> list[list[int] | PermanentLMError]:
        """Write each request up to the place where the assistant's words begin.

        Of a conversation that is too long the oldest turns are left out, never the system message
        and the tools.

        Args:
            requests: what is asked.
            room: tokens that must stay free for the answer.
        """
        most = self.context - room
        texts = [self._whole(request) for request in requests]
        # One call for all: each has a price of its own.
        prompts = iter(self._ids([text for text in texts if isinstance(text, str)]))
        return [
            self._fitting(request, next(prompts), most) if isinstance(text, str) else text
            for request, text in zip(requests, texts, strict=True)
        ]

    def decode(self, ids: Sequence[int]) -> str:
        """Give the text, the marks of calls and turns in it."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=False))

    def end_of_turn(self) -> int | None:
        """Find the token that the template writes behind an assistant's words."""
        said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        text = self._tokenizer.apply_chat_template(said, tokenize=False)
        _, _, behind = text.rpartition("b")
        return next((token for token in self._ids([behind])[0] if token in self._special), None)

    def opens_reasoning(self, prompt: Sequence[int]) -> bool:
        """Return whether a prompt ends inside the model's reasoning, which some templates open."""
        _, unfinished = without_reasoning(self.decode(prompt[-_OPENING:]).rstrip())
        return unfinished

    def writes_hermes_calls(self) -> bool:
        """Say whether the template writes calls as `agent_gym_env.lm.guided` guides them."""
        call = {"type": "function", "id": "1", "function": {"name": "f", "arguments": {"a": "b"}}}
        said = [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "", "tool_calls": [call]},
        ]
        try:
            text = self._tokenizer.apply_chat_template(said, tokenize=False)
        except jinja2.TemplateError:  # it knows no calls
            return False
        return '<tool_call>\n{"name": "f", "arguments": {"a": "b"}}\n</tool_call>' in text

    def _whole(self, request: Request) -> str | PermanentLMError:
        try:
            return self._text(template_messages(request.messages), request)
        except jinja2.TemplateError as error:
            return PermanentLMError(f"the model's chat template refuses the messages: {error}")

    def _fitting(
        self, request: Request, prompt: list[int], most: int
    ) -> list[int] | PermanentLMError:
        return prompt if len(prompt) <= most else self._shortened(request, most)

    def _shortened(self, request: Request, most: int) -> list[int] | PermanentLMError:
        messages = template_messages(request.messages)
        system, turns = _turns(messages)

        def prompt(left_out: int) -> list[int]:
            kept = [message for turn in turns[left_out:] for message in turn]
            return self._ids([self._text([*system, *kept], request)])[0]

        # The fewest turns to leave out: the prompt only gets shorter.
        left_out = bisect.bisect_left(
            range(len(turns)), True, key=lambda count: len(prompt(count)) <= most
        )
        if left_out < len(turns):
            return prompt(left_out)
        shortest = len(prompt(len(turns) - 1)) if turns else len(prompt(0))
        return ContextExceeded(
            f"the prompt has {shortest} tokens without all the earlier turns, and the model reads "
            f"{most} beside its answer: offer fewer tools, shorten their results, or take a model "
            "with a longer context"
        )

    def _text(self, messages: list[Message], request: Request) -> str:
        tools = None if request.tool_choice == "none" else list(request.tools) or None
        return str(
            self._tokenizer.apply_chat_template(
                [self.unmarked(message) for message in messages],
                tools=tools,
                add_generation_prompt=True,
                tokenize=False,
            )
        )

    def unmarked(self, message: Message) -> Message:
        """Break the marks of the template in what users and tools say: nobody can forge a turn.

        Args:
            message: as `template_messages` gives it.
        """
        content = message["content"]
        if message["role"] not in ("user", "tool") or not self._marks.search(content):
            return message
        broken = self._marks.sub(lambda mark: f"{mark[0][0]} {mark[0][1:]}", content)
        return {**message, "content": broken}

    def _ids(self, texts: list[str]) -> list[list[int]]:
        encoded = self._tokenizer(texts, add_special_tokens=False, return_attention_mask=False)
        return list(encoded["input_ids"])


def template_messages(messages: Iterable[Message]) -> list[Message]:
    """Give messages as chat templates take them: arguments of calls as objects, texts not null."""
    return [_for_template(message) for message in messages]


def _for_template(message: Message) -> Message:
    written = {**message, "content": message.get("content") or ""}
    if message.get("tool_calls"):
        written["tool_calls"] = [
            {**call, "function": _with_object(call["function"])} for call in message["tool_calls"]
        ]
    return written


def _with_object(function: dict[str, Any]) -> dict[str, Any]:
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        return {**function, "arguments": arguments or {}}
    try:
        return {**function, "arguments": msgspec.json.decode(arguments or "{}")}
    except msgspec.DecodeError:
        return function


def _turns(messages: list[Message]) -> tuple[list[Message], list[list[Message]]]:
    """Split a conversation at the user's messages, what stands before the first apart."""
    system: list[Message] = []
    turns: list[list[Message]] = []
    for message in messages:
        if message["role"] == "user":
            turns.append([])
        (turns[-1] if turns else system).append(message)
    return system, turns


_OPENING = 16
"""Tokens at the end of a prompt in which a template opens the model's reasoning."""
