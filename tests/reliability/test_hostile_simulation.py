"""Hostile actions in a simulated dialogue get an ordinary answer, and nothing grows."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from agent_gym_env.envs.sgd_sim import SGDSimEnv
from agent_gym_env.envs.simulation import Understanding
from tests.reliability.hostile import HostileToUser
from tests.reliability.playing import sized
from tests.reliability.process import in_new_process, needs_proc
from tests.reliability.simulated import NOISY
from tests.reliability.test_hostile_actions import Fuzzed, attack


@needs_proc
@pytest.mark.timeout(sized(600, 7200))
@pytest.mark.parametrize("understanding", get_args(Understanding))
@pytest.mark.parametrize("arguments", [{}, NOISY], ids=["clean", "noisy"])
def test_hostile_actions_are_answered_in_the_simulation(
    arguments: dict[str, Any], understanding: Understanding
) -> None:
    in_new_process(attack_simulated, arguments, understanding)


def attack_simulated(arguments: dict[str, Any], understanding: Understanding) -> None:
    env = SGDSimEnv(understanding=understanding, **arguments)
    fuzzed = Fuzzed(env, HostileToUser(7, env), least=-1)
    attack(fuzzed, sized(5_000, 500_000))
