"""Simulated dialogues: the dynamics of ``SGDSim-v0``, without Gymnasium.

The turn rule is that of replay. What differs: services keep state, the user answers what the agent
said and did, and success is verified.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from zlib import crc32

import msgspec

from agent_gym_env.chat import MessageLog
from agent_gym_env.corpus.corpus import Split
from agent_gym_env.corpus.goals import UserAct
from agent_gym_env.corpus.task import Task
from agent_gym_env.envs.actions import UNREAD, ActionWithActs
from agent_gym_env.envs.conversation import Conversation
from agent_gym_env.envs.replay import Count, OfferedTools
from agent_gym_env.errors import LMError
from agent_gym_env.rewards.base import Score
from agent_gym_env.rewards.task import ClosedEpisode, TaskReward, Verdict
from agent_gym_env.tools.stateful import ServiceState, StatefulServices, rows_of
from agent_gym_env.types import Action, DialogueAct, ToolCall, ToolResult
from agent_gym_env.users.agenda import AgendaUser, UserState
from agent_gym_env.users.agent_turn import AgentTurn, read_acts
from agent_gym_env.users.noise import NoisyChannel
from agent_gym_env.users.options import UserOptions
from agent_gym_env.users.reading.reader import ReadingModel, TextReader
from agent_gym_env.users.verdict import judge
from agent_gym_env.users.wording import TextToRead, UserReading, UserWording

Understanding = Literal["text", "acts"]
STATE_VERSION = 2
INAUDIBLE = "(inaudible)"
"""The words of a user of whom the agent hears nothing."""


class SimulationState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Complete state of a simulated dialogue, as JSON-able values.

    Attributes:
        version: version of this format.
        corpus: fingerprint of the split.
        split: the split's name.
        dialogue_id: the dialogue.
        turn: number of closed turns of the agent.
        log: the messages so far.
        calls: those of the open turn.
        executed: number of calls in the dialogue.
        words: the observation's ``user``.
        tool_result: the observation's ``tool_result``.
        heard: the user's last acts as they reached the agent.
        seed: seeds what is random in the user and in what the agent hears.
        user: the user's state.
        services: the services' state.
        verdict: the verdict at the end of the last closed turn.
        random: state of the generator that draws dialogues, JSON; ``""`` for none.
    """

    version: int
    corpus: str
    split: str
    dialogue_id: str
    turn: Count
    log: str
    calls: list[ToolCall]
    executed: Count
    words: str
    tool_result: str
    heard: tuple[UserAct, ...]
    seed: int
    user: UserState
    services: ServiceState
    verdict: Verdict
    random: str = ""


class SimulationStart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Beginning of a simulated dialogue, as JSON-able values.

    Attributes:
        version: version of `SimulationState`'s format.
        corpus: fingerprint of the split.
        split: the split's name.
        dialogue_id: the dialogue.
        seed: seed of ``reset``.
        user_options: everything that determines how the user behaves.
    """

    version: int
    corpus: str
    split: str
    dialogue_id: str
    seed: int | None
    user_options: dict[str, Any]


class WatchedServices:
    """Services that report each answer to the user, who compares it with the agent's words.

    Args:
        services: the services.
        user: the user.
        offer: the tools on offer.
    """

    __slots__ = ("_offer", "_services", "_user")

    def __init__(self, services: StatefulServices, user: AgendaUser, offer: OfferedTools) -> None:
        self._services, self._user, self._offer = services, user, offer

    def reset(self, task: Task) -> None:
        """Begin a dialogue."""
        self._services.reset(task)

    def next_turn(self) -> None:
        """Move on to the agent's next turn."""

    def full_name(self, name: str) -> str:
        """Return the full name of the tool that a name means, or the name where it means none."""
        return self._services.full_name(name)

    def execute(self, call: ToolCall) -> ToolResult:
        """Answer a call, and let the user know."""
        result = self._services.execute(call)
        spec = self._offer.catalogue.tools.get(result.name)
        if spec is not None and result.error is None:
            self._user.note_result(spec, call.arguments, result.status, rows_of(result))
        return result


class SimulationSettings(msgspec.Struct, frozen=True):
    """Settings that all dialogues of one environment share.

    Attributes:
        split: split that the dialogues come from.
        reward: scores closed turns.
        max_tool_calls_per_turn: a turn with more closes.
        patience: number of turns without progress that the user accepts in an errand.
        wording: puts the user's acts into words.
        user: options of the user.
        channel: distorts what the agent hears; ``None`` where it hears everything as it was said.
        understanding: whether the user reads the agent's text or its acts.
        reading: model that reads the text; ``None`` where nobody or a language model does.
    """

    split: Split
    reward: TaskReward
    max_tool_calls_per_turn: int
    patience: int
    wording: UserWording
    user: UserOptions = UserOptions()
    channel: NoisyChannel | None = None
    understanding: Understanding = "acts"
    reading: ReadingModel | None = None

    def is_random(self) -> bool:
        """Return whether dialogues depend on their seed."""
        return self.channel is not None or self.user.is_random()


