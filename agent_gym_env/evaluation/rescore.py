"""Scoring recorded episodes again by another reward, and checking that scores are there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec import structs

from agent_gym_env.errors import DataError, JudgeError
from agent_gym_env.rewards.base import ClosedTurn, Reward, Score, score_all
from agent_gym_env.rewards.task import TASK_REWARD_NAMES, ClosedEpisode, TaskReward
from agent_gym_env.rollout.episode import Episode, TurnRecord, transcript


def rescore(episode: Episode, reward: Reward | TaskReward) -> Episode:
    """Score an episode again by another reward, exactly as it would have scored it in play.

    Args:
        episode: episode of a recorded or a simulated dialogue.
        reward: reward of that kind of dialogue.

    Raises:
        DataError: the record is inconsistent.
        TypeError: the reward is a name or a mapping, not an object.
        ValueError: the reward scores the other kind of dialogue.
    """
    if isinstance(reward, str | Mapping):
        raise TypeError(
            f"rescore() takes a reward object, not {reward!r}; make one with make_reward(...), or "
            "with agent_gym_env.rewards.task.make_task_reward(...) for simulated dialogues"
        )
    check_kind(episode, reward)
    if isinstance(reward, TaskReward):
        scores = [reward.grade(each) for each in graded_turns(episode)]
    else:
        scores = score_all(reward, list(closed_turns(episode)))
    scored = zip(episode.turns, scores, strict=True)
    turns = tuple(_rescored(record, score) for record, score in scored)
    return structs.replace(episode, reward=reward.name, turns=turns)


def check_kind(episode: Episode, reward: Reward | TaskReward) -> None:
    """Check that a reward scores the kind of dialogue that an episode is of.

    Raises:
        ValueError: it scores recorded dialogues and the episode is simulated, or the reverse.
    """
    if isinstance(reward, TaskReward) == (episode.simulated_user is not None):
        return
    if episode.simulated_user is not None:
        raise ValueError(
            f"dialogue {episode.dialogue_id} was simulated, and {reward.name!r} compares with what "
            f"a corpus recorded; choose one of {', '.join(TASK_REWARD_NAMES)}"
        )
    raise ValueError(
        f"dialogue {episode.dialogue_id} is a recorded one, and {reward.name!r} scores simulated "
        "dialogues; choose a reward of SGD-v0, or play the dialogue in SGDSim-v0"
    )


def graded_turns(episode: Episode) -> Iterator[ClosedEpisode]:
    """Yield each turn of a simulated episode in the form that its rewards take.

    Raises:
        DataError: the episode is not a simulated one.
    """
    if episode.simulated_user is None:
        raise DataError("not an episode of a simulated user", dialogue_id=episode.dialogue_id)
    before = episode.simulated_user.opening
    last = len(episode.turns) - 1 if episode.terminated else None
    for number, turn in enumerate(episode.turns):
        if turn.simulated is not None:  # so it is in every turn, which `Episode` has checked
            verdict = turn.simulated.verdict
            yield ClosedEpisode(before, verdict, len(turn.calls), over=number == last)
            before = verdict


def closed_turns(episode: Episode) -> Iterator[ClosedTurn]:
    """Yield each turn of an episode in the form that rewards take.

    Raises:
        DataError: the record is inconsistent, or of a simulated dialogue.
    """
    conversation = zip(episode.turns, transcript(episode), strict=True)
    for index, (turn, messages) in enumerate(conversation):
        if turn.target is None:
            raise DataError(
                "a simulated dialogue has no recorded turns",
                dialogue_id=episode.dialogue_id,
                turn=index,
            )
        yield ClosedTurn(
            text=turn.reply,
            calls=turn.calls,
            target=turn.target,
            date=episode.date,
            log=messages.log,
            tools=episode.tools,
            index=index,
        )


def _rescored(record: TurnRecord, score: Score) -> TurnRecord:
    components = dict(score.components)
    return structs.replace(record, reward=score.value, components=components, reason=score.reason)


class ScoreCheck:
    """Counts the scores of one reward, and keeps the reason of the first missing score.

    Args:
        reward: name of the reward, for the message.
    """

    def __init__(self, reward: str) -> None:
        self._reward = reward
        self._scored = 0
        self._unscored = 0
        self._reason: str | None = None

    def add(self, value: float | None, reason: str | None = None) -> None:
        """Add a score; ``None`` for a turn that could not be scored."""
        if value is not None:
            self._scored += 1
            return
        if not self._unscored:
            self._reason = reason
        self._unscored += 1

    def finish(self) -> None:
        """Check that at least one turn was scored, unless there were no turns.

        Raises:
            JudgeError: no turn was scored; the message contains the first reason.
        """
        if self._unscored and not self._scored:
            raise JudgeError(
                f"{self._reward} could score none of {self._unscored} turns; the first: "
                f"{self._reason or 'no reason was given'}"
            )


def require_scores(episodes: Iterable[Episode]) -> Iterator[Episode]:
    """Yield episodes, and check after the last one that at least one turn has a score.

    Raises:
        JudgeError: no turn has a score; the message contains the first reason.
    """
    check: ScoreCheck | None = None
    for episode in episodes:
        check = check or ScoreCheck(episode.reward)
        for turn in episode.turns:
            check.add(turn.reward, turn.reason)
        yield episode
    if check is not None:
        check.finish()


def check_scores(episodes: Iterable[Episode]) -> None:
    """Check that at least one turn of these episodes has a score.

    Raises:
        JudgeError: no turn has a score; the message contains the first reason.
    """
    for _ in require_scores(episodes):
        pass
