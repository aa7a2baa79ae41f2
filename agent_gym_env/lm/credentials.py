"""Keys and passwords: wrapped so that they are never printed, and removed from what is shown.

- `Secret` holds a key. `Address` splits a server's address into the parts that may be shown and
  those that are secret.
- `Scrubber` and `ScrubbingFilter` remove known secrets from texts and logs.
- `without_credentials` removes secrets from a configuration.
"""

from __future__ import annotations

import base64
import html
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, NoReturn
from urllib.parse import SplitResult, quote_plus, unquote, unquote_plus, urlsplit

REDACTED = "[redacted]"

_SECRET_NAME = re.compile(r"(?:^|_)(?:KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS?)$", re.IGNORECASE)
_MIN_LENGTH = 8
"""Shorter values are too common in other text to be cut out of it."""

_MIN_MIXED_LENGTH = 5
"""Shortest length of a secret that the user gave and that is not a plain word or number."""

_MIN_LENGTH_WITH_GAPS = 12
"""Shortest secret that is recognised when it is written in pieces; a shorter one may be words."""

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

_SECRET_SETTING = re.compile(
    r"(?:^|[_-])(?:key|apikey|token|secret|password|authorization|credentials?)$", re.IGNORECASE
)
_SECRET_PARAMETER = re.compile(r"key|token|secret|pass|pw|auth|sig|cred|code", re.IGNORECASE)
_ADDRESS = re.compile(r"\s*[a-z][a-z0-9+.-]*://[^\s/]\S*\s*", re.IGNORECASE)
_ADDRESS_SETTING = re.compile(r"(?:^|[_-])(?:base|url|address|endpoint)$", re.IGNORECASE)
_USER = re.compile(r"(?<=://)[^\s/@]+(?=@)")
_LONG_PARAMETER = 16
"""Length from which a value in a query counts as secret, unless its name is a version's."""


class Secret:
    """A key whose value is only returned by `reveal`, never by `repr`, `str` or `pickle`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value, to be sent and not stored."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key cannot be pickled; create the client again from the environment")


def key_from_environment(*names: str) -> Secret | None:
    """Read a key from the first of these environment variables that is set."""
    values = (os.environ.get(name, "").strip() for name in names)
    return next((Secret(value) for value in values if value), None)


class Scrubber:
    """Removes known secrets from text, whether written plainly or encoded.

    Args:
        secrets: secrets of the client.
    """

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        given = {value for secret in secrets if _is_distinctive(value := secret.reveal())}
        found = {value for value in _environment_secrets() if len(value) >= _MIN_LENGTH}
        values = given | found
        forms = {form for value in values for form in _forms(value)}
        self._known = sorted(forms, key=len, reverse=True)
        self._joined = [(form, _without_separators(form)) for form in self._known]

    def known(self, text: str) -> str:
        """Remove the known secrets and nothing else: for a model's words."""
        for form in self._known:
            # A search for each is many times faster than one pattern with them all.
            if form in text:
                text = text.replace(form, REDACTED)
        return self._without_spelled_out(text)

    def _without_spelled_out(self, text: str) -> str:
        """Remove secrets whose characters are encoded one by one, or written with gaps."""
        decoded = _decoded(text)
        joined = _without_separators(decoded)
        for form, joined_form in self._joined:
            # The pattern is slow, and needed only where decoding brings the secret to light.
            if form in decoded or (len(joined_form) >= _MIN_LENGTH and joined_form in joined):
                text = re.sub(_spelled_out(form), REDACTED, text)
        return text

    def all(self, text: str) -> str:
        """Remove everything that is or looks like a secret: for error messages."""
        return _LOOKS_SECRET.sub(REDACTED, self.known(text))


_LIBRARY_LOGGERS = (
    "LiteLLM", "aiohttp.client", "google_genai._api_client", "google_genai.models",
    "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy", "httpx",
    "openai._base_client", "urllib3.connectionpool",
)  # fmt: skip
"""Loggers that write addresses, headers or answers. Their children need their own filters."""


class ScrubbingFilter(logging.Filter):
    """Removes known secrets from what a library logs; attach it to the library's loggers.

    At the level DEBUG libraries log whole answers, and a server may echo headers.

    Args:
        scrubber: remover of the secrets.
    """

    def __init__(self, scrubber: Scrubber) -> None:
        super().__init__()
        self._scrubber = scrubber

    def filter(self, record: logging.LogRecord) -> bool:
        """Remove secrets from a record, and let it pass."""
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
            # first and last characters depend on their neighbours.
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
"""Text between the digits of bytes, or at a fold of a long text."""


