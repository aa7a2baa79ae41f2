"""Optimising the prompt of an agent on recorded or simulated dialogues."""

from agent_gym_env.optimization.result import OptimizationResult
from agent_gym_env.optimization.runner import OptimizationRunner

__all__ = ["OptimizationResult", "OptimizationRunner"]
