"""The one place that knows every class: from plain configuration to environment and policy."""

from __future__ import annotations

import platform
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from agent_gym_env.encoders.candidates import CandidateSource
from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.errors import DataError
from agent_gym_env.lm.base import LanguageModel, default_model
from agent_gym_env.lm.huggingface_hub import check_model_path
from agent_gym_env.policies.base import BatchPolicy, Policy
from agent_gym_env.policies.constant import ConstantPolicy
from agent_gym_env.policies.oracle import OraclePolicy
from agent_gym_env.policies.uniform import UniformPolicy
from agent_gym_env.rewards.base import Reward
from agent_gym_env.rollout.collect import Progress
from agent_gym_env.rollout.collect import collect as run_collection
from agent_gym_env.rollout.collection import Collection
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.job_player import JobPlayer
from agent_gym_env.rollout.lockstep import play_all_together
from agent_gym_env.rollout.manifest import free_folder
from agent_gym_env.rollout.play import play_all
from agent_gym_env.rollout.process_runner import ProcessRunner
from agent_gym_env.rollout.ray_runner import RayRunner
from agent_gym_env.rollout.runners import LockstepRunner, Runner, SerialRunner, ThreadRunner
from agent_gym_env.suggestions import (
    argument_types,
    keywords,
    refuse_unknown,
    refuse_wrong_types,
    unknown_name,
)
from agent_gym_env.training.hindsight import bare_env
from agent_gym_env.types import AtLeast0, AtLeast1

Env = gym.Env[Any, Any]


def make_env(*, max_episode_steps: int | None = None, **arguments: Any) -> Env:
    """Make ``SGD-v0`` through `gymnasium.make`.

    Args:
        max_episode_steps: truncates episodes; ``None`` for no limit.
        **arguments: as in `SGDEnv`; ``reward`` may be an object with the `Reward` protocol too.

    Raises:
        ValueError: an argument is not known, or not among its values.
    """
    refuse_unknown("SGD-v0", arguments, keywords(SGDEnv) | {"disable_env_checker"})
    return gym.make("agent_gym_env:SGD-v0", max_episode_steps=max_episode_steps, **arguments)


def _retrieval(env: Env, **options: Any) -> Policy:
    from agent_gym_env.policies.retrieval import RetrievalPolicy

    corpus = bare_env(env).corpus
    return RetrievalPolicy(corpus.split("train"), **options)


def _sb3(env: Env, *, path: str, **options: Any) -> Policy:
    from agent_gym_env.policies.sb3_model import SB3Policy, read_header

    source = make_candidates(env, **read_header(path).source_options())
    return SB3Policy.load(path, source, **options)


def _best_candidate(env: Env, *, k: AtLeast1 = 16, **candidates: int) -> Policy:
    from agent_gym_env.training.hindsight import BestCandidatePolicy

    return BestCandidatePolicy(env, make_candidates(env, **candidates), k)


def _llm(env: Env, **options: Any) -> Policy:
    from agent_gym_env.policies.llm import LLMPolicy

    return LLMPolicy(_model_of(options), **{"date": _date_of(env), **options})


def _transformers(env: Env, *, path: str, **options: Any) -> Policy:
    from agent_gym_env.lm.huggingface_hub import check_model_path

    check_model_path(path)  # before the libraries are imported, which takes long
    from agent_gym_env.policies.transformers_model import TransformersPolicy

    return TransformersPolicy(path, **{"date": _date_of(env), **options})


def _dspy(env: Env, *, program: str | None = None, **options: Any) -> Policy:
    from agent_gym_env.policies.dspy_module import SGDAgentModule
    from agent_gym_env.policies.dspy_program import DSPyPolicy
    from agent_gym_env.policies.dspy_state import load_program

    agent = SGDAgentModule() if program is None else load_program(program)
    return DSPyPolicy(agent, _model_of(options), **{"date": _date_of(env), **options})


def _model_of(options: dict[str, Any]) -> LanguageModel:
    """Take the options of a model, or ``lm``, one that is shared, out of those of its policy."""
    from agent_gym_env.lm.open_model import checked_model, open_model, take_model

    if "lm" in options:
        return checked_model(options.pop("lm"))
    return open_model(take_model(options))


def _date_of(env: Env) -> str:
    bare = bare_env(env)
    return bare.split.task(int(bare.selected[0])).date


