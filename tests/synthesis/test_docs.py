"""The page about writing a corpus says what is so."""

from __future__ import annotations

import re
from pathlib import Path

from agent_gym_env.corpus.sgd import SPLITS
from agent_gym_env.corpus.sgd_reader import open_source
from agent_gym_env.synthesis.corpus_synthesis import synthesize_corpus
from agent_gym_env.synthesis.shape import measure, read_dialogues, table

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guides" / "synthesis.md").read_text(encoding="utf-8")
SHAPES = (ROOT / "docs" / "results" / "sample_corpus.md").read_text(encoding="utf-8")


def _block(language: str) -> str:
    [block] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(block)


def test_the_page_s_schema_and_entities_give_a_corpus(tmp_path: Path) -> None:
    for name in ("schema", "entities"):
        (tmp_path / f"{name}.json").write_text(
            _block(f'json title="{name}.json"'), encoding="utf-8"
        )
    summary = synthesize_corpus(
        tmp_path / "schema.json", tmp_path / "entities.json", tmp_path / "out", 40, 1
    )
    assert summary.dialogues == 40


def test_the_page_s_table_is_what_is_measured_now() -> None:
    with open_source(ROOT / "data" / "sample") as source:
        dialogues = {split: list(read_dialogues(source, split)) for split in SPLITS}
    seen = {service for dialogue in dialogues["train"] for service in dialogue.services}
    measured = table({split: measure(them, seen) for split, them in dialogues.items()})
    for row in measured.splitlines()[2:]:
        assert row in SHAPES, "docs/results/sample_corpus.md is out of date"
