"""No key and no password shows in any byte of a run: its files, its output, its logs."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, quote, quote_plus, urlsplit

import pytest

from tests.lm.clients import needs
from tests.lm.server import Faults, LMServer, Raw
from tests.lm.wire_formats import ChatRequest
from tests.timing import PROCESS_S

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
    """Echo, as a hostile server, all that it was sent and all that it may have guessed."""
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
            cwd=ROOT, capture_output=True, timeout=PROCESS_S,
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


USER, PASSWORD, KEY = "agent", "p@ss/wörd&7Q", "k+Zx9/query=3"


def _encodings(secret: str) -> list[str]:
    """Every form in which a server may give a secret back."""
    upper, pair = quote(secret, safe=""), f"{USER}:{secret}"
    lower = re.sub("%..", lambda found: found[0].lower(), upper)
    whole = "".join(f"%{octet:02x}" for octet in secret.encode())
    forms = [secret, upper, lower, whole, quote(secret), quote_plus(secret), quote(upper, safe="")]
    forms += [secret.encode().hex(), secret.encode().hex().upper(), json.dumps(secret)[1:-1]]
    for text in (secret, pair):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            padded = encode(text.encode()).decode()
            forms += [padded, padded.rstrip("=")]
    return forms


def _echoes(request: ChatRequest) -> str:
    """Echo, as a hostile server, all that it was sent, in every encoding."""
    sent = [request.path, *(f"{name}: {value}" for name, value in request.headers.items())]
    secrets = [PASSWORD, KEY] if "api_key=" in request.path else [PASSWORD]
    return " ".join([*sent, *(form for each in secrets for form in _encodings(each))])


def _with_credentials(base: str, *, query: bool) -> str:
    scheme, _, rest = base.partition("://")
    user = f"{USER}:{quote(PASSWORD, safe='')}"
    return f"{scheme}://{user}@{rest}" + (f"?api_key={quote(KEY, safe='')}" if query else "")


@pytest.mark.parametrize(
    "client",
    [
        pytest.param("local", marks=needs("aiohttp")),
        pytest.param("litellm", marks=needs("litellm")),
        pytest.param("google-genai", marks=[needs("google.genai"), pytest.mark.long]),
    ],
)
def test_no_byte_holds_the_credentials_of_an_address(client: str, tmp_path: Path) -> None:
    faults = Faults(rate=0.3, kinds=[lambda request: Raw(500, _echoes(request).encode()), "429"])
    with LMServer(_echoes, faults=faults) as server:
        base = {"local": server.openai_base, "litellm": server.gemini_base}.get(client, server.url)
        model = {
            "client": client, "api_base": _with_credentials(base, query=client != "litellm"),
            "cache": str(tmp_path / "cache"),
            "limits": {"backoff_s": 0.001, "max_backoff_s": 0.01, "max_attempts": 3},
        }  # fmt: skip
        policy, judge = json.dumps({"name": "llm", **model}), {"name": "llm_judge", **model}
        played, rows = tmp_path / "played", tmp_path / "rows.jsonl"
        done = [
            _agent_gym(*command)
            for command in (
                ("rollout", "--policy", policy, "--reward", json.dumps(judge), "--episodes", "2",
                 "--out", str(played)),
                ("evaluate", "--policy", policy, "--episodes", "1", "--out", str(tmp_path / "out")),
                ("export", str(played), "--format", "sft", "--out", str(rows)),
                # Another password is the same run: what differs is not written down.
                ("rollout", "--policy", policy.replace("w%C3%B6rd", "word"), "--reward",
                 json.dumps(judge), "--episodes", "2", "--out", str(played)),
            )
        ]  # fmt: skip
        sent = [str(request.headers) for request in server.requests]
        paths = [request.path for request in server.requests]
    pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    assert sum(f"Basic {pair}" in each for each in sent) > 3
    if client != "litellm":
        assert {parse_qs(urlsplit(path).query)["api_key"][0] for path in paths} == {KEY}
    assert "was begun with another configuration" not in done[-1].stderr.decode()
    files = {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert any(path.endswith("manifest.json") for path in files)
    shown = files | {f"{at} {name}": getattr(run, name)
                     for at, run in enumerate(done) for name in ("stdout", "stderr")}  # fmt: skip
    forms = {form.encode() for each in (PASSWORD, KEY) for form in _encodings(each)}
    leaks = [(place, form) for place, text in shown.items() for form in forms if form in text]
    assert not leaks
    assert any(b"[redacted]" in text for text in files.values())


def _agent_gym(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "GOOGLE_API_KEY": CANARIES["GOOGLE_API_KEY"]}
    return subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        cwd=ROOT, capture_output=True, timeout=PROCESS_S, env=environment,
    )  # fmt: skip
