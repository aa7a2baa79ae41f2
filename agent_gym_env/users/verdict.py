"""Whether a simulated dialogue was a success: judged by what the user said and chose in this play."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from agent_gym_env.corpus.goals import Errand, Goal
from agent_gym_env.users.agenda import UserState


class Verdict(msgspec.Struct, frozen=True):
    """The result of one simulated dialogue.

    Attributes:
        success: every errand is settled, no write was wrong, all questions were answered rightly.
        strict: a success, with the user's consent to every write and without a broken rule.
        milestones: share of settled errands and answered questions, in [0, 1].
        reasons: stable codes of what is missing for a strict success.
    """

    success: bool
    strict: bool
    milestones: float
    reasons: tuple[str, ...] = ()


def judge(goal: Goal, user: UserState, queried: Collection[str]) -> Verdict:
    """Judge a dialogue that is over.

    Args:
        goal: what the user wanted.
        user: the user's last state.
        queried: full names of the queries that were made.
    """
    settled = [
        _is_settled(errand, number, user, queried) for number, errand in enumerate(goal.errands)
    ]
    answered = [question.answered for question in user.questions]
    wrong = [f"write_{verdict}" for verdict in user.verdicts if verdict != "right"]
    failed = [f"errand_{number}_not_settled" for number, done in enumerate(settled) if not done]
    unanswered = [f"not_answered:{q.slot}" for q in user.questions if not q.answered]
    reasons = [*wrong, *failed, *unanswered]
    success = not reasons
    if user.wants_other and any(key not in user.seen for key in user.known):
        success = False
        reasons.append("alternative_not_shown")
    rules = ["write_without_consent"] * (user.unconsented > 0) + user.faults
    parts = [*settled, *answered]
    return Verdict(
        success=success,
        strict=success and not rules,
        milestones=sum(parts) / len(parts) if parts else 0.0,
        reasons=tuple(dict.fromkeys([*reasons, *rules])),
    )


def _is_settled(errand: Errand, number: int, user: UserState, queried: Collection[str]) -> bool:
    if errand.transactional:
        if number in user.written:
            return True
        return errand.outcome != "success" and number in user.failed and errand.tool in user.tried
    if errand.tool not in queried:
        return False
    if number in user.chosen:
        return True
    return number in user.failed and not (errand.offered and errand.outcome == "success")
