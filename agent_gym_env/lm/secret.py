"""Keys that show in no text: a wrapper without a readable form, and a filter for what is shown."""

from __future__ import annotations

import base64
import logging
import os
import re
from collections.abc import Iterable, Iterator
from typing import NoReturn
from urllib.parse import quote, quote_plus

REDACTED = "[redacted]"

_SECRET_NAME = re.compile(r"(?:^|_)(?:KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS?)$", re.IGNORECASE)
_MIN_LENGTH = 8
"""Shorter values are too common in other text to be cut out of it."""

_LOOKS_SECRET = re.compile(
    r"""
      AIza[\w-]{20,} | \bsk-[\w-]{16,} | \bya29\.[\w-]+ | \bhf_\w{16,}   # keys by their shape
    | (?<=://)[^\s/@"']+(?=@)                                           # user:password@host
    | (?<=\?)[^\s"'<>()]*=[^\s"'<>()]*                                  # a URL's query
    | (?i:\b(?:bearer|basic)\s+)[\w.~+/=-]+
    | (?i:(?:api[_-]?key|authorization|token|secret|password)["']?\s*[:=]\s*["']?
        (?:bearer\s+|basic\s+)?)[^\s"',;}&]+
    """,
    re.VERBOSE,
)


class Secret:
    """A key; its value is given on request only, and never to `repr`, `str` or `pickle`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Give the value, to be sent and forgotten."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not written to disk; make the client anew from the environment")


def key_from_environment(*names: str) -> Secret | None:
    """Read a key from the first of these environment variables that is set."""
    values = (os.environ.get(name, "").strip() for name in names)
    return next((Secret(value) for value in values if value), None)


class Scrubber:
    """Takes secrets out of text: the ones it was given, as they stand or encoded.

    Args:
        secrets: of the client.
    """

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        given = {secret.reveal() for secret in secrets}
        values = {v for v in given | set(_environment_secrets()) if len(v) >= _MIN_LENGTH}
        forms = {form for value in values for form in _forms(value)}
        self._known = sorted(forms, key=len, reverse=True)

    def known(self, text: str) -> str:
        """Take out the known secrets and nothing else: for what a model says."""
        for form in self._known:
            # A search for each is many times faster than one pattern with them all.
            if form in text:
                text = text.replace(form, REDACTED)
        return text

    def all(self, text: str) -> str:
        """Take out all that is or looks like a secret: for messages of errors."""
        return _LOOKS_SECRET.sub(REDACTED, self.known(text))


class ScrubbingFilter(logging.Filter):
    """Takes known secrets out of what a library logs; attach it to that library's logger.

    Args:
        scrubber: knows them.
    """

    def __init__(self, scrubber: Scrubber) -> None:
        super().__init__()
        self._scrubber = scrubber

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, without secrets."""
        message = record.getMessage()
        cleaned = self._scrubber.known(message)
        if cleaned != message:
            record.msg, record.args = cleaned, None
        return True


def _environment_secrets() -> Iterator[str]:
    return (value for name, value in os.environ.items() if _SECRET_NAME.search(name))


def _forms(value: str) -> Iterator[str]:
    yield from (value, quote(value, safe=""), quote_plus(value), value.encode().hex())
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            # Inside a longer text a value begins at any of three places of a group of four; the
            # first and last characters mix with what stands around it.
            encoded = encode(b"\0" * shift + value.encode()).decode().rstrip("=")
            yield encoded[-(-shift * 8 // 6) : -1]