_POLICIES: dict[str, Callable[..., Policy]] = {
    "oracle": OraclePolicy,
    "silent": lambda _: ConstantPolicy(""),
    "constant": lambda _, **options: ConstantPolicy(**options),
    "uniform": lambda _, **options: UniformPolicy(**options),
    "retrieval": _retrieval,
    "sb3": _sb3,
    "best-candidate": _best_candidate,
    "llm": _llm,
    "transformers": _transformers,
    "dspy": _dspy,
}

POLICY_NAMES = tuple(_POLICIES)

ASKS_A_MODEL = ("llm", "dspy", "llm_judge", "hybrid")
"""Policies and rewards that ask a language model."""


def _takers(policy: str) -> tuple[Callable[..., Any], ...]:
    """Return the functions and classes that take the options of a policy."""
    if policy == "constant":
        return (ConstantPolicy,)
    if policy == "uniform":
        return (UniformPolicy,)
    if policy == "retrieval":
        from agent_gym_env.policies.retrieval import RetrievalPolicy

        return (RetrievalPolicy,)
    if policy == "sb3":
        from agent_gym_env.policies.sb3_model import SB3Policy

        return (SB3Policy.load,)
    if policy == "best-candidate":
        return (make_candidates,)
    if policy == "transformers":
        from agent_gym_env.lm.transformers_client import TransformersClient
        from agent_gym_env.policies.transformers_model import TransformersPolicy

        return (TransformersPolicy, TransformersClient)
    if policy not in ("llm", "dspy"):
        return ()
    from agent_gym_env.lm.open_model import ModelOptions

    if policy == "llm":
        from agent_gym_env.policies.llm import LLMPolicy

        return (LLMPolicy, ModelOptions)
    from agent_gym_env.policies.dspy_program import DSPyPolicy

    return (DSPyPolicy, ModelOptions)


def make_policy(config: str | Mapping[str, Any] | Policy, env: Env) -> Policy:
    """Make a policy for an environment.

    Args:
        config: a name of `POLICY_NAMES`, ``{"name": …, **options}`` with the options of the
            policy's class, or a policy, which is given back.
        env: the environment that will be played: the retrieval policy learns from the train split
            of its corpus, and the oracle asks it for what was recorded.

    Raises:
        ValueError: the name or an option is not known, or an option is missing.
        MissingDependency: what the policy needs is not installed.
    """
    if isinstance(config, str):
        config = {"name": config}
    if not isinstance(config, Mapping):
        return config
    options = dict(config)
    name = options.pop("name", None)
    if name not in POLICY_NAMES:
        raise ValueError(unknown_name("policy", name, POLICY_NAMES))
    build = _POLICIES[name]
    if name == "transformers" and "path" in options:
        # Before torch is imported, which takes seconds.
        check_model_path(options["path"])
    owner, takers = f"policy {name!r}", (build, *_takers(name))
    known = policy_options(name)
    # A policy that shares its model with others gets it in place of the model's options.
    refuse_unknown(owner, options.keys() - {"lm"} if "model" in known else options, known)
    types = dict(ChainMap(*map(argument_types, takers)))
    refuse_wrong_types(owner, options, {**types, "model": Any})
    if "path" in keywords(build) and "path" not in options:
        raise ValueError(f"policy {name!r} needs the option 'path'")
    return build(env, **options)


def policy_options(name: str) -> set[str]:
    """Name the options of a policy.

    Args:
        name: one of `POLICY_NAMES`.

    Raises:
        MissingDependency: what the policy needs is not installed.
    """
    return keywords(_POLICIES[name], *_takers(name)) - {"name"}


def make_candidates(
    env: Env, *, training_dialogues: AtLeast0 = 8000, indexed: AtLeast0 = 5000
) -> CandidateSource:
    """Make a source of candidate actions from the train split of an environment's corpus.

    Args:
        env: ``SGD-v0``, or wrappers around it.
        training_dialogues: number of dialogues that the retrieval model is trained on.
        indexed: number of dialogues whose replies are indexed. A policy that learns to choose
            among candidates must be trained on the rest
            (`agent_gym_env.retrieval.training.held_out`).
    """
    from agent_gym_env.retrieval.candidates import CandidateGenerator
    from agent_gym_env.retrieval.training import load_or_train

    train = bare_env(env).corpus.split("train")
    model = load_or_train(train, training_dialogues=training_dialogues, indexed=indexed)
    return CandidateGenerator(model)


def reward_of(config: str | Mapping[str, Any] | Reward, **arguments: Any) -> Reward:
    """Make the reward that an environment of these arguments would score with.

    Args:
        config: as ``reward`` in `SGDEnv`.
        **arguments: as in `make_env`.
    """
    return bare_env(make_env(reward=config, **arguments)).world.reward


