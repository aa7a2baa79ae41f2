"""Keys that show in no text: a wrapper without a readable form, and a filter for what is shown."""

from __future__ import annotations

import base64
import html
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator
from typing import NoReturn
from urllib.parse import quote_plus

REDACTED = "[redacted]"

_SECRET_NAME = re.compile(r"(?:^|_)(?:KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS?)$", re.IGNORECASE)
_MIN_LENGTH = 8
"""Shorter values are too common in other text to be cut out of it."""

_MIN_MIXED_LENGTH = 5
"""Shortest length of a secret that the user gave and that is not a plain word or number."""

_MIN_LENGTH_WITH_GAPS = 12
"""Of a secret that is recognised where it is written in pieces; a shorter one may be two words."""

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
        given = {value for secret in secrets if _is_distinctive(value := secret.reveal())}
        found = {value for value in _environment_secrets() if len(value) >= _MIN_LENGTH}
        values = given | found
        forms = {form for value in values for form in _forms(value)}
        self._known = sorted(forms, key=len, reverse=True)
        self._bare = [(form, _bare(form)) for form in self._known]

    def known(self, text: str) -> str:
        """Take out the known secrets and nothing else: for what a model says."""
        for form in self._known:
            # A search for each is many times faster than one pattern with them all.
            if form in text:
                text = text.replace(form, REDACTED)
        return self._without_spelled_out(text)

    def _without_spelled_out(self, text: str) -> str:
        """Take out secrets whose characters are encoded one by one, or written with gaps."""
        decoded = _decoded(text)
        bare = _bare(decoded)
        for form, bare_form in self._bare:
            # The pattern is slow, and needed only where decoding brings the secret to light.
            if form in decoded or (len(bare_form) >= _MIN_LENGTH and bare_form in bare):
                text = re.sub(_spelled_out(form), REDACTED, text)
        return text

    def all(self, text: str) -> str:
        """Take out all that is or looks like a secret: for messages of errors."""
        return _LOOKS_SECRET.sub(REDACTED, self.known(text))


_LIBRARY_LOGGERS = (
    "LiteLLM", "aiohttp.client", "google_genai._api_client", "google_genai.models",
    "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy", "httpx",
    "openai._base_client", "urllib3.connectionpool",
)  # fmt: skip
"""Loggers that write addresses, headers or answers. Their children need filters of their own."""


class ScrubbingFilter(logging.Filter):
    """Takes known secrets out of what a library logs; attach it to that library's logger.

    At the level DEBUG libraries log whole answers, and a server may echo headers.

    Args:
        scrubber: knows the secrets.
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
        if record.exc_info:
            trace = logging.Formatter().formatException(record.exc_info)
            record.exc_info, record.exc_text = None, self._scrubber.known(trace)
        return True

    def attach(self) -> None:
        """Filter what the libraries behind our clients log."""
        for name in _LIBRARY_LOGGERS:
            logging.getLogger(name).addFilter(self)

    def detach(self) -> None:
        """Stop filtering; detaching twice is fine."""
        for name in _LIBRARY_LOGGERS:
            logging.getLogger(name).removeFilter(self)


def _environment_secrets() -> Iterator[str]:
    return (value for name, value in os.environ.items() if _SECRET_NAME.search(name))


def _forms(value: str) -> Iterator[str]:
    yield value
    # The environment may hold bytes that are not text.
    octets = value.encode("utf-8", "replace")
    yield quote_plus(octets)
    yield from (octets.hex(), octets.hex().upper())
    yield html.escape(value)
    for ensure_ascii in (True, False):
        quoted = json.dumps(value, ensure_ascii=ensure_ascii)[1:-1]
        yield from (quoted, json.dumps(quoted, ensure_ascii=ensure_ascii)[1:-1])
    yield from _inside_base64(octets)
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield from _inside_base64(encode(octets))
    yield base64.b32encode(octets).decode().rstrip("=")


def _inside_base64(octets: bytes) -> Iterator[str]:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            # Inside a longer text a value begins at any of three places of a group of four; the
            # first and last characters mix with what stands around it.
            encoded = encode(b"\0" * shift + octets).decode().rstrip("=")
            yield encoded[-(-shift * 8 // 6) : -1]


def _is_distinctive(value: str) -> bool:
    """Return whether a value can be removed from text without harm to other words."""
    mixed = len(value) >= _MIN_MIXED_LENGTH and not (value.isalpha() or value.isdecimal())
    return mixed or len(value) >= _MIN_LENGTH


_OCTETS = re.compile(r"(?:(?:%(?:25)*|\\+x|=)[0-9a-f]{2})+", re.IGNORECASE)
"""Bytes in the notation of URLs, Python or quoted-printable."""
_CHARACTER = re.compile(
    r"\\+u(?P<json>[0-9a-f]{4})|&(?:amp;)*#(?:x0*(?P<html>[0-9a-f]{2,4})|0*(?P<decimal>\d{2,5}));",
    re.IGNORECASE,
)
_SEPARATORS = re.compile(r"(?:[\s:,-]|\\+[nrt]|0x)+")
_GAP = r"(?:[\s:,-]|\\+[nrt]|0x){0,4}"
"""What may stand between the digits of bytes, or where a long text is folded."""


def _decoded(text: str) -> str:
    """Decode what is written character by character."""
    text = _CHARACTER.sub(_character, text)
    return _OCTETS.sub(lambda run: _octets(run[0]).decode("utf-8", "replace"), text)


def _character(found: re.Match[str]) -> str:
    decimal = found["decimal"]
    return chr(int(decimal) if decimal else int(found["json"] or found["html"], 16))


def _octets(run: str) -> bytes:
    return bytes.fromhex("".join(re.findall(r"(?i)(?:%(?:25)*|x|=)([0-9a-f]{2})", run)))


def _bare(text: str) -> str:
    """Leave out what may separate the characters of a secret."""
    return _SEPARATORS.sub("", text).replace("\\", "")


def _spelled_out(form: str) -> str:
    """Write a pattern for a text whose characters may be encoded, with gaps where it is long."""
    return (_GAP if len(form) >= _MIN_LENGTH_WITH_GAPS else "").join(map(_encoded, form))


def _encoded(character: str) -> str:
    """Write a pattern for a character as it is or encoded, in either case of the digits."""
    octets = "".join(
        rf"(?:%(?:25)*|\\+x|=)(?i:{octet:02x})" for octet in character.encode("utf-8", "replace")
    )
    number = ord(character)
    return (
        rf"(?:\\*{re.escape(character)}|{octets}|\\+u(?i:{number:04x})"
        rf"|&(?:amp;)*#(?:0*{number}|[xX]0*(?i:{number:x}));)"
    )
