"""Rewards by name, for configurations that are plain JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agent_gym_env.registry import REWARDS
from agent_gym_env.rewards.balanced import BalancedReward, ValueSource
from agent_gym_env.storage.cache_folder import home
from agent_gym_env.types import AtLeast1, FromZero

if TYPE_CHECKING:
    from agent_gym_env.corpus.corpus import Corpus, Split
    from agent_gym_env.lm.open_model import ModelConfig
    from agent_gym_env.rewards.base import Reward


def make_reward_for(
    config: str | Mapping[str, Any] | Reward, split: Split, corpus: Corpus
) -> Reward:
    """Make a reward for a split.

    Args:
        config: a name, ``{"name": ..., **options}``, or a reward, which is returned as it is. The
            options of a judge's model are listed among the others, as `ModelOptions` names them.
        split: the split that will be scored.
        corpus: the split's corpus.

    Raises:
        ValueError: the name or an option is not known.
        TypeError: the object is not a reward.
    """
    if isinstance(config, str):
        config = {"name": config}
    if not isinstance(config, Mapping):
        return _checked(config)
    options = dict(config)
    name = options.pop("name", None)
    context = {"split": split, "corpus": corpus}
    if not REWARDS.takes(name, "model"):
        return _checked(REWARDS.make(name, options, context))
    # An environment without a judge does not import the clients of models.
    from agent_gym_env.lm.open_model import make_with_model

    return _checked(make_with_model(REWARDS, name, options, context))


def balanced(split: Split, corpus: Corpus, *, values: ValueSource = "annotated") -> Reward:
    """Make the reward `BalancedReward` with the word counts of a corpus."""
    counts = corpus.weighing_split(split).word_counts
    return BalancedReward(counts.documents, counts.frequency, split.tools, values=values)


def llm_judge(
    *,
    model: ModelConfig | None = None,
    votes: AtLeast1 = 1,
    reference: bool = True,
    temperature: FromZero | None = None,
) -> Reward:
    """Make the reward `JudgeReward` with a language model."""
    from agent_gym_env.lm.open_model import open_model
    from agent_gym_env.rewards.judge import JudgeReward

    judge = open_model(model, cache=home() / "lm_cache")
    return JudgeReward(judge, votes=votes, reference=reference, temperature=temperature)


def rubric(
    *,
    file: str,
    model: ModelConfig | None = None,
    votes: AtLeast1 = 1,
    reference: bool = True,
    temperature: FromZero | None = None,
) -> Reward:
    """Make the reward `JudgeReward` with the criteria of a file; see `read_criteria`."""
    from agent_gym_env.lm.open_model import open_model
    from agent_gym_env.rewards.criteria_file import read_criteria
    from agent_gym_env.rewards.judge import JudgeReward

    # A wrong file is reported before a key is asked for.
    criteria = read_criteria(file)
    judge = open_model(model, cache=home() / "lm_cache")
    return JudgeReward(
        judge, votes=votes, reference=reference, temperature=temperature, criteria=criteria
    )


def hybrid(
    split: Split,
    corpus: Corpus,
    *,
    first: str = "ground_truth",
    model: ModelConfig | None = None,
    votes: AtLeast1 = 1,
    reference: bool = True,
    temperature: FromZero | None = None,
) -> Reward:
    """Make the reward `HybridReward`: another reward for the first turn, a judge for the rest."""
    from agent_gym_env.rewards.judge import HybridReward

    # A wrong name is reported before a key is asked for.
    other = make_reward_for(first, split, corpus)
    judge = llm_judge(model=model, votes=votes, reference=reference, temperature=temperature)
    return HybridReward(other, judge)


def _checked(reward: Reward) -> Reward:
    if isinstance(reward, type) or not callable(getattr(reward, "score", None)):
        found = reward.__name__ if isinstance(reward, type) else type(reward).__name__
        raise TypeError(
            "reward must be a name, a mapping with one, or an object with a method score(turn), "
            f"not {'the class ' if isinstance(reward, type) else ''}{found}"
        )
    return reward
