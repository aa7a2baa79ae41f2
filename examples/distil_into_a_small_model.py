"""From a teacher's episodes to a small model that plays. Needs: pip install -e '.[train]'.

Two minutes of processor time, so the model stays a beginner. docs/guides/distillation.md has the
same path on real SGD.
"""

from pathlib import Path

from agent_gym_env import require_or_exit

for library in ("trl", "llguidance"):
    require_or_exit(library, extra="train")

from agent_gym_env import (
    SFTConfig,
    TinyConfig,
    collect,
    play_episodes,
    read_episodes,
    summarize,
    train_sft,
)
from agent_gym_env.export import Tally, conversations, write_rows

# If the script is stopped, run it again: it continues, here and in the training.
collect("oracle", "out/teacher", split="train", episodes=60)

rows, tally = Path("out/sft.jsonl"), Tally()
write_rows(rows, conversations(read_episodes(Path("out/teacher")), tally, min_reward=0.9), tally)
print(tally.written, "conversations to learn from")

config = SFTConfig(
    model="tiny",
    tiny=TinyConfig(vocabulary=800, width=64, result_characters=80),
    rows=(str(rows),),
    learning_rate=5e-3,
    batch_size=4,
    max_steps=100,
)
model = train_sft(config, out=Path("out/sft"), resume=True)

student = {"name": "transformers", "path": str(model), "max_new_tokens": 48}
for policy in ("silent", student, "oracle"):
    episodes = list(play_episodes(policy, split="dev", reward="balanced", episodes=4, batch=4))
    print(episodes[0].policy, f"{summarize(episodes).reward.mean:.3f}")
