"""Speed of the loop that plays a local model: ``python -m benchmarks.models``.

A tiny model, untrained, answers each step of recorded conversations that go on side by side. The
same prompts go through transformers' own ``generate``, and through our client with and without the
keys and values kept between turns, guided and not. Tokens per second of processor time.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch

from agent_gym_env.lm.base import Request
from agent_gym_env.lm.transformers_client import LoadedModel, TransformersClient, load_model
from agent_gym_env.lm.transformers_prompt import template_messages
from agent_gym_env.training.config import TinyConfig
from tests.local_models import conversations, requests, write_model

Turn = list[Request]
"""Requests of one batch: one step of each conversation."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description=__doc__)
    parser.add_argument("--checkpoint", help="default: a tiny model of --width and --layers")
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--dialogues", type=int, default=16, help="that go on side by side")
    parser.add_argument("--steps", type=int, default=12, help="of each conversation")
    parser.add_argument("--tokens", type=int, default=16, help="of an answer")
    chosen = parser.parse_args(arguments)
    # Two threads of one small matrix product wait for each other longer than one needs for it.
    torch.set_num_threads(1)
    with contextlib.ExitStack() as stack:
        folder = chosen.checkpoint or _fresh(stack, chosen.width, chosen.layers)
        loaded = load_model(folder)
        turns = _turns(chosen.dialogues, chosen.steps, chosen.tokens)
        speeds = {name: _speed(play, turns) for name, play in _players(loaded).items()}
    for name, speed in speeds.items():
        print(f"{name:34} {speed:8.0f} tokens/CPU-s")
    promises = (
        ("kept / not kept", 1.2, speeds["kept, not guided"] / speeds["not kept, not guided"]),
        ("not kept / transformers' generate", 0.9,
         speeds["not kept, not guided"] / speeds["transformers' generate"]),
        ("guided / not guided", 0.7, speeds["kept, guided"] / speeds["kept, not guided"]),
    )  # fmt: skip
    for what, hold, measured in promises:
        verdict = "" if measured >= hold else "BROKEN"
        print(f"{what:34} {measured:8.2f}  >= {hold:g}  {verdict}".rstrip())
    return 0 if all(measured >= hold for _, hold, measured in promises) else 1


def _fresh(stack: contextlib.ExitStack, width: int, layers: int) -> Path:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="agent-gym-bench-")))
    heads = max(1, width // 32)
    # Of attention alone: with convolutions nothing could be kept.
    config = TinyConfig(
        vocabulary=2048, width=width, layers=layers, heads=heads, convolutions=False
    )
    return write_model(folder / "tiny", config)


def _turns(dialogues: int, steps: int, tokens: int) -> list[Turn]:
    asked = [requests(row, max_tokens=tokens) for row in conversations(dialogues)]
    return [[each[step] for each in asked if step < len(each)] for step in range(steps)]


def _players(loaded: LoadedModel) -> dict[str, Callable[[Turn], int]]:
    def ours(**options: Any) -> Callable[[Turn], int]:
        client = TransformersClient(loaded, **options)

        def play(turn: Turn) -> int:
            before = client.counts.completion_tokens
            client.complete_many(turn)
            return client.counts.completion_tokens - before

        return play

    return {
        "transformers' generate": lambda turn: _generate(loaded, turn),
        "not kept, not guided": ours(cache_bytes=0, guided=False),
        "kept, not guided": ours(guided=False),
        "kept, guided": ours(),
    }


def _generate(loaded: LoadedModel, turn: Turn) -> int:
    texts = [
        loaded.tokenizer.apply_chat_template(
            template_messages(request.messages), tools=list(request.tools),
            add_generation_prompt=True, tokenize=False,
        )
        for request in turn
    ]  # fmt: skip
    batch = loaded.tokenizer(
        texts, add_special_tokens=False, padding=True, padding_side="left", return_tensors="pt"
    ).to(loaded.model.device)
    most = turn[0].max_tokens
    said = loaded.model.generate(**batch, max_new_tokens=most, do_sample=False)
    fresh = said[:, batch["input_ids"].shape[1] :]
    return int((fresh != loaded.tokenizer.pad_token_id).sum())


def _speed(play: Callable[[Turn], int], turns: list[Turn]) -> float:
    play([msgspec.structs.replace(turns[0][0], max_tokens=2)])  # lazy imports
    begin = time.process_time()
    tokens = sum(play(turn) for turn in turns)
    return tokens / (time.process_time() - begin)


if __name__ == "__main__":
    sys.exit(main())
