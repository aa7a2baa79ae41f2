"""The one place that knows every class: from plain configuration to environment and policy."""

from __future__ import annotations

import copy
import pickle
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import gymnasium as gym
import numpy as np

from agent_gym_env import registry
from agent_gym_env.encoders.candidates import CandidateSource
from agent_gym_env.envs.dialogue import SGDEnv, unwrap_sgd
from agent_gym_env.envs.sgd_sim import SGDSimEnv, unwrap_any
from agent_gym_env.errors import AgentGymError, DataError
from agent_gym_env.lm.base import default_model
from agent_gym_env.lm.open_model import ModelOptions, make_with_model, open_model, take_model
from agent_gym_env.policies.base import BatchPolicy, Policy
from agent_gym_env.registry import (
    CLIENTS,
    CORPORA,
    POLICIES,
    REPLAYED,
    REWARDS,
    RUNNERS,
    TOOL_BACKENDS,
    USERS,
    Registry,
)
from agent_gym_env.rewards.base import Reward
from agent_gym_env.rollout.collect import Progress, run_collection
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.jobs import Collection, JobPlayer
from agent_gym_env.rollout.journal.format import free_folder
from agent_gym_env.rollout.lockstep import play_all_together
from agent_gym_env.rollout.play import play_all
from agent_gym_env.rollout.runners import Runner
from agent_gym_env.suggestions import keywords, refuse_unknown, unknown_name
from agent_gym_env.types import AtLeast0

if TYPE_CHECKING:
    from agent_gym_env.policies.act_choices import ActChoices

PolicyConfig = str | Mapping[str, Any]
"""A policy's name, or a mapping with its name and options."""

Env = gym.Env[Any, Any]


ENVIRONMENTS: Mapping[str, Callable[..., Any]] = {
    **dict.fromkeys(REPLAYED, SGDEnv),
    "SGDSim-v0": SGDSimEnv,
}
"""Classes of the environments, by id."""


def make_env(*, env: str = "SGD-v0", max_episode_steps: int | None = None, **arguments: Any) -> Env:
    """Make an environment through `gymnasium.make`.

    Args:
        env: ``"SGD-v0"``, ``"Traces-v0"`` or ``"SGDSim-v0"``.
        max_episode_steps: truncates episodes; ``None`` for no limit.
        **arguments: as in `SGDEnv` or `SGDSimEnv`.

    Raises:
        ValueError: the environment or an argument is not known, or not among its values.
    """
    if env not in ENVIRONMENTS:
        raise ValueError(unknown_name("env", env, ENVIRONMENTS))
    refuse_unknown(env, arguments, keywords(ENVIRONMENTS[env]) | {"disable_env_checker"})
    return gym.make(f"agent_gym_env:{env}", max_episode_steps=max_episode_steps, **arguments)


def make_policy(config: PolicyConfig | Policy, env: Env) -> Policy:
    """Make a policy for an environment.

    Args:
        config: a name, ``{"name": …, **options}`` with the options of the policy's factory, or a
            policy, which is returned as it is. See `agent_gym_env.registry` for names.
        env: the environment that will be played. A factory that asks for it receives ``env``, its
            ``corpus``, and ``date``, the dialogues' "today".

    Raises:
        ValueError: the name or an option is not known, or an option is missing.
        TypeError: the object is not a policy.
        MissingDependency: a library that the policy needs is not installed.
    """
    if isinstance(config, str):
        config = {"name": config}
    if not isinstance(config, Mapping):
        return _checked(config)
    options = dict(config)
    name = options.pop("name", None)
    bare = unwrap_any(env)
    date = bare.split.task(int(bare.selected[0])).date
    context = {"env": env, "corpus": bare.corpus, "date": date}
    return _checked(make_with_model(POLICIES, name, options, context))


def _checked(policy: Policy) -> Policy:
    if isinstance(policy, type):
        raise TypeError(f"policy must be an object, not the class {policy.__name__}")
    lacks = [each for each in ("reset", "act") if not callable(getattr(policy, each, None))]
    if lacks or not isinstance(getattr(policy, "name", None), str):
        raise TypeError(
            "policy must be a name, a mapping with one, or an object with `name`, "
            f"reset(seed=…) and act(observation), not {type(policy).__name__}"
        )
    return policy


