"""A small causal language model that is trained from scratch, without a download."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from agent_gym_env.extras import require
from agent_gym_env.training.config import OnProgress, TinyConfig

require("transformers", extra="train")

from tokenizers import Regex, Tokenizer  # noqa: E402
from tokenizers.decoders import ByteLevel as ByteLevelDecoder  # noqa: E402
from tokenizers.models import BPE  # noqa: E402
from tokenizers.pre_tokenizers import ByteLevel, Split  # noqa: E402
from tokenizers.pre_tokenizers import Sequence as InSequence  # noqa: E402
from tokenizers.trainers import BpeTrainer  # noqa: E402
from transformers import (  # noqa: E402
    Lfm2Config,
    Lfm2ForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    set_seed,
)

from agent_gym_env.lm.chat_templates import END_OF_TURN, compact_template  # noqa: E402
from agent_gym_env.training.copying import begin_with_copying, practise_copying  # noqa: E402

PADDING = "<|endoftext|>"
_ROLE_MARKS = tuple(f"<|im_start|>{role}\n" for role in ("tools", "user", "assistant", "tool"))
"""Beginnings of messages. Each is one token; common tokenizers need three for it."""

_SPECIAL = (PADDING, END_OF_TURN, *_ROLE_MARKS, "<tool_call>", "</tool_call>")

_PIECES = "|".join(
    (
        # The characters between keys and values of JSON.
        r'[\s{}\[\],:]*"[\s{}\[\],:"]*',
        # A capitalised word or a digit is separate from a blank or a quote before it, so that a
        # name has the same tokens in a conversation and in a call.
        r" ?\p{Ll}[\p{L}_]*",
        r"\p{L}[\p{L}_]*",
        r"\p{N}",
        r" ?[^\s\p{L}\p{N}]+",
        r"\s+",
    )
)
"""Pieces that a text is split into; a token never crosses their borders."""

_LAYERS = ("conv", "full_attention")

Conversation = Mapping[str, Any]
"""A row with ``messages`` and ``tools``, as `agent_gym_env.export.rows` writes it."""


def make_tiny(
    folder: Path,
    conversations: Iterable[Conversation],
    config: TinyConfig | None = None,
    *,
    on_progress: OnProgress | None = None,
) -> int:
    """Write an untrained model, its tokenizer and its chat template as a Hugging Face folder.

    Args:
        folder: folder to create.
        conversations: conversations that the tokenizer is trained on.
        config: settings of the model.
        on_progress: called with ``practice``, and how many of its steps are done and in total.

    Returns:
        The number of the model's parameters.
    """
    config = config or TinyConfig()
    tokenizer = make_tokenizer(conversations, config)
    set_seed(config.seed)
    model = _decoder(config, tokenizer)
    if config.convolutions:
        begin_with_copying(model)
        first = len(_SPECIAL)
        practise_copying(
            model,
            steps=config.practice,
            first_token=first,
            seed=config.seed,
            on_progress=on_progress,
        )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return int(model.num_parameters())


def _decoder(config: TinyConfig, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    common: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": config.width,
        "intermediate_size": config.width * 8 // 3 // 32 * 32,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.heads,
        "max_position_embeddings": config.context,
        "tie_word_embeddings": True,
        # The default of 0.02 suits a width of thousands.
        "initializer_range": config.width**-0.5,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if not config.convolutions:
        return Qwen2ForCausalLM(Qwen2Config(**common))
    # A convolution before attention lets a token's key contain the token before it, which is what
    # copying needs. The last layer is attention.
    layers = [_LAYERS[(config.layers - place) % 2] for place in range(config.layers)]
    return Lfm2ForCausalLM(
        Lfm2Config(layer_types=layers, conv_bias=True, block_auto_adjust_ff_dim=False, **common)
    )


def make_tokenizer(
    conversations: Iterable[Conversation], config: TinyConfig
) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer on conversations, as the chat template writes them."""
    model = Tokenizer(BPE())
    pieces = Split(Regex(_PIECES), "isolated")
    model.pre_tokenizer = InSequence([pieces, ByteLevel(False, use_regex=False)])
    model.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(
        vocab_size=config.vocabulary,
        special_tokens=list(_SPECIAL),
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    template = compact_template(config.result_characters)
    untrained = _wrapped(model, template)
    model.train_from_iterator(_texts(untrained, conversations), trainer)
    return _wrapped(model, template)


def _wrapped(model: Tokenizer, template: str) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=model,
        chat_template=template,
        eos_token=END_OF_TURN,
        pad_token=PADDING,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def _texts(
    tokenizer: PreTrainedTokenizerFast, conversations: Iterable[Conversation]
) -> Iterator[str]:
    for each in conversations:
        messages = [message for message in each["messages"] if message["role"] != "system"]
        text = cast(
            str,
            tokenizer.apply_chat_template(messages, tools=each["tools"] or None, tokenize=False),
        )
        for mark in _SPECIAL:
            text = text.replace(mark, "\n")
        yield text
