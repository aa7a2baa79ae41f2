"""Branch points for tests, with only what a test cares about spelt out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agent_gym_env.rollout.branching import Branch, BranchPoint
from agent_gym_env.types import ToolCall
from tests.evaluation.episode_factory import turn

ASKED = '[{"role":"user","content":"A room, please."}]'


def branch(
    reward: float | None,
    says: str = "Done.",
    *,
    made: Sequence[ToolCall] = (),
    policy: str = "agent",
    seed: int | None = None,
) -> Branch:
    """Make a branch that has its calls in one step and its reply in the next."""
    return Branch(policy, turn(made=made, says=says).steps, seed, reward)


def point(*branches: Branch, messages: str = ASKED, **fields: Any) -> BranchPoint:
    """A state with no turn closed, unless told otherwise."""
    defaults: dict[str, Any] = {
        "dialogue_id": "1_00000",
        "split": "train",
        "corpus": "c0ffee",
        "services": ("Hotels_1",),
        "date": "2019-03-01",
        "reward": "ground_truth",
        "turn": 0,
    }
    return BranchPoint(messages=messages, branches=branches, **{**defaults, **fields})
