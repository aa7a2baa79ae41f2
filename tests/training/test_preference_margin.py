from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("transformers", reason="needs the extra 'train'")

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM

from agent_gym_env.training.preference_margin import compare_preferences, log_probabilities
from agent_gym_env.training.tiny import make_tiny
from agent_gym_env.training.tiny_config import TinyConfig
from tests.training.first_turns import conversations


def test_margins_before_and_after_by_hand() -> None:
    before = np.array([[-10.0, -8.0], [-4.0, -6.0]])
    after = np.array([[-9.0, -10.0], [-4.0, -5.0]])
    report = compare_preferences(before, after, beta=0.5)
    assert report.pairs == 2
    assert (report.margin_before, report.margin_after) == (0.0, 1.0)
    assert (report.accuracy_before, report.accuracy_after) == (0.5, 1.0)
    # The margins gain 3 and -1 nats.
    assert (report.reward_margin, report.reward_accuracy) == (0.5, 0.5)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_log_probabilities_are_the_models_loss(tmp_path: Path, batch_size: int) -> None:
    small = TinyConfig(vocabulary=400, width=32, layers=1, heads=2, convolutions=False)
    make_tiny(tmp_path, msgspec.to_builtins(conversations("train", 2)), small)
    model: Any = AutoModelForCausalLM.from_pretrained(tmp_path)
    pairs = Dataset.from_dict(
        {
            "prompt_ids": [[5, 6, 7], [8], [9, 10]],
            "chosen_ids": [[11, 12], [13, 14, 15], [16]],
            "rejected_ids": [[17], [18, 19], [20, 21, 22]],
        }
    )
    found = log_probabilities(model, pairs, pad=0, batch_size=batch_size)
    model.eval()
    for row, pair in enumerate(pairs):
        for column, name in enumerate(("chosen_ids", "rejected_ids")):
            ids = torch.tensor([[*pair["prompt_ids"], *pair[name]]])
            labels = ids.clone()
            labels[:, : len(pair["prompt_ids"])] = -100
            loss = model(input_ids=ids, labels=labels).loss
            expected = -float(loss.detach()) * len(pair[name])
            assert found[row, column] == pytest.approx(expected, rel=1e-4)
