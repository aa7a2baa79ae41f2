"""Addresses of model servers, and the credentials that may be written into them."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import SplitResult, unquote, unquote_plus, urlsplit

from agent_gym_env.lm.secret import REDACTED, Secret

_SECRET_SETTING = re.compile(
    r"(?:^|[_-])(?:key|apikey|token|secret|password|authorization|credentials?)$", re.IGNORECASE
)
_SECRET_PARAMETER = re.compile(r"key|token|secret|pass|pw|auth|sig|cred|code", re.IGNORECASE)
_ADDRESS = re.compile(r"\s*[a-z][a-z0-9+.-]*://[^\s/]\S*\s*", re.IGNORECASE)
_ADDRESS_SETTING = re.compile(r"(?:^|[_-])(?:base|url|address|endpoint)$", re.IGNORECASE)
_USER = re.compile(r"(?<=://)[^\s/@]+(?=@)")
_LONG_PARAMETER = 16
"""Length from which a value in a query counts as secret, unless its name is a version's."""


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
