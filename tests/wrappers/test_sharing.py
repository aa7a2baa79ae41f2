"""Wrappers share what they are given: a model is never copied for each environment."""

from __future__ import annotations

from typing import Any

from agent_gym_env.assembly import make_env
from agent_gym_env.encoders.text import HashingEncoder
from agent_gym_env.policies.act_choices import ActChoices
from agent_gym_env.policies.acts_oracle import ToldActs
from agent_gym_env.policies.user_words import WordModels, WordsListener
from agent_gym_env.wrappers import ActAction, CandidateAction, EncodeObservation
from tests.wrappers.scripted_source import ScriptedSource


class CopiedError(Exception):
    """Something was copied."""


class _Kept:
    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        raise CopiedError


class _Source(_Kept, ScriptedSource):
    """A source of candidates that must not be copied."""


class _Encoder(_Kept, HashingEncoder):
    """An encoder that must not be copied."""


class _Choices(_Kept, ActChoices):
    """Choices that must not be copied."""


def test_no_wrapper_copies_what_it_is_given() -> None:
    CandidateAction(make_env(), _Source())
    EncodeObservation(make_env(), _Encoder(16, ngrams=1))
    simulated = make_env(env="SGDSim-v0", understanding="acts")
    ActAction(simulated, _Choices(ToldActs(simulated)))


def test_listeners_share_the_schemas_of_a_tool_list() -> None:
    env = make_env(env="SGDSim-v0", split="dev")
    bare: Any = env.unwrapped
    split = bare.corpus.split("train")
    models = WordModels.of_split(split, training_dialogues=8000, indexed=5000)
    observation, _ = env.reset(seed=0)
    for listener in (WordsListener(models), WordsListener(models)):
        assert listener.hear(observation) is listener
    assert list(models.schemas) == [observation["tools"]]
