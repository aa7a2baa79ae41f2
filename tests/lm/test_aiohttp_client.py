from __future__ import annotations

from pathlib import Path

import pytest

from agent_gym_env.errors import (
    CircuitOpenError,
    MissingCredentials,
    PermanentLMError,
    TransientLMError,
)
from agent_gym_env.lm import aiohttp_client
from agent_gym_env.lm.aiohttp_client import local_client
from tests.lm.clients import FAST, KEY, asks, needs
from tests.lm.server import LMServer, Raw

pytestmark = needs("aiohttp")


def test_a_key_is_sent_as_bearer_and_only_if_there_is_one(server: LMServer) -> None:
    for key in (KEY, None):
        local_client("m", server.openai_base, api_key=key).complete(asks())
    assert [r.headers.get("authorization") for r in server.requests] == [f"Bearer {KEY}", None]


def test_a_key_for_elsewhere_is_not_shown_to_this_machine(
    server: LMServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a-key-for-elsewhere")
    local_client("m", server.openai_base).complete(asks())
    assert "authorization" not in server.requests[0].headers


def test_a_redirect_is_not_followed(server: LMServer) -> None:
    with LMServer() as elsewhere:
        location = {"Location": f"{elsewhere.openai_base}/chat/completions"}
        server.plan(Raw(307, b"", location))
        with pytest.raises(PermanentLMError, match="HTTP 307"):
            local_client("m", server.openai_base, api_key=KEY).complete(asks())
        assert not elsewhere.exchanges


def test_an_answer_without_end_is_not_read_to_its_end(server: LMServer) -> None:
    lm = local_client("m", server.openai_base, limits=FAST)
    server.plan(*[Raw(200, b" " * (20 << 20))] * 5)
    with pytest.raises(TransientLMError, match="not a chat completion"):
        lm.complete(asks())


def test_nobody_there_is_told_as_such() -> None:
    with pytest.raises(CircuitOpenError, match=r"could not be reached 5 times.*127\.0\.0\.1"):
        local_client("m", "http://127.0.0.1:9/v1", limits=FAST).complete(asks())


def test_an_address_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="must be an http or https address"):
        local_client("m", "file:///etc")


def test_user_and_query_of_the_address_are_sent(server: LMServer) -> None:
    base = server.openai_base.replace("//", "//user:pass%2Fword@") + "?api_key=K-1"
    local_client("m", base).complete(asks())
    (request,) = server.requests
    assert request.path == "/v1/chat/completions?api_key=K-1"
    assert request.headers["authorization"] == "Basic dXNlcjpwYXNzL3dvcmQ="
    with pytest.raises(ValueError, match="not both"):
        local_client("m", base, api_key=KEY)


def test_a_server_that_wants_a_key_stops_the_run_at_once_where_there_is_none(
    server: LMServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    server.plan("401", "401")
    # Tests talk to this machine only; the client is to take it for another one.
    monkeypatch.setattr(aiohttp_client, "_is_on_this_machine", lambda address: False)
    elsewhere = server.openai_base
    with pytest.raises(MissingCredentials, match="set the environment variable OPENAI_API_KEY"):
        local_client("m", elsewhere, limits=FAST).complete(asks())
    with pytest.raises(PermanentLMError, match="HTTP 401") as caught:
        local_client("m", elsewhere, api_key=KEY, limits=FAST).complete(asks())
    assert not isinstance(caught.value, MissingCredentials)
    assert len(server.exchanges) == 2


def test_a_server_on_this_machine_that_wants_a_key_says_how_to_send_one(server: LMServer) -> None:
    server.plan("401")
    with pytest.raises(PermanentLMError, match="write user:password@ into api_base"):
        local_client("m", server.openai_base, limits=FAST).complete(asks())


def test_a_programmers_mistake_is_no_failure_of_the_server(server: LMServer) -> None:
    with pytest.raises(TypeError):
        local_client("m", server.openai_base).complete(asks(extra={"x": object()}))
    assert not server.exchanges


def test_a_secret_in_the_address_is_no_part_of_the_cache_or_of_messages(
    server: LMServer, tmp_path: Path
) -> None:
    base = server.openai_base.replace("//", "//user:hunter22@")
    lm = local_client("m", base, cache=tmp_path, limits=FAST)
    assert "hunter22" not in lm._transport.identity
    server.plan("404")
    with pytest.raises(PermanentLMError) as failed:
        lm.complete(asks())
    assert "hunter22" not in str(failed.value)
