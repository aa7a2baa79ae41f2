"""Harbor reads the trajectories that are written."""

from __future__ import annotations

import msgspec
import pytest

pytest.importorskip("harbor", reason="harbor is not installed: make test-hub-harbor")

from harbor.models.trajectories import Trajectory

from agent_gym_env.assembly import play_episodes
from agent_gym_env.export.atif import trajectories
from agent_gym_env.export.rows import Tally
from tests.export.test_atif import BY_A_MODEL, modelled


@pytest.mark.parametrize("env", ["SGD-v0", "SGDSim-v0"])
def test_harbor_accepts_what_is_written(env: str) -> None:
    policy = "oracle" if env == "SGD-v0" else "acts-oracle"
    played = [*play_episodes(policy, env=env, split="train", episodes=3), modelled(BY_A_MODEL)]
    tally = Tally()
    for each in trajectories(played, tally):
        document = msgspec.json.decode(msgspec.json.encode(each))
        read = Trajectory.model_validate(document)
        assert read.model_dump(mode="json", exclude_unset=True) == document
