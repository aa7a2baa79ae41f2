"""A model's play in an environment, as the tokens that it wrote and was shown.

In ``SGD-v0`` a play begins at a state of a recorded dialogue; in ``SGDSim-v0`` at the beginning of
a simulated one.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from agent_gym_env.chat import Message, tool_names
from agent_gym_env.envs.actions import parse_action, parse_action_with_acts
from agent_gym_env.envs.replay import Replay, ReplaySettings, Snapshot
from agent_gym_env.envs.sgd_sim import SGDSimEnv
from agent_gym_env.envs.simulation import STATE_VERSION, Simulation, SimulationStart
from agent_gym_env.errors import STOPS_THE_RUN, AgentGymError, DataError, LMError
from agent_gym_env.lm.bounded_template import render
from agent_gym_env.lm.parse import parse_reply
from agent_gym_env.lm.torch_generation import Draft, Generator, batches
from agent_gym_env.lm.transformers_prompt import ChatTokenizer, template_messages, template_tools
from agent_gym_env.types import Action

_SILENCE = Action()
_SAME_ARGUMENTS = "the environment needs the arguments that the rows were exported with"


World = ReplaySettings | SGDSimEnv
"""Environment of the plays of one split: the settings of ``SGD-v0``, or an ``SGDSim-v0``."""


class Situation(msgspec.Struct, frozen=True):
    """The beginning of a play.

    Attributes:
        dialogue_id: id of the dialogue.
        split: split of the dialogue.
        turn: number of turns closed before.
        state: the row's state, JSON.
        system: system message before the conversation; ``None`` if it has none.
    """

    dialogue_id: str
    split: str
    turn: int
    state: str
    system: Message | None = None


def situation(row: Mapping[str, Any]) -> Situation:
    """Read the beginning of a play from a ``grpo`` row."""
    first = row["prompt"][0]
    system = first if first["role"] == "system" else None
    return Situation(row["dialogue_id"], row["split"], row["turn"], row["state"], system)


def refuse_other_tools(begin: Situation, tools: Sequence[Any], world: World) -> None:
    """Check that the environment offers the same tools as the row of a situation.

    Raises:
        DataError: it offers other tools, or the state is invalid or belongs to another environment,
            corpus or split, or to a user with other options.
    """
    observation, _ = begun(begin, world).begin()
    if msgspec.json.decode(observation["tools"]) != list(tools):
        raise _refused(begin, "the environment offers other tools than the row")


def begun(begin: Situation, world: World) -> Replay | Simulation:
    """Begin a play.

    Raises:
        DataError: the state is invalid, or belongs to another environment, corpus or split, or to a
            user with other options.
        LMError: the language model of the user did not write the first words.
    """
    try:
        if isinstance(world, SGDSimEnv):
            return _simulation(begin, world)
        return Replay.restored(world, msgspec.json.decode(begin.state, type=Snapshot))
    except msgspec.DecodeError as error:
        env = "SGDSim-v0" if isinstance(world, SGDSimEnv) else "SGD-v0"
        raise _refused(begin, f"the row's state is not of {env}: {error}") from error
    except ValueError as error:
        raise _refused(begin, str(error)) from error


def _simulation(begin: Situation, env: SGDSimEnv) -> Simulation:
    start = msgspec.json.decode(begin.state, type=SimulationStart)
    expected = (STATE_VERSION, env.split.fingerprint, env.split.name)
    found = (start.version, start.corpus, start.split)
    if found != expected:
        raise ValueError(
            f"the state is of (version, corpus, split) {found}, this environment of {expected}"
        )
    if start.user_options != env.user_options:
        raise ValueError(
            f"the row's user has the options {start.user_options}, this environment's "
            f"{env.user_options}"
        )
    env.reset(seed=start.seed, options={"dialogue_id": start.dialogue_id})
    return env.simulation


def _refused(begin: Situation, problem: str) -> DataError:
    return DataError(
        f"{problem}; {_SAME_ARGUMENTS}", dialogue_id=begin.dialogue_id, turn=begin.turn
    )


class ScoredDialogue:
    """A dialogue in play and what it has earned; a session that fails earns nothing.

    Args:
        begin: beginning of the play.
        world: environment of its split.
        turns: number of the agent's turns; ``None`` to play to the dialogue's end.

    Attributes:
        rewards: rewards of the closed turns; ``None`` where unknown.
        failure: error that ended the session, as ``Class: message``; ``None`` if it did not fail.
            The agent has no part in it: the simulated user's model did not answer, for example.

    Raises:
        DataError: as in `begun`.
        BudgetExceeded: the run has spent its budget. So for the other errors that end a run, here
            and in `step`.
    """

    def __init__(self, begin: Situation, world: World, turns: int | None) -> None:
        self._turns = turns
        self._dialogue: Replay | Simulation | None = None
        self.is_simulated = isinstance(world, SGDSimEnv)
        self.rewards: list[float | None] = []
        self.failure: str | None = None
        try:
            self._dialogue = begun(begin, world)
        except STOPS_THE_RUN:
            raise
        except LMError as error:  # the simulated user's model did not write the first words
            self.failure = _written(error)

    @property
    def is_over(self) -> bool:
        """True if nothing more is played."""
        return (
            self._dialogue is None
            or self.failure is not None
            or self._dialogue.over
            or (self._turns is not None and len(self.rewards) >= self._turns)
        )

    @property
    def reward(self) -> float | None:
        """Mean of the known rewards, or their sum in a simulated dialogue.

        ``None`` if all are unknown, or if the session failed.
        """
        known = [reward for reward in self.rewards if reward is not None]
        if self.failure is not None or not known:
            return None
        return sum(known) / (1 if self.is_simulated else len(known))

    def begin(self) -> Mapping[str, str]:
        """Return the observation as the dialogue is; empty if it could not begin."""
        return {} if self._dialogue is None else self._dialogue.begin()[0]

    def step(self, action: Any) -> Mapping[str, str]:
        """Take an action and return the observation; empty if the session failed.

        Raises:
            TypeError: the action is of an unsupported type.
            ValueError: it is a mapping without any known key.
        """
        dialogue = self._dialogue
        if dialogue is None or self.is_over:
            raise ValueError("the dialogue is over")
        try:
            if isinstance(dialogue, Simulation):
                observation, *_ = dialogue.step(parse_action_with_acts(action))
            else:
                observation, *_ = dialogue.step(parse_action(action))
        except STOPS_THE_RUN:
            raise
        except AgentGymError as error:  # a model, a judge or a file, but not the agent
            self.failure = _written(error)
            return {}
        score = dialogue.score
        if score is not None:
            known = score.value is not None and math.isfinite(score.value)
            self.rewards.append(score.value if known else None)
        return observation

    def stay_silent(self) -> None:
        """Play silence to the end."""
        while not self.is_over:
            self.step(_SILENCE)


def _written(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


class Limits(msgspec.Struct, frozen=True):
    """The longest play.

    Attributes:
        turns: number of the agent's turns; ``None`` to play to the dialogue's end.
        message: tokens of one message of the assistant.
        tokens: tokens of the whole conversation. When it is full, the agent stays silent.
    """

    turns: int | None
    message: int
    tokens: int


class Played(msgspec.Struct, frozen=True):
    """A finished play.

    Attributes:
        prompt_ids: tokens that the model was shown first.
        completion_ids: tokens that the model wrote, and those that it was shown in between.
        env_mask: for each of ``completion_ids`` 1 if the model wrote it, otherwise 0. Also 0 in a
            turn with an unknown reward. A play without any reward has a single 1, because the
            trainer cannot take a mean over no token.
        rewards: rewards of the turns; ``None`` where unknown.
        reward: mean of the known rewards, or their sum in a simulated dialogue; ``None`` if all
            are unknown, or if the play failed.
        failure: error that ended the play, as ``Class: message``; ``None`` if it did not fail.
    """

    prompt_ids: list[int]
    completion_ids: list[int]
    env_mask: list[int]
    rewards: list[float | None]
    reward: float | None
    failure: str | None = None


def play_together(
    situations: Sequence[Situation],
    worlds: Mapping[str, World],
    generator: Generator,
    chat: ChatTokens,
    limits: Limits,
    *,
    temperature: float,
    seed: str,
    batch_size: int,
    first: int = 0,
) -> list[Played]:
    """Play once from each of many states, in batches.

    Args:
        situations: beginnings of the plays.
        worlds: environment of each split.
        generator: generates with the model.
        chat: writes conversations for the model.
        limits: longest play.
        temperature: sampling temperature; 0 for the most likely token.
        seed: seed of all draws; each play has its own generator.
        batch_size: number of messages that are generated in one batch.
        first: number of plays with the same seed that other processes play before these.

    Raises:
        DataError: as in `begun`.
        BudgetExceeded: the run has spent its budget. So for the other errors that end a run.
    """
    plays = [_Play(each, worlds[each.split], chat, limits) for each in situations]
    draws = [random.Random(f"{seed} {first + number}") for number in range(len(plays))]
    while waiting := [number for number, play in enumerate(plays) if not play.is_over]:
        drafts = {number: plays[number].draft(temperature, draws[number]) for number in waiting}
        for batch in batches(list(drafts.values()), batch_size):
            generator.run(batch)
        for number, draft in drafts.items():
            plays[number].take(draft.tokens)
    return [play.played() for play in plays]


class _Play:
    """An unfinished play."""

    def __init__(self, begin: Situation, world: World, chat: ChatTokens, limits: Limits) -> None:
        self._dialogue = ScoredDialogue(begin, world, limits.turns)
        self._system = [] if begin.system is None else [begin.system]
        self._chat = chat
        self._limits = limits
        self._prompt: list[int] = []
        self._tokens: list[int] = []
        self._own: list[int] = []
        self._turn_begin = self._closed = 0
        self._unscored: list[slice] = []
        self.is_over = self._dialogue.is_over
        if self.is_over:  # nobody spoke: the play is an empty message
            self._prompt, self._tokens, self._own = [min(chat.ends)], [min(chat.ends)], [1]
            return
        observation = self._dialogue.begin()
        self._tools = msgspec.json.decode(observation["tools"])
        self._names = tool_names(self._tools)
        self._messages = self._read(observation)
        self._prompt = chat.prompt(self._messages, self._tools)

    def draft(self, temperature: float, draws: random.Random) -> Draft:
        """Return the request for the next message."""
        return Draft(
            prompt=self._prompt + self._tokens,
            max_tokens=self._limits.message,
            temperature=temperature,
            random=draws,
        )

    def take(self, tokens: Sequence[int]) -> None:
        """Take the action that the model has written."""
        said = self._chat.text(tokens)
        if self._chat.opens_reasoning(self._prompt + self._tokens):
            said = f"<think>{said}"
        self._tokens += tokens
        self._own += [1] * len(tokens)
        reply = parse_reply(said, self._names)
        # As in `LLMPolicy`, words beside calls are dropped.
        text = "" if reply.tool_calls else reply.text
        observation = self._dialogue.step(Action(text, reply.tool_calls))
        self._note_closed_turns()
        self.is_over = self._dialogue.is_over
        if not self.is_over:
            self._show(observation, ended=tokens[-1] in self._chat.ends)

    def _note_closed_turns(self) -> None:
        for reward in self._dialogue.rewards[self._closed :]:
            if reward is None:
                self._unscored.append(slice(self._turn_begin, len(self._own)))
            self._turn_begin = len(self._own)
        self._closed = len(self._dialogue.rewards)

    def _show(self, observation: Mapping[str, str], *, ended: bool) -> None:
        """Append the environment's answer; if the conversation is full, stay silent to the end."""
        said = len(self._messages) + 1
        self._messages = self._read(observation)
        shown = self._chat.between(self._messages, self._tools, said=said, ended=ended)
        have = len(self._prompt) + len(self._tokens) + len(shown)
        if have + self._limits.message > self._limits.tokens:
            self._dialogue.stay_silent()
            self._note_closed_turns()
            self.is_over = True
            return
        self._tokens += shown
        self._own += [0] * len(shown)

    def _read(self, observation: Mapping[str, str]) -> list[Message]:
        messages: list[Message] = msgspec.json.decode(observation["messages"])
        if self._system and messages[0]["role"] == "system":
            messages = messages[1:]  # the row's system message has its text
        return [*self._system, *messages]

    def played(self) -> Played:
        """Return the finished play."""
        dialogue, mask = self._dialogue, list(self._own)
        for turn in self._unscored:
            mask[turn] = [0] * len(mask[turn])
        if dialogue.reward is None:
            mask = [1, *[0] * (len(mask) - 1)]
        return Played(
            prompt_ids=self._prompt,
            completion_ids=self._tokens,
            env_mask=mask,
            rewards=dialogue.rewards,
            reward=dialogue.reward,
            failure=dialogue.failure,
        )


