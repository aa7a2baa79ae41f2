"""Benchmarks as files: a manifest says what is played, a result holds what one policy reached."""

from typing import TYPE_CHECKING

from agent_gym_env.lazy_names import lazy_names

if TYPE_CHECKING:
    from agent_gym_env.benchmark.check import Check as Check
    from agent_gym_env.benchmark.check import check_result as check_result
    from agent_gym_env.benchmark.leaderboard import read_leaderboard as read_leaderboard
    from agent_gym_env.benchmark.leaderboard import write_leaderboard as write_leaderboard
    from agent_gym_env.benchmark.manifest import Manifest as Manifest
    from agent_gym_env.benchmark.manifest import manifest_names as manifest_names
    from agent_gym_env.benchmark.manifest import new_manifest as new_manifest
    from agent_gym_env.benchmark.manifest import read_manifest as read_manifest
    from agent_gym_env.benchmark.manifest import write_manifest as write_manifest
    from agent_gym_env.benchmark.result import Result as Result
    from agent_gym_env.benchmark.result import read_result as read_result
    from agent_gym_env.benchmark.run import run_benchmark as run_benchmark

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "check": "Check check_result",
        "leaderboard": "read_leaderboard write_leaderboard",
        "manifest": "Manifest manifest_names new_manifest read_manifest write_manifest",
        "result": "Result read_result",
        "run": "run_benchmark",
    },
)
