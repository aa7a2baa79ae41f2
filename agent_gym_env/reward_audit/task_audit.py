"""The figures of agents that must not succeed in ``SGDSim-v0``, and of the acts oracle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import msgspec

from agent_gym_env.envs.sgd_sim import SGDSimEnv, unwrap_simulation
from agent_gym_env.evaluation.evaluate import RESAMPLES
from agent_gym_env.evaluation.statistics import Bootstrap, ClusterSums, Estimate
from agent_gym_env.evaluation.table import interval, number
from agent_gym_env.policies.acts_oracle import ActsOraclePolicy
from agent_gym_env.policies.base import Policy
from agent_gym_env.reward_audit.degenerate import ScriptedAgent, scripted_agents
from agent_gym_env.rewards.task import Verdict

MAX_STEPS = 400
"""Number of steps after which a dialogue is broken off, as no success."""


class PlayedDialogue(NamedTuple):
    """A dialogue that was played.

    Attributes:
        verdict: verdict at its end.
        earned: sum of the rewards.
        turns: number of the agent's turns.
    """

    verdict: Verdict
    earned: float
    turns: int


def play_dialogue(
    env: SGDSimEnv, policy: Policy, dialogue_id: str, *, seed: int = 0
) -> PlayedDialogue:
    """Play one dialogue to its end.

    Args:
        env: the environment.
        policy: policy that plays.
        dialogue_id: id of the dialogue.
        seed: seed of the policy and of the user.
    """
    policy.reset(seed=seed)
    observation, _ = env.reset(seed=seed, options={"dialogue_id": dialogue_id})
    earned, over = 0.0, False
    for _ in range(MAX_STEPS):
        observation, reward, over, _, _ = env.step(policy.act(observation))
        earned += reward
        if over:
            break
    verdict = env.simulation.verdict
    if not over:
        verdict = Verdict(milestones=verdict.milestones, reasons=("broken_off",))
    return PlayedDialogue(verdict, earned, env.simulation.turn)


class AgentScore(msgspec.Struct, frozen=True):
    """Figures of one agent over the dialogues in which it did what it is named for.

    Attributes:
        name: name of the agent.
        dialogues: number of these dialogues.
        success: share of successes.
        strict: share of strict successes.
        milestones: mean milestones.
        reward: mean sum of the rewards.
    """

    name: str
    dialogues: int
    success: Estimate
    strict: Estimate
    milestones: Estimate
    reward: Estimate


class TaskAudit(msgspec.Struct, frozen=True):
    """Figures of agents that must not succeed, below those of the acts oracle.

    Attributes:
        corpus: fingerprint of the split.
        split: name of the split.
        dialogues: number of dialogues that each agent played.
        rows: the acts oracle, then the other agents.
    """

    corpus: str
    split: str
    dialogues: int
    rows: tuple[AgentScore, ...]


def audit_task(
    env: gym.Env[Any, Any],
    dialogue_ids: Sequence[str],
    *,
    seed: int = 0,
    on_row: Callable[[str], None] | None = None,
) -> TaskAudit:
    """Play dialogues with every agent that must not succeed.

    Args:
        env: ``SGDSim-v0``, possibly in wrappers, which take no part.
        dialogue_ids: ids of the dialogues.
        seed: seed of the dialogues and of the bootstrap.
        on_row: called with the name of each agent before it plays.
    """
    bare = unwrap_simulation(env)
    agents: list[Policy] = [ActsOraclePolicy(bare), *scripted_agents(bare)]
    rows = []
    for agent in agents:
        if on_row is not None:
            on_row(agent.name)
        rows.append(_score(bare, agent, dialogue_ids, seed))
    return TaskAudit(bare.split.fingerprint, bare.split.name, len(dialogue_ids), tuple(rows))


def _score(env: SGDSimEnv, agent: Policy, dialogue_ids: Sequence[str], seed: int) -> AgentScore:
    sums = ClusterSums()
    for episode_seed, dialogue_id in enumerate(dialogue_ids, start=seed):
        played = play_dialogue(env, agent, dialogue_id, seed=episode_seed)
        if isinstance(agent, ScriptedAgent) and not agent.faults:
            continue
        verdict = played.verdict
        sums.add(dialogue_id, "success", float(verdict.success))
        sums.add(dialogue_id, "strict", float(verdict.strict))
        sums.add(dialogue_id, "milestones", verdict.milestones)
        sums.add(dialogue_id, "reward", played.earned)
    none = Estimate()
    found = Bootstrap(sums, resamples=RESAMPLES, seed=seed).estimates() if len(sums) else {}
    return AgentScore(
        name=agent.name,
        dialogues=len(sums),
        success=found.get("success", none),
        strict=found.get("strict", none),
        milestones=found.get("milestones", none),
        reward=found.get("reward", none),
    )


TASK_AUDIT_HEADER = (
    "agent", "dialogues", "success", "strict", "95 % interval", "milestones", "reward"
)  # fmt: skip


def task_audit_rows(audit: TaskAudit) -> list[tuple[str, ...]]:
    """Return the cells of a table under `TASK_AUDIT_HEADER`, one row for each agent."""
    return [
        (
            row.name,
            str(row.dialogues),
            number(row.success.mean),
            number(row.strict.mean),
            interval(row.strict),
            number(row.milestones.mean),
            number(row.reward.mean),
        )
        for row in audit.rows
    ]


class UnsolvedDialogue(msgspec.Struct, frozen=True):
    """A dialogue that the acts oracle does not solve.

    Attributes:
        dialogue_id: id of the dialogue.
        success: whether it was a success, though not a strict one.
        milestones: share of settled errands and answered questions.
        reasons: reasons of the verdict.
    """

    dialogue_id: str
    success: bool
    milestones: float
    reasons: tuple[str, ...]


class TaskVerification(msgspec.Struct, frozen=True):
    """Result of verifying a split of ``SGDSim-v0``.

    Attributes:
        corpus: fingerprint of the split.
        split: name of the split.
        dialogues: number of dialogues played.
        unsolved: dialogues without a strict success.
    """

    corpus: str
    split: str
    dialogues: int
    unsolved: tuple[UnsolvedDialogue, ...]


def verify_task(
    env: gym.Env[Any, Any],
    dialogue_ids: Sequence[str],
    *,
    seed: int = 0,
    on_dialogue: Callable[[int], None] | None = None,
) -> TaskVerification:
    """Play dialogues with the acts oracle, and list those that it does not solve.

    Args:
        env: ``SGDSim-v0``, possibly in wrappers, which take no part.
        dialogue_ids: ids of the dialogues.
        seed: seed of the dialogues.
        on_dialogue: called with the number of dialogues played.
    """
    bare = unwrap_simulation(env)
    policy, unsolved = ActsOraclePolicy(bare), []
    for done, dialogue_id in enumerate(dialogue_ids, start=1):
        verdict = play_dialogue(bare, policy, dialogue_id, seed=seed + done - 1).verdict
        if not verdict.strict:
            found = (verdict.success, verdict.milestones, verdict.reasons)
            unsolved.append(UnsolvedDialogue(dialogue_id, *found))
        if on_dialogue is not None:
            on_dialogue(done)
    return TaskVerification(
        bare.split.fingerprint, bare.split.name, len(dialogue_ids), tuple(unsolved)
    )


TASK_VERIFICATION_HEADER = ("dialogue", "success", "milestones", "reasons")


def task_verification_rows(found: TaskVerification) -> list[tuple[str, ...]]:
    """Return the cells of a table under `TASK_VERIFICATION_HEADER`, a row for each dialogue."""
    return [
        (
            each.dialogue_id,
            "yes" if each.success else "no",
            number(each.milestones),
            ", ".join(each.reasons),
        )
        for each in found.unsolved
    ]