class ChatTokens:
    """Writes the parts of a growing conversation that the model does not write itself.

    A chat template writes a whole conversation. Writing it again after each message could change
    the tokens of earlier messages, and the model would be trained on tokens that it did not write.
    So only the text between two messages of the assistant is written, and appended.

    Args:
        tokenizer: tokenizer with a chat template, from transformers.
        ends: further tokens that end a message of the assistant.

    Raises:
        DataError: the template writes no special token after a message of the assistant.
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
        """Write a conversation up to the assistant's next message."""
        return self._ids(self._text(messages, tools, goes_on=True))

    def opens_reasoning(self, prompt: Sequence[int]) -> bool:
        """Return whether a prompt ends inside the model's reasoning."""
        return self._prompts.opens_reasoning(prompt)

    def text(self, tokens: Sequence[int]) -> str:
        """Decode a message of the model, without the token that ends it."""
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
        """Write the part between a message of the assistant and its next message.

        Args:
            messages: conversation so far.
            tools: tools on offer.
            said: number of messages up to and including the assistant's.
            ended: whether the model has written the token that ends its message.

        Raises:
            DataError: the template changes earlier messages as the conversation grows.
        """
        before = self._text(messages[:said], tools, goes_on=False)
        now = self._text(messages, tools, goes_on=True)
        if not now.startswith(before):
            raise DataError(
                "the chat template changes earlier messages as the conversation grows; expected "
                "one that only appends, as `hermes`, `compact` and `signatures` do "
                "(--chat-template)"
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
