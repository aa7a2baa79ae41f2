"""The policy that plays a language model of one's own, in this process."""

from __future__ import annotations

from os import PathLike
from typing import Any

from agent_gym_env.lm.prompt import RULES
from agent_gym_env.lm.transformers_client import LoadedModel, TransformersClient
from agent_gym_env.policies.llm import SGD_DATE, LLMPolicy
from agent_gym_env.types import FromZero


class TransformersPolicy(LLMPolicy):
    """Plays by what a Hugging Face model says; see `LLMPolicy` and `TransformersClient`.

    Args:
        path: a Hugging Face folder, a name on its hub, or a model in memory.
        rules: the system message; ``{today}`` in it stands for the date.
        date: the dialogues' "today", ISO.
        temperature: of sampling; 0 takes the likeliest token. Draws follow the episode's seed.
        name: as reports show it; by default ``transformers:`` and the folder's name.
        **options: of `TransformersClient`.
    """

    def __init__(
        self,
        path: str | PathLike[str] | LoadedModel,
        *,
        rules: str = RULES,
        date: str = SGD_DATE,
        temperature: FromZero = 0.0,
        name: str | None = None,
        **options: Any,
    ) -> None:
        client = TransformersClient(path, **options)
        super().__init__(
            client,
            rules=rules,
            date=date,
            temperature=temperature,
            send_seed=True,
            name=name or f"transformers:{client.name}",
        )
