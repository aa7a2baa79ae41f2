"""The check that a reward could score at least one turn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agent_gym_env.errors import JudgeError
from agent_gym_env.rollout.episode import Episode


class ScoreCheck:
    """Counts scores of one reward, and keeps the reason of the first that is missing.

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
        """Check that a turn was scored, if there were any.

        Raises:
            JudgeError: none was; the message gives the first reason.
        """
        if self._unscored and not self._scored:
            raise JudgeError(
                f"{self._reward} could score none of {self._unscored} turns; the first: "
                f"{self._reason or 'no reason was given'}"
            )


def require_scores(episodes: Iterable[Episode]) -> Iterator[Episode]:
    """Yield episodes, and check after the last that a turn of any has a score.

    Raises:
        JudgeError: none has; the message gives the first reason.
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
    """Check that a turn of any of these episodes has a score.

    Raises:
        JudgeError: none has; the message gives the first reason.
    """
    for _ in require_scores(episodes):
        pass
