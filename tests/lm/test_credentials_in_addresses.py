"""Credentials in addresses are told apart, sent as headers, and written nowhere."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest

from agent_gym_env.lm.credentials import (
    REDACTED,
    Scrubber,
    environment_secrets,
    place,
    split_address,
    without_credentials,
)


def basic(pair: str) -> str:
    return "Basic " + base64.b64encode(pair.encode()).decode()


@pytest.mark.parametrize(
    ("text", "where", "authorization", "query"),
    [
        ("http://host/v1", "http://host/v1", None, ""),
        ("http://user:PW@host/v1?api_key=K", "http://host/v1", basic("user:PW"), "api_key=K"),
        ("https://u%40x:p%2Fw@host:8000", "https://host:8000", basic("u@x:p/w"), ""),
        ("https://TOKEN@host/v1", "https://host/v1", basic("TOKEN:"), ""),
        ("http://a:b@[::1]:80/v1", "http://[::1]:80/v1", basic("a:b"), ""),
        ("http://host/v1/@cf/meta", "http://host/v1/@cf/meta", None, ""),
    ],
)
def test_an_address_is_taken_apart(
    text: str, where: str, authorization: str | None, query: str
) -> None:
    address = split_address(text)
    assert (address.place, address.authorization, address.query) == (where, authorization, query)
    assert place(text) == where


@pytest.mark.parametrize(
    "text",
    [
        "user:PW-secret@host/v1",
        "ftp://user:PW-secret@host",
        "http://user:PW-se/cret@host/v1",
        "http://user:PW-se?cret@host/v1",
        "http://user:PW-secret@[host/v1",
        "user:PW-secret@",
        "",
    ],
)
def test_what_is_not_an_address_is_refused_without_its_password(text: str) -> None:
    with pytest.raises(ValueError, match="http or https address") as caught:
        split_address(text)
    assert "PW" not in str(caught.value)
    assert "PW" not in json.dumps(without_credentials({"api_base": place(text)}))


@pytest.mark.parametrize("secret", ["hunter2", "s3cr3t!", "correct horse", "pä%ss:wörd"])
def test_every_part_that_is_secret_is_cut_out_of_text(secret: str) -> None:
    quoted = quote(secret, safe="")
    address = split_address(f"http://user:{quoted}@host/v1?api_key={quoted}&api-version=2019-03-01")
    scrub = Scrubber(address.secrets()).known
    pair = f"user:{secret}"
    for form in (
        secret,
        quoted,
        quoted.lower(),
        quote(quoted, safe=""),
        "".join(f"%{octet:02x}" for octet in secret.encode()),
        secret.encode().hex().upper(),
        basic(pair),
        base64.b64encode(pair.encode()).decode().rstrip("="),
        base64.urlsafe_b64encode(pair.encode()).decode(),
        base64.urlsafe_b64encode(pair.encode()).decode().rstrip("="),
        json.dumps(secret),
    ):
        scrubbed = scrub(f"before {form} after")
        assert form not in scrubbed
        assert scrubbed.startswith("before ")
        assert REDACTED in scrubbed
        assert scrubbed.endswith(" after")
    # The other parts of an address are not secret: dates and names stay in a model's answer.
    assert scrub("on 2019-03-01 at host, user") == "on 2019-03-01 at host, user"


def test_a_short_word_as_password_is_cut_only_where_it_stands_as_a_password() -> None:
    scrub = Scrubber(split_address("http://user:time@host").secrets()).known
    assert scrub("What time is it?") == "What time is it?"
    assert scrub("Authorization: " + basic("user:time")) == f"Authorization: {REDACTED}"
    assert "time" not in scrub("http://user:time@host")


def test_addresses_in_the_environment_are_secret_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:pr0xy-pass@proxy:3128")
    scrub = Scrubber(environment_secrets()).known
    assert scrub("via pr0xy-pass") == f"via {REDACTED}"


@pytest.mark.parametrize(
    ("config", "written"),
    [
        ({"api_base": "http://u:PW@host/v1?api_key=K"}, {"api_base": "http://host/v1"}),
        ({"a": [{"api_base": "http://u:PW@host"}]}, {"a": [{"api_base": "http://host"}]}),
        ({"extra": {"extra_headers": {"Authorization": "Bearer K"}}},
         {"extra": {"extra_headers": {"Authorization": REDACTED}}}),
        ({"api_key": "K", "x-api-key": "K"}, {"api_key": REDACTED, "x-api-key": REDACTED}),
        ({"max_tokens": 5, "key": None, "name": "x"}, {"max_tokens": 5, "key": None, "name": "x"}),
        ({"rules": "Ask a@b.c? See http://host/x?y=1, then."},
         {"rules": "Ask a@b.c? See http://host/x?y=1, then."}),
        ({"rules": "Call http://u:PW@host now"}, {"rules": f"Call http://{REDACTED}@host now"}),
        ({"api_base": "http://u:PW/x@host"}, {"api_base": REDACTED}),
        ({"api_base": "http://u:P W@host/v1"}, {"api_base": "http://host/v1"}),
        ({"api_base": " http://host/v1?key=K "}, {"api_base": "http://host/v1"}),
        ({"api_base": "u:PW@host/v1"}, {"api_base": REDACTED}),
        ({"api_base": "http:\\\\u:PW@host"}, {"api_base": REDACTED}),
    ],
)  # fmt: skip
def test_a_configuration_is_written_down_without_credentials(
    config: dict[str, Any], written: dict[str, Any]
) -> None:
    assert without_credentials(config) == written
