"""From the environment's conversation to the messages that a provider takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import msgspec

from agent_gym_env.chat import Message
from agent_gym_env.lm.parse import tagged_call

RULES = """\
You are the assistant of several services and talk with one user. Today is {today}.

How a turn works:
- What you write ends your turn and is said to the user. A tool call without words keeps your turn \
open: its result comes back to you, and you go on.
- Call a tool as soon as you know all of its required arguments. Ask for one that is missing, one \
question at a time; never make a value up.
- Leave out optional arguments that the user has not asked for.
- Write dates as YYYY-MM-DD, times as HH:MM on a clock of 24 hours, and other values in the words \
of the user or of the tool's list.
- Before a call that books, buys, sends or changes something, repeat its details and ask the user \
to confirm. Make the call when the user has agreed.
- Say only what a result says. Of several results tell how many there are and offer one. If there \
are none or a call fails, say so and ask what to change.
- Answer in one or two short sentences of plain text."""
"""What an agent is told; ``{today}`` stands for the date."""

_TOOLS = """

You call a tool by writing a JSON object with its name and arguments inside tags, and nothing else:
<tool_call>
{{"name": "the tool's name", "arguments": {{"argument": "value"}}}}
</tool_call>
The result comes back inside <tool_response> tags. These are the tools:
<tools>
{tools}
</tools>"""

_OUR_TAGS = ("<tool_call", "</tool_call", "<tool_response", "</tool_response", "<tools", "</tools")


def system_message(rules: str, today: date, tools: Sequence[dict[str, Any]] = ()) -> Message:
    """Write the system message.

    Args:
        rules: with ``{today}`` where the date belongs.
        today: the dialogue's "today".
        tools: in OpenAI's function format; none if the provider takes them natively.
    """
    # Not `str.format`: rules may hold braces, and may come from a file.
    content = rules.replace("{today}", f"{today:%A}, {today.isoformat()}")
    if tools:
        lines = "\n".join(msgspec.json.encode(tool["function"]).decode() for tool in tools)
        content += _TOOLS.format(tools=lines)
    return {"role": "system", "content": content}


def as_text(messages: Sequence[Message]) -> list[Message]:
    """Write calls and results as text, in Hermes' format, for a model without native tools.

    Nobody can forge what the tags say: in a user's words they are escaped, and inside a result's
    JSON no ``<`` stands as such.
    """
    return list(_merged(map(_as_text, messages)))


def _as_text(message: Message) -> Message:
    content = message.get("content") or ""
    if message["role"] == "tool":
        result = content.replace("<", "\\u003c")
        return {"role": "user", "content": f"<tool_response>\n{result}\n</tool_response>"}
    if message["role"] == "user":
        return {"role": "user", "content": _escaped(content)}
    calls = (call["function"] for call in message.get("tool_calls", ()))
    written = [tagged_call(call["name"], call["arguments"]) for call in calls]
    return {"role": message["role"], "content": "\n".join(filter(None, (content, *written)))}


def _escaped(text: str) -> str:
    for tag in _OUR_TAGS:
        text = text.replace(tag, tag.replace("<", "&lt;"))
    return text


def _merged(messages: Iterator[Message]) -> Iterator[Message]:
    """Join neighbours of one role: many chat templates want the roles to alternate."""
    last: Message | None = None
    for message in messages:
        if last is not None and last["role"] == message["role"]:
            last = {**last, "content": f"{last['content']}\n{message['content']}"}
            continue
        if last is not None:
            yield last
        last = message
    if last is not None:
        yield last
