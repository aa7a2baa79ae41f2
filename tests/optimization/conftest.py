"""A corpus, a pupil that can be taught, and a server that it answers from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent_gym_env.corpus.corpus import Corpus, open_corpus

for library in ("dspy", "optuna", "aiohttp"):
    pytest.importorskip(library, reason=f"{library} is missing: pip install -e '.[dspy,local]'")

from agent_gym_env.lm.aiohttp_client import local_client  # noqa: E402
from agent_gym_env.lm.client import RemoteLM  # noqa: E402
from tests.lm.server import LMServer  # noqa: E402
from tests.optimization.pupil import Pupil, recorded_steps  # noqa: E402


@pytest.fixture(scope="session")
def sample() -> Corpus:
    return open_corpus("sample")


@pytest.fixture(scope="session")
def known(sample: Corpus) -> dict[str, tuple[str, str]]:
    return recorded_steps([sample.split("train"), sample.split("dev")])


@pytest.fixture
def pupil(known: dict[str, tuple[str, str]]) -> Pupil:
    return Pupil(known)


@pytest.fixture
def server(pupil: Pupil) -> Iterator[LMServer]:
    with LMServer(
        lambda request: pupil.answer(request.messages, request.body.get("temperature"))
    ) as running:
        yield running


Client = Callable[..., RemoteLM]


@pytest.fixture
def client(server: LMServer, tmp_path: Path) -> Iterator[Client]:
    """Makes clients of the server, with a cache that the test's clients share."""
    made: list[RemoteLM] = []

    def make(**options: Any) -> RemoteLM:
        options.setdefault("cache", tmp_path / "cache")
        made.append(local_client("pupil", server.openai_base, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()
