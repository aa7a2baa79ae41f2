"""Rewards by name, for configurations that are plain JSON."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from agent_gym_env.rewards.overlap import GroundTruthReward
from agent_gym_env.rewards.weighted import BalancedReward
from agent_gym_env.storage.cache_folder import home
from agent_gym_env.suggestions import (
    argument_types,
    refuse_unknown,
    refuse_wrong_types,
    unknown_name,
)
from agent_gym_env.types import AtLeast1, FromZero

if TYPE_CHECKING:
    from agent_gym_env.corpus.corpus import Corpus, Split
    from agent_gym_env.lm.open_model import ModelConfig
    from agent_gym_env.rewards.base import Reward


def _ground_truth(split: Split, corpus: Corpus) -> Reward:
    return GroundTruthReward()


def _balanced(split: Split, corpus: Corpus) -> Reward:
    counts = corpus.weighing_split(split).word_counts
    return BalancedReward(counts.documents, counts.frequency, split.tools)


def _llm_judge(
    split: Split,
    corpus: Corpus,
    *,
    model: ModelConfig | None = None,
    votes: AtLeast1 = 1,
    reference: bool = True,
    temperature: FromZero | None = None,
) -> Reward:
    # Clients of models, and what they stand on, are no part of an environment without a judge.
    from agent_gym_env.lm.open_model import open_model
    from agent_gym_env.rewards.judge import JudgeReward

    judge = open_model(model, cache=home() / "lm_cache")
    return JudgeReward(judge, votes=votes, reference=reference, temperature=temperature)


def _hybrid(
    split: Split,
    corpus: Corpus,
    *,
    first: str = "ground_truth",
    model: ModelConfig | None = None,
    votes: AtLeast1 = 1,
    reference: bool = True,
    temperature: FromZero | None = None,
) -> Reward:
    from agent_gym_env.rewards.hybrid import HybridReward

    other = make_reward(first, split, corpus)  # a wrong name is told before a key is asked for
    judge = _llm_judge(
        split, corpus, model=model, votes=votes, reference=reference, temperature=temperature
    )
    return HybridReward(other, judge)


# A preset's options are the keyword-only parameters of its function.
_PRESETS: dict[str, Callable[..., Reward]] = {
    "ground_truth": _ground_truth,
    "balanced": _balanced,
    "llm_judge": _llm_judge,
    "hybrid": _hybrid,
}

_FOR_CHECKERS = dict.fromkeys(("Split", "Corpus", "Reward", "ModelConfig"), Any)
"""Types of the functions' arguments that are imported for type checkers only."""

REWARD_NAMES = tuple(_PRESETS)


def make_reward(config: str | Mapping[str, Any] | Reward, split: Split, corpus: Corpus) -> Reward:
    """Make a reward for a split.

    Args:
        config: a preset's name, ``{"name": ..., **options}``, or a reward, which is given back. The
            options of a judge's model are listed among the others, as `ModelOptions` names them.
        split: the split that will be scored.
        corpus: the split's corpus.

    Raises:
        ValueError: the name or an option is not known.
        TypeError: the object is no reward.
    """
    if isinstance(config, str):
        config = {"name": config}
    if not isinstance(config, Mapping):
        return _checked(config)
    options = dict(config)
    build = _preset(options.pop("name", None))
    known = _options(build)
    if "model" in known:
        from agent_gym_env.lm.open_model import ModelOptions, take_model

        options["model"] = take_model(options)
        known |= set(ModelOptions.__struct_fields__)
    owner = f"reward {config['name']!r}"
    refuse_unknown(owner, options, known)
    refuse_wrong_types(owner, options, argument_types(build, **_FOR_CHECKERS))
    return build(split, corpus, **options)


def _checked(reward: Reward) -> Reward:
    if not callable(getattr(reward, "score", None)):
        raise TypeError(
            "reward must be a preset's name, a mapping with one, or an object with a method "
            f"score(turn), not {type(reward).__name__}"
        )
    return reward


def _preset(name: object) -> Callable[..., Reward]:
    build = _PRESETS.get(name) if isinstance(name, str) else None
    if build is None:
        raise ValueError(unknown_name("reward", name, _PRESETS))
    return build


def _options(build: Callable[..., Reward]) -> set[str]:
    parameters = inspect.signature(build).parameters.values()
    return {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
