"""Recorded dialogues played turn by turn: the dynamics of ``SGD-v0``, without Gymnasium.

The replay is teacher-forced: the next recorded user turn comes whatever the agent said. That is
honest for imitation, offline reinforcement learning and scoring turn by turn; it is no simulation
of a user who reacts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec

from agent_gym_env.chat import MessageLog, call_message, call_object
from agent_gym_env.corpus.corpus import Split
from agent_gym_env.corpus.task import Task, Turn
from agent_gym_env.corpus.tool_specs import ToolSpec, tools_json
from agent_gym_env.envs.actions import ParsedAction
from agent_gym_env.envs.conversation import Conversation
from agent_gym_env.rewards.base import ClosedTurn, Reward, Score
from agent_gym_env.suggestions import unknown_name
from agent_gym_env.tools.backend import ToolBackend
from agent_gym_env.tools.replay import ReplayBackend
from agent_gym_env.tools.validation import ToolCatalogue
from agent_gym_env.types import Action, ToolCall

ToolsOffered = Literal["dialogue", "all"]
_encode = msgspec.json.Encoder().encode
_Messages = Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1)]
_decode_messages = msgspec.json.Decoder(_Messages).decode


class Offer:
    """The tools on offer in a dialogue: as the agent reads them, and as calls are checked."""

    def __init__(self, tools: dict[str, ToolSpec], services: tuple[str, ...]) -> None:
        wanted = set(services)
        offered = {name: spec for name, spec in tools.items() if spec.service in wanted}
        self.json = tools_json(tools, services)
        self.catalogue = ToolCatalogue(offered)


class World:
    """What all dialogues of one environment share. It does not change while they are played.

    Args:
        split: where the dialogues come from.
        reward: scores closed turns.
        tools_offered: ``"dialogue"`` for the tools of the dialogue's services, ``"all"`` for those
            of every service of the split.
        max_tool_calls_per_turn: a turn with more closes.
        backend: makes the services behind the tools on offer; by default the recorded ones.
    """

    def __init__(
        self,
        split: Split,
        reward: Reward,
        *,
        tools_offered: ToolsOffered = "dialogue",
        max_tool_calls_per_turn: int = 4,
        backend: Callable[[ToolCatalogue], ToolBackend] | None = None,
    ) -> None:
        if tools_offered not in ("dialogue", "all"):
            raise ValueError(unknown_name("tools_offered", tools_offered, ("dialogue", "all")))
        if type(max_tool_calls_per_turn) is not int or max_tool_calls_per_turn < 1:
            raise ValueError(
                "max_tool_calls_per_turn must be a whole number from 1, not "
                f"{max_tool_calls_per_turn!r}"
            )
        self.split = split
        self.reward = reward
        self.max_tool_calls_per_turn = max_tool_calls_per_turn
        self._offers_all = tools_offered == "all"
        self._offers: dict[tuple[str, ...], Offer] = {}
        self._backend = backend or self._replay_backend

    def _replay_backend(self, catalogue: ToolCatalogue) -> ToolBackend:
        return ReplayBackend(catalogue, self.split.entities)

    def offer(self, task: Task) -> Offer:
        """Give the tools on offer in a dialogue."""
        services = self.split.services if self._offers_all else task.services
        offer = self._offers.get(services)
        if offer is None:
            offer = self._offers[services] = Offer(self.split.tools, services)
        return offer

    def converse(self, task: Task, offer: Offer) -> Conversation:
        """Begin a conversation about a dialogue."""
        backend = self._backend(offer.catalogue)
        backend.reset(task)
        return Conversation(backend, self.max_tool_calls_per_turn, task.turns[0].user)


class Snapshot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that makes a replay what it is, as JSON-able values.

    Attributes:
        version: of this shape.
        corpus: fingerprint of the split.
        split: the split's name.
        dialogue_id: the dialogue.
        turn: how many turns of the agent have closed.
        log: the messages so far.
        calls: of the open turn.
        executed: how many calls the dialogue has seen.
        user: the observation's ``user``.
        tool_result: the observation's ``tool_result``.
        random: the state of the generator that draws dialogues, JSON; ``""`` for none.
    """

    version: int
    corpus: str
    split: str
    dialogue_id: str
    turn: int
    log: str
    calls: list[ToolCall]
    executed: int
    user: str
    tool_result: str
    random: str = ""


SNAPSHOT_VERSION = 1


def read_snapshot(state: Mapping[str, Any]) -> Snapshot:
    """Read a state from JSON-able values.

    Raises:
        msgspec.DecodeError: it has another shape, or its log is no list of messages.
        UnicodeEncodeError: a text of it is no Unicode.
    """
    snapshot = msgspec.convert(dict(state), Snapshot)
    _encode(snapshot)
    _decode_messages(f"{snapshot.log}]")
    return snapshot


