"""A language model that nobody trained, small enough to answer in milliseconds."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import msgspec
import torch
from tokenizers import AddedToken, Tokenizer, decoders, normalizers
from tokenizers.models import BPE
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from agent_gym_env.assembly import make_env
from agent_gym_env.lm.base import Request
from agent_gym_env.lm.prompt import RULES, system_message
from agent_gym_env.lm.transformers_client import LoadedModel
from agent_gym_env.lm.transformers_prompt import template_messages
from agent_gym_env.training.config import TinyConfig
from agent_gym_env.training.tiny import make_tiny

CONFIG = TinyConfig(vocabulary=512, width=32, layers=2, heads=2, convolutions=False)


def conversations(count: int) -> list[dict[str, Any]]:
    """Return the first recorded dialogues of the sample corpus as rows."""
    env: Any = make_env(split="train")
    ids = env.unwrapped.split.dialogue_ids()[:count]
    return [_conversation(env, dialogue_id) for dialogue_id in ids]


def _conversation(env: Any, dialogue_id: str) -> dict[str, Any]:
    observation, _ = env.reset(options={"dialogue_id": dialogue_id})
    terminated = False
    while not terminated:
        observation, _, terminated, _, _ = env.step(env.unwrapped.recorded_action())
    messages = template_messages(msgspec.json.decode(observation["messages"]))
    system = system_message(RULES, datetime.date(2019, 3, 1))
    return {"messages": [system, *messages], "tools": msgspec.json.decode(observation["tools"])}


def requests(row: dict[str, Any], **options: Any) -> list[Request]:
    """Return the request for each step of a recorded conversation."""
    messages = row["messages"]
    return [
        Request(messages[:place], tools=row["tools"], **options)
        for place, message in enumerate(messages)
        if message["role"] == "assistant"
    ]


def write_model(folder: Path, config: TinyConfig = CONFIG) -> Path:
    """Write a model whose answers differ from one another, though they mean nothing."""
    make_tiny(folder, conversations(6), config)
    model = AutoModelForCausalLM.from_pretrained(folder)
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    return folder


def llama_tokenizer(*, byte_fallback: bool = True) -> Any:
    """A tokenizer of the kind that transformers makes from a GGUF file of the Llama family.

    Its unknown token is a special one, and it knows no tags of calls.
    """
    special = ["<unk>", "<s>", "</s>"]
    pieces = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *map(chr, range(33, 127)), "▁"]
    merges = [("t", "h"), ("th", "e"), ("▁", "the")]
    words = [*pieces, *(left + right for left, right in merges)]
    vocabulary = {word: number for number, word in enumerate(words)}
    model = Tokenizer(
        BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=byte_fallback)
    )
    model.normalizer = normalizers.Replace(" ", "▁")
    model.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    model.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    wrap: Any = PreTrainedTokenizerFast
    return wrap(tokenizer_object=model, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def load(folder: Path) -> LoadedModel:
    """Load a model without a client."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    return LoadedModel(model.eval(), AutoTokenizer.from_pretrained(folder), folder.name)
