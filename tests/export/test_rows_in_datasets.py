"""Exported rows pass through `datasets` unchanged, and a chat template masks what is to be learned.

The loss is on what the assistant writes, and on nothing else.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("datasets", reason="datasets is not installed: extra train")
pytest.importorskip("transformers", reason="transformers is not installed: extra train")

from datasets import Features, Value, load_dataset
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from agent_gym_env.assembly import rollout
from agent_gym_env.errors import MissingDependency
from agent_gym_env.export.from_episodes import conversations, prompts
from agent_gym_env.export.preference_pairs import common_states, labels_of_pairs, preferences
from agent_gym_env.export.rows import Tally, write_rows
from agent_gym_env.lm.parse import parse_reply
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.training.chat_dataset import RowKind, chat_dataset, features


@pytest.fixture(scope="module")
def played(tiny_corpus: Path) -> list[Episode]:
    return [
        episode
        for policy in ("oracle", "uniform")
        for episode in rollout(policy, corpus=tiny_corpus, split="train", seed=1)
    ]


@pytest.fixture(scope="module")
def exported(played: list[Episode], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("rows")
    pairs = list(preferences(common_states(played), Tally()))
    rows: dict[str, Iterable[msgspec.Struct]] = {
        "sft": conversations(played, Tally()),
        "dpo": pairs,
        "kto": labels_of_pairs(pairs, Tally()),
        "grpo": prompts(played, Tally()),
    }
    paths = {}
    for kind, each in rows.items():
        paths[kind] = folder / f"{kind}.jsonl"
        write_rows(paths[kind], each, Tally())
    return paths


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("kind", ["sft", "dpo", "kto", "grpo"])
def test_no_null_is_injected_and_no_key_is_lost(
    exported: dict[str, Path], kind: RowKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
    loaded = list(chat_dataset(exported[kind], kind))
    written = lines(exported[kind])
    assert loaded == [{name: row[name] for name in features(kind)} for row in written]


def test_datasets_own_reader_of_json_changes_but_the_tenth_digit_of_a_number(
    exported: dict[str, Path], tmp_path: Path
) -> None:
    columns = Features(
        {
            **features("sft"),
            "dialogue_id": Value("string"),
            "split": Value("string"),
            "policy": Value("string"),
            "reward": Value("float64"),
        }
    )
    loaded = load_dataset(
        "json",
        data_files=str(exported["sft"]),
        split="train",
        features=columns,
        cache_dir=str(tmp_path),
    )
    for row, written in zip(loaded, lines(exported["sft"]), strict=True):
        assert row.pop("reward") == pytest.approx(written.pop("reward"), abs=1e-9)
        assert row == written


def test_tables_of_episodes_load_too(played: list[Episode], tmp_path: Path) -> None:
    parquet = pytest.importorskip("agent_gym_env.export.parquet", exc_type=MissingDependency)
    parquet.write_parquet(tmp_path / "episodes.parquet", played, Tally())
    files = str(tmp_path / "episodes.parquet")
    loaded = load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path))
    assert sum(loaded["reward"]) == pytest.approx(
        sum(turn.reward or 0 for episode in played for turn in episode.turns)
    )


def byte_tokenizer(template: str) -> PreTrainedTokenizerFast:
    """A token for each byte, and those of ChatML."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    model = Tokenizer(BPE({token: number for number, token in enumerate(alphabet)}, []))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    model.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=model, eos_token="<|im_end|>", chat_template=template
    )


def trl_template(name: str) -> str:
    spec = importlib.util.find_spec("trl")
    if spec is None:
        pytest.skip("trl is not installed: extra train")
    assert spec.origin is not None
    return (Path(spec.origin).parent / "chat_templates" / f"{name}.jinja").read_text()


def learned(tokenizer: PreTrainedTokenizerFast, row: dict[str, Any]) -> Iterator[str]:
    """Decode each stretch of tokens that the loss is on."""
    rendered: Any = tokenizer.apply_chat_template(
        row["messages"], tools=row["tools"], return_dict=True, return_assistant_tokens_mask=True
    )
    tokens = zip(rendered["assistant_masks"], rendered["input_ids"], strict=True)
    for is_learned, stretch in groupby(tokens, key=lambda each: each[0]):
        if is_learned:
            yield str(tokenizer.decode([token for _, token in stretch]))


@pytest.mark.parametrize("template", ["qwen2_5_training", "qwen3_training"])
def test_the_loss_is_on_the_assistant_s_messages_and_on_nothing_else(
    exported: dict[str, Path], template: str
) -> None:
    tokenizer = byte_tokenizer(trl_template(template))
    for row in lines(exported["sft"]):
        expected = [message for message in row["messages"] if message["role"] == "assistant"]
        for text, message in zip(learned(tokenizer, row), expected, strict=True):
            assert text.rstrip("\n").endswith("<|im_end|>")
            reply = parse_reply(text.rstrip("\n").removesuffix("<|im_end|>"))
            functions = [call["function"] for call in message.get("tool_calls", ())]
            assert [msgspec.to_builtins(call) for call in reply.tool_calls] == functions
            assert reply.text.strip() == (message["content"] or "").strip()
