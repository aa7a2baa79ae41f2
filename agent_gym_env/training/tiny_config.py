"""What a tiny model is."""

from __future__ import annotations

from typing import Annotated

import msgspec

AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]


class TinyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A small decoder, and its tokenizer.

    Attributes:
        vocabulary: tokens, of which 256 are bytes.
        width: of the residual stream; a multiple of twice the heads.
        layers: of the decoder.
        convolutions: whether every second layer is a short convolution (LFM2's architecture), which
            learns far sooner to copy; else all are attention (Qwen2's), whose keys and values can
            be kept between turns.
        heads: of attention.
        context: tokens of the longest conversation.
        result_characters: of a tool's result that the model reads; what is behind is cut off.
        tokenizer_rows: at most so many conversations, evenly spread, teach the tokenizer.
        practice: steps in which a model with convolutions practises to copy before it sees a
            conversation; see `agent_gym_env.training.copying`.
        seed: of the weights and of the practice.
    """

    vocabulary: Annotated[int, msgspec.Meta(ge=300)] = 4096
    width: AtLeastOne = 128
    layers: AtLeastOne = 4
    convolutions: bool = True
    heads: AtLeastOne = 2
    context: AtLeastOne = 2048
    result_characters: AtLeastOne = 320
    tokenizer_rows: AtLeastOne = 2048
    practice: Annotated[int, msgspec.Meta(ge=0)] = 60
    seed: int = 0

    def __post_init__(self) -> None:
        if self.width % (2 * self.heads):
            raise ValueError(
                f"width must be a multiple of twice the heads ({2 * self.heads}), not {self.width}"
            )
