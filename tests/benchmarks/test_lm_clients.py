from __future__ import annotations

import pytest

from benchmarks.lm_clients import main, server
from tests.lm.clients import needs


def test_the_server_of_the_benchmark_runs_in_a_process_of_its_own() -> None:
    with server(0.0) as url:
        assert url.startswith("http://127.0.0.1:")


@pytest.mark.long
@needs("litellm")
@needs("aiohttp")
def test_the_promised_shares_hold() -> None:
    assert main([]) == 0
