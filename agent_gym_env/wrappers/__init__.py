"""Gymnasium wrappers for libraries that do not take text."""

from agent_gym_env.wrappers.candidate_action import CandidateAction
from agent_gym_env.wrappers.dialogue_subset import DialogueSubset
from agent_gym_env.wrappers.encode_observation import EncodeObservation
from agent_gym_env.wrappers.select_info import SelectInfo
from agent_gym_env.wrappers.text_action import TextAction
from agent_gym_env.wrappers.text_observation import TextObservation
from agent_gym_env.wrappers.turn_episodes import TurnEpisodes

__all__ = [
    "CandidateAction",
    "DialogueSubset",
    "EncodeObservation",
    "SelectInfo",
    "TextAction",
    "TextObservation",
    "TurnEpisodes",
]
