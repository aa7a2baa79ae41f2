"""Gymnasium wrappers for libraries that do not take text.

| wrapper | transforms |
|---|---|
| `CandidateAction` | the action into a choice among candidates |
| `ActAction` | the action into one of twenty dialogue acts and calls |
| `ActObservation` | the observation into features of the dialogue, without names |
| `EncodeObservation` | the observation into a vector of numbers |
| `TurnEpisodes` | each turn into an episode that is played several times |
| `DialogueSubset` | a split into some of its dialogues |
| `SelectInfo` | ``info`` into some of its entries |
| `TextObservation` | the observation into one prompt |
| `TextAction` | the action into one completion |
"""

from agent_gym_env.wrappers.act_action import ActAction, ActObservation
from agent_gym_env.wrappers.candidate_action import CandidateAction
from agent_gym_env.wrappers.dialogue_subset import DialogueSubset
from agent_gym_env.wrappers.encode_observation import EncodeObservation
from agent_gym_env.wrappers.select_info import SelectInfo
from agent_gym_env.wrappers.text import TextAction, TextObservation
from agent_gym_env.wrappers.turn_episodes import TurnEpisodes

__all__ = [
    "ActAction",
    "ActObservation",
    "CandidateAction",
    "DialogueSubset",
    "EncodeObservation",
    "SelectInfo",
    "TextAction",
    "TextObservation",
    "TurnEpisodes",
]
