"""Access to a server of ours: the address it listens at, and the requests it answers.

At a loopback address a server answers only requests to a loopback address, so that a web page which
makes a browser look up its own name (DNS rebinding) gets nothing. At any other address clients must
send a key.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from urllib.parse import urlsplit

from agent_gym_env.lm.credentials import Secret

_MAX_PORT = 65_535


def listener(host: str, port: int, *, api_key: str | None) -> socket.socket:
    """Return a socket that listens at an address.

    Args:
        host: address to listen at.
        port: port to listen at; 0 for any free port.
        api_key: key that clients must send; ``None`` for no key.

    Raises:
        ValueError: other machines can reach the address but no key is set; or it is in use.
    """
    if not is_loopback(host) and not api_key:
        raise ValueError(
            f"{host} can be reached from other machines: set a key that clients must send, or "
            "listen at 127.0.0.1"
        )
    if port > _MAX_PORT:
        raise ValueError(f"port must be from 0 to {_MAX_PORT}, not {port}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise ValueError(f"cannot listen at {host}, port {port}: {error.strerror}") from error


def address_of(listening: socket.socket, host: str) -> str:
    """Return the address of a listening socket, for a client on this machine."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listening.getsockname()[1]}"


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_local(place: str) -> bool:
    """Return whether a Host or an Origin header names this machine."""
    try:
        name = urlsplit(place if "//" in place else f"//{place}").hostname
    except ValueError:
        return False
    return name is not None and is_loopback(name)


def is_key(authorization: str, key: Secret) -> bool:
    """Return whether an Authorization header holds a key as a bearer token."""
    scheme, _, sent = authorization.partition(" ")
    wanted = key.reveal().encode()
    return scheme.lower() == "bearer" and hmac.compare_digest(sent.strip().encode(), wanted)
