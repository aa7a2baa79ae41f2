"""A rule-based agent that plays from the observation alone: the baseline of the simulation."""

from __future__ import annotations

from agent_gym_env.corpus.corpus import Corpus, Split
from agent_gym_env.policies.agent_wording import Speaker
from agent_gym_env.policies.dialogue_plan import DialoguePlan, Steps
from agent_gym_env.policies.user_words import WordModels, WordsListener
from agent_gym_env.types import Action, AtLeast0, Observation


class RulePolicy:
    """Works off one errand after another, by rules over what it understands of the user.

    It asks for required slots in the order of the schema, searches, offers, answers questions about
    the row, confirms, books and reports. It proposes nothing. What it understands is learned from
    the train split: values and tools as in `RetrievalPolicy`, acts from the annotation of user
    turns. Its actions carry ``acts``.

    Args:
        split: train split. Training on all of SGD takes minutes; what is learned is kept in the
            cache.
        training_dialogues: number of dialogues that the policy learns to understand users from.
        indexed: number of dialogues whose replies the shared retrieval model indexes; this policy
            does not use them.
        wording: style of the policy's words: ``terse``, ``plain``, ``verbose`` or ``descriptive``.

    Raises:
        ValueError: the style is unknown.
    """

    name = "rule"
    needs_beginning = True

    def __init__(
        self,
        split: Split,
        *,
        training_dialogues: AtLeast0 = 8000,
        indexed: AtLeast0 = 5000,
        wording: str = "plain",
    ) -> None:
        Speaker(wording)  # refuses an unknown style before anything is trained
        self._wording = wording
        models = WordModels.of_split(split, training_dialogues=training_dialogues, indexed=indexed)
        self._user = WordsListener(models)
        self._play: Steps | None = None

    @classmethod
    def of_corpus(
        cls,
        corpus: Corpus,
        *,
        training_dialogues: AtLeast0 = 8000,
        indexed: AtLeast0 = 5000,
        wording: str = "plain",
    ) -> RulePolicy:
        """Make the policy for the train split of a corpus."""
        train = corpus.split("train")
        return cls(train, training_dialogues=training_dialogues, indexed=indexed, wording=wording)

    def reset(self, *, seed: int | None = None) -> None:
        """Begin an episode. Nothing is random."""
        self._play = None
        self._user.begin()

    def act(self, observation: Observation) -> Action:
        """Take the next step of the dialogue."""
        user = self._user
        user.hear(observation)
        if self._play is None:
            plan = DialoguePlan(user.tools(), user, Speaker(self._wording))
            user.agent = plan
            self._play = plan.play()
            return next(self._play)
        return self._play.send(observation)
