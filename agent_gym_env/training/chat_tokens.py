"""A conversation that goes on, as token ids: what was written once stays as it was written.

A chat template writes a whole conversation. To write it anew after each message would change the
tokens of those before, and the model would learn from tokens that it never drew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agent_gym_env.chat import Message
from agent_gym_env.errors import DataError
from agent_gym_env.lm.bounded_template import render
from agent_gym_env.lm.transformers_prompt import ChatTokenizer, template_messages, template_tools


class ChatTokens:
    """Writes the parts of conversations that are not the model's own.

    Args:
        tokenizer: of transformers, with a chat template.
        ends: further tokens that end a message of the assistant.

    Raises:
        DataError: the template writes no token behind a message that could end it.
    """

    def __init__(self, tokenizer: Any, ends: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._prompts = ChatTokenizer(tokenizer, 0)
        end = self._prompts.end_of_turn()
        if end is None:
            raise DataError("the chat template ends an assistant's message with no special token")
        self._end = str(tokenizer.decode([end]))
        self.ends = frozenset((end, *ends))

    def prompt(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> list[int]:
        """Write a conversation up to where the assistant begins."""
        return self._ids(self._text(messages, tools, goes_on=True))

    def opens_reasoning(self, prompt: Sequence[int]) -> bool:
        """Return whether what the model writes after a prompt begins inside its reasoning."""
        return self._prompts.opens_reasoning(prompt)

    def text(self, tokens: Sequence[int]) -> str:
        """Read what the model has written, without the token that ends it."""
        said = tokens[:-1] if tokens[-1] in self.ends else tokens
        return str(self._tokenizer.decode(said, skip_special_tokens=False))

    def between(
        self,
        messages: Sequence[Message],
        tools: Sequence[dict[str, Any]],
        *,
        said: int,
        ended: bool,
    ) -> list[int]:
        """Write what stands between a message of the assistant and its next one.

        Args:
            messages: the conversation so far.
            tools: on offer.
            said: number of the messages up to that one, it included.
            ended: whether the model has written the token that ends it.

        Raises:
            DataError: the template writes earlier messages anew as the conversation goes on.
        """
        before = self._text(messages[:said], tools, goes_on=False)
        now = self._text(messages, tools, goes_on=True)
        if not now.startswith(before):
            raise DataError(
                "the chat template writes earlier messages anew as the conversation goes on; "
                "expected one that only appends, as those for training do"
            )
        behind = before.rpartition(self._end)[2]
        return self._ids(f"{'' if ended else self._end}{behind}{now[len(before) :]}")

    def _text(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, goes_on: bool
    ) -> str:
        unmarked = [self._prompts.unmarked(each) for each in template_messages(messages)]
        return render(self._tokenizer, unmarked, template_tools(tools), goes_on=goes_on)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids
