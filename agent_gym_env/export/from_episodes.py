"""Training rows from recorded episodes: conversations, corrections, labelled messages, prompts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from agent_gym_env.chat import Message, MessageLog, read_tools
from agent_gym_env.corpus.corpus import CorpusConfig
from agent_gym_env.corpus.task import Turn
from agent_gym_env.envs.replay import SNAPSHOT_VERSION, Snapshot
from agent_gym_env.envs.simulation import STATE_VERSION, SimulationStart
from agent_gym_env.errors import DataError
from agent_gym_env.export.rows import (
    ConversationRow,
    LabelledRow,
    PromptRow,
    Tally,
    conversation,
    distinct,
    only_last_learned,
)
from agent_gym_env.export.simulated_corrections import SimulatedCorrections
from agent_gym_env.lm.prompt import RULES
from agent_gym_env.rollout.episode import Episode, add_step, transcript
from agent_gym_env.types import ToolCall


def whole_episodes(
    episodes: Iterable[Episode], tally: Tally, *, min_reward: float | None = None
) -> Iterator[Episode]:
    """Yield the episodes that were played to the end and earned enough.

    Args:
        episodes: episodes of any policies.
        tally: counts the episodes that are left out.
        min_reward: least reward of an episode, see `Episode.ranking_reward`; ``None`` keeps all,
            unscored ones included.
    """
    for episode in episodes:
        reason = _reason_to_leave_out(episode, min_reward)
        if reason is None:
            yield episode
        else:
            tally.leave_out(reason)


def _reason_to_leave_out(episode: Episode, min_reward: float | None) -> str | None:
    if episode.error is not None:
        return "failed"
    if not (episode.terminated and episode.turns):
        return "unfinished"
    if min_reward is None:
        return None
    reward = episode.ranking_reward
    if reward is None:
        return "unscored"
    return "below min_reward" if reward < min_reward else None


def conversations(
    episodes: Iterable[Episode],
    tally: Tally,
    *,
    min_reward: float | None = None,
    rules: str = RULES,
) -> Iterator[ConversationRow]:
    """Yield a row for supervised fine-tuning from each episode that was played to the end.

    Args:
        episodes: episodes of any policies.
        tally: counts what is left out.
        min_reward: least reward of an episode, see `Episode.ranking_reward`.
        rules: text of the system message.
    """
    kept = whole_episodes(episodes, tally, min_reward=min_reward)
    rows = (conversation_row(episode, rules=rules) for episode in kept)
    return distinct(rows, tally, "messages", "tools")


def conversation_row(episode: Episode, *, rules: str = RULES) -> ConversationRow:
    """Convert an episode to a row with the whole conversation.

    Args:
        episode: an episode with at least one turn.
        rules: text of the system message; by default the one that `LLMPolicy` uses.

    Raises:
        DataError: the episode is inconsistent.
    """
    *_, last = transcript(episode)
    return ConversationRow(
        messages=conversation(last.closed, episode.date, rules),
        tools=read_tools(episode.tools),
        dialogue_id=episode.dialogue_id,
        split=episode.split,
        policy=episode.policy,
        reward=episode.ranking_reward,
    )


def corrections(
    episodes: Iterable[Episode],
    tally: Tally,
    *,
    below: float,
    rules: str = RULES,
    corpus: CorpusConfig = "sample",
) -> Iterator[ConversationRow]:
    """Yield rows with the right answer at the steps where policies earned too little.

    A model that imitates whole conversations has only seen what follows right answers, and does not
    know how to go on after a wrong one. So the model plays, and learns the right answer at the
    states that it reached (dataset aggregation, DAgger; Ross et al., 2011,
    https://arxiv.org/abs/1011.0686). The answer is the corpus's. A simulated dialogue is played
    again, and the answer is that of the acts oracle.

    Args:
        episodes: episodes of any policies, unfinished ones included.
        tally: counts what is left out.
        below: turns with this value or a higher one are not corrected, see `Episode.turn_values`.
        rules: text of the system message.
        corpus: corpus of simulated dialogues, as in `agent_gym_env.corpus.corpus.open_corpus`.
    """
    simulated = SimulatedCorrections(corpus)
    rows = (
        row
        for episode in episodes
        for row in (
            correction_rows(episode, below, rules=rules)
            if episode.simulated_user is None
            else simulated.rows(episode, below, rules=rules)
        )
    )
    return distinct(rows, tally, "messages", "tools")


def correction_rows(
    episode: Episode, below: float, *, rules: str = RULES
) -> Iterator[ConversationRow]:
    """Yield a row for each step of the turns that earned too little.

    The answer is the recorded calls, round by round, while no call of their tools has been made in
    the turn, and then the recorded reply. The policy's earlier messages have ``"weight": 0``.

    Args:
        episode: episode as it was played.
        below: turns with this reward or a higher one, or without a reward, are not corrected.
        rules: text of the system message; by default the one that `LLMPolicy` uses.

    Raises:
        DataError: the episode is inconsistent.
    """
    tools = read_tools(episode.tools)
    for turn, messages in zip(episode.turns, transcript(episode), strict=True):
        if turn.target is None:
            raise DataError(
                "these are the corpus's answers, which a simulated dialogue does not have; "
                "`corrections` plays it again",
                dialogue_id=episode.dialogue_id,
            )
        log = messages.opening
        called: set[str] = set()
        for step in turn.steps:
            if turn.reward is not None and turn.reward < below:
                corrected = _with_recorded_answer(log, turn.target, called)
                yield ConversationRow(
                    messages=only_last_learned(conversation(corrected, episode.date, rules)),
                    tools=tools,
                    dialogue_id=episode.dialogue_id,
                    split=episode.split,
                    policy=episode.policy,
                    reward=turn.reward,
                )
            add_step(log, step)
            called.update(call.name for call in step.action.tool_calls)


def _with_recorded_answer(log: MessageLog, target: Turn, called: set[str]) -> str:
    """Return the conversation with the corpus's answer at its end, as JSON."""
    answered = log.copy()
    left = [[call for call in calls if call.name not in called] for calls in target.rounds]
    due = next(filter(None, left), None)
    if due is None:
        answered.add_reply(target.text)
    else:
        answered.add_calls([ToolCall(call.name, call.arguments) for call in due])
    return answered.messages


def labels(
    episodes: Iterable[Episode], tally: Tally, *, threshold: float = 0.5, rules: str = RULES
) -> Iterator[LabelledRow]:
    """Yield rows for Kahneman-Tversky optimisation, labelled by the values of turns.

    See `Episode.turn_values`.

    Args:
        episodes: episodes of any policies, unfinished ones included.
        tally: counts what is left out.
        threshold: least value of a good turn.
        rules: text of the system message.
    """
    rows = (
        row
        for episode in episodes
        if episode.turns
        for row in rows_of_episode(episode, threshold, tally, rules=rules)
    )
    return distinct(rows, tally, "prompt", "tools", "completion", "label")


def rows_of_episode(
    episode: Episode, threshold: float, tally: Tally, *, rules: str = RULES
) -> Iterator[LabelledRow]:
    """Yield each assistant message with the label of its turn.

    Args:
        episode: an episode with at least one turn.
        threshold: least value of a good turn.
        tally: counts the messages of unscored turns, which are left out.
        rules: text of the system message; by default the one that `LLMPolicy` uses.

    Raises:
        DataError: the episode is inconsistent.
    """
    *_, last = transcript(episode)
    messages = conversation(last.closed, episode.date, rules)
    tools = read_tools(episode.tools)
    values = episode.turn_values
    for place, turn, step in _assistant_messages(messages):
        reward = values[turn]
        if reward is None:
            tally.leave_out("unscored")
            continue
        yield LabelledRow(
            prompt=messages[:place],
            completion=[messages[place]],
            label=reward >= threshold,
            tools=tools,
            reward=reward,
            policy=episode.policy,
            dialogue_id=episode.dialogue_id,
            split=episode.split,
            turn=turn,
            step=step,
        )


def _assistant_messages(messages: Sequence[Message]) -> Iterator[tuple[int, int, int]]:
    """Yield the index, the turn and the number within the turn of each assistant message."""
    turn, step = -1, 0
    for place, message in enumerate(messages):
        if message["role"] == "user":
            turn, step = turn + 1, 0
        elif message["role"] == "assistant":
            yield place, turn, step
            step += 1


def prompts(
    episodes: Iterable[Episode],
    tally: Tally,
    *,
    min_reward: float | None = None,
    rules: str = RULES,
) -> Iterator[PromptRow]:
    """Yield a row for group relative policy optimisation from each turn.

    Of a simulated dialogue only the beginning becomes a row.

    Args:
        episodes: episodes; each turn's prompt is the conversation that the policy reached.
        tally: counts what is left out.
        min_reward: least reward of an episode, see `Episode.ranking_reward`.
        rules: text of the system message.
    """
    kept = whole_episodes(episodes, tally, min_reward=min_reward)
    rows = (row for episode in kept for row in prompt_rows(episode, rules=rules))
    return distinct(rows, tally, "prompt", "tools")


def prompt_rows(episode: Episode, *, rules: str = RULES) -> Iterator[PromptRow]:
    """Yield a row for each turn, with the state that returns an environment to its beginning.

    A simulated dialogue has one row, its beginning, since a record does not hold the user's state
    in the middle of a dialogue.

    Args:
        episode: episode; what was played before a turn is the conversation in its prompt.
        rules: text of the system message; by default the one that `LLMPolicy` uses.

    Raises:
        DataError: the episode is inconsistent.
    """
    tools = read_tools(episode.tools)
    tool_result = ""
    for number, (opening, _, _) in enumerate(transcript(episode)):
        start = _start(episode)
        yield PromptRow(
            prompt=conversation(opening.messages, episode.date, rules),
            tools=tools,
            dialogue_id=episode.dialogue_id,
            split=episode.split,
            turn=number,
            schema_variant=episode.schema_variant,
            state=start or _state(episode, number, opening, tool_result),
        )
        if start is not None:
            return
        tool_result = episode.turns[number].steps[-1].tool_result


def _start(episode: Episode) -> str | None:
    user = episode.simulated_user
    if user is None:
        return None
    start = SimulationStart(
        version=STATE_VERSION,
        corpus=episode.corpus,
        split=episode.split,
        dialogue_id=episode.dialogue_id,
        seed=episode.seed,
        user_options=user.options,
    )
    return msgspec.json.encode(start).decode()


def _state(episode: Episode, turn: int, opening: MessageLog, tool_result: str) -> str:
    snapshot = Snapshot(
        version=SNAPSHOT_VERSION,
        corpus=episode.corpus,
        split=episode.split,
        dialogue_id=episode.dialogue_id,
        turn=turn,
        log=opening.text,
        calls=[],
        executed=opening.call_count,
        user=episode.turns[turn].user,
        tool_result=tool_result,
    )
    return msgspec.json.encode(snapshot).decode()
