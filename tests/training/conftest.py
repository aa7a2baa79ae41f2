"""Cache folders of Hugging Face's libraries for the tests of training."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def datasets_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep Arrow files of rows out of the user's cache."""
    folder = tmp_path / "datasets-cache"
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", folder)
    return folder