def policy_options(name: str) -> set[str]:
    """Return the names of the options of a policy.

    Args:
        name: name of the policy.

    Raises:
        ValueError: the name is not known.
    """
    options = registry.option_names(POLICIES.find(name), ("env", "corpus", "date"))
    return options | set(ModelOptions.__struct_fields__) if "model" in options else options


def make_candidates(
    env: Env, *, training_dialogues: AtLeast0 = 8000, indexed: AtLeast0 = 5000
) -> CandidateSource:
    """Make a source of candidate actions from the train split of an environment's corpus.

    Args:
        env: ``SGD-v0``, or wrappers around it.
        training_dialogues: number of dialogues that the retrieval model is trained on.
        indexed: number of dialogues whose replies are indexed. A policy that learns to choose
            among candidates must be trained on the rest (`unused_dialogues`).
    """
    from agent_gym_env.retrieval.candidates import CandidateGenerator
    from agent_gym_env.retrieval.training import load_or_train

    train = unwrap_sgd(env).corpus.split("train")
    model = load_or_train(train, training_dialogues=training_dialogues, indexed=indexed)
    return CandidateGenerator(model)


def make_act_choices(
    env: Env,
    *,
    hears: Literal["words", "acts"] = "words",
    training_dialogues: AtLeast0 = 8000,
    indexed: AtLeast0 = 5000,
    wording: Literal["terse", "plain", "verbose", "descriptive"] = "plain",
) -> ActChoices:
    """Make what turns numbers into dialogue acts and calls, for the wrapper `ActAction`.

    Args:
        env: ``SGDSim-v0``, or wrappers around it; ``SGD-v0`` if the agent hears words.
        hears: ``words``: the agent understands the user's words, with what is learned from the
            corpus's train split; ``acts``: the environment tells it the user's acts.
        training_dialogues: number of dialogues from which understanding words is learned.
        indexed: number of dialogues whose replies the shared retrieval model indexes; nothing here
            uses them.
        wording: style of the agent's words.

    Raises:
        TypeError: ``hears`` is ``acts``, and the environment has no simulated user.
    """
    from agent_gym_env.policies.act_policy import make_choices

    return make_choices(
        env,
        unwrap_any(env).corpus,
        hears=hears,
        training_dialogues=training_dialogues,
        indexed=indexed,
        wording=wording,
    )


def unused_dialogues(env: Env, *, training_dialogues: int = 8000, indexed: int = 5000) -> list[str]:
    """Return the ids of the train dialogues that `make_candidates` does not use.

    Args:
        env: as in `make_candidates`.
        training_dialogues: as in `make_candidates`.
        indexed: as in `make_candidates`.
    """
    from agent_gym_env.retrieval.training import held_out

    train = unwrap_sgd(env).corpus.split("train")
    ids = train.dialogue_ids()
    unused = held_out(train, training_dialogues=training_dialogues, indexed=indexed)
    return [ids[index] for index in unused]


def make_reward(config: str | Mapping[str, Any] | Reward, **arguments: Any) -> Reward:
    """Make the reward that an ``SGD-v0`` of these arguments would score with.

    Args:
        config: as ``reward`` in `SGDEnv`.
        **arguments: as in `SGDEnv`.
    """
    return unwrap_sgd(make_env(reward=config, **arguments)).settings.reward


def choose_dialogues(env: Env, episodes: int | None = None, seed: int = 0) -> list[str]:
    """Choose dialogues of an environment's selection, without repetition and in corpus order.

    Args:
        env: ``SGD-v0`` or ``SGDSim-v0``.
        episodes: number of dialogues; all if the split has fewer, or for ``None``.
        seed: seed of the draw; with the same seed all policies play the same dialogues.
    """
    bare = unwrap_any(env)
    ids = bare.split.dialogue_ids()
    selected = np.asarray(bare.selected)
    if episodes is not None and episodes < len(selected):
        drawn = np.random.default_rng(seed).choice(selected, episodes, replace=False)
        selected = np.sort(drawn)
    return [ids[index] for index in selected]


