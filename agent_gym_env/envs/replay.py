"""Plays recorded dialogues turn by turn: the dynamics of ``SGD-v0``, without Gymnasium.

The replay is teacher-forced: the next recorded user turn comes whatever the agent said. That suits
imitation, offline reinforcement learning and scoring turn by turn. It does not simulate a user who
reacts.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec

from agent_gym_env.chat import MessageLog, call_message, call_object
from agent_gym_env.corpus.corpus import Split
from agent_gym_env.corpus.task import Task, Turn
from agent_gym_env.corpus.tool_specs import ToolSpec, tools_json
from agent_gym_env.envs.actions import UNREAD, ParsedAction
from agent_gym_env.envs.conversation import Conversation
from agent_gym_env.rewards.base import ClosedTurn, Reward, Score, not_a_score
from agent_gym_env.suggestions import unknown_name
from agent_gym_env.tools.backend import ResumableBackend, ToolBackend
from agent_gym_env.tools.replay import ReplayBackend
from agent_gym_env.tools.validation import ToolCatalogue
from agent_gym_env.types import Action, ToolCall

ToolsOffered = Literal["dialogue", "all"]
_encode = msgspec.json.Encoder().encode
_decode_messages = msgspec.json.Decoder(list[dict[str, Any]]).decode


class OfferedTools:
    """The tools of a dialogue.

    Attributes:
        json: tools as the agent reads them, a JSON array in OpenAI's function format.
        catalogue: tools as calls are checked.
    """

    def __init__(self, tools: dict[str, ToolSpec], services: tuple[str, ...]) -> None:
        wanted = set(services)
        offered = {spec.name: spec for spec in tools.values() if spec.service in wanted}
        self.json = tools_json(tools, services)
        self.catalogue = ToolCatalogue(offered)


class ReplaySettings:
    """Everything that the dialogues of one environment share, unchanged while they are played.

    Args:
        split: split of the dialogues.
        reward: reward that scores closed turns.
        tools_offered: ``"dialogue"`` for the tools of the dialogue's services, ``"all"`` for those
            of every service of the split.
        max_tool_calls_per_turn: largest number of calls in a turn; a turn with more closes. In a
            dialogue that records a turn with more calls, it is their number.
        shows_system_prompt: whether the messages begin with the system prompt of a log.
        backend: returns the backend for a catalogue of tools; by default the recorded answers.
    """

    def __init__(
        self,
        split: Split,
        reward: Reward,
        *,
        tools_offered: ToolsOffered = "dialogue",
        max_tool_calls_per_turn: int = 4,
        shows_system_prompt: bool = False,
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
        self.shows_system_prompt = shows_system_prompt
        self._offers_all = tools_offered == "all"
        self._offered: dict[tuple[str, ...], OfferedTools] = {}
        self._backend = backend or self._replay_backend

    def _replay_backend(self, catalogue: ToolCatalogue) -> ToolBackend:
        return ReplayBackend(catalogue, self.split.entities)

    def offered_tools(self, task: Task) -> OfferedTools:
        """Return the tools that are offered in a dialogue."""
        services = self.split.services if self._offers_all else task.services
        offered = self._offered.get(services)
        if offered is None:
            offered = self._offered[services] = OfferedTools(self.split.tools, services)
        return offered

    def begin_conversation(self, task: Task, offered: OfferedTools) -> Conversation:
        """Begin a conversation about a dialogue."""
        backend = self._backend(offered.catalogue)
        backend.reset(task)
        # What was recorded can always be done again.
        most = max(self.max_tool_calls_per_turn, *(len(turn.calls) for turn in task.turns))
        return Conversation(backend, most, task.turns[0].user, self.system_prompt_of(task))

    def system_prompt_of(self, task: Task) -> str | None:
        """Return the system prompt that the messages begin with, if it is shown."""
        return task.system if self.shows_system_prompt else None


Count = Annotated[int, msgspec.Meta(ge=0)]


class Snapshot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """State of a dialogue in play, as JSON-able values.

    Attributes:
        version: version of this format.
        corpus: fingerprint of the split.
        split: name of the split.
        dialogue_id: id of the dialogue.
        turn: number of the agent's turns that have closed.
        log: messages so far, a JSON array without its closing bracket.
        calls: calls of the open turn.
        executed: number of calls in the dialogue so far.
        user: the observation's ``user``.
        tool_result: the observation's ``tool_result``.
        random: state of the generator that draws dialogues, JSON; ``""`` for none.
    """

    version: int
    corpus: str
    split: str
    dialogue_id: str
    turn: int
    log: str
    calls: list[ToolCall]
    executed: Count
    user: str
    tool_result: str
    random: str = ""


SNAPSHOT_VERSION = 1


def read_snapshot(state: Mapping[str, Any]) -> Snapshot:
    """Read a state from JSON-able values.

    Raises:
        msgspec.DecodeError: it has other fields, or its log is not a list of messages.
        UnicodeEncodeError: one of its texts has lone surrogates.
    """
    snapshot = msgspec.convert(dict(state), Snapshot)
    _encode(snapshot)
    _decode_messages(f"{snapshot.log}]")
    return snapshot


class Replay:
    """One dialogue in play.

    Attributes:
        task: the dialogue.
        turn: number of the agent's turns that have closed.
        over: whether the dialogue has ended.
        score: score of the turn that the last action closed; ``None`` if it left the turn open.
    """

    __slots__ = (
        "_conversation", "_last_action", "_offered", "_reward", "_settings", "_tool_result",
        "_turns", "_user", "over", "score", "task", "turn",
    )  # fmt: skip

    def __init__(self, settings: ReplaySettings, task: Task) -> None:
        self._settings = settings
        self._reward = settings.reward
        self._offered = settings.offered_tools(task)
        self._turns = task.turns
        self._conversation = settings.begin_conversation(task, self._offered)
        self._user = task.turns[0].user
        self._tool_result = ""
        self._last_action: ParsedAction = ("", (), None)
        self.task = task
        self.turn = 0
        self.over = False
        self.score: Score | None = None

    def __reduce__(self) -> tuple[object, ...]:
        """Copy a replay through its state, since its tool backend reads a memory map."""
        return Replay.restored, (self._settings, self.snapshot())

    def begin(self) -> tuple[dict[str, str], dict[str, Any]]:
        """Return the present observation, and an info in which no turn has closed."""
        return self._observation(), self._open_info(None)

    def step(self, action: ParsedAction) -> tuple[dict[str, str], float, bool, dict[str, Any]]:
        """Take an action.

        A long function without calls of small ones, because it runs at every step.

        Returns:
            Observation, reward, whether the dialogue is over, and info.
        """
        self._last_action = action
        text, calls, error = action
        conversation = self._conversation
        results = ""
        if calls:
            if self._offered.catalogue.has_functions:
                clean = self._offered.catalogue.without_nulls
                calls = [clean(call) if isinstance(call, ToolCall) else call for call in calls]
            results, refused = conversation.execute(calls)
            # A refused call matters more than a part of an action that could not be read.
            error = refused if refused and error in (None, UNREAD) else error
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
                self._offered.json,
                turn,
            )
        )
        if not isinstance(score, Score):
            raise not_a_score(self._reward, score)
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
            "tools": self._offered.json,
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
            "tools": self._offered.json,
        }

    def _open_info(self, error: str | None) -> dict[str, Any]:
        """Return the info of a step that leaves the turn open."""
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
        """Return what the corpus did in the open turn."""
        return self._turns[self.turn]

    def recorded_action(self) -> Action:
        """Return what the corpus does in the open turn, see `recorded_action`."""
        return recorded_action(self.recorded_turn(), len(self._conversation.calls))

    def snapshot(self, random: str = "") -> Snapshot:
        """Return the state, to come back to it later."""
        conversation = self._conversation
        return Snapshot(
            version=SNAPSHOT_VERSION,
            corpus=self._settings.split.fingerprint,
            split=self._settings.split.name,
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
    def restored(cls, settings: ReplaySettings, snapshot: Snapshot) -> Replay:
        """Rebuild a replay from its state.

        Raises:
            ValueError: the state is of another version, corpus or split.
            DataError: the split does not have its dialogue.
        """
        split = settings.split
        expected = (SNAPSHOT_VERSION, split.fingerprint, split.name)
        found = (snapshot.version, snapshot.corpus, snapshot.split)
        if found != expected:
            raise ValueError(
                f"the state is of (version, corpus, split) {found}, this environment of {expected}"
            )
        replay = cls(settings, split.task(split.index(snapshot.dialogue_id)))
        replay._restore(snapshot)
        return replay

    def _restore(self, snapshot: Snapshot) -> None:
        if not 0 <= snapshot.turn <= len(self._turns):
            raise ValueError(
                f"the state's turn is {snapshot.turn}; dialogue {snapshot.dialogue_id!r} has "
                f"{len(self._turns)}"
            )
        conversation = self._conversation
        if not snapshot.log.startswith(conversation.log.text):
            raise ValueError(
                f"not an SGD-v0 state: its log begins with {snapshot.log[:80]!r}, the "
                f"dialogue with {conversation.log.text[:80]!r}"
            )
        for _ in range(snapshot.turn):
            conversation.backend.next_turn()
        if isinstance(conversation.backend, ResumableBackend):
            conversation.backend.resume(snapshot.calls)
        conversation.log = MessageLog(snapshot.log, snapshot.executed)
        conversation.calls = tuple(snapshot.calls)
        self.turn = snapshot.turn
        self.over = snapshot.turn == len(self._turns)
        self._user = snapshot.user
        self._tool_result = snapshot.tool_result


def recorded_action(turn: Turn, made: int = 0) -> Action:
    """Return what the corpus did in a turn as an action: its calls and its reply.

    A turn with several rounds of calls, or without a reply, takes several actions. Of these it is
    the next one: a round of calls, or the reply after all of them.

    Args:
        turn: recorded turn.
        made: number of calls that the agent has made in it.
    """
    calls = turn.calls
    takes_several = bool(calls) and (calls[-1].round > 0 or not turn.text)
    if takes_several:
        left = calls[made:]
        calls = tuple([call for call in left if call.round == left[0].round])
    text = "" if takes_several and calls else turn.text
    return Action(text, tuple([ToolCall(call.name, dict(call.arguments)) for call in calls]))


def target_messages(turn: Turn) -> list[dict[str, Any]]:
    """Return what the corpus did as assistant messages in OpenAI's format.

    A list, since Gymnasium's vector environments cannot merge infos of which some are ``None`` and
    some a mapping.
    """
    reply = {"role": "assistant", "content": turn.text}
    call = turn.call
    if call is None:
        return [reply]
    if not turn.more_calls:  # all turns of SGD; this saves time at every step
        made = call_object("call_0", call.name, _encode(call.arguments).decode())
        return [call_message([made]), reply]
    numbers = itertools.count()
    rounds = (
        call_message(
            [
                call_object(f"call_{next(numbers)}", call.name, _encode(call.arguments).decode())
                for call in calls
            ]
        )
        for calls in turn.rounds
    )
    return [*rounds, reply]