def _decoded(text: str) -> str:
    """Decode what is written character by character."""
    text = _CHARACTER.sub(_character, text)
    return _OCTETS.sub(lambda run: _octets(run[0]).decode("utf-8", "replace"), text)


def _character(found: re.Match[str]) -> str:
    decimal = found["decimal"]
    return chr(int(decimal) if decimal else int(found["json"] or found["html"], 16))


def _octets(run: str) -> bytes:
    return bytes.fromhex("".join(re.findall(r"(?i)(?:%(?:25)*|x|=)([0-9a-f]{2})", run)))


def _without_separators(text: str) -> str:
    """Remove separators between the characters of a secret."""
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


class Address(NamedTuple):
    """The parts of a server's address.

    Attributes:
        place: scheme, host, port and path: the parts that are not secret.
        user: the part before the ``@``, percent-encoded: ``user:password``; may be ``""``.
        query: the part after the ``?``; may be ``""``.
    """

    place: str
    user: str
    query: str

    @property
    def authorization(self) -> str | None:
        """The header that carries user and password (RFC 7617); ``None`` without a user."""
        if not self.user:
            return None
        user, _, password = self.user.partition(":")
        pair = f"{unquote(user)}:{unquote(password)}"
        return "Basic " + base64.b64encode(pair.encode()).decode()

    def secrets(self) -> Iterator[Secret]:
        """Yield every part of the address that is secret, as written and decoded."""
        user, _, password = self.user.partition(":")
        if self.user:
            # A user alone is a token, as in https://TOKEN@host; beside a password it is a name.
            written = [self.user, password] if password else [user]
            for text in written:
                yield from (Secret(text), Secret(unquote(text)))
        if self.authorization:
            yield from (Secret(self.authorization), Secret(self.authorization.partition(" ")[2]))
        if self.query:
            yield Secret(self.query)
        for parameter in self.query.split("&"):
            name, _, value = parameter.rpartition("=")
            if _is_secret_parameter(name, value):
                yield from (Secret(value), Secret(unquote(value)), Secret(unquote_plus(value)))


def _is_secret_parameter(name: str, value: str) -> bool:
    if "version" in name.lower():
        return False
    return not name or len(value) >= _LONG_PARAMETER or bool(_SECRET_PARAMETER.search(name))


def split_address(text: str) -> Address:
    """Split an address into its parts.

    Raises:
        ValueError: the text is not an http or https address. The message quotes no part of it that
            can be secret.
    """
    parts = _parts(text)
    if parts is None or parts.scheme not in ("http", "https"):
        raise ValueError(
            f"api_base must be an http or https address, not {place(text)!r}; in a user's name or "
            "password write '/', '?', '#', '@' and ':' percent-encoded"
        )
    user, _, host = parts.netloc.rpartition("@")
    return Address(f"{parts.scheme}://{host}{parts.path}", user, parts.query)


def place(text: str | None) -> str:
    """Return an address without user, password and query, which may be secret; ``""`` for none."""
    if text is None:
        return ""
    parts = _parts(text)
    if parts is None:
        # Any part of what is not an address may be a password.
        return REDACTED if set("@?") & set(text) else text
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _parts(text: str) -> SplitResult | None:
    """Split an address; ``None`` for text that is not one."""
    try:
        parts = urlsplit(text)
        # A password with a raw "/" leaves a part of itself where the port is expected.
        _ = parts.port
    except ValueError:
        return None
    return parts if parts.netloc and parts.hostname else None


def environment_secrets() -> Iterator[Secret]:
    """Yield the credentials in addresses that environment variables hold, such as a proxy's."""
    for value in os.environ.values():
        if "://" in value and "@" in value and (parts := _parts(value)) is not None:
            user = parts.netloc.rpartition("@")[0]
            yield from Address("", user, "").secrets()


def without_credentials(value: Any) -> Any:
    """Return a configuration as it may be written down and compared.

    Addresses lose user, password and query; a text under a name such as ``api_key`` or
    ``Authorization`` is replaced. Two configurations that differ in credentials only become equal.

    Args:
        value: plain JSON values.
    """
    if isinstance(value, Mapping):
        return {name: _setting(str(name), item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_credentials(item) for item in value]
    if not isinstance(value, str):
        return value
    return place(value) if _ADDRESS.fullmatch(value) else _USER.sub(REDACTED, value)


def _setting(name: str, value: Any) -> Any:
    if not isinstance(value, str) or not value:
        return without_credentials(value)
    if _SECRET_SETTING.search(name):
        return REDACTED
    # What is meant as an address is shown as one only where it is one.
    return place(value) if _ADDRESS_SETTING.search(name) else without_credentials(value)
