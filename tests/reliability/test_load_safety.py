"""No file and no value is ever executed, unpickled, followed or written elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_hostile_files_and_values_are_data(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tests.reliability.audited", str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    audit = json.loads(result.stdout)
    print(f"{audit['attempts']} attempts")
    assert audit["attempts"] > 500
    assert audit["noticed"]
    assert audit["seen"] == []
    assert not audit["evil"]