def choose_dialogues(env: Env, episodes: int | None, seed: int) -> list[str]:
    """Choose dialogues of an environment's selection, without repetition and in corpus order.

    Args:
        env: ``SGD-v0``.
        episodes: how many; all where there are not so many, or for ``None``.
        seed: of the draw: the same for every policy, so that they can be compared in pairs.
    """
    bare = bare_env(env)
    ids = bare.split.dialogue_ids()
    selected = np.asarray(bare.selected)
    if episodes is not None and episodes < len(selected):
        drawn = np.random.default_rng(seed).choice(selected, episodes, replace=False)
        selected = np.sort(drawn)
    return [ids[index] for index in selected]


def rollout(
    policy: str | Mapping[str, Any] | Policy,
    *,
    episodes: int | None = None,
    seed: int = 0,
    batch: int = 1,
    on_begin: Callable[[int], None] | None = None,
    **arguments: Any,
) -> Iterator[Episode]:
    """Play a policy.

    Args:
        policy: as in `make_policy`.
        episodes: how many dialogues; ``None`` for all.
        seed: of the choice of dialogues, and of each episode.
        batch: how many dialogues are played in step by a policy that can be asked about several at
            once; others play one after another.
        on_begin: called with the number of episodes before the first is played.
        **arguments: as in `make_env`.
    """
    env = make_env(**arguments)
    dialogue_ids = choose_dialogues(env, episodes, seed)
    player = make_policy(policy, env)
    if on_begin is not None:
        on_begin(len(dialogue_ids))
    if batch > 1 and isinstance(player, BatchPolicy):
        envs = [env, *(make_env(**arguments) for _ in range(batch - 1))]
        yield from play_all_together(envs, player, dialogue_ids, seed=seed)
    else:
        yield from play_all(env, player, dialogue_ids, seed=seed)


def collect(
    policy: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]],
    out: str | PathLike[str],
    *,
    episodes: int | None = None,
    seed: int = 0,
    best_of: int = 1,
    keep_all: bool = False,
    branches: int = 0,
    path: str | Mapping[str, Any] = "oracle",
    runner: str | Runner = "serial",
    workers: int = 2,
    retry_failed: bool = False,
    new_run: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    **arguments: Any,
) -> Progress:
    """Collect episodes, or branches, into a folder; the same call goes on with what is missing.

    Args:
        policy: a name or mapping as in `make_policy`; several where they branch.
        out: the folder; `agent_gym_env.rollout.episode_file.read_episodes` reads it.
        episodes: how many dialogues are played; ``None`` for each once. If there are fewer they are
            played again, with other seeds.
        seed: of the choice of dialogues, and of each episode.
        best_of: how many episodes of each are played of which the best is kept.
        keep_all: whether all of these are kept.
        branches: how often each policy plays on from each state of a dialogue; 0 for episodes.
        path: the policy that walks from state to state.
        runner: one of `RUNNER_NAMES`, or a runner such as ``RayRunner(8, address="auto")``.
        workers: how many threads, processes or actors, or dialogues in step; not used where
            ``runner`` is an object.
        retry_failed: whether episodes that have failed are played again.
        new_run: whether, where ``out`` holds a run of another configuration, ``out-2`` and so on
            is taken.
        on_progress: is told after each episode.
        **arguments: as in `make_env`.

    Raises:
        ValueError: an argument is not among its values.
        LockError: another process collects into this folder.
        ResumeMismatchError: the folder was begun with another configuration.
        StorageError: the disk does not take it, or a file there is damaged.
        BudgetExceeded: the run has spent what it may spend; what was played is there.
        CircuitOpenError: the provider refuses the key or is down; what was played is there.
    """
    policies = [_config(each) for each in _as_sequence(policy)]
    chosen = make_runner(runner, workers) if isinstance(runner, str) else runner
    if isinstance(chosen, ProcessRunner | RayRunner):
        _refuse_budgets([*policies, _config(path)])
    collection = plan_collection(
        policies,
        episodes=episodes,
        seed=seed,
        best_of=best_of,
        keep_all=keep_all,
        branches=branches,
        path=path,
        **arguments,
    )
    folder = free_folder(Path(out), collection.as_json()) if new_run else Path(out)
    return run_collection(
        collection,
        folder,
        partial(open_player, collection),
        chosen,
        retry_failed=retry_failed,
        on_progress=on_progress,
    )