class Replay:
    """One dialogue in play.

    Attributes:
        task: the dialogue.
        turn: how many turns of the agent have closed.
        over: whether the dialogue has come to its end.
        score: of the turn that the last action closed; ``None`` where it left the turn open.
    """

    __slots__ = (
        "_conversation", "_last_action", "_offer", "_reward", "_tool_result", "_turns",
        "_user", "_world", "over", "score", "task", "turn",
    )  # fmt: skip

    def __init__(self, world: World, task: Task) -> None:
        self._world = world
        self._reward = world.reward
        self._offer = world.offer(task)
        self._turns = task.turns
        self._conversation = world.converse(task, self._offer)
        self._user = task.turns[0].user
        self._tool_result = ""
        self._last_action: ParsedAction = ("", (), None)
        self.task = task
        self.turn = 0
        self.over = False
        self.score: Score | None = None

    def __reduce__(self) -> tuple[object, ...]:
        """Copy a replay as its state: the services behind it read a memory map."""
        return Replay.restored, (self._world, self.snapshot())

    def begin(self) -> tuple[dict[str, str], dict[str, Any]]:
        """Give the observation and info of the dialogue as it stands, with nothing closed."""
        return self._observation(), self._open_info(None)

    def step(self, action: ParsedAction) -> tuple[dict[str, str], float, bool, dict[str, Any]]:
        """Take an action. One straight story, since every microsecond of it counts.

        Returns:
            Observation, reward, whether the dialogue is over, and info.
        """
        self._last_action = action
        text, calls, error = action
        conversation = self._conversation
        results = ""
        if calls:
            results, refused = conversation.execute(calls)
            error = error or refused
            if not text and conversation.is_open():
                self._user, self._tool_result, self.score = "", results, None
                return self._observation(), 0.0, False, self._open_info(error)

        task, turn = self.task, self.turn
        target = self._turns[turn]
        self.score = score = self._reward.score(
            ClosedTurn(
                text,
                conversation.calls,
                target,
                task.date,
                conversation.log.text,
                self._offer.json,
                turn,
            )
        )
        self.turn = turn = turn + 1
        self.over = over = turn == len(self._turns)
        user = None if over else self._turns[turn].user
        conversation.close(text, user)
        conversation.backend.next_turn()
        self._user, self._tool_result = user or "", results

        value = score.value
        observation = {
            "user": self._user,
            "tool_result": results,
            "messages": conversation.log.messages,
            "tools": self._offer.json,
        }
        info = {
            "dialogue_id": task.dialogue_id,
            "turn": turn,
            "services": list(task.services),
            "date": task.date,
            "reward_components": score.components,
            "reward_valid": value is not None,
            "action_error": error,
            "target": target_messages(target),
        }
        return observation, 0.0 if value is None else value, over, info

    def _observation(self) -> dict[str, str]:
        return {
            "user": self._user,
            "tool_result": self._tool_result,
            "messages": self.messages,
            "tools": self._offer.json,
        }

    def _open_info(self, error: str | None) -> dict[str, Any]:
        """Make the info of a step that closes no turn."""
        return {
            "dialogue_id": self.task.dialogue_id,
            "turn": self.turn,
            "services": list(self.task.services),
            "date": self.task.date,
            "reward_components": dict.fromkeys(self._reward.parts),
            "reward_valid": True,
            "action_error": error,
            "target": None,
        }

    @property
    def messages(self) -> str:
        """The conversation so far, JSON in OpenAI's chat format."""
        return self._conversation.log.messages

    @property
    def last_action(self) -> Action:
        """The last action as it was understood: text within its limit, tools by full names."""
        text, calls, _ = self._last_action
        return Action(text, self._conversation.made if calls else ())

    def recorded_turn(self) -> Turn:
        """Give what the corpus did in the open turn."""
        return self._turns[self.turn]

    def snapshot(self, random: str = "") -> Snapshot:
        """Take the state, to come back to it later."""
        conversation = self._conversation
        return Snapshot(
            version=SNAPSHOT_VERSION,
            corpus=self._world.split.fingerprint,
            split=self._world.split.name,
            dialogue_id=self.task.dialogue_id,
            turn=self.turn,
            log=conversation.log.text,
            calls=list(conversation.calls),
            executed=conversation.log.call_count,
            user=self._user,
            tool_result=self._tool_result,
            random=random,
        )

    @classmethod
    def restored(cls, world: World, snapshot: Snapshot) -> Replay:
        """Rebuild a replay from its state.

        Raises:
            ValueError: the state is of another version, corpus or split.
            DataError: the split does not have its dialogue.
        """
        split = world.split
        expected = (SNAPSHOT_VERSION, split.fingerprint, split.name)
        found = (snapshot.version, snapshot.corpus, snapshot.split)
        if found != expected:
            raise ValueError(
                f"the state is of (version, corpus, split) {found}, this environment of {expected}"
            )
        replay = cls(world, split.task(split.index(snapshot.dialogue_id)))
        replay._restore(snapshot)
        return replay

    def _restore(self, snapshot: Snapshot) -> None:
        if not 0 <= snapshot.turn <= len(self._turns):
            raise ValueError(
                f"the state's turn is {snapshot.turn}; dialogue {snapshot.dialogue_id!r} has "
                f"{len(self._turns)}"
            )
        conversation = self._conversation
        for _ in range(snapshot.turn):
            conversation.backend.next_turn()
        conversation.log = MessageLog(snapshot.log, snapshot.executed)
        conversation.calls = tuple(snapshot.calls)
        self.turn = snapshot.turn
        self.over = snapshot.turn == len(self._turns)
        self._user = snapshot.user
        self._tool_result = snapshot.tool_result


def recorded_action(turn: Turn) -> Action:
    """Give what the corpus did in a turn as an action: its call, then its reply."""
    call = turn.call
    calls = () if call is None else (ToolCall(call.name, dict(call.arguments)),)
    return Action(turn.text, calls)


def target_messages(turn: Turn) -> list[dict[str, Any]]:
    """Give what the corpus did as assistant messages in OpenAI's format.

    A list, since Gymnasium's vector environments cannot merge infos of which some are ``None`` and
    some a mapping.
    """
    reply = {"role": "assistant", "content": turn.text}
    call = turn.call
    if call is None:
        return [reply]
    made = call_object("call_0", call.name, _encode(call.arguments).decode())
    return [call_message([made]), reply]
