"""Agents that must not succeed in ``SGDSim-v0`` earn nothing, and the acts oracle everything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from agent_gym_env.envs.sgd_sim import SGDSimEnv
from agent_gym_env.policies.acts_oracle import ActsOraclePolicy
from agent_gym_env.reward_audit.degenerate import BLIND, DUMPS, FAULTY, scripted_agents
from agent_gym_env.reward_audit.task_audit import (
    TASK_AUDIT_HEADER,
    TASK_VERIFICATION_HEADER,
    AgentScore,
    TaskAudit,
    audit_task,
    play_dialogue,
    task_audit_rows,
    task_verification_rows,
    verify_task,
)
from agent_gym_env.types import Action, Observation


@pytest.fixture(scope="module")
def env() -> SGDSimEnv:
    return SGDSimEnv(split="dev", understanding="acts")


# Words take four times as long to play as acts, so every third of those dialogues.
@pytest.fixture(scope="module", params=[("acts", 1), ("text", 3)], ids=["acts", "text"])
def audited(request: pytest.FixtureRequest) -> TaskAudit:
    understanding, every = request.param
    env = SGDSimEnv(split="dev", understanding=understanding)
    return audit_task(env, env.split.dialogue_ids()[::every])


def _row(audited: TaskAudit, name: str) -> AgentScore:
    [row] = (row for row in audited.rows if row.name == name)
    return row


@pytest.mark.parametrize("name", BLIND)
def test_without_a_call_nothing_is_earned(audited: TaskAudit, name: str) -> None:
    row = _row(audited, name)
    assert row.dialogues == _row(audited, "acts-oracle").dialogues
    assert (row.success.mean, row.strict.mean, row.milestones.mean) == (0, 0, 0)


@pytest.mark.parametrize("name", DUMPS)
def test_calling_and_showing_everything_hardly_ever_succeeds(audited: TaskAudit, name: str) -> None:
    row = _row(audited, name)
    assert row.dialogues == _row(audited, "acts-oracle").dialogues
    assert row.strict.mean is not None
    assert row.strict.mean <= 0.02
    assert row.reward.mean is not None
    assert row.reward.mean < 0


@pytest.mark.parametrize("name", FAULTY)
def test_one_fault_takes_the_strict_success(audited: TaskAudit, name: str) -> None:
    """The acts oracle solves all of these dialogues; with the fault it solves none."""
    row = _row(audited, name)
    assert row.dialogues > 0
    assert row.strict.mean == 0


def test_the_acts_oracle_comes_first(audited: TaskAudit) -> None:
    assert audited.rows[0].name == "acts-oracle"
    assert audited.rows[0].dialogues in (52, 18)
    assert audited.rows[0].strict.mean == 1


def test_an_audit_survives_json_and_becomes_a_table(audited: TaskAudit) -> None:
    assert msgspec.json.decode(msgspec.json.encode(audited), type=TaskAudit) == audited
    rows = task_audit_rows(audited)
    assert {len(row) for row in rows} == {len(TASK_AUDIT_HEADER)}
    dialogues = str(audited.rows[0].dialogues)
    assert rows[1] == ("silent", dialogues, "0.000", "0.000", "0.000 to 0.000", "0.000", "-0.050")


def test_an_agent_that_never_did_what_it_is_named_for_has_no_figures(env: SGDSimEnv) -> None:
    ids = env.split.dialogue_ids()
    without_a_write = [
        each
        for each in ids
        if not any(e.transactional for e in env.split.goal(env.split.index(each)).errands)
    ]
    row = _row(audit_task(env, without_a_write[:1]), "no confirmation")
    assert (row.dialogues, row.strict.mean) == (0, None)
    assert task_audit_rows(audit_task(env, without_a_write[:1]))[-1][3] == "-"


def test_a_dialogue_that_does_not_end_is_broken_off(env: SGDSimEnv) -> None:
    class Endless:
        name = "endless"

        def reset(self, *, seed: int | None = None) -> None:
            """Nothing to begin."""

        def act(self, observation: Observation) -> Action:
            return Action("What is the city?") if env.simulation.turn < 0 else Action("")

    patient = SGDSimEnv(split="dev", understanding="acts", patience=1000)
    outcome = play_dialogue(patient, Endless(), patient.split.dialogue_ids()[0])
    assert outcome.verdict.reasons == ("broken_off",)
    assert not outcome.verdict.success


def test_verifying_lists_what_the_oracle_does_not_solve(env: SGDSimEnv) -> None:
    seen: list[int] = []
    found = verify_task(env, env.split.dialogue_ids(), on_dialogue=seen.append)
    assert (found.dialogues, found.unsolved) == (52, ())
    assert seen == [*range(1, 53)]
    impatient = SGDSimEnv(split="dev", understanding="acts", patience=0)
    found = verify_task(impatient, impatient.split.dialogue_ids())
    assert found.unsolved
    assert all("patience_lost" in each.reasons for each in found.unsolved)
    assert {len(row) for row in task_verification_rows(found)} == {len(TASK_VERIFICATION_HEADER)}


def test_scripted_agents_play_the_same_twice(env: SGDSimEnv) -> None:
    ids = env.split.dialogue_ids()[:3]
    for agent in scripted_agents(env):
        first = [play_dialogue(env, agent, each) for each in ids]
        assert [play_dialogue(env, agent, each) for each in ids] == first


def _strict(audited: TaskAudit, names: Sequence[str]) -> list[float]:
    rows = [_row(audited, name) for name in names]
    return [row.strict.mean for row in rows if row.strict.mean is not None]


@pytest.mark.parametrize("split", ["dev", "test"])
def test_on_sgd(sgd_path: Path, split: str) -> None:
    env = SGDSimEnv(str(sgd_path), split=split, understanding="acts")
    audited = audit_task(env, env.split.dialogue_ids()[::16])
    print(split, *task_audit_rows(audited), sep="\n")
    assert not any(_strict(audited, [*BLIND, *FAULTY]))
    assert max(_strict(audited, list(DUMPS))) <= 0.02
    assert all(_row(audited, name).success.mean == 0 for name in BLIND)


def test_the_acts_oracle_solves_train_dialogues_of_sgd(sgd_path: Path) -> None:
    env = SGDSimEnv(str(sgd_path), split="train", understanding="acts")
    found = verify_task(env, [env.split.dialogue_ids()[each] for each in env.selected[:300]])
    assert 1 - len(found.unsolved) / found.dialogues >= 0.99


def test_the_oracle_of_the_scripts_is_the_shipped_one(env: SGDSimEnv) -> None:
    """An agent whose fault has no occasion plays as the acts oracle does."""
    [agent] = (each for each in scripted_agents(env) if each.name == "refused offer pushed")
    for dialogue_id in env.split.dialogue_ids():
        outcome = play_dialogue(env, agent, dialogue_id)
        if not agent.faults:
            assert outcome == play_dialogue(env, ActsOraclePolicy(env), dialogue_id)
            return
    raise AssertionError("every dialogue of the sample has a refused offer")
