"""The arguments of an optimisation, as JSON values that a result keeps."""

from __future__ import annotations

from typing import Any, Literal, get_args

import msgspec

from agent_gym_env.registry import STRATEGIES
from agent_gym_env.suggestions import unknown_name

Effort = Literal["light", "medium", "heavy"]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What decides an optimisation.

    Attributes:
        data_path: ``sample``, ``sgd``, or the path of a folder or archive in SGD's format.
        strategy: ``bootstrap``: demonstrations from turns that went well; ``bootstrap_random``:
            several sets of them, of which the best is taken; ``mipro``: sets of demonstrations and
            proposed instructions together; ``gepa``: instructions, rewritten by reflection on what
            went wrong; ``simba``: demonstrations and rules from the turns that vary most.
        num_train: turns to learn from.
        num_validation: turns to choose between programs by.
        num_held_out: turns to measure on.
        split: of the turns to learn from and choose by.
        held_out_split: of the turns to measure on; ``None`` for ``dev``, else ``test``, else the
            same, of other dialogues.
        schema_variant: ``v1`` to ``v5``, or ``None`` for the original schema.
        reward: its name, or the mapping that configures it.
        model: name of the model that the program asks.
        prompt_model: name of the model that writes instructions.
        program: path of the program to begin with; ``None`` for the untouched one.
        effort: how long the strategy searches.
        options: of DSPy's optimiser, by its own names, over those that follow from the effort.
        seed: of every draw.
        threads: turns played at once.
        temperature: of the program's model; ``None`` for the provider's own.
        max_errors: failures of models, and rewards that could not be told, that a run bears.
    """

    data_path: str
    strategy: str
    num_train: int
    num_validation: int
    num_held_out: int
    split: str
    held_out_split: str | None
    schema_variant: str | None
    reward: str | dict[str, Any]
    model: str
    prompt_model: str
    program: str | None
    effort: Effort
    options: dict[str, Any]
    seed: int
    threads: int
    temperature: float | None
    max_errors: int

    def __post_init__(self) -> None:
        if not STRATEGIES.knows(self.strategy):
            raise ValueError(unknown_name("strategy", self.strategy, STRATEGIES.names()))
        if self.effort not in get_args(Effort):
            raise ValueError(unknown_name("effort", self.effort, get_args(Effort)))
        for name in ("num_train", "num_validation", "num_held_out", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        # A result keeps them; better to say so now than after hours of calls.
        try:
            msgspec.json.encode((self.options, self.reward))
        except TypeError as error:
            raise TypeError(f"options and reward must be JSON values: {error}") from error
