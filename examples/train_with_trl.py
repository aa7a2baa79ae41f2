"""GRPO in your own script, with a user who answers in each play. Needs: pip install -e '.[train]'.

A minute of processor time, so the model stays a beginner. docs/guides/preference_training.md has
the settings, and the way with `environment_factory`.
"""

from pathlib import Path

from agent_gym_env import require_or_exit

for library in ("trl", "llguidance"):
    require_or_exit(library, extra="train")

from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from agent_gym_env import SFTConfig, TinyConfig, play_episodes, train_sft
from agent_gym_env.export import Tally, conversations, write_rows
from agent_gym_env.trl import RolloutConfig, environment_reward, rollout_func, rollout_prompts

# A small model that has read a few dialogues. Take one of your own instead.
rows, tally = Path("out/trl/sft.jsonl"), Tally()
teacher = play_episodes("acts-oracle", env="SGDSim-v0", split="train", episodes=16)
write_rows(rows, conversations(teacher, tally), tally)
sft = SFTConfig(
    model="tiny",
    tiny=TinyConfig(vocabulary=500, width=32, layers=2, heads=2, practice=0, result_characters=60),
    rows=(str(rows),),
    learning_rate=5e-3,
    batch_size=4,
    max_steps=40,
)
model = train_sft(sft, out=Path("out/trl/sft"), resume=True)

config = RolloutConfig(env="SGDSim-v0", max_new_tokens=16, max_length=1024)
trainer = GRPOTrainer(
    AutoModelForCausalLM.from_pretrained(model),
    reward_funcs=environment_reward,
    args=GRPOConfig(
        output_dir="out/trl/grpo",
        per_device_train_batch_size=8,
        num_generations=4,
        max_steps=2,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
    ),
    train_dataset=rollout_prompts(config, dialogues=8),
    processing_class=AutoTokenizer.from_pretrained(model),
    rollout_func=rollout_func(config),
)
trainer.train()
for line in trainer.state.log_history[:2]:
    print({name: line[name] for name in ("step", "reward", "failed")})
