"""The server that stands in for a provider."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lm.server import LMServer


@pytest.fixture
def server() -> Iterator[LMServer]:
    """A provider that answers at once and never fails, until it is told otherwise."""
    with LMServer() as running:
        yield running
