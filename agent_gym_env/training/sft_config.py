"""What a run of supervised fine-tuning is."""

from __future__ import annotations

from agent_gym_env.training.tiny_config import TinyConfig
from agent_gym_env.training.training_config import NotNegative, Positive, TrainingConfig

TINY = "tiny"
"""The name that stands for a model made anew from the rows, which needs no hub."""


class SFTConfig(TrainingConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Imitation of recorded conversations; see `TrainingConfig` too.

    Only what the assistant writes is learned, words and calls; what is said to it is not.

    Attributes:
        model: as in `TrainingConfig`, or ``"tiny"``.
        tiny: what that is; it needs a higher learning rate than a trained model, near 3e-3.
        renamed: copies of each conversation with other names in it that are learned beside it, so
            that the model learns to copy names; see `agent_gym_env.training.renaming`.
        adam_beta2: of AdamW; below its usual 0.999 for the few steps of a small run.
    """

    tiny: TinyConfig = TinyConfig()
    renamed: NotNegative = 0
    learning_rate: Positive = 2e-5
    adam_beta2: Positive = 0.98
