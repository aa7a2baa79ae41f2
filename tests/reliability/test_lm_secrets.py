"""No key shows in any byte of an evaluation: its files, its output, its logs."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.lm.clients import needs
from tests.lm.server import Faults, LMServer, Raw
from tests.lm.wire_formats import ChatRequest

ROOT = Path(__file__).parents[2]
CANARIES = {
    name: f"canary{number}+Zx/9{name.lower()[::-1]}"
    for number, name in enumerate(
        ("GOOGLE_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "HF_TOKEN",
         "AWS_SECRET", "DB_PASSWORD", "AZURE_API_KEY")
    )
}  # fmt: skip

# Everything is logged, by every library that logs.
RUN = """
import logging, sys
logging.basicConfig(level=logging.DEBUG)
from agent_gym_env.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def _told(request: ChatRequest) -> str:
    """What a hostile server says: all that it was sent, and all that it may have guessed."""
    sent = [request.path, *(f"{name}: {value}" for name, value in request.headers.items())]
    encoded = [quote(c, safe="") + base64.b64encode(c.encode()).decode() for c in CANARIES.values()]
    return " ".join([*sent, *CANARIES.values(), *encoded])


def _forms() -> list[bytes]:
    plain = [*CANARIES.values(), *(quote(c, safe="") for c in CANARIES.values())]
    encoded = [base64.b64encode(c.encode()).decode().rstrip("=")[:-1] for c in CANARIES.values()]
    return [form.encode() for form in (*plain, *encoded)]


@pytest.mark.parametrize(
    "client",
    [
        pytest.param("litellm", marks=needs("litellm")),
        pytest.param("local", marks=needs("aiohttp")),
        pytest.param("google-genai", marks=[needs("google.genai"), pytest.mark.long]),
    ],
)
def test_no_byte_holds_a_key(client: str, tmp_path: Path) -> None:
    faults = Faults(
        rate=0.3,
        kinds=[lambda request: Raw(500, _told(request).encode()), "truncated_json", "429"],
    )
    with LMServer(_told, faults=faults) as server:
        # Refused at the end, so that there is a record of that too.
        base = {"litellm": server.gemini_base, "local": server.openai_base}.get(client, server.url)
        policy = {
            "name": "llm", "client": client, "api_base": base, "cache": str(tmp_path / "cache"),
            "limits": {"backoff_s": 0.001, "max_backoff_s": 0.01, "max_attempts": 3},
        }  # fmt: skip
        command = [sys.executable, "-c", RUN, "evaluate", "--policy", json.dumps(policy)]
        done = subprocess.run(
            [*command, "--episodes", "4", "--out", str(tmp_path / "out")],
            cwd=ROOT, capture_output=True, timeout=300,
            env={**os.environ, **CANARIES, "LITELLM_LOG": "DEBUG"},
        )  # fmt: skip
        assert len(server.exchanges) > 20
        keys = {request.headers.get("x-goog-api-key") for request in server.requests}
    assert done.returncode in (0, 1), done.stderr.decode()[-2000:]
    if client != "local":
        assert keys == {CANARIES["GOOGLE_API_KEY"]}
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".html" for path in files)
    assert len([path for path in files if "cache" in path.parts]) > 5
    written = {str(path): path.read_bytes() for path in files}
    shown = {"stdout": done.stdout, "stderr": done.stderr, **written}
    leaks = [(place, form) for place, text in shown.items() for form in _forms() if form in text]
    assert not leaks
    assert any(b"[redacted]" in text for text in written.values())
