"""Checks that an implementation of yours keeps the promises of its protocol.

A check returns nothing when every promise holds. At the first promise that is broken it raises
`ConformanceError`, which is an ``AssertionError``, as the checkers of Gymnasium, dm_env and
Stable-Baselines3 raise: a test that calls a check fails like any other test.
"""

from agent_gym_env.lm.scripted import ScriptedLM
from agent_gym_env.testing.conformance import ConformanceError
from agent_gym_env.testing.corpora import check_corpus
from agent_gym_env.testing.environments import check_env
from agent_gym_env.testing.policies import check_policy
from agent_gym_env.testing.rewards import check_reward
from agent_gym_env.testing.tool_backends import check_tool_backend
from agent_gym_env.testing.users import check_user

__all__ = [
    "ConformanceError",
    "ScriptedLM",
    "check_corpus",
    "check_env",
    "check_policy",
    "check_reward",
    "check_tool_backend",
    "check_user",
]
