"""SGD-v0 is made by its name, wherever the name is used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import pytest

from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.envs.registration import register_environments
from agent_gym_env.envs.vector import SGDSimVectorEnv, SGDVectorEnv


def test_the_name_makes_the_environment(tiny_corpus: Path) -> None:
    assert isinstance(gym.make("SGD-v0", corpus=str(tiny_corpus)).unwrapped, SGDEnv)


def test_make_vec_makes_our_own_vector_environment(tiny_corpus: Path) -> None:
    assert isinstance(gym.make_vec("SGD-v0", num_envs=2, corpus=str(tiny_corpus)), SGDVectorEnv)
    assert isinstance(gym.make_vec("SGDSim-v0", num_envs=2), SGDSimVectorEnv)


def test_the_name_with_its_module_needs_no_import(tiny_corpus: Path) -> None:
    script = (
        "import gymnasium as gym, sys\n"
        "env = gym.make('agent_gym_env:SGD-v0', corpus=sys.argv[1])\n"
        "print(env.reset(options={'dialogue_id': '1_00000'})[0]['user'])"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(tiny_corpus)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "I want a green tea.\n"


@pytest.mark.parametrize(
    "script",
    [
        "import agent_gym_env, gymnasium",
        "import gymnasium, agent_gym_env",
        "import agent_gym_env, gymnasium.spaces",
        "import agent_gym_env.envs.dialogue",
        # An import that fails may be tried again.
        "import agent_gym_env, sys\n"
        "sys.modules['numpy'] = None\n"
        "try: import gymnasium\n"
        "except ImportError: del sys.modules['numpy']",
    ],
)
def test_the_order_of_imports_does_not_matter(script: str) -> None:
    check = "\nimport gymnasium\nassert 'SGD-v0' in gymnasium.registry"
    subprocess.run([sys.executable, "-W", "error", "-c", script + check], check=True)


def test_the_package_itself_does_not_import_gymnasium() -> None:
    check = (
        "import agent_gym_env, sys; assert not {'gymnasium', 'numpy', 'msgspec'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", check], check=True)


def test_registering_again_does_nothing() -> None:
    before = gym.spec("SGD-v0")
    register_environments()
    assert gym.spec("SGD-v0") is before
