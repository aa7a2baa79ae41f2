"""What a run of direct preference optimisation is."""

from __future__ import annotations

from agent_gym_env.training.training_config import FromZero, Positive, TrainingConfig


class DPOConfig(TrainingConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Direct preference optimisation (Rafailov et al., 2023); see `TrainingConfig` too.

    Attributes:
        beta: how dear it is to move away from the model that is trained; small values move far.
        imitation: weight of the chosen messages' own likelihood beside the preference (Pang et al.,
            2024), which keeps a model from making both messages of a pair unlikely; 0 for none.
        min_margin: pairs whose rewards differ by less are left out.
        keep_unscored: whether pairs that were ranked without rewards are trained on.
    """

    learning_rate: Positive = 5e-6
    beta: Positive = 0.1
    imitation: FromZero = 0.1
    min_margin: FromZero = 0.0
    keep_unscored: bool = False
