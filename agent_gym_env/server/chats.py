"""Chats: a person plays the user, and a policy the agent.

The tools, the date and what the services know are those of a recorded dialogue. Nothing is scored,
since the person wants what the person wants.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any

import msgspec

from agent_gym_env.assembly import make_env, make_policy
from agent_gym_env.envs.actions import parse_action
from agent_gym_env.envs.conversation import Conversation
from agent_gym_env.envs.dialogue import unwrap_sgd
from agent_gym_env.envs.replay import OfferedTools
from agent_gym_env.registry import POLICIES
from agent_gym_env.server.permissions import Permissions
from agent_gym_env.server.sessions import in_thread
from agent_gym_env.server.wire import Refused, told_to_client
from agent_gym_env.tools.stateful import StatefulServices
from agent_gym_env.types import ToolCall

MAX_CHATS = 32
MAX_TURNS = 200
MAX_CALLS_PER_TURN = 8
"""Calls after which a policy that says nothing is stopped."""

IDLE_S = 900.0
_MAX_TEXT = 1 << 16


class BeginChat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Request to begin a chat.

    Attributes:
        policy: policy of the agent: a name, or a mapping with a name and options.
        corpus: corpus of the dialogue.
        split: split of the corpus.
        dialogue_id: dialogue whose services are offered; ``None`` to draw one.
        seed: seed of the draw and of the policy.
    """

    policy: str | dict[str, Any]
    corpus: str = "sample"
    split: str = "dev"
    dialogue_id: str | None = None
    seed: int = 0


class ChatBegun(msgspec.Struct, frozen=True):
    """A chat has begun; the person speaks first.

    Attributes:
        chat: id of the chat.
        policy: name of the policy.
        dialogue_id: id of the dialogue.
        services: names of the services that the agent can use.
        date: the dialogue's "today"; ``None`` if it has none.
        example: words with which the recorded user began.
    """

    chat: str
    policy: str
    dialogue_id: str
    services: tuple[str, ...]
    date: str | None
    example: str


class SayBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Words of the person.

    Attributes:
        text: the words.
    """

    text: str


class MadeCall(msgspec.Struct, frozen=True):
    """A call that the agent made, with its result.

    Attributes:
        call: tool and arguments.
        result: result of the call, as the agent reads it.
    """

    call: ToolCall
    result: Any


class ChatAnswer(msgspec.Struct, frozen=True):
    """Turn of the agent.

    Attributes:
        text: words of the agent; empty if it said nothing.
        calls: calls that it made before.
    """

    text: str
    calls: tuple[MadeCall, ...]


class PolicyChat:
    """A conversation between a person and a policy.

    Args:
        begun: configuration of the chat.

    Raises:
        ValueError: the policy or an option is unknown, or it needs to see the recording.
        DataError: the corpus or the dialogue does not exist.
    """

    def __init__(self, begun: BeginChat) -> None:
        name = begun.policy if isinstance(begun.policy, str) else begun.policy.get("name")
        if POLICIES.takes(name, "env"):
            raise ValueError(f"policy {name!r} looks at the environment, and here is none")
        env = make_env(corpus=begun.corpus, split=begun.split, disable_env_checker=True)
        bare = unwrap_sgd(env)
        options = {} if begun.dialogue_id is None else {"dialogue_id": begun.dialogue_id}
        bare.reset(seed=begun.seed, options=options)
        self.task = bare.replay.task
        self.policy = make_policy(begun.policy, env)
        self.policy.reset(seed=begun.seed)
        self._offer = OfferedTools(bare.split.tools, self.task.services)
        self._services = StatefulServices(self._offer.catalogue, bare.split.entities)
        self._services.reset(self.task)
        self._conversation: Conversation | None = None
        self._turns = 0

    def say(self, text: str) -> ChatAnswer:
        """Pass words of the user to the agent, and return its turn.

        Raises:
            ValueError: the text is empty or too long, or the chat is too long.
            LMError: the language model of the policy did not answer.
        """
        if not text.strip() or len(text) > _MAX_TEXT:
            raise ValueError(f"say something of 1 to {_MAX_TEXT:,} characters")
        if self._turns >= MAX_TURNS:
            raise ValueError(f"a chat has at most {MAX_TURNS} turns: begin another one")
        if self._conversation is None:
            self._conversation = Conversation(self._services, MAX_CALLS_PER_TURN, text)
        else:
            self._conversation.log.add_user(text)
        self._turns += 1
        return self._answer(self._conversation, text)

    def _answer(self, conversation: Conversation, user: str) -> ChatAnswer:
        made: list[MadeCall] = []
        result = ""
        while True:
            observation = {
                "user": user,
                "tool_result": result,
                "messages": conversation.log.messages,
                "tools": self._offer.json,
            }
            text, calls, _ = parse_action(self.policy.act(observation))
            user = ""
            if calls:
                result, _ = conversation.execute(calls)
                results = msgspec.json.decode(result)
                made += map(MadeCall, conversation.made, results)
            if text or not calls or not conversation.is_open():
                conversation.close(text, None)
                return ChatAnswer(text, tuple(made))


class _OpenChat:
    def __init__(self, chat: PolicyChat) -> None:
        self.chat = chat
        self.lock = asyncio.Lock()
        self.used_at = time.monotonic()


class Chats:
    """The open chats of a server.

    Args:
        permissions: permissions of the clients.
    """

    def __init__(self, permissions: Permissions) -> None:
        self._permissions = permissions
        self._open: dict[str, _OpenChat] = {}
        self._opening = 0

    async def begin(self, body: BeginChat) -> ChatBegun:
        """Begin a chat.

        Raises:
            Refused: there are too many, the client may not name what it names, or the policy cannot
                be made.
        """
        self._permissions.check({"policy": body.policy, "corpus": body.corpus})
        self._drop_idle()
        if len(self._open) + self._opening >= MAX_CHATS:
            raise Refused(
                f"{MAX_CHATS} chats are open already",
                status=503,
                code="too_many_chats",
                retry_after_s=IDLE_S,
            )
        self._opening += 1
        try:
            with told_to_client():
                chat = await in_thread(lambda: PolicyChat(body))
        finally:
            self._opening -= 1
        id_ = secrets.token_urlsafe(16)
        self._open[id_] = _OpenChat(chat)
        task = chat.task
        first = next((turn.user for turn in task.turns if turn.user), "")
        return ChatBegun(
            id_, chat.policy.name, task.dialogue_id, tuple(task.services), task.date, first
        )

    async def say(self, id_: str, text: str) -> ChatAnswer:
        """Pass words of the user to the agent of a chat, and return its turn.

        Raises:
            Refused: there is no such chat, or the policy failed.
        """
        found = self._find(id_)
        async with found.lock:
            with told_to_client():
                answer = await in_thread(lambda: found.chat.say(text))
            found.used_at = time.monotonic()
            return answer

    def close(self, id_: str) -> None:
        """End a chat.

        Raises:
            Refused: there is no such chat.
        """
        self._find(id_)
        del self._open[id_]

    def _find(self, id_: str) -> _OpenChat:
        found = self._open.get(id_)
        if found is None:
            problem = f"no chat {id_!r:.40} is open: it was never begun, was closed or was idle"
            raise Refused(problem, status=404, code="unknown_chat")
        return found

    def _drop_idle(self) -> None:
        since = time.monotonic() - IDLE_S
        for id_, each in [*self._open.items()]:
            if each.used_at < since and not each.lock.locked():
                del self._open[id_]
