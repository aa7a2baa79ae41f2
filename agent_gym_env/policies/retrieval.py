"""The policy that does what was done in the most similar situations of the train split."""

from __future__ import annotations

from agent_gym_env.corpus.corpus import Corpus, Split
from agent_gym_env.retrieval.candidates import CandidateGenerator
from agent_gym_env.retrieval.learning import recall
from agent_gym_env.types import Action, AtLeast0, Observation


class RetrievalPolicy:
    """Takes the best of the candidates that a train split suggests.

    Deterministic: the same observation is always answered with the same action.

    Args:
        split: a train split. The first policy over it takes minutes to learn from it; what it
            learns is kept in the cache.
        lessons: how many dialogues it learns from to understand what users say.
        indexed: how many dialogues lend it their replies.
    """

    name = "retrieval"

    def __init__(self, split: Split, *, lessons: AtLeast0 = 8000, indexed: AtLeast0 = 5000) -> None:
        memory = recall(split, lessons=lessons, indexed=indexed)
        self._generator = CandidateGenerator(memory)

    @classmethod
    def of_corpus(
        cls, corpus: Corpus, *, lessons: AtLeast0 = 8000, indexed: AtLeast0 = 5000
    ) -> RetrievalPolicy:
        """Make the policy for the train split of a corpus."""
        return cls(corpus.split("train"), lessons=lessons, indexed=indexed)

    def reset(self, *, seed: int | None = None) -> None:
        """Begin an episode; nothing is drawn."""

    def act(self, observation: Observation) -> Action:
        """Take the best candidate."""
        return self._generator.candidates(observation, 1)[0].action
