"""The promises of a policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from agent_gym_env.assembly import Env, choose_dialogues, make_env, make_policy
from agent_gym_env.envs.actions import ParsedAction, parse_action
from agent_gym_env.policies.base import BatchPolicy, Policy
from agent_gym_env.testing.conformance import Check, compare
from agent_gym_env.types import Action, Observation

_BATCHED = 16
"""Observations of one batch: enough for a mix of dialogues, few enough for a language model."""


def check_policy(
    policy: str | Mapping[str, Any] | Policy,
    env: Env | None = None,
    *,
    dialogues: int = 4,
    seed: int = 0,
    reads_env: bool = False,
    deterministic: bool = True,
) -> None:
    """Check that a policy keeps the promises of `agent_gym_env.policies.base.Policy`.

    Args:
        policy: a policy, or a configuration as in `agent_gym_env.assembly.make_policy`.
        env: ``SGD-v0``; by default on the ``dev`` split of the embedded corpus.
        dialogues: how many dialogues are played.
        seed: seed of the choice of dialogues and of the policy.
        reads_env: whether the policy asks the environment what the corpus did, as the oracle does,
            so that it cannot act on observations alone.
        deterministic: whether the same seed gives the same actions. A language model behind a
            network cannot promise that.

    Raises:
        ConformanceError: a promise is broken.
        LMError: the language model that the policy asks did not answer.

    Examples:
        >>> check_policy("uniform")
    """
    env = make_env(split="dev") if env is None else env
    agent = make_policy(policy, env) if isinstance(policy, str | Mapping) else policy
    name = getattr(agent, "name", None)
    check = Check("policy", name or type(agent).__name__)
    check.require_methods(agent, "reset", "act")
    check.require_name(name)
    check.call("reset takes a seed or none", "", agent.reset)
    ids = choose_dialogues(env, dialogues, seed)
    played = {each: _play(check, agent, env, each, seed) for each in ids}
    if deterministic:
        for each in reversed(ids):
            again = _actions(_play(check, agent, env, each, seed))
            promise = "the same seed gives the same actions"
            compare(check, promise, again, _actions(played[each]), f"dialogue {each}")
    if deterministic and not reads_env:
        _check_observations_suffice(check, agent, played, seed)
    if isinstance(agent, BatchPolicy):
        seen = [step.observation for steps in played.values() for step in steps]
        _check_batch(check, agent, agent, seen[:_BATCHED], seed, deterministic=deterministic)


class _Step(NamedTuple):
    """An observation, and the policy's action."""

    observation: Observation
    action: ParsedAction


def _play(
    check: Check, policy: Policy, env: Env, dialogue_id: str, seed: int | None
) -> list[_Step]:
    where = f"dialogue {dialogue_id}"
    observation, _ = env.reset(options={"dialogue_id": dialogue_id})
    check.call("reset takes a seed or none", where, policy.reset, seed=seed)
    steps: list[_Step] = []
    over = False
    while not over:
        action, understood = _act(check, policy, observation, f"{where}, step {len(steps)}")
        steps.append(_Step(observation, understood))
        observation, _, terminated, truncated, _ = env.step(action)
        over = terminated or truncated
    return steps


def _act(
    check: Check,
    policy: Policy,
    observation: Observation,
    where: str,
    promise: str = "acts on every observation",
) -> tuple[Action, ParsedAction]:
    shown = dict(observation)
    action = check.call(promise, where, policy.act, shown)
    promise = "does not change the observation"
    check.require(shown == observation, promise, "the observation as it was", shown, where)
    return action, _understood(check, action, where)


def _understood(check: Check, action: Action, where: str) -> ParsedAction:
    """Read an action as the environment does; what a model reports beside it may differ."""
    try:
        text, calls, error = parse_action(action)
    except (TypeError, ValueError) as problem:
        check.fail("returns an action that step accepts", "an Action", str(problem), where)
    return text, list(calls), error


def _actions(steps: Sequence[_Step]) -> list[ParsedAction]:
    return [step.action for step in steps]


def _check_observations_suffice(
    check: Check, policy: Policy, played: Mapping[str, Sequence[_Step]], seed: int
) -> None:
    """Show the observations again when the environment has nothing in play to be asked about."""
    promise = "acts on the observation alone"
    for dialogue_id, steps in played.items():
        where = f"dialogue {dialogue_id}"
        check.call(promise, where, policy.reset, seed=seed)
        again = [_act(check, policy, step.observation, where, promise)[1] for step in steps]
        compare(check, promise, again, _actions(steps), where)


def _check_batch(
    check: Check,
    policy: Policy,
    batch: BatchPolicy,
    seen: Sequence[Observation],
    seed: int,
    *,
    deterministic: bool,
) -> None:
    seeds = [seed + number for number in range(len(seen))]
    alone = []
    for observation, own_seed in zip(seen, seeds, strict=True):
        policy.reset(seed=own_seed)
        alone.append(_act(check, policy, observation, "act, one by one")[1])
    policy.reset(seed=seed)
    shown = [dict(observation) for observation in seen]
    promise = "act_batch equals act one by one"
    actions = check.call(promise, "", lambda: list(batch.act_batch(shown, seeds=seeds)))
    found = len(actions)
    check.require(found == len(seen), promise, f"{len(seen)} actions", f"{found} actions")
    together = [_understood(check, action, "act_batch") for action in actions]
    check.require(
        shown == [dict(observation) for observation in seen],
        "does not change the observation",
        "the observations as they were",
        "other observations after act_batch",
    )
    if deterministic:
        compare(check, promise, together, alone, "act_batch")