def play_episodes(
    policy: PolicyConfig | Policy,
    *,
    episodes: int | None = None,
    seed: int = 0,
    trials: int = 1,
    batch: int = 1,
    on_begin: Callable[[int], None] | None = None,
    **arguments: Any,
) -> Iterator[Episode]:
    """Play a policy, and yield its episodes.

    Args:
        policy: as in `make_policy`.
        episodes: number of dialogues; ``None`` for all.
        seed: seed of the choice of dialogues, and of each episode.
        trials: number of times that each dialogue is played, each time with another seed.
        batch: number of dialogues that are played in step by a policy that can be asked about
            several at once; others play one after another.
        on_begin: called with the number of episodes before the first is played.
        **arguments: as in `make_env`.
    """
    env = make_env(**arguments)
    dialogue_ids = choose_dialogues(env, episodes, seed)
    player = make_policy(policy, env)
    if on_begin is not None:
        on_begin(len(dialogue_ids) * trials)
    if batch > 1 and isinstance(player, BatchPolicy):
        envs = [env, *(make_env(**arguments) for _ in range(batch - 1))]
        yield from play_all_together(envs, player, dialogue_ids, seed=seed, trials=trials)
    else:
        yield from play_all(env, player, dialogue_ids, seed=seed, trials=trials)


rollout = play_episodes
"""The name of `play_episodes` in this module; ``agent_gym_env.rollout`` is a folder."""


def collect(
    policy: PolicyConfig | Policy | Sequence[PolicyConfig | Policy],
    out: str | PathLike[str],
    *,
    episodes: int | None = None,
    dialogue_ids: Sequence[str] = (),
    seed: int = 0,
    best_of: int = 1,
    keep_all: bool = False,
    branches: int = 0,
    path: PolicyConfig | Policy | None = None,
    states: int = 0,
    continuations: int = 1,
    runner: str | Mapping[str, Any] | Runner = "serial",
    workers: int = 2,
    retry_failed: bool = False,
    new_run: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    **arguments: Any,
) -> Progress:
    """Collect episodes, or branches, into a folder; the same call goes on with what is missing.

    Args:
        policy: as in `make_policy`; several where they branch. An object plays in this process;
            runners that start other processes need a name. With threads each thread but the first
            plays a deep copy of the object.
        out: the folder; `agent_gym_env.rollout.journal.reading.read_episodes` reads it.
        episodes: how many dialogues are played; ``None`` for each once. If there are fewer they are
            played again, with other seeds.
        dialogue_ids: ids of the dialogues to play, in this order, in place of a draw.
        seed: seed of the choice of dialogues, and of each episode.
        best_of: how many episodes of each are played of which the best is kept.
        keep_all: whether all of these are kept.
        branches: number of branches that each policy plays from each state of a dialogue; 0 for
            episodes.
        path: policy that leads from state to state: by default the oracle, or with ``SGDSim-v0``
            the first policy.
        states: number of states of a dialogue that are branched from, drawn at random; 0 for all.
        continuations: with ``SGDSim-v0``, number of times that the first policy plays on from each
            branch to the end of the dialogue.
        runner: as in `make_runner`, for example ``{"name": "ray", "address": "auto"}``.
        workers: how many threads, processes or actors, or dialogues in step; not used where
            ``runner`` is an object.
        retry_failed: whether episodes that have failed are played again.
        new_run: whether, where ``out`` holds a run of another configuration, ``out-2`` and so on
            is taken.
        on_progress: is told after each episode.
        **arguments: as in `make_env`.

    Raises:
        ValueError: an argument is not among its values, or an object is given to a runner that
            starts other processes.
        LockError: another process collects into this folder.
        ResumeMismatchError: the folder was begun with another configuration.
        StorageError: the disk does not take it, or a file there is damaged.
        BudgetExceeded: the run has spent what it may spend; what was played is there.
        CircuitOpenError: the provider refuses the key or is down; what was played is there.
    """
    path = _path(path, policy, arguments)
    players = (*_as_sequence(policy), *([path] if branches else []))
    chosen = make_runner(runner, workers)
    collection = plan_collection(
        policy,
        episodes=episodes,
        dialogue_ids=dialogue_ids,
        seed=seed,
        best_of=best_of,
        keep_all=keep_all,
        branches=branches,
        path=path,
        states=states,
        continuations=continuations,
        **arguments,
    )
    if getattr(chosen, "crosses_processes", False):
        asking = [collection.world.get(each) for each in ("user", "tool_backend")]
        configs = [each for each in asking if isinstance(each, Mapping)]
        _refuse_budgets([*collection.players, *configs])
        given = _Given(registered=_registered(collection, players, arguments))
    else:
        given = _Given(_objects(players), _with_object(arguments))
    folder = free_folder(Path(out), collection.as_json()) if new_run else Path(out)
    return run_collection(
        collection,
        folder,
        partial(open_player, collection, given),
        chosen,
        retry_failed=retry_failed,
        on_progress=on_progress,
    )


