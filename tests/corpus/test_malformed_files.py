"""A file of a corpus that another program wrote is read, or told for what it is, with its place."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.errors import DataError
from tests.corpora import write_tiny_corpus


def with_shard(folder: Path, content: bytes) -> Path:
    """Write the tiny corpus, with other bytes as the first shard of train."""
    corpus = write_tiny_corpus(folder / "corpus")
    (corpus / "train" / "dialogues_001.json").write_bytes(content)
    return corpus


@pytest.mark.parametrize(
    ("content", "problem", "pointer"),
    [
        (b"{}", "expected a list, found an object", None),
        (b'"x"', "expected a list, found a string", None),
        (b"null", "expected a list, found null", None),
        (b"[null]", "expected an object, found null", "/0"),
        (b"[[]]", "expected an object, found a list", "/0"),
        (b"[{}]", "the field 'dialogue_id' is missing", "/0"),
        (b'[{"dialogue_id": null}]', "expected a string, found null", "/0/dialogue_id"),
        (b'[{"dialogue_id": "1", "services": []}]', "the field 'turns' is missing", "/0"),
        (
            b'[{"dialogue_id": "1", "servces": [], "services": [], "turns": []}]',
            "unknown field 'servces' (did you mean 'services'?); expected one of dialogue_id, "
            "services, turns",
            "/0",
        ),
        (
            b'[{"dialogue_id": "1", "services": {}, "turns": []}]',
            "expected a list, found an object",
            "/0/services",
        ),
        (
            b'[{"dialogue_id": "1", "services": [], "turns": [{"speaker": "SYSTM"}]}]',
            "expected one of USER, SYSTEM, found 'SYSTM' (did you mean 'SYSTEM'?)",
            "/0/turns/0/speaker",
        ),
        (b"", "the file is empty", None),
        (b"\xef\xbb\xbf \n", "the file is empty", None),
        (bytes(100), "the file begins with zero bytes", None),
        ("[]".encode("utf-16"), "the file is in UTF-16 or UTF-32; write it in UTF-8", None),
        (b"[\n {},\n oops]", "invalid character (line 3, column 2); it begins with b'[", None),
        (b"\x1f\x8b\x08\x00rest", "the file is compressed with gzip; unpack it", None),
        (b"{}\n{}\n", "expected a list, found JSON lines", None),
        (b"\r\n{}\r\n\r\n{}", "expected a list, found JSON lines", None),
        (b'{"a":\n{}}', "expected a list, found an object", None),
        (
            b'[{"dialogue_id": "1", "services": [], "turns": [{"speaker": null}]}]',
            "expected one of USER, SYSTEM",
            "/0/turns/0/speaker",
        ),
    ],
)
def test_a_shard_of_another_shape_is_told_with_what_was_found_and_expected(
    tmp_path: Path, content: bytes, problem: str, pointer: str | None
) -> None:
    with pytest.raises(DataError, match=re.escape(problem)) as caught:
        open_corpus(with_shard(tmp_path, content)).split("train")
    assert (caught.value.pointer, caught.value.turn is None) == (
        pointer,
        "turns/" not in f"{pointer}",
    )
    assert str(caught.value.file).endswith("train/dialogues_001.json")


def test_a_byte_order_mark_and_line_ends_of_windows_are_read(tmp_path: Path) -> None:
    corpus = write_tiny_corpus(tmp_path / "corpus")
    for name in ("schema.json", "dialogues_001.json"):
        path = corpus / "train" / name
        text = json.dumps(json.loads(path.read_bytes()), indent=1).replace("\n", "\r\n")
        path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert len(open_corpus(corpus).split("train")) == 3


def test_a_split_with_files_of_other_names_is_told_with_them(tmp_path: Path) -> None:
    corpus = write_tiny_corpus(tmp_path / "corpus")
    (corpus / "test" / "dialogues_001.json").rename(corpus / "test" / "dialogs.json")
    with pytest.raises(DataError, match=r"found dialogs\.json, schema\.json there"):
        open_corpus(corpus).split("test")


# Names that no provider of language models takes for a function


def renamed(folder: Path, old: str, new: str) -> Path:
    """Write the tiny corpus with another name of a service or an intent, everywhere."""
    corpus = write_tiny_corpus(folder / "corpus")
    for path in corpus.rglob("*.json"):
        path.write_text(path.read_text().replace(f'"{old}"', json.dumps(new)))
    return corpus


@pytest.mark.parametrize("name", ["Tea shop", "\u8336", "Teas.1", "Teas/1", "T" * 64, "Teas_1\n"])
def test_a_tool_that_providers_refuse_is_said_when_the_corpus_is_compiled(
    tmp_path: Path, name: str
) -> None:
    corpus = renamed(tmp_path, "Teas_1", name)
    with pytest.warns(UserWarning, match=r"train/schema\.json: 2 tools have names .* refuse"):
        split = open_corpus(corpus).split("train")
    assert f"{name}-FindTea" in split.tools


def test_a_name_of_64_characters_is_taken(tmp_path: Path) -> None:
    assert (
        f"{'T' * 56}-FindTea"
        in open_corpus(renamed(tmp_path, "Teas_1", "T" * 56)).split("train").tools
    )


@pytest.mark.parametrize("name", ["", " "])
@pytest.mark.parametrize("old", ["Teas_1", "FindTea"])
def test_a_service_or_an_intent_without_a_name_is_refused(
    tmp_path: Path, old: str, name: str
) -> None:
    with pytest.raises(DataError, match="needs a name") as caught:
        open_corpus(renamed(tmp_path, old, name)).split("train")
    assert caught.value.pointer == ("/0/service_name" if old == "Teas_1" else "/0/intents/0/name")


@pytest.mark.parametrize(("old", "new"), [("Order", "FindTea"), ("grams", "price")])
def test_two_intents_or_slots_of_one_name_are_refused(tmp_path: Path, old: str, new: str) -> None:
    with pytest.raises(DataError, match=f"more than one (intent|slot) is named '{new}'"):
        open_corpus(renamed(tmp_path, old, new)).split("train")