class Simulation:
    """One dialogue in play.

    Args:
        settings: settings of the environment.
        offer: the tools on offer.
        index: index of the dialogue in its split.
        seed: seeds what is random in the user and in what the agent hears.
        state: state to continue from; ``None`` to begin a dialogue.

    Attributes:
        task: the recorded dialogue.
        turn: number of closed turns of the agent.
        over: whether the dialogue is over.
        verdict: verdict on the dialogue so far.
        score: score of the turn that the last action closed; ``None`` where it left it open.
        understood: whether the user understood the turn that the last action closed; ``None``
            where it left the turn open.
        goal: goal of the user.
        agent_turn: meaning of the last closed turn, as the user understood it; ``None`` before the
            first one.
        last_action: the last action as it was understood: text within its limit, tools by full
            names.
    """

    def __init__(
        self,
        settings: SimulationSettings,
        offer: OfferedTools,
        index: int,
        seed: int = 0,
        state: SimulationState | None = None,
    ) -> None:
        self.task = settings.split.task(index)
        self._settings, self._offer = settings, offer
        self.goal = settings.split.goal(index)
        tools = offer.catalogue.tools
        user = None if state is None else state.user
        self._user = AgendaUser(
            self.goal, tools, self.task.date, patience=settings.patience, state=user
        )
        reading = settings.reading
        self._reader = (
            None
            if reading is None
            else TextReader(reading, self._user, self.goal, self.task, tools)
        )
        self._services = StatefulServices(offer.catalogue, settings.split.entities)
        self._services.reset(self.task, None if state is None else state.services)
        self.score: Score | None = None
        self.understood: bool | None = None
        self.agent_turn: AgentTurn | None = None
        self.last_action = Action()
        self.turn, self._tool_result, self._seed = 0, "", seed
        self._heard: tuple[UserAct, ...] = ()
        if state is None:
            self._words = self._say(self._user.open())
        else:
            self.turn, self._words, self._tool_result = state.turn, state.words, state.tool_result
            self._heard, self._seed = state.heard, state.seed
        watched = WatchedServices(self._services, self._user, offer)
        self._conversation = Conversation(watched, settings.max_tool_calls_per_turn, self._words)
        if state is not None:
            self._conversation.log = MessageLog(state.log, state.executed)
            self._conversation.calls = tuple(state.calls)
        self.over = self._user.is_over()
        self.verdict = self._judge() if state is None else state.verdict

    def __reduce__(self) -> tuple[object, ...]:
        """Copy a simulation through its state, since its services read a memory map."""
        index = self._settings.split.index(self.task.dialogue_id)
        return Simulation, (self._settings, self._offer, index, self._seed, self.state())

    def begin(self) -> tuple[dict[str, str], dict[str, Any]]:
        """Return the observation and info of the dialogue as it is, with nothing closed."""
        return self._observation(), self._info(None)

    def step(self, action: ActionWithActs) -> tuple[dict[str, str], float, bool, dict[str, Any]]:
        """Take an action.

        Returns:
            Observation, reward, whether the dialogue is over, and info.
        """
        (text, calls, error), acts = action
        conversation = self._conversation
        self._tool_result, self.score, self.understood = "", None, None
        if calls:
            self._tool_result, refused = conversation.execute(calls)
            # A refused call matters more than a part of an action that could not be read.
            error = refused if refused and error in (None, UNREAD) else error
        self.last_action = Action(text, conversation.made if calls else (), acts=tuple(acts))
        if calls and not text and conversation.is_open():
            self._words = ""
            return self._observation(), 0.0, False, self._info(error)
        made = len(conversation.calls)
        self._answer(text, acts)
        before, self.verdict = self.verdict, self._judge()
        closed = ClosedEpisode(before, self.verdict, made, self.over)
        self.score = self._settings.reward.grade(closed)
        return self._observation(), self.score.value or 0.0, self.over, self._info(error)

    def _answer(self, text: str, acts: Sequence[DialogueAct]) -> None:
        """Close the agent's turn, and let the user speak."""
        try:
            replies = self._react(self._understand(text, acts))
            self.understood = self._user.understood
            self.turn += 1
            self.over = self._user.is_over()
            self._words = self._say(replies, text) if replies else ""
        except LMError:
            self.over = True  # half a turn has happened
            raise
        self._conversation.close(text, self._words or None)

    def _understand(self, text: str, acts: Sequence[DialogueAct]) -> AgentTurn:
        """Return the meaning of the agent's turn for the user."""
        if self._reader is not None:
            return self._reader.read(text)
        if self._settings.understanding == "text":
            acts = self._read(text)
        return read_acts(acts, self._user.state.rows, self.task.date)

    def _react(self, turn: AgentTurn) -> tuple[UserAct, ...]:
        """Return the user's answer to a turn of the agent."""
        user, options = self._user, self._settings.user
        self.agent_turn = turn
        if not options.is_random():
            return user.react(turn)
        draws = self._draws("user")
        misses, volunteers = draws.random() < options.miss, draws.random() < options.volunteer
        if misses:
            self.agent_turn = AgentTurn("none")
            return user.miss()
        return user.react(turn, volunteers=volunteers)

    def _read(self, text: str) -> Sequence[DialogueAct]:
        """Return the acts of a text, as a language model reads them."""
        user, wording = self._user, self._settings.wording
        if not isinstance(wording, UserReading):
            return ()
        said = [each["content"] for each in json.loads(self.messages) if each["role"] == "user"]
        tools, rows = self._offer.catalogue.tools, user.state.rows
        understood = wording.read(TextToRead(text, said[-1], tools, rows, self.task.date))
        if understood.dropped:
            user.count("acts_dropped", understood.dropped)
        return understood.acts

    def _say(self, acts: tuple[UserAct, ...], answered: str = "") -> str:
        """Return the words that reach the agent, and note the acts in them."""
        settings, user = self._settings, self._user
        if settings.channel is not None:
            acts = settings.channel.distort(acts, self.task.date, self._draws("noise"))
        self._heard = acts
        if not acts:
            return INAUDIBLE
        draw = crc32(f"{self.task.dialogue_id}:{self._seed}:{self.turn}".encode())
        words = settings.wording.words(user.to_say(acts, self.task, draw, answered))
        user.count(f"words_{words.source}")
        return words.text

    def _draws(self, purpose: str) -> random.Random:
        """Return the generator of this turn; branches from one state draw the same."""
        return random.Random(f"{purpose}:{self._seed}:{self.turn}")

    def _judge(self) -> Verdict:
        return judge(self.goal, self._user.state, self._services.state.queried)

    def _observation(self) -> dict[str, str]:
        return {
            "user": self._words,
            "tool_result": self._tool_result,
            "messages": self.messages,
            "tools": self._offer.json,
        }

    def _info(self, error: str | None) -> dict[str, Any]:
        score, verdict = self.score, self.verdict
        parts = self._settings.reward.parts
        return {
            "dialogue_id": self.task.dialogue_id,
            "turn": self.turn,
            "services": list(self.task.services),
            "date": self.task.date,
            "reward_components": dict.fromkeys(parts) if score is None else score.components,
            "reward_valid": score is None or score.value is not None,
            "action_error": error,
            "target": None,
            "user_understood": self.understood,
            "errands_done": self._user.state.errand + self._user.state.finished,
            "task": {
                "success": verdict.success if self.over else None,
                "strict": verdict.strict if self.over else None,
                "milestones": verdict.milestones if self.over else None,
                "reasons": list(verdict.reasons) if self.over else None,
            },
        }

    @property
    def messages(self) -> str:
        """The conversation so far, JSON in OpenAI's chat format."""
        return self._conversation.log.messages

    @property
    def user_state(self) -> UserState:
        """The live state of the user: for records and tests, never for a policy."""
        return self._user.state

    @property
    def service(self) -> str:
        """Service of the errand under way."""
        return self.goal.errands[self._user.state.errand].service

    def user_acts(self) -> tuple[Any, ...]:
        """Return the acts of the user's last turn: for teachers and tests, never for a policy."""
        return self._heard

    def tool_schemas(self) -> Mapping[str, Any]:
        """Return the tools on offer, by full name."""
        return self._offer.catalogue.tools

    def state(self, random_state: str = "") -> SimulationState:
        """Return the state. It shares the live user's state: encode it before the next step."""
        conversation = self._conversation
        return SimulationState(
            version=STATE_VERSION,
            corpus=self._settings.split.fingerprint,
            split=self._settings.split.name,
            dialogue_id=self.task.dialogue_id,
            turn=self.turn,
            log=conversation.log.text,
            calls=list(conversation.calls),
            executed=conversation.log.call_count,
            words=self._words,
            tool_result=self._tool_result,
            heard=self._heard,
            seed=self._seed,
            user=self._user.state,
            services=self._services.state,
            verdict=self.verdict,
            random=random_state,
        )
