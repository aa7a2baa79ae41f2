"""The provider's ids of calls, found again in the environment's conversation, which has its own.

Gemini signs its reasoning, litellm keeps the signature in the id, and a model answers worse, or not
at all, when its signature does not come back.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b

import msgspec

from agent_gym_env.chat import Message

_MAX_KEPT = 4096

_encode = msgspec.json.Encoder().encode


class CallIds:
    """Remembers the ids of the calls that followed a conversation; the oldest are forgotten."""

    def __init__(self) -> None:
        self._ids: OrderedDict[bytes, tuple[str, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def remember(self, messages: Sequence[Message], ids: tuple[str, ...]) -> None:
        """Keep the ids of the calls that a model made after these messages."""
        if not any(ids):
            return
        digest = blake2b(digest_size=16)
        for message in messages:
            digest.update(_encode(message))
        with self._lock:
            self._ids[digest.digest()] = ids
            if len(self._ids) > _MAX_KEPT:
                self._ids.popitem(last=False)

    def restore(self, messages: Sequence[Message]) -> list[Message]:
        """Give the conversation with the ids that its calls had, where they are remembered."""
        digest = blake2b(digest_size=16)
        renamed: dict[str, str] = {}
        restored = []
        for message in messages:
            calls = message.get("tool_calls")
            if calls and self._ids:
                ids = self._ids.get(digest.digest(), ())
                pairs = zip(calls, ids, strict=False)
                renamed.update((call["id"], known) for call, known in pairs if known)
            digest.update(_encode(message))
            restored.append(_renamed(message, renamed))
        return restored


def _renamed(message: Message, ids: dict[str, str]) -> Message:
    if message.get("tool_call_id") in ids:
        return {**message, "tool_call_id": ids[message["tool_call_id"]]}
    if not any(call["id"] in ids for call in message.get("tool_calls", ())):
        return message
    calls = [{**call, "id": ids.get(call["id"], call["id"])} for call in message["tool_calls"]]
    return {**message, "tool_calls": calls}
