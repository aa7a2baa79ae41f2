"""The policy that acts by a language model in this process."""

from __future__ import annotations

from os import PathLike
from typing import Any

from agent_gym_env.lm.prompt import RULES
from agent_gym_env.lm.transformers_client import LoadedModel, TransformersClient
from agent_gym_env.policies.llm import SGD_DATE, LLMPolicy
from agent_gym_env.types import FromZero


class TransformersPolicy(LLMPolicy):
    """Acts by the answers of a Hugging Face model; see `LLMPolicy` and `TransformersClient`.

    Args:
        path: Hugging Face folder, name of a fetched model, name on the hub, or model in memory.
        rules: system message, in which ``{today}`` is replaced by the date.
        date: date of the dialogues, ISO.
        temperature: sampling temperature; 0 takes the most probable token. The episode's seed
            determines the draws.
        name: name in reports; by default ``transformers:`` and the folder's name.
        **options: options of `TransformersClient`.
    """

    def __init__(
        self,
        path: str | PathLike[str] | LoadedModel,
        *,
        rules: str = RULES,
        date: str | None = SGD_DATE,
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
