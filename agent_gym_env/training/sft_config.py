"""What a run of supervised fine-tuning is."""

from __future__ import annotations

from agent_gym_env.training.tiny_config import TinyConfig
from agent_gym_env.training.training_config import Positive, TrainingConfig

TINY = "tiny"
"""The name that stands for a model made anew from the rows, which needs no hub."""


class SFTConfig(TrainingConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Imitation of recorded conversations; see `TrainingConfig` too.

    Only what the assistant writes is learned, words and calls; what is said to it is not.

    Attributes:
        model: as in `TrainingConfig`, or ``"tiny"``.
        tiny: what that is; it needs a higher learning rate than a trained model, near 2e-3.
        adam_beta2: of AdamW; below its usual 0.999 for the few steps of a small run.
    """

    tiny: TinyConfig = TinyConfig()
    learning_rate: Positive = 2e-5
    adam_beta2: Positive = 0.98
