"""Factories of the policies whose libraries take seconds to import.

Their parameters are the options of a configuration, so that a wrong option is refused before a
library is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent_gym_env.lm.huggingface_models import check_model_path
from agent_gym_env.lm.open_model import ModelConfig, open_model
from agent_gym_env.lm.prompt import RULES
from agent_gym_env.policies.llm import SGD_DATE
from agent_gym_env.types import AtLeast0, AtLeast1, FromZero

if TYPE_CHECKING:
    from agent_gym_env.corpus.corpus import Corpus
    from agent_gym_env.encoders.text import Encoder
    from agent_gym_env.policies.dspy_program import DSPyPolicy
    from agent_gym_env.policies.sb3_model import SB3Policy
    from agent_gym_env.policies.transformers_model import TransformersPolicy


def sb3_policy(
    corpus: Corpus,
    *,
    path: str,
    encoder: Encoder | None = None,
    deterministic: bool = True,
) -> SB3Policy:
    """Load a policy that was trained with stable-baselines3; see `SB3Policy.load`.

    Args:
        corpus: corpus whose train split proposes the candidates.
        path: file that `SB3Policy.save` wrote.
        encoder: encoder of texts, if the policy was trained with another than the hashing encoder.
        deterministic: whether the best candidate is taken, or one is drawn.
    """
    from agent_gym_env.policies.sb3_file import read_header
    from agent_gym_env.policies.sb3_model import SB3Policy
    from agent_gym_env.retrieval.candidates import CandidateGenerator
    from agent_gym_env.retrieval.training import load_or_train

    options: Any = read_header(path).source_options()
    source = CandidateGenerator(load_or_train(corpus.split("train"), **options))
    return SB3Policy.load(path, source, encoder=encoder, deterministic=deterministic)


def transformers_policy(
    *,
    path: str,
    rules: str = RULES,
    date: str | None = SGD_DATE,
    temperature: FromZero = 0.0,
    device: str | None = None,
    dtype: str | None = None,
    max_new_tokens: AtLeast1 = 256,
    batch_size: AtLeast1 = 64,
    guided: bool = True,
    cache_bytes: AtLeast0 = 1 << 30,
    context: AtLeast1 | None = None,
    chat_template: str | None = None,
) -> TransformersPolicy:
    """Load a language model into this process.

    Args:
        path: Hugging Face folder, name of a fetched model, or name on the hub.
        rules: as in `TransformersPolicy`.
        date: as in `TransformersPolicy`.
        temperature: as in `TransformersPolicy`.
        device: as in `TransformersClient`, like the rest.
        dtype: as in `TransformersClient`.
        max_new_tokens: as in `TransformersClient`.
        batch_size: as in `TransformersClient`.
        guided: as in `TransformersClient`.
        cache_bytes: as in `TransformersClient`.
        context: as in `TransformersClient`.
        chat_template: as in `TransformersClient`.
    """
    check_model_path(path)
    from agent_gym_env.policies.transformers_model import TransformersPolicy

    return TransformersPolicy(
        path,
        rules=rules,
        date=date,
        temperature=temperature,
        device=device,
        dtype=dtype,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        guided=guided,
        cache_bytes=cache_bytes,
        context=context,
        chat_template=chat_template,
    )


def dspy_policy(
    *,
    program: str | None = None,
    model: ModelConfig | None = None,
    date: str | None = SGD_DATE,
    temperature: FromZero | None = None,
) -> DSPyPolicy:
    """Load a DSPy program; see `DSPyPolicy`.

    Args:
        program: file that `save_program` wrote; ``None`` for the program that nobody has optimised.
        model: language model that the program asks.
        date: the dialogues' "today", ISO.
        temperature: temperature of sampling; ``None`` for the provider's own.
    """
    from agent_gym_env.policies.dspy_module import SGDAgentModule, load_program
    from agent_gym_env.policies.dspy_program import DSPyPolicy

    agent = SGDAgentModule() if program is None else load_program(program)
    return DSPyPolicy(agent, open_model(model), date=date, temperature=temperature)
