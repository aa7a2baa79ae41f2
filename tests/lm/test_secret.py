from __future__ import annotations

import base64
import logging
import pickle
from urllib.parse import quote

import pytest

from agent_gym_env.lm.secret import (
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
    with pytest.raises(TypeError, match="not written"):
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
