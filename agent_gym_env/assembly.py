"""The one place that knows every class: from plain configuration to environment and policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from agent_gym_env.encoders.candidates import CandidateSource
from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.lm.base import LanguageModel
from agent_gym_env.policies.base import Policy
from agent_gym_env.policies.constant import ConstantPolicy
from agent_gym_env.policies.oracle import OraclePolicy
from agent_gym_env.policies.uniform import UniformPolicy
from agent_gym_env.rewards.base import Reward
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.play import play_all

Env = gym.Env[Any, Any]


def make_env(*, max_episode_steps: int | None = None, **arguments: Any) -> Env:
    """Make ``SGD-v0`` through `gymnasium.make`.

    Args:
        max_episode_steps: truncates episodes; ``None`` for no limit.
        **arguments: as in `SGDEnv`; ``reward`` may be an object with the `Reward` protocol too.
    """
    return gym.make("agent_gym_env:SGD-v0", max_episode_steps=max_episode_steps, **arguments)


def _retrieval(env: Env, **options: Any) -> Policy:
    from agent_gym_env.policies.retrieval import RetrievalPolicy

    corpus = _bare(env).corpus
    return RetrievalPolicy(corpus.split("train"), **options)


def _sb3(env: Env, *, path: str, **options: Any) -> Policy:
    from agent_gym_env.policies.sb3_model import SB3Policy, read_header

    source = make_candidates(env, **read_header(path).candidates)
    return SB3Policy.load(path, source, **options)


def _llm(env: Env, **options: Any) -> Policy:
    from agent_gym_env.policies.llm import LLMPolicy

    return LLMPolicy(_model_of(options), **{"date": _date_of(env), **options})


def _dspy(env: Env, *, program: str | None = None, **options: Any) -> Policy:
    from agent_gym_env.policies.dspy_module import SGDAgentModule
    from agent_gym_env.policies.dspy_program import DSPyPolicy
    from agent_gym_env.policies.dspy_state import load_program

    agent = SGDAgentModule() if program is None else load_program(program)
    return DSPyPolicy(agent, _model_of(options), **{"date": _date_of(env), **options})


def _model_of(options: dict[str, Any]) -> LanguageModel:
    """Take the options of a model out of those of its policy."""
    from agent_gym_env.lm.open_model import ModelOptions, open_model

    of_model = options.keys() & ModelOptions.__struct_fields__
    return open_model({name: options.pop(name) for name in of_model})


def _date_of(env: Env) -> str:
    bare = _bare(env)
    return bare.split.task(int(bare.selected[0])).date


_POLICIES: dict[str, Callable[..., Policy]] = {
    "oracle": OraclePolicy,
    "silent": lambda _: ConstantPolicy(""),
    "constant": lambda _, **options: ConstantPolicy(**options),
    "uniform": lambda _, **options: UniformPolicy(**options),
    "retrieval": _retrieval,
    "sb3": _sb3,
    "llm": _llm,
    "dspy": _dspy,
}

POLICY_NAMES = tuple(_POLICIES)


def make_policy(config: str | Mapping[str, Any] | Policy, env: Env) -> Policy:
    """Make a policy for an environment.

    Args:
        config: a name of `POLICY_NAMES`, ``{"name": …, **options}`` with the options of the
            policy's class, or a policy, which is given back.
        env: the environment that will be played: the retrieval policy learns from the train split
            of its corpus, and the oracle asks it for what was recorded.

    Raises:
        ValueError: the name is not known.
        TypeError: the policy's class does not take an option.
    """
    if isinstance(config, str):
        config = {"name": config}
    if not isinstance(config, Mapping):
        return config
    options = dict(config)
    build = _POLICIES.get(options.pop("name", ""))
    if build is None:
        raise ValueError(f"policy must be one of {POLICY_NAMES}, not {config.get('name')!r}")
    return build(env, **options)


def make_candidates(env: Env, *, lessons: int = 8000, indexed: int = 5000) -> CandidateSource:
    """Make a source of candidate actions from the train split of an environment's corpus.

    Args:
        env: ``SGD-v0``, or wrappers around it.
        lessons: how many dialogues it learns from.
        indexed: how many dialogues lend it their replies. Of the dialogues that are in neither, a
            policy can learn to choose (`agent_gym_env.retrieval.learning.held_out`).
    """
    from agent_gym_env.retrieval.candidates import CandidateGenerator
    from agent_gym_env.retrieval.learning import recall

    train = _bare(env).corpus.split("train")
    return CandidateGenerator(recall(train, lessons=lessons, indexed=indexed))


def reward_of(config: str | Mapping[str, Any] | Reward, **arguments: Any) -> Reward:
    """Make the reward that an environment of these arguments would score with.

    Args:
        config: as ``reward`` in `SGDEnv`.
        **arguments: as in `make_env`.
    """
    return _bare(make_env(reward=config, **arguments)).world.reward


def choose_dialogues(env: Env, episodes: int | None, seed: int) -> list[str]:
    """Choose dialogues of an environment's selection, without repetition and in corpus order.

    Args:
        env: ``SGD-v0``.
        episodes: how many; all where there are not so many, or for ``None``.
        seed: of the draw: the same for every policy, so that they can be compared in pairs.
    """
    bare = _bare(env)
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
    on_begin: Callable[[int], None] | None = None,
    **arguments: Any,
) -> Iterator[Episode]:
    """Play a policy.

    Args:
        policy: as in `make_policy`.
        episodes: how many dialogues; ``None`` for all.
        seed: of the choice of dialogues, and of each episode.
        on_begin: called with the number of episodes before the first is played.
        **arguments: as in `make_env`.
    """
    env = make_env(**arguments)
    dialogue_ids = choose_dialogues(env, episodes, seed)
    player = make_policy(policy, env)
    if on_begin is not None:
        on_begin(len(dialogue_ids))
    yield from play_all(env, player, dialogue_ids, seed=seed)


def _bare(env: Env) -> SGDEnv:
    bare = env.unwrapped
    if not isinstance(bare, SGDEnv):
        raise TypeError(f"expected SGD-v0, not {type(bare).__name__}")
    return bare
