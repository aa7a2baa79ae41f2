"""A journal that was damaged, or changed by somebody who mends its checksums, is refused or read.

`tests.reliability.test_journal_damage` shows that no change is missed where the checksum is not
mended; here only the kind of the refusal counts.
"""

from __future__ import annotations

import json
import random
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from agent_gym_env.assembly import collect
from agent_gym_env.errors import AgentGymError, StorageError
from agent_gym_env.rollout.journal.format import MANIFEST, Entry, read_manifest
from agent_gym_env.rollout.journal.reading import read_episodes, record_kind
from agent_gym_env.rollout.journal.recovery import check_journal
from agent_gym_env.rollout.journal.writing import open_journal
from tests.reliability.damage import changed, damaged_bytes
from tests.reliability.playing import sized

JOBS = 6


@pytest.fixture
def journal(tiny_corpus: Path, tmp_path: Path) -> Path:
    """A journal with episodes, one job that is pending and one that has failed."""
    folder = tmp_path / "run"
    collect("oracle", folder, episodes=JOBS, corpus=str(tiny_corpus), split="train")
    shard = folder / "episodes-00000.jsonl"
    shard.write_bytes(b"".join(shard.read_bytes().splitlines(keepends=True)[: JOBS - 2]))
    manifest = folder / MANIFEST
    manifest.write_bytes(mended_manifest(manifest.read_bytes(), shards=[], records=0, done=0))
    with open_journal(folder, "episodes", config(folder), JOBS) as opened:
        opened.append(Entry(JOBS - 1, error_class="OSError"), [b'{"error":"OSError: no"}'])
    return folder


def config(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / MANIFEST).read_bytes())["config"]
    return found


def mended_manifest(content: bytes, **fields: object) -> bytes:
    """Change fields of a manifest, and write the checksum that is right then."""
    found = {**json.loads(content), **fields, "checksum": ""}
    blank = json.dumps(found, separators=(",", ":"), ensure_ascii=False)
    checksum = f"{zlib.crc32(blank.encode('utf-8', 'surrogatepass')):08x}"
    return json.dumps({**found, "checksum": checksum}).encode()


def mended_line(line: bytes) -> bytes:
    """Write the checksum that is right for what a line says."""
    found = json.loads(line)
    found.pop("crc", None)
    rest = json.dumps(found)[1:].encode()
    return b'{"crc":"%08x",%b\n' % (zlib.crc32(rest), rest)


def damage_one(files: dict[Path, bytes], random_: random.Random) -> None:
    """Damage the bytes of one file, or what it says, with checksums that are right."""
    path, content = random_.choice(list(files.items()))
    if random_.random() < 0.4:
        path.write_bytes(damaged_bytes(content, random_))
    elif path.name == MANIFEST:
        path.write_bytes(mended_manifest(b"{}", **json.loads(changed(content, random_))))
    else:
        lines = content.splitlines(keepends=True)
        place = random_.randrange(len(lines))
        lines[place] = mended_line(changed(lines[place], random_))
        path.write_bytes(b"".join(lines))


def attempt(use: Callable[[], object]) -> str:
    """Use a journal; gives what came of it."""
    try:
        use()
    except AgentGymError:
        return "refused"
    return "used"


def test_a_damaged_journal_is_refused_or_used(journal: Path) -> None:
    run = config(journal)

    def go_on() -> None:
        with open_journal(journal, "episodes", run, JOBS) as opened:
            list(opened.pending())

    users = (
        lambda: list(read_episodes(journal)),
        lambda: check_journal(journal),
        lambda: record_kind([journal]),
        go_on,
    )
    files = {path: path.read_bytes() for path in journal.iterdir() if path.suffix != ".lock"}
    assert len(files) == 3
    random_ = random.Random(0)
    outcomes: Counter[str] = Counter()
    for _ in range(sized(100, 2_000)):
        damage_one(files, random_)
        outcomes.update(map(attempt, users))
        for path, content in files.items():
            path.write_bytes(content)
    print(dict(outcomes))
    assert min(outcomes["refused"], outcomes["used"]) > outcomes.total() / 20


def test_a_line_whose_place_cannot_be_read_is_named(journal: Path) -> None:
    path = journal / "episodes-00000.jsonl"
    first, *others = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join((mended_line(first.replace(b'"job":0', b'"job":"a"')), *others)))
    with pytest.raises(StorageError, match=r"episodes-00000\.jsonl:1.*job"):
        check_journal(journal)


@pytest.mark.parametrize("jobs", [-1, 10**12])
def test_a_manifest_with_more_jobs_than_a_run_can_have_is_refused(journal: Path, jobs: int) -> None:
    path = journal / MANIFEST
    path.write_bytes(mended_manifest(path.read_bytes(), jobs=jobs))
    with pytest.raises(StorageError, match=r"manifest\.json.*jobs"):
        read_manifest(journal)
