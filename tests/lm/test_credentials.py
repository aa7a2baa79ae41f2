from __future__ import annotations

import base64
import json
import logging
import pickle
from collections.abc import Callable
from urllib.parse import quote

import pytest

from agent_gym_env.lm.credentials import (
    REDACTED,
    Scrubber,
    ScrubbingFilter,
    Secret,
    key_from_environment,
)

KEY = "kZ+3/xY=mm&Q w7"


def test_a_secret_shows_its_value_on_request_only() -> None:
    secret = Secret(KEY)
    assert secret.reveal() == KEY
    assert KEY not in f"{secret} {secret!r} {[secret]}"


def test_a_secret_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(Secret(KEY))


def test_the_first_variable_that_is_set_holds_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FIRST_KEY", raising=False)
    monkeypatch.setenv("SECOND_KEY", " second ")
    found = key_from_environment("FIRST_KEY", "SECOND_KEY")
    assert found is not None
    assert found.reveal() == "second"
    monkeypatch.setenv("FIRST_KEY", "first")
    found = key_from_environment("FIRST_KEY", "SECOND_KEY")
    assert found is not None
    assert found.reveal() == "first"
    assert key_from_environment("THIRD_KEY") is None


@pytest.mark.parametrize("prefix", ["", "a", "ab", "abc: "])
@pytest.mark.parametrize("suffix", ["", "z", "zy"])
def test_a_known_secret_is_taken_out_in_every_form(prefix: str, suffix: str) -> None:
    scrub = Scrubber([Secret(KEY)]).known
    around = f"{prefix}{KEY}{suffix}"
    assert scrub(around) == f"{prefix}{REDACTED}{suffix}"
    for encoded in (
        quote(around, safe=""),
        around.encode().hex(),
        base64.b64encode(around.encode()).decode(),
        base64.urlsafe_b64encode(around.encode()).decode(),
    ):
        assert REDACTED in scrub(encoded)


def _octets(text: str, notation: str) -> str:
    return "".join(notation % octet for octet in text.encode())


@pytest.mark.parametrize("secret", [KEY, "Gehe1m+/Wört=9", "user:pass-word,77", "plainword"])
@pytest.mark.parametrize(
    "encode",
    [
        lambda text: _octets(text, "%%%02x"),
        lambda text: _octets(text, "\\x%02x"),
        lambda text: _octets(text, "=%02X"),
        lambda text: "".join(f"\\u{ord(character):04x}" for character in text),
        lambda text: "".join(f"\\\\u{ord(character):04X}" for character in text),
        lambda text: "".join(f"&#{ord(character)};" for character in text),
        lambda text: "".join(f"&#x{ord(character):X};" for character in text),
        lambda text: text.replace("+", "\\u002b").replace("=", "&#x3d;").replace("o", "%6f"),
        lambda text: json.dumps(text).replace("/", "\\/"),
        lambda text: text.encode().hex(":"),
        lambda text: text.encode().hex(" ").upper(),
        lambda text: ", ".join(f"0x{octet:02x}" for octet in text.encode()),
        lambda text: base64.b64encode(base64.b64encode(text.encode())).decode(),
        lambda text: base64.b64encode(text.encode()).decode().replace("=", "\\u003d"),
        lambda text: base64.b32encode(text.encode()).decode(),
        lambda text: base64.encodebytes(text.encode() * 9).decode(),
        lambda text: json.dumps(base64.encodebytes(text.encode() * 9).decode()),
    ],
)
def test_a_secret_that_is_spelled_out_is_taken_out(
    encode: Callable[[str], str], secret: str
) -> None:
    scrubbed = Scrubber([Secret(secret)]).known(f"It is {encode(secret)} indeed.")
    assert REDACTED in scrubbed
    assert scrubbed.startswith("It is ")
    assert scrubbed.endswith(" indeed.")


@pytest.mark.parametrize("text", ["room 101", "pass word", "50 %, =3d", "\\u0041 &#65; %41"])
def test_what_only_resembles_a_short_secret_is_left_alone(text: str) -> None:
    assert Scrubber([Secret("room101"), Secret("password")]).known(text) == text


def test_keys_of_the_environment_are_taken_out_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_PROVIDER_API_KEY", "value-of-another-key")
    monkeypatch.setenv("SOME_SHORT_TOKEN", "abc")
    scrub = Scrubber().known
    assert scrub("has value-of-another-key in it") == f"has {REDACTED} in it"
    assert scrub("abc") == "abc"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("key AIzaSyA1234567890abcdefghijk is wrong", "AIzaSyA1234567890abcdefghijk"),
        ("Incorrect API key provided: sk-proj-abcdef1234567890", "sk-proj-abcdef1234567890"),
        ("Authorization: Bearer eyJhbGciOi.J9", "eyJhbGciOi.J9"),
        ("POST https://host/v1/models?key=abc123&x=1 failed", "abc123"),
        ("http://user:hunter2@host/v1", "hunter2"),
        ('{"api_key": "short1"}', "short1"),
        ("password=tr0ub4dor", "tr0ub4dor"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out_of_errors(text: str, secret: str) -> None:
    scrubbed = Scrubber().all(text)
    assert secret not in scrubbed
    assert REDACTED in scrubbed


@pytest.mark.parametrize(
    "text",
    [
        "Rate limit reached for requests; try again in 20 s",
        "models/gemini-x is not found for API version v1beta",
        "What is due? 3 tokens at most.",
    ],
)
def test_other_words_are_left_alone(text: str) -> None:
    assert Scrubber([Secret(KEY)]).all(text) == text


def test_a_log_is_written_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("a.library")
    logger.addFilter(ScrubbingFilter(Scrubber([Secret(KEY)])))
    with caplog.at_level(logging.DEBUG):
        logger.debug("sent %s to %s", KEY, "there")
        logger.debug("sent %s to %s", "nothing", "there")
    assert caplog.messages == [f"sent {REDACTED} to there", "sent nothing to there"]
