from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("transformers", reason="needs the extra 'train'")

import torch
from transformers import Lfm2Config, Lfm2ForCausalLM, set_seed

from agent_gym_env.training.copying import begin_with_copying, practise_copying

VOCABULARY, SPECIAL, LENGTH = 300, 8, 48


def untrained(layers: tuple[str, ...] = ("conv", "full_attention") * 2) -> Any:
    set_seed(0)
    config = Lfm2Config(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        block_auto_adjust_ff_dim=False,
        num_hidden_layers=len(layers),
        num_attention_heads=2,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        initializer_range=64**-0.5,
        layer_types=list(layers),
        conv_bias=True,
    )
    model: Any = Lfm2ForCausalLM(config)
    return model.eval()


def copied(model: Any) -> float:
    """Share of random tokens that are foretold when they come a second time."""
    tokens = torch.Generator().manual_seed(1)
    once = torch.randint(SPECIAL, VOCABULARY, (16, LENGTH), generator=tokens)
    twice = torch.cat([once, once], dim=1)
    with torch.no_grad():
        foretold = model(input_ids=twice).logits[:, LENGTH:-1].argmax(-1)
    return float((foretold == twice[:, LENGTH + 1 :]).float().mean())


def practised(model: Any) -> Any:
    practise_copying(model, steps=25, first_token=SPECIAL)
    return model


def test_a_little_practice_makes_a_copier_of_the_first_weights_and_not_of_random_ones() -> None:
    model = untrained()
    begin_with_copying(model)
    assert copied(practised(model)) > 0.7
    assert copied(practised(untrained())) < 0.1


def test_practice_repeats_itself() -> None:
    def trained() -> dict[str, torch.Tensor]:
        model = untrained()
        begin_with_copying(model)
        practise_copying(model, steps=2, first_token=SPECIAL, seed=3)
        return dict(model.state_dict())

    first, second = trained(), trained()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_without_a_convolution_before_attention_nothing_is_added() -> None:
    model = untrained(("full_attention",))
    begin_with_copying(model)
    assert not model.model.layers[0].self_attn.out_proj.weight.any()
