"""``agent-gym verify``, ``audit`` and ``agreement``: commands that examine rewards and judges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any, TypeVar

from agent_gym_env.assembly import Env, choose_dialogues, make_env, make_reward, rollout
from agent_gym_env.cli.console import print_json, print_table, progress, tracked
from agent_gym_env.cli.exit_codes import ExitCode
from agent_gym_env.cli.settings import Agreement, Audit, Verify
from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.evaluation.table import interval, number
from agent_gym_env.reward_audit.agreement import AGREEMENT_HEADER, agreement, agreement_rows
from agent_gym_env.reward_audit.audit import audit, audit_header, audit_rows
from agent_gym_env.reward_audit.task_audit import (
    TASK_AUDIT_HEADER,
    TASK_VERIFICATION_HEADER,
    TaskVerification,
    audit_task,
    task_audit_rows,
    task_verification_rows,
    verify_task,
)
from agent_gym_env.reward_audit.verify import (
    VERIFICATION_HEADER,
    Verification,
    verification_rows,
    verify,
)
from agent_gym_env.rewards.base import Reward
from agent_gym_env.rewards.presets import make_reward_for

_T = TypeVar("_T")


def verify_corpus(settings: Verify) -> ExitCode:
    """Play the oracle and print each turn that a reward scores below 1.0."""
    if settings.env["name"] == "SGDSim-v0":
        return _verify_simulation(settings)
    corpus = open_corpus(settings.corpus, schema_variant=settings.schema_variant)
    found = []
    for split in settings.split or corpus.splits():
        environment: dict[str, Any] = {
            "corpus": settings.corpus,
            "schema_variant": settings.schema_variant,
        }
        played = tracked(split, partial(rollout, "oracle", split=split, **environment))
        found.append(verify(played, _rewards(settings, split)))
    _print_found(settings, found, _print_verification)
    has_short = any(verification.short for verification in found)
    return ExitCode.FAILED if has_short else ExitCode.DONE


def _print_found(settings: Verify, found: Sequence[_T], show: Callable[[_T], None]) -> None:
    if settings.json:
        print_json(found)
        return
    for verification in found:
        show(verification)


def _print_verification(verification: Verification) -> None:
    print(
        f"{verification.split}: {verification.dialogues} dialogues, {verification.turns} turns, "
        f"rewards {', '.join(verification.rewards)}: {len(verification.short)} turns below 1.0"
    )
    if verification.short:
        print_table(VERIFICATION_HEADER, verification_rows(verification), keys=2)


def _verify_simulation(settings: Verify) -> ExitCode:
    """Play the acts oracle and print each dialogue without a strict success."""
    corpus = open_corpus(settings.corpus, schema_variant=settings.schema_variant)
    found = []
    for split in settings.split or corpus.splits():
        env = make_env(split=split, **settings.simulation())
        ids = choose_dialogues(env, settings.episodes, settings.seed)
        found.append(_verified(env, ids, settings.seed))
    _print_found(settings, found, _print_task_verification)
    has_unsolved = any(verification.unsolved for verification in found)
    return ExitCode.FAILED if has_unsolved else ExitCode.DONE


def _verified(env: Env, ids: Sequence[str], seed: int) -> TaskVerification:
    with progress("verify") as advance:
        return verify_task(env, ids, seed=seed, on_dialogue=lambda done: advance(done, len(ids)))


def _print_task_verification(found: TaskVerification) -> None:
    solved = found.dialogues - len(found.unsolved)
    print(
        f"{found.split}: {solved} of {found.dialogues} dialogues are a strict success "
        f"({solved / found.dialogues:.2%})"
    )
    if found.unsolved:
        print_table(TASK_VERIFICATION_HEADER, task_verification_rows(found))


def audit_rewards(settings: Audit) -> None:
    """Print the score of every known exploit, beside those of the oracle and of retrieval."""
    if settings.is_simulation:
        _audit_simulation(settings)
        return
    environment = settings.environment()
    env = make_env(**environment)
    corpus = open_corpus(settings.corpus, schema_variant=settings.schema_variant)
    honest = {}
    if "train" in corpus.splits():
        play = partial(rollout, episodes=settings.episodes, seed=settings.seed, **environment)
        honest["retrieval"] = list(tracked("retrieval", partial(play, "retrieval")))
    with progress("audit") as advance:
        rows_done = count(1)
        audited = audit(
            corpus.split(settings.split),
            _rewards(settings, settings.split, _AUDITED),
            choose_dialogues(env, settings.episodes, settings.seed),
            played=honest,
            seed=settings.seed,
            on_row=lambda _: advance(next(rows_done), None),
        )
    if settings.json:
        print_json(audited)
        return
    title = f"split {audited.split!r}, {audited.dialogues} dialogues, {audited.turns} turns"
    print_table(audit_header(audited), audit_rows(audited), title)


def _audit_simulation(settings: Audit) -> None:
    """Print the figures of agents that must not succeed, below those of the acts oracle.

    Raises:
        ValueError: several rewards are named.
    """
    if len(settings.reward) > 1:
        raise ValueError("--reward: SGDSim-v0 plays for one reward, but several are named")
    reward = settings.reward[0] if settings.reward else settings.default_reward()
    env = make_env(reward=reward, **settings.environment())
    ids = choose_dialogues(env, settings.episodes, settings.seed)
    with progress("audit") as advance:
        rows_done = count(1)
        audited = audit_task(
            env, ids, seed=settings.seed, on_row=lambda _: advance(next(rows_done), None)
        )
    if settings.json:
        print_json(audited)
        return
    title = (
        f"SGDSim-v0, split {audited.split!r}, {audited.dialogues} dialogues; each row: those in "
        "which the agent did what it is named for"
    )
    print_table(TASK_AUDIT_HEADER, task_audit_rows(audited), title)


def measure_agreement(settings: Agreement) -> None:
    """Print how far a judge ranks replies as a trusted reward does."""
    environment: dict[str, Any] = {
        "corpus": settings.corpus,
        "schema_variant": settings.schema_variant,
    }
    corpus = open_corpus(settings.corpus, schema_variant=settings.schema_variant)
    split = corpus.split(settings.split)
    env = make_env(split=settings.split, **environment)
    with progress("agreement") as advance:
        done = 0

        def count(answers: int) -> None:
            nonlocal done
            done += answers
            advance(done, None)

        found = agreement(
            split,
            make_reward_for(settings.judge, split, corpus),
            make_reward_for(settings.truth, split, corpus),
            choose_dialogues(env, settings.episodes, settings.seed),
            seed=settings.seed,
            on_answers=count,
        )
    if settings.json:
        print_json(found)
        return
    correlation = found.rank_correlation
    title = f"{found.judge} beside {found.truth}, split {found.split!r}, {found.turns} turns"
    print_table(AGREEMENT_HEADER, agreement_rows(found), title)
    print(
        f"rank correlation over {correlation.count} replies: {number(correlation.mean)} "
        f"({interval(correlation)}); {correlation.left_out} could not be judged"
    )


_AUDITED = ("ground_truth", "balanced")


def _rewards(settings: Verify | Audit, split: str, default: Sequence[str] = ()) -> list[Reward]:
    environment = {
        "corpus": settings.corpus,
        "schema_variant": settings.schema_variant,
        "split": split,
    }
    return [make_reward(config, **environment) for config in settings.reward or default]
