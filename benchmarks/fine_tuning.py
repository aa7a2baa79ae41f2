"""Speed of fine-tuning on a processor: ``python -m benchmarks.fine_tuning --model smollm2``.

The same steps in float32 and in bfloat16, with one thread and with two, one after the other. All
conversations are copies of one. Tokens per second of wall time, so let nothing run beside it.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import torch

from agent_gym_env.training.config import TINY, SFTConfig
from agent_gym_env.training.sft import train_sft
from tests.training.chat_rows import write_sft_rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fine_tuning", description=__doc__)
    parser.add_argument("--model", default=TINY)
    parser.add_argument("--batch-size", type=int, default=2, help="conversations of a step")
    parser.add_argument("--steps", type=int, default=4, help="that are measured, after a first")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="agent-gym-bench-") as name:
        rows = _rows(Path(name), chosen.batch_size)
        for threads, bf16 in itertools.product(chosen.threads, (False, True)):
            torch.set_num_threads(threads)
            config = SFTConfig(
                rows=(str(rows),),
                model=chosen.model,
                bf16=bf16,
                batch_size=chosen.batch_size,
                max_steps=chosen.steps + 1,
            )
            tokens, speed = _measure(config, Path(name, f"{threads}-{bf16}"))
            kind = "bfloat16" if bf16 else "float32"
            row = f"{kind:10} {threads} threads {speed:8.0f} tokens/s, {tokens:.0f} a step"
            print(row, flush=True)
    return 0


def _rows(folder: Path, copies: int) -> Path:
    """Write copies of one conversation, of middle length."""
    lines = write_sft_rows(folder / "some.jsonl", "train", 21).read_bytes().splitlines(True)
    path = folder / "rows.jsonl"
    path.write_bytes(sorted(lines, key=len)[10] * copies)
    return path


def _measure(config: SFTConfig, out: Path) -> tuple[float, float]:
    """Train, and return the tokens of a step, and of a second after the first step."""
    ends: list[float] = []

    def note_time(phase: str, done: int, of: int) -> None:
        if phase == "sft":
            ends.append(time.perf_counter())

    train_sft(config, out=out, on_progress=note_time)
    report = msgspec.json.decode((out / "report.json").read_bytes())
    tokens = report["tokens"] / report["steps"]
    return tokens, tokens * (len(ends) - 1) / (ends[-1] - ends[0])


if __name__ == "__main__":
    sys.exit(main())