def plan_collection(
    policy: PolicyConfig | Policy | Sequence[PolicyConfig | Policy],
    *,
    episodes: int | None = None,
    dialogue_ids: Sequence[str] = (),
    play_again: bool = True,
    seed: int = 0,
    best_of: int = 1,
    keep_all: bool = False,
    branches: int = 0,
    path: PolicyConfig | Policy | None = None,
    states: int = 0,
    continuations: int = 1,
    **arguments: Any,
) -> Collection:
    """Return the configuration of the run that `collect` begins with the same arguments.

    Args:
        policy: as in `collect`.
        episodes: as in `collect`.
        dialogue_ids: as in `collect`.
        play_again: whether dialogues are played again where there are fewer than ``episodes``.
        seed: as in `collect`.
        best_of: as in `collect`.
        keep_all: as in `collect`.
        branches: as in `collect`.
        path: as in `collect`.
        states: as in `collect`.
        continuations: as in `collect`.
        **arguments: as in `make_env`.

    Raises:
        ValueError: a dialogue is named twice, or ids and a number of dialogues are given.
        DataError: the split does not have a dialogue of this id.
    """
    env = make_env(**arguments)
    _check_ids(env, dialogue_ids, episodes)
    chosen = len(dialogue_ids) or len(choose_dialogues(env, episodes, seed))
    dialogues = chosen if episodes is None or not play_again else episodes
    return Collection(
        policies=tuple(_config(each) for each in _as_sequence(policy)),
        world=_named_world(arguments),
        corpus=unwrap_any(env).split.fingerprint,
        jobs=dialogues * (best_of if keep_all else 1),
        seed=seed,
        best_of=best_of,
        keep_all=keep_all,
        branches=branches,
        path=_config(_path(path, policy, arguments)),
        states=states,
        continuations=continuations,
        dialogue_ids=tuple(dialogue_ids),
    )


def _check_ids(env: Env, dialogue_ids: Sequence[str], episodes: int | None) -> None:
    if dialogue_ids and episodes is not None:
        raise ValueError("dialogue_ids names the dialogues, so leave episodes away")
    if len(set(dialogue_ids)) < len(dialogue_ids):
        raise ValueError("dialogue_ids names a dialogue twice")
    split = unwrap_any(env).split
    for dialogue_id in dialogue_ids:
        split.index(dialogue_id)


def _path(
    path: PolicyConfig | Policy | None,
    policy: PolicyConfig | Policy | Sequence[PolicyConfig | Policy],
    world: Mapping[str, Any],
) -> PolicyConfig | Policy:
    """Return the policy that leads from state to state, or the default for the environment."""
    if path is not None:
        return path
    is_simulated = world.get("env", "SGD-v0") == "SGDSim-v0"
    return next(iter(_as_sequence(policy)), "oracle") if is_simulated else "oracle"


class _Given(NamedTuple):
    """Everything that a collection's JSON values cannot say about it.

    Attributes:
        policies: for each policy, the path's last, its object, or ``None`` if it has a name.
        world: arguments of the environment, if one of them is an object.
        registered: kind, name and factory of all that was registered in the parent process.
    """

    policies: Sequence[Policy | None] = ()
    world: dict[str, Any] | None = None
    registered: Sequence[tuple[str, str, Any]] = ()


