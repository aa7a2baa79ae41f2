"""The public names of the subpackage are fixed."""

import agent_gym_env.wrappers


def test_the_public_wrappers_are_these() -> None:
    assert agent_gym_env.wrappers.__all__ == [
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


def test_each_public_wrapper_is_there() -> None:
    for name in agent_gym_env.wrappers.__all__:
        assert getattr(agent_gym_env.wrappers, name).__name__ == name
