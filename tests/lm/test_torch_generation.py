from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

pytest.importorskip("transformers", reason="the extra train is not installed")

import torch
from packaging.version import Version

from agent_gym_env.extras import require
from agent_gym_env.lm.torch_generation import Draft, Generator

transformers: Any = require("transformers", extra="train")

TOLERANCE = 5e-5
"""Of logits whose standard deviation is about 1; float32 gives differences of up to 2e-5."""

VOCABULARY, END = 97, 2
COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": END,
}
CONVOLUTIONS = {"layer_types": ["conv", "full_attention"] * 2, "block_auto_adjust_ff_dim": False}
LONG_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 10_000.0,
    "short_factor": [1.0] * 8,
    "long_factor": [4.0] * 8,
    "original_max_position_embeddings": 24,
}
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "attention": ("Qwen2Config", COMMON),
    "absolute positions": ("GPT2Config", {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2,
                                          "n_head": 2, "n_positions": 512}),
    "convolutions": ("Lfm2Config", {**COMMON, **CONVOLUTIONS, "conv_bias": False}),
    "convolutions with biases": ("Lfm2Config", {**COMMON, **CONVOLUTIONS, "conv_bias": True}),
    "sliding windows, Mistral": ("MistralConfig", {**COMMON, "sliding_window": 8}),
    "sliding windows, Qwen2": ("Qwen2Config", {**COMMON, "use_sliding_window": True,
                                               "sliding_window": 8, "max_window_layers": 2}),
    "sliding windows, Gemma 3": ("Gemma3TextConfig", {**COMMON, "head_dim": 16,
                                                      "sliding_window": 8}),
    "local attention by place": ("GPTNeoConfig", {
        "vocab_size": VOCABULARY, "hidden_size": 32, "num_layers": 2, "num_heads": 2,
        "attention_types": [[["global", "local"], 1]], "window_size": 8,
        "max_position_embeddings": 512}),
    "distances by place": ("MptConfig", {"vocab_size": VOCABULARY, "d_model": 32, "n_layers": 2,
                                         "n_heads": 2, "max_seq_len": 512}),
    "rotation by the longest row": ("Phi3Config", {**COMMON, "rope_parameters": LONG_ROPE,
                                                   "original_max_position_embeddings": 24}),
    "recurrence beside attention": ("FalconH1Config", {
        **COMMON, "head_dim": 16, "mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8,
        "mamba_d_state": 8, "mamba_proj_bias": True, "mamba_conv_bias": True}),
    "recurrence": ("MambaConfig", {"vocab_size": VOCABULARY, "hidden_size": 32,
                                   "num_hidden_layers": 2, "state_size": 8}),
    "recurrence outside of the cache": ("RecurrentGemmaConfig", {
        **COMMON, "attention_window_size": 8, "lru_width": 32}),
    "experts": ("MixtralConfig", {**COMMON, "num_local_experts": 4}),
}  # fmt: skip


def model_of(architecture: str) -> Any:
    """A model all of whose weights and biases matter."""
    name, options = ARCHITECTURES[architecture]
    transformers.utils.logging.set_verbosity_error()
    torch.manual_seed(0)
    config = getattr(transformers, name)(**options)
    model: Any = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.2)
            else:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


class Recorder(Generator):
    """Keeps the logits from which each token was chosen."""

    def __init__(self, model: Any, cache_bytes: int) -> None:
        ends = frozenset({END})
        try:
            super().__init__(model, None, ends=ends, context=512, cache_bytes=cache_bytes)
        except ValueError as error:
            is_old = Version(transformers.__version__) < Version("5.24")
            if is_old and type(model).__name__ == "MambaForCausalLM":
                # Older releases give it no cache to write; it is refused instead.
                pytest.skip(str(error))
            raise
        self.logits: dict[Draft, list[Any]] = {}

    def _step(self, drafts: Sequence[Draft], logits: Any) -> list[int]:
        for draft, row in zip(drafts, logits, strict=True):
            if not draft.finish:
                self.logits.setdefault(draft, []).append(row.clone())
        return super()._step(drafts, logits)


PROMPTS = [
    [random.Random(length).randrange(3, VOCABULARY) for _ in range(length)]
    for length in (90, 50, 37, 12, 12, 3)
]


def written(
    model: Any, prompts: Sequence[list[int]], *, at_once: int, recorder: Recorder | None = None
) -> tuple[list[list[int]], list[Any]]:
    """The answers to prompts, half of them drawn, and the logits behind each of their tokens."""
    recorder = recorder or Recorder(model, cache_bytes=0)
    drafts = [
        Draft(
            prompt=prompt, max_tokens=6 + number % 3, temperature=float(number % 2),
            random=random.Random(number),
        )
        for number, prompt in enumerate(prompts)
    ]  # fmt: skip
    for begin in range(0, len(drafts), at_once):
        recorder.run(drafts[begin : begin + at_once])
    return (
        [draft.tokens for draft in drafts],
        [torch.stack(recorder.logits[draft]) for draft in drafts],
    )


def assert_equal(some: Any, others: Any) -> None:
    assert some[0] == others[0]
    for logits, other in zip(some[1], others[1], strict=True):
        torch.testing.assert_close(logits, other, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_prompt_beside_it_changes_an_answer(architecture: str) -> None:
    model = model_of(architecture)
    together = written(model, PROMPTS, at_once=len(PROMPTS))
    assert_equal(together, written(model, PROMPTS, at_once=1))
    assert len({tuple(tokens) for tokens in together[0]}) == len(PROMPTS)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_was_kept_of_earlier_answers_changes_none(architecture: str) -> None:
    model = model_of(architecture)
    recorder = Recorder(model, cache_bytes=1 << 22)
    written(model, PROMPTS, at_once=len(PROMPTS), recorder=recorder)
    # Each goes on by another length, so that known and unread tokens lie at different places.
    longer = [[*prompt, *PROMPTS[0][: 7 * place]] for place, prompt in enumerate(PROMPTS)]
    together = written(model, longer, at_once=len(PROMPTS), recorder=recorder)
    assert_equal(together, written(model, longer, at_once=1))


def test_a_model_that_keeps_nothing_in_its_cache_is_refused() -> None:
    config: Any = transformers.RwkvConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2
    )
    model: Any = transformers.AutoModelForCausalLM.from_config(config)
    with pytest.raises(ValueError, match="RwkvForCausalLM writes nothing to the cache"):
        Generator(model.eval(), None, ends=frozenset({END}), context=512, cache_bytes=0)


@pytest.mark.parametrize("temperature", [1e-320, 1e-45, 1e-6, 1e30])
def test_no_temperature_gives_a_token_that_there_is_not(temperature: float) -> None:
    drafts = [
        Draft(prompt=[5, 6], max_tokens=4, temperature=temperature, random=random.Random(0)),
        Draft(prompt=[5, 6], max_tokens=4, temperature=0.0, random=random.Random(0)),
    ]
    Recorder(model_of("attention"), cache_bytes=0).run(drafts)
    assert all(0 <= token < VOCABULARY for token in drafts[0].tokens)
    if temperature < 1:
        assert drafts[0].tokens == drafts[1].tokens
