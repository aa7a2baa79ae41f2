"""The policy that acts as the agent of the train split did in the most similar situations."""

from __future__ import annotations

from agent_gym_env.corpus.corpus import Corpus, Split
from agent_gym_env.retrieval.candidates import CandidateGenerator
from agent_gym_env.retrieval.training import load_or_train
from agent_gym_env.types import Action, AtLeast0, Observation


class RetrievalPolicy:
    """Takes the best candidate of a model of the train split.

    The policy is deterministic: equal observations give equal actions.

    Args:
        split: train split. Training on all of SGD takes minutes; the model is kept in the cache.
        training_dialogues: number of dialogues that the model learns to understand users from.
        indexed: number of dialogues whose replies are indexed.
    """

    name = "retrieval"

    def __init__(
        self, split: Split, *, training_dialogues: AtLeast0 = 8000, indexed: AtLeast0 = 5000
    ) -> None:
        model = load_or_train(split, training_dialogues=training_dialogues, indexed=indexed)
        self._generator = CandidateGenerator(model)

    @classmethod
    def of_corpus(
        cls, corpus: Corpus, *, training_dialogues: AtLeast0 = 8000, indexed: AtLeast0 = 5000
    ) -> RetrievalPolicy:
        """Make the policy for the train split of a corpus."""
        train = corpus.split("train")
        return cls(train, training_dialogues=training_dialogues, indexed=indexed)

    def reset(self, *, seed: int | None = None) -> None:
        """Begin an episode. Nothing is random."""

    def act(self, observation: Observation) -> Action:
        """Take the best candidate."""
        return self._generator.candidates(observation, 1)[0].action