def open_player(collection: Collection, given: _Given = _Given()) -> JobPlayer:  # noqa: B008
    """Create the worker that plays a collection's jobs. Processes and actors import it by name.

    Args:
        collection: configuration of the run.
        given: objects that `collect` was called with.
    """
    for kind, name, factory in given.registered:
        _KINDS[kind].register(name, factory)
    described = collection.players
    objects = given.policies or (None,) * len(described)
    configs = [
        _with_model(config) if player is None else player
        for config, player in zip(described, objects, strict=True)
    ]
    world = collection.world if given.world is None else given.world
    env = make_env(**world)
    _check_corpus(env, collection)
    opened = 0

    def open_policies(env: Env) -> list[Policy]:
        nonlocal opened
        opened += 1
        return [make_policy(_copied(each) if opened > 1 else each, env) for each in configs]

    return JobPlayer(
        collection,
        collection.dialogue_ids or choose_dialogues(env, collection.dialogues, collection.seed),
        open_env=partial(make_env, **world),
        open_policies=open_policies,
    )


def _copied(config: PolicyConfig | Policy) -> PolicyConfig | Policy:
    """Copy a policy object for another thread."""
    if isinstance(config, str | Mapping):
        return config
    try:
        return copy.deepcopy(config)
    except Exception as error:
        raise AgentGymError(
            f"each thread needs its own policy, and {config.name!r} cannot be copied "
            f"({type(error).__name__}: {error}). {_by_name(config)}"
        ) from error


def _objects(players: Sequence[PolicyConfig | Policy]) -> Sequence[Policy | None]:
    return [None if isinstance(each, str | Mapping) else each for each in players]


def _with_object(world: dict[str, Any]) -> dict[str, Any] | None:
    return world if any(_is_object(world.get(each)) for each in _NAMED) else None


def _is_object(value: object) -> bool:
    return value is not None and not isinstance(value, str | PathLike | Mapping)


_NAMED = {"reward": REWARDS, "corpus": CORPORA, "tool_backend": TOOL_BACKENDS, "user": USERS}
"""Arguments of an environment that name something."""

_NAMED_INSIDE = {"first": REWARDS, "client": CLIENTS, "model": CLIENTS}
"""Options of policies and rewards that name something, or hold a mapping that does."""

_KINDS = {each.kind: each for each in (POLICIES, CLIENTS, *_NAMED.values())}


def _registered(
    collection: Collection, players: Sequence[object], world: Mapping[str, Any]
) -> Sequence[tuple[str, str, Any]]:
    """Return the registered factories that other processes need.

    Raises:
        ValueError: an object is given, or a factory that other processes cannot import.
    """
    for each in (*players, *map(world.get, _NAMED)):
        if _is_object(each):
            raise ValueError(
                "the runner plays in other processes, which cannot share an object of the type "
                f"{type(each).__name__}. {_by_name(each)}"
            )
    configs: list[tuple[Registry, Any]] = [
        (known, world.get(each)) for each, known in _NAMED.items()
    ]
    configs += [(POLICIES, each) for each in collection.players]
    names = dict.fromkeys(found for known, config in configs for found in _names(known, config))
    return [
        (known.kind, name, _sendable(known, name))
        for known, name in names
        if name in known.registered
    ]


def _names(known: Registry, config: Any) -> Iterator[tuple[Registry, str]]:
    """Yield the names in a configuration, each with the registry that knows it."""
    options = config if isinstance(config, Mapping) else {"name": config}
    if isinstance(name := options.get("name"), str):
        yield known, name
    for option, inside in _NAMED_INSIDE.items():
        yield from _names(inside, options[option]) if option in options else ()


def _sendable(known: Registry, name: str) -> Any:
    factory = known.registered[name]
    try:
        pickle.dumps(factory)
    except Exception as error:
        raise ValueError(
            f"the runner plays in other processes, which cannot import the factory of the "
            f"{known.kind} {name!r}: {error}. Define it at the top of a module"
        ) from error
    return factory


def _by_name(thing: object) -> str:
    """Return the advice to name the class of an object in place of the object."""
    name = registry.importable_name(thing)
    if not registry.is_importable(name):
        return f"Define its class at the top of a module, and name it; {name!r} cannot be imported"
    return (
        f"Name its class, so that each can make its own: {name!r}, or "
        f'{{"name": "{name}", …options}}'
    )


def _check_corpus(env: Env, collection: Collection) -> None:
    """Refuse another corpus at the same place, as another machine of a cluster may have it."""
    found = unwrap_any(env).split.fingerprint
    if found != collection.corpus:
        raise DataError(
            f"the corpus on {platform.node()} has the fingerprint {found[:12]}, and the run's has "
            f"{collection.corpus[:12]}: give each machine the same files",
            file=str(collection.world.get("corpus", "sample")),
        )


