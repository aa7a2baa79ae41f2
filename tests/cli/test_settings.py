"""Flags and ``--config`` add up, and do not contradict each other unnoticed."""

from __future__ import annotations

import re
from typing import Any

import pytest

from agent_gym_env.cli.settings import with_flags


def test_flags_are_added_at_their_depth() -> None:
    config: dict[str, Any] = {"gamma": 0.5, "world": {"env": {"tools_offered": "all"}}}
    flags = [("--corpus", "world.env.corpus", "sgd"), ("--seed", "seed", 0), ("--x", "x", None)]
    assert with_flags(config, flags) == {
        "gamma": 0.5,
        "seed": 0,
        "world": {"env": {"tools_offered": "all", "corpus": "sgd"}},
    }
    assert config == {"gamma": 0.5, "world": {"env": {"tools_offered": "all"}}}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"world": {"env": {"corpus": "sgd"}}}, "--corpus and world.env.corpus in --config set"),
        ({"world": 3}, "--config: Expected `object` at `$.world`, which --corpus adds to"),
    ],
)
def test_what_cannot_be_added_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        with_flags(config, [("--corpus", "world.env.corpus", "sgd")])
