"""Renders a conversation for a terminal or as a section of HTML."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from agent_gym_env.chat import ReadFunction, new_messages

_RESULT_LENGTH = 400


class Line(NamedTuple):
    """One line of a rendered conversation.

    Attributes:
        speaker: ``user``, ``agent``, ``call`` or ``result``.
        text: content of the line.
    """

    speaker: str
    text: str


def lines(messages: str) -> Iterator[Line]:
    """Read a conversation, JSON in OpenAI's chat format, line by line."""
    for message in new_messages(messages):
        for call in message.calls:
            yield Line("call", _call(call))
        if message.role == "tool":
            yield Line("result", _shortened(message.content or ""))
        elif message.content is not None:
            yield Line("user" if message.role == "user" else "agent", message.content)


def _call(call: ReadFunction) -> str:
    given = ", ".join(f"{name}={value!r}" for name, value in call.decoded_arguments().items())
    return f"{call.name}({given})"


def _shortened(text: str) -> str:
    return text if len(text) <= _RESULT_LENGTH else f"{text[:_RESULT_LENGTH]}…"


def render_ansi(dialogue_id: str, messages: str) -> str:
    """Render for a terminal; control characters are made visible."""
    rows = [f"dialogue {printable(dialogue_id)}"]
    rows += [f"{line.speaker:>6} │ {printable(line.text)}" for line in lines(messages)]
    return "\n".join(rows)


def printable(text: str) -> str:
    """Replace control and direction characters, so that text cannot steer what shows it."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        " " if c in "\n\t" else "\N{REPLACEMENT CHARACTER}" if _steers(c) else c for c in text
    )


def _steers(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp")


def render_html(dialogue_id: str, messages: str) -> str:
    """Render as an HTML section; text is escaped and cannot reorder the page around it."""
    rows = "".join(
        f'<p class="{line.speaker}"><b>{line.speaker}</b> {html.escape(printable(line.text))}</p>'
        for line in lines(messages)
    )
    title = html.escape(printable(dialogue_id))
    return f'<section class="dialogue"><h2>{title}</h2>{rows}</section>'
