"""Judges a simulated dialogue by the user's wishes and choices in this play."""

from __future__ import annotations

from collections.abc import Collection

from agent_gym_env.corpus.goals import Errand, Goal
from agent_gym_env.rewards.task import Verdict
from agent_gym_env.users.agenda import UserState


def judge(goal: Goal, user: UserState, queried: Collection[str]) -> Verdict:
    """Judge a dialogue as it is now.

    Args:
        goal: goal of the user.
        user: the user's state.
        queried: full names of the queries that were made.
    """
    settled = [
        _is_settled(errand, number, user, queried) for number, errand in enumerate(goal.errands)
    ]
    reasons = [f"write_{verdict}" for verdict in user.verdicts if verdict != "right"]
    reasons += [f"errand_{number}_not_settled" for number, done in enumerate(settled) if not done]
    reasons += [f"not_answered:{q.slot}" for q in user.questions if not q.answered]
    if user.waits_for_another_row():
        reasons.append("alternative_not_shown")
    if user.patience < 0:
        reasons.append("patience_lost")
    rules = ["write_without_consent"] if user.unconsented else []
    rules += [f"errand_{n}_not_reported" for n in user.written if n not in user.reported]
    rules += user.faults
    parts = [*settled, *(question.answered for question in user.questions)]
    return Verdict(
        success=not reasons,
        strict=not reasons and not rules,
        milestones=sum(parts) / len(parts) if parts else 0.0,
        reasons=tuple(dict.fromkeys([*reasons, *rules])),
    )


def _is_settled(errand: Errand, number: int, user: UserState, queried: Collection[str]) -> bool:
    if errand.transactional:
        if number in user.written:
            return True
        failed = user.attempts.get(number) == "failure" and number in user.failed
        return failed and errand.outcome != "success"
    if errand.tool not in queried:
        return False
    if number in user.chosen:
        return True
    return number in user.failed and not (errand.offered and errand.outcome == "success")