def plan_collection(
    policy: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]],
    *,
    episodes: int | None = None,
    play_again: bool = True,
    seed: int = 0,
    best_of: int = 1,
    keep_all: bool = False,
    branches: int = 0,
    path: str | Mapping[str, Any] = "oracle",
    **arguments: Any,
) -> Collection:
    """Return the configuration of the run that `collect` begins with the same arguments.

    Args:
        policy: as in `collect`.
        episodes: as in `collect`.
        play_again: whether dialogues are played again where there are fewer than ``episodes``.
        seed: as in `collect`.
        best_of: as in `collect`.
        keep_all: as in `collect`.
        branches: as in `collect`.
        path: as in `collect`.
        **arguments: as in `make_env`.
    """
    env = make_env(**arguments)
    chosen = len(choose_dialogues(env, episodes, seed))
    dialogues = chosen if episodes is None or not play_again else episodes
    return Collection(
        policies=tuple(_config(each) for each in _as_sequence(policy)),
        world=_with_judge(arguments),
        corpus=bare_env(env).split.fingerprint,
        jobs=dialogues * (best_of if keep_all else 1),
        seed=seed,
        best_of=best_of,
        keep_all=keep_all,
        branches=branches,
        path=_config(path),
    )


def open_player(collection: Collection) -> JobPlayer:
    """Make who plays a collection; processes and actors call this by its name."""
    configs = [*map(_with_model, collection.policies), _with_model(collection.path)]
    env = make_env(**collection.world)
    _check_corpus(env, collection)
    return JobPlayer(
        collection,
        choose_dialogues(env, collection.dialogues, collection.seed),
        open_env=partial(make_env, **collection.world),
        open_policies=lambda env: [make_policy(config, env) for config in configs],
    )


def _check_corpus(env: Env, collection: Collection) -> None:
    """Refuse another corpus at the same place, as another machine of a cluster may have it."""
    found = bare_env(env).split.fingerprint
    if found != collection.corpus:
        raise DataError(
            f"the corpus on {platform.node()} has the fingerprint {found[:12]}, and the run's has "
            f"{collection.corpus[:12]}: give each machine the same files",
            file=str(collection.world.get("corpus", "sample")),
        )


def make_runner(name: str, workers: int) -> Runner:
    """Make a runner.

    Args:
        name: one of `RUNNER_NAMES`.
        workers: how many threads, processes or actors, or dialogues in step.

    Raises:
        ValueError: the name is not known.
    """
    build = _RUNNERS.get(name)
    if build is None:
        raise ValueError(unknown_name("runner", name, RUNNER_NAMES))
    return build(workers)


_RUNNERS: dict[str, Callable[[int], Runner]] = {
    "serial": lambda _: SerialRunner(),
    "threads": ThreadRunner,
    "processes": ProcessRunner,
    "ray": RayRunner,
    "lockstep": LockstepRunner,
}

RUNNER_NAMES = tuple(_RUNNERS)


def _as_sequence(
    policy: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]],
) -> Sequence[str | Mapping[str, Any]]:
    return [policy] if isinstance(policy, str | Mapping) else policy


def _refuse_budgets(policies: Sequence[Mapping[str, Any]]) -> None:
    """Refuse what each process would spend anew."""
    for policy in policies:
        limits = [name for name in ("budget_usd", "budget_calls") if policy.get(name) is not None]
        if limits:
            raise ValueError(
                f"{limits[0]} is kept by one process: choose the runner 'threads' or 'lockstep'"
            )


def _config(policy: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return a policy's configuration with the model that it will ask, which records keep."""
    return name_model({"name": policy} if isinstance(policy, str) else policy)


def _with_judge(world: dict[str, Any]) -> dict[str, Any]:
    reward = world.get("reward")
    if reward in ASKS_A_MODEL or isinstance(reward, Mapping):
        config = {"name": reward} if isinstance(reward, str) else reward
        return {**world, "reward": name_model(config)}
    return world


def name_model(
    config: Mapping[str, Any], model: str | Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return a configuration that names the language model, if the policy or judge asks one.

    Args:
        config: configuration of a policy or a reward.
        model: a name, or a mapping of `ModelOptions` for what ``config`` leaves open; ``None`` for
            `agent_gym_env.lm.base.default_model`.
    """
    if config.get("name") not in ASKS_A_MODEL or config.get("model") is not None:
        return dict(config)
    named = {"model": default_model() if model is None else model}
    given = {name: value for name, value in config.items() if name != "model"}
    return {**(model if isinstance(model, Mapping) else named), **given}


def _with_model(policy: dict[str, Any]) -> dict[str, Any]:
    """Open the model of a policy that asks one, so that all that are made of it share it."""
    if policy.get("name") not in ("llm", "dspy"):
        return policy
    options = dict(policy)
    return {"lm": _model_of(options), **options}
