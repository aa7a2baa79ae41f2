"""A model's play from states of ``SGD-v0``, with the tokens that it wrote and was shown."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from agent_gym_env.chat import Message, tool_names
from agent_gym_env.envs.actions import parse_action
from agent_gym_env.envs.replay import Replay, ReplaySettings, Snapshot
from agent_gym_env.errors import DataError
from agent_gym_env.lm.parse import parse_reply
from agent_gym_env.lm.torch_generation import Draft, Generator, batches
from agent_gym_env.training.chat_tokens import ChatTokens
from agent_gym_env.types import Action

_SILENCE = ("", (), None)
_THOSE_OF_THE_ROWS = "the environment's arguments are to be those of the rows"


class Situation(msgspec.Struct, frozen=True):
    """Where a play begins.

    Attributes:
        state: of ``SGD-v0``.
        system: the message before the conversation; ``None`` for none.
    """

    state: Snapshot
    system: Message | None = None


def situation(row: Mapping[str, Any]) -> Situation:
    """Read where a ``grpo`` row's prompt stands.

    Raises:
        DataError: its state is none of this version's.
    """
    first = row["prompt"][0]
    try:
        state = msgspec.json.decode(row["state"], type=Snapshot)
    except msgspec.DecodeError as error:
        problem = f"the row's state is none of SGD-v0: {error}"
        raise DataError(problem, dialogue_id=row["dialogue_id"], turn=row["turn"]) from error
    return Situation(state, first if first["role"] == "system" else None)


def refuse_other_tools(begin: Situation, tools: Sequence[Any], world: ReplaySettings) -> None:
    """See that a world offers in a situation what the row that it was read from offers.

    Raises:
        DataError: it does not, or the state is of another corpus or split.
    """
    observation, _ = _restored(begin.state, world).begin()
    if msgspec.json.decode(observation["tools"]) != list(tools):
        problem = f"the environment offers other tools than the row; {_THOSE_OF_THE_ROWS}"
        raise DataError(problem, dialogue_id=begin.state.dialogue_id)


def _restored(state: Snapshot, world: ReplaySettings) -> Replay:
    try:
        return Replay.restored(world, state)
    except ValueError as error:
        problem = f"{error}; {_THOSE_OF_THE_ROWS}"
        raise DataError(problem, dialogue_id=state.dialogue_id) from error


class Limits(msgspec.Struct, frozen=True):
    """How far a play goes.

    Attributes:
        turns: of the agent; ``None`` to the dialogue's end.
        message: tokens of a message of the assistant.
        tokens: of the whole. What has no room is silence.
    """

    turns: int | None
    message: int
    tokens: int


class Played(msgspec.Struct, frozen=True):
    """A play.

    Attributes:
        prompt_ids: tokens that the model was shown first.
        completion_ids: tokens that it wrote, and was shown between.
        env_mask: 1 for a token that it wrote, 0 for one that it was shown, or that it wrote in a
            turn whose reward could not be told while another's could; one for each of
            ``completion_ids``.
        rewards: of the turns; ``None`` where it could not be told.
    """

    prompt_ids: list[int]
    completion_ids: list[int]
    env_mask: list[int]
    rewards: list[float | None]

    @property
    def reward(self) -> float | None:
        """The mean of the turns that have one."""
        known = [reward for reward in self.rewards if reward is not None]
        return sum(known) / len(known) if known else None


def play_together(
    situations: Sequence[Situation],
    worlds: Mapping[str, ReplaySettings],
    generator: Generator,
    chat: ChatTokens,
    limits: Limits,
    *,
    temperature: float,
    seed: str,
    batch_size: int,
) -> list[Played]:
    """Play from many states at once.

    Args:
        situations: one play from each.
        worlds: by split.
        generator: of the model.
        chat: of its tokenizer.
        limits: of each play.
        temperature: of sampling; 0 for the likeliest token.
        seed: of all draws; each play has its own of it.
        batch_size: messages that are written at once.

    Raises:
        DataError: a state is of another corpus or split.
    """
    plays = [_Play(each, worlds[each.state.split], chat, limits) for each in situations]
    draws = [random.Random(f"{seed} {number}") for number in range(len(plays))]
    while waiting := [number for number, play in enumerate(plays) if not play.is_over]:
        drafts = {number: plays[number].draft(temperature, draws[number]) for number in waiting}
        for batch in batches(list(drafts.values()), batch_size):
            generator.run(batch)
        for number, draft in drafts.items():
            plays[number].take(draft.tokens)
    return [play.played() for play in plays]


class _Play:
    """A play under way."""

    def __init__(
        self, begin: Situation, world: ReplaySettings, chat: ChatTokens, limits: Limits
    ) -> None:
        self._replay = _restored(begin.state, world)
        self._system = [] if begin.system is None else [begin.system]
        self._chat = chat
        self._limits = limits
        observation, _ = self._replay.begin()
        self._tools = msgspec.json.decode(observation["tools"])
        self._names = tool_names(self._tools)
        self._messages = self._read(observation)
        self._prompt = chat.prompt(self._messages, self._tools)
        self._tokens: list[int] = []
        self._own: list[int] = []
        self._turn_begin = 0
        self._unscored: list[slice] = []
        self._rewards: list[float | None] = []
        self.is_over = False

    def draft(self, temperature: float, draws: random.Random) -> Draft:
        """Ask for the next message."""
        return Draft(
            prompt=self._prompt + self._tokens,
            max_tokens=self._limits.message,
            temperature=temperature,
            random=draws,
        )

    def take(self, tokens: Sequence[int]) -> None:
        """Do what the model has written."""
        said = self._chat.text(tokens)
        if self._chat.opens_reasoning(self._prompt + self._tokens):
            said = f"<think>{said}"
        self._tokens += tokens
        self._own += [1] * len(tokens)
        reply = parse_reply(said, self._names)
        # As `LLMPolicy` has it: words beside calls are not said.
        text = "" if reply.tool_calls else reply.text
        observation = self._step(parse_action(Action(text, reply.tool_calls)))
        if self._is_enough():
            self.is_over = True
            return
        self._show(observation, ended=tokens[-1] in self._chat.ends)

    def _step(self, action: Any) -> Mapping[str, str]:
        observation, _, _, _ = self._replay.step(action)
        score = self._replay.score
        if score is not None:
            known = score.value is not None and math.isfinite(score.value)
            self._rewards.append(score.value if known else None)
            if not known:
                self._unscored.append(slice(self._turn_begin, len(self._own)))
            self._turn_begin = len(self._own)
        return observation

    def _is_enough(self) -> bool:
        turns = self._limits.turns
        return self._replay.over or (turns is not None and len(self._rewards) >= turns)

    def _show(self, observation: Mapping[str, str], *, ended: bool) -> None:
        """Write what the world answers; be silent to the end where there is no room for it."""
        said = len(self._messages) + 1
        self._messages = self._read(observation)
        shown = self._chat.between(self._messages, self._tools, said=said, ended=ended)
        have = len(self._prompt) + len(self._tokens) + len(shown)
        if have + self._limits.message > self._limits.tokens:
            while not self._is_enough():
                self._step(_SILENCE)
            self.is_over = True
            return
        self._tokens += shown
        self._own += [0] * len(shown)

    def _read(self, observation: Mapping[str, str]) -> list[Message]:
        return [*self._system, *msgspec.json.decode(observation["messages"])]

    def played(self) -> Played:
        """Give the whole of it."""
        mask = list(self._own)
        # Without any reward the play has no advantage, and a loss over no token is no number.
        if len(self._unscored) < len(self._rewards):
            for turn in self._unscored:
                mask[turn] = [0] * len(mask[turn])
        return Played(self._prompt, self._tokens, mask, self._rewards)
