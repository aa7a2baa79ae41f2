"""Fixtures of every test: a separate cache, no network, and real SGD where it is available."""

from __future__ import annotations

import ipaddress
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.corpora import write_tiny_corpus

LONG = os.environ.get("AGENT_GYM_LONG") == "1"

# No deadlines: a slow machine must not fail a test. In CI the same examples run each time.
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


def _hear_ctrl_c() -> None:
    """Take Ctrl-C again where a shell that started the tests in the background has it ignored.

    Processes inherit that, and tests stop commands by it.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


_hear_ctrl_c()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what takes minutes, unless it was asked for."""
    if LONG:
        return
    skip = pytest.mark.skip(reason="takes minutes: make test-long")
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(skip)


@pytest.fixture(scope="session", autouse=True)
def agent_gym_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep compiled corpora out of the user's cache; one place for all processes of a run.

    ``AGENT_GYM_TEST_HOME`` names a folder that is kept between runs: SGD compiles only once.
    """
    kept = os.environ.get("AGENT_GYM_TEST_HOME")
    home = Path(kept) if kept else _run_folder(tmp_path_factory) / "agent-gym-home"
    home.mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENT_GYM_HOME", str(home))
        yield home


def _run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of this run; pytest-xdist gives each worker a folder inside it."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def sgd_path() -> Path:
    """Real SGD: an archive or a folder in the layout of the dataset's own repository."""
    named = os.environ.get("AGENT_GYM_TEST_SGD")
    if not named:
        pytest.skip("AGENT_GYM_TEST_SGD names no archive or folder with real SGD")
    path = Path(named)
    if not path.exists():
        pytest.skip(f"AGENT_GYM_TEST_SGD names {path}, which does not exist")
    return path


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our own three splits of a few dialogues; see `tests.corpora`."""
    return write_tiny_corpus(tmp_path_factory.mktemp("tiny") / "corpus")


def _refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    """Fail a test that connects to another machine, whichever library does it."""
    if event == "socket.connect" and not _is_local(arguments[1]):
        pytest.fail(f"a test connected to {arguments[1]}: tests may talk to 127.0.0.1 only")


def _is_local(address: object) -> bool:
    if not isinstance(address, tuple):
        return True  # a Unix socket's path
    host = str(address[0])
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# For the life of the process: an audit hook cannot be taken off again.
sys.addaudithook(_refuse_network)