def make_runner(config: str | Mapping[str, Any] | Runner, workers: int) -> Runner:
    """Make a runner.

    Args:
        config: a name, ``{"name": …, **options}``, or a runner, which is returned as it is.
        workers: number of threads, processes or actors, or of dialogues played in lockstep.

    Raises:
        ValueError: the name or an option is not known.
    """
    if isinstance(config, str):
        config = {"name": config}
    if not isinstance(config, Mapping):
        return config
    options = dict(config)
    runner: Runner = RUNNERS.make(
        options.pop("name", None), options, {"workers": workers, "width": workers}
    )
    return runner


def _as_sequence(
    policy: PolicyConfig | Policy | Sequence[PolicyConfig | Policy],
) -> Sequence[PolicyConfig | Policy]:
    return policy if isinstance(policy, list | tuple) else [policy]  # type: ignore[list-item]


def _refuse_budgets(configs: Sequence[Mapping[str, Any]]) -> None:
    """Refuse budgets, which each process would spend separately."""
    for config in configs:
        limits = [name for name in ("budget_usd", "budget_calls") if config.get(name) is not None]
        if limits:
            raise ValueError(
                f"{limits[0]} is kept by one process: choose the runner 'threads' or 'lockstep'"
            )


def _config(policy: PolicyConfig | Policy) -> dict[str, Any]:
    """Return a policy's configuration with the model that it will ask, which records keep."""
    if isinstance(policy, str | Mapping):
        return name_model({"name": policy} if isinstance(policy, str) else policy)
    return _description(_checked(policy))


def _description(thing: object) -> dict[str, Any]:
    """Describe an object in JSON values, by which a run that is resumed is compared."""
    name = getattr(thing, "name", type(thing).__name__)
    return {"name": name, "object": registry.importable_name(thing)}


def _named_world(world: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of an environment in JSON values, with the models that it asks."""
    named = {each: _description(world[each]) for each in _NAMED if _is_object(world.get(each))}
    reward = world.get("reward")
    if world.get("env", "SGD-v0") not in REPLAYED:
        return {**world, **named, **_named_model(world, "user", USERS)}
    if isinstance(reward, Mapping) or (isinstance(reward, str) and _asks_a_model(REWARDS, reward)):
        config = {"name": reward} if isinstance(reward, str) else reward
        named["reward"] = name_model(config, kind=REWARDS)
    return {**world, **named, **_named_model(world, "tool_backend", TOOL_BACKENDS)}


def _named_model(world: dict[str, Any], argument: str, kind: Registry) -> dict[str, Any]:
    """Return the configuration of an argument with the model that it asks, if it does."""
    value = world.get(argument)
    if value is None or _is_object(value):
        return {}
    config = {"name": value} if isinstance(value, str) else value
    if not _asks_a_model(kind, config.get("name")):
        return {}
    return {argument: name_model(config, kind=kind)}


def name_model(
    config: Mapping[str, Any],
    model: str | Mapping[str, Any] | None = None,
    *,
    kind: Registry = POLICIES,
) -> dict[str, Any]:
    """Return a configuration that names the language model, if the policy or judge asks one.

    Args:
        config: configuration of a policy or a reward.
        model: a name, or a mapping of `ModelOptions` for what ``config`` leaves open; ``None`` for
            `agent_gym_env.lm.base.default_model`.
        kind: registry of the configuration, for example `POLICIES` or `REWARDS`.
    """
    if config.get("model") is not None or not _asks_a_model(kind, config.get("name")):
        return dict(config)
    named = {"model": default_model() if model is None else model}
    given = {name: value for name, value in config.items() if name != "model"}
    return {**(model if isinstance(model, Mapping) else named), **given}


def _asks_a_model(kind: Registry, name: object) -> bool:
    try:
        return kind.takes(name, "model")
    except (ValueError, AgentGymError):  # raised again by what makes the policy or reward
        return False


def _with_model(policy: dict[str, Any]) -> dict[str, Any]:
    """Open the model of a policy that asks one, so that all that are made of it share it."""
    if not _asks_a_model(POLICIES, policy.get("name")):
        return policy
    options = dict(policy)
    return {"model": open_model(take_model(options)), **options}
