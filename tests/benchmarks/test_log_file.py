"""The log that imports are measured with is read whole, and its secrets are found."""

from __future__ import annotations

from pathlib import Path

from agent_gym_env import import_logs
from benchmarks.log_file import write_log


def test_every_conversation_is_imported_and_contacts_are_replaced(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    write_log(log, 40, contacts=1.0)
    report = import_logs(log, tmp_path / "corpus")
    assert report.conversations == 40
    assert report.left_out == []
    assert {"email", "phone", "card_number"} <= {each.kind for each in report.redacted or ()}
    written = "".join(path.read_text("utf-8") for path in (tmp_path / "corpus").iterdir())
    assert "@example.com" not in written
    assert "4111 1111" not in written


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("two", 1), ("three", 2)):
        write_log(tmp_path / name, 5, seed=seed)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert (tmp_path / "one").read_bytes() != (tmp_path / "three").read_bytes()
