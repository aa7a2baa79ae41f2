"""A Minari dataset of episodes, read back without this package. Needs: pip install -e '.[data]'."""

import os
import subprocess
import sys
from pathlib import Path

from agent_gym_env import require_or_exit

require_or_exit("minari", extra="data")

from agent_gym_env import play_episodes
from agent_gym_env.export import Tally, write_minari

folder, tally = Path("out/datasets/oracle-v0"), Tally()
episodes = list(play_episodes("oracle", split="dev", reward="balanced", episodes=10))
write_minari(folder, lambda: episodes, tally, leaves=("user", "tool_result"))
print(tally.written, "steps written")

READ = """
import sys
import minari

dataset = minari.load_dataset("oracle-v0")
print(dataset.total_steps, "steps read, in", dataset.total_episodes, "episodes")
first = dataset[0]
print("user: ", first.observations["user"][0])
print("agent:", first.actions["text"][0] or first.actions["tool_calls"][0])
print("rewards:", first.rewards)
assert "agent_gym_env" not in sys.modules
"""
subprocess.run(  # noqa: S603  (it runs the code above)
    [sys.executable, "-c", READ],
    env={**os.environ, "MINARI_DATASETS_PATH": str(folder.parent.absolute())},
    check=True,
)
