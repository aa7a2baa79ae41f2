"""A lean client for a server that speaks OpenAI's protocol: vLLM, SGLang, llama.cpp, Ollama."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import msgspec

from agent_gym_env.extras import require
from agent_gym_env.lm.base import Request, Response, default_model
from agent_gym_env.lm.budget import FREE, Price
from agent_gym_env.lm.chat_completions import payload, read_completion
from agent_gym_env.lm.client import ClientOptions, RemoteLM, remote_model, with_client_options
from agent_gym_env.lm.credentials import Address, Secret, key_from_environment, split_address
from agent_gym_env.lm.transport import Failure, failure_of_status

_KEY_VARIABLE = "OPENAI_API_KEY"
_MAX_BYTES = 16 * 2**20
"""Largest size of an answer; the rest of a larger one is not read."""

_encode = msgspec.json.Encoder().encode


DEFAULT_ADDRESS = "http://127.0.0.1:8000/v1"


@with_client_options
def local_client(model: str, api_base: str = DEFAULT_ADDRESS, **options: Any) -> RemoteLM:
    """Create a client for a server that the user runs.

    Args:
        model: the server's name of the model.
        api_base: address of the server up to ``/v1``. A user and password in it are sent as a
            header, its query with each request; both are kept secret.
        options: further fields of `ClientOptions`. The key is read from ``OPENAI_API_KEY``, unless
            the server is on this machine or ``api_base`` has a user. Tokens cost nothing unless
            ``price`` says otherwise.

    Raises:
        MissingDependency: aiohttp is not installed.
        ValueError: the address is not an http address, or has a user although a key is passed.
    """
    return remote_model(AiohttpTransport, model, {"api_base": api_base, **options})


class AiohttpTransport:
    """Sends requests with aiohttp; see `local_client` and `Transport`."""

    is_own_server = True

    def __init__(self, model: str | None, options: ClientOptions) -> None:
        api_key = options.api_key
        name = model or default_model()
        self._address = split_address(
            DEFAULT_ADDRESS if options.api_base is None else options.api_base
        )
        if api_key and self._address.user:
            raise ValueError(
                "give api_key or a user in api_base, not both: one header carries them"
            )
        query = f"?{self._address.query}" if self._address.query else ""
        self._url = f"{self._address.place.rstrip('/')}/chat/completions{query}"
        self.name = name
        self.identity = f"openai {name} {self._address.place}"
        self.price: Price | None = options.price or FREE
        self._key = Secret(api_key) if api_key else _key_for(self._address)
        self.secrets: tuple[Secret, ...] = (
            *((self._key,) if self._key else ()),
            *self._address.secrets(),
        )
        self._aiohttp: Any = require("aiohttp", extra="local")
        self._session: tuple[asyncio.AbstractEventLoop, Any] | None = None

    async def send(self, request: Request) -> Response | Failure:
        """Send a request once. Redirects are not followed: they would carry the key elsewhere."""
        headers = {"Content-Type": "application/json"}
        authorization = self._authorization()
        if authorization:
            headers["Authorization"] = authorization
        body = _encode(payload(request, self.name))
        async with self._open().post(
            self._url, data=body, headers=headers, allow_redirects=False
        ) as response:
            content = await _read(response.content)
        if response.status == 200:
            return read_completion(content, self.name, self.price)
        if response.status == 401 and not authorization:
            return _wants_a_key(self._address)
        retry_after = response.headers.get("Retry-After")
        return failure_of_status(response.status, content.decode("utf-8", "replace"), retry_after)

    def _authorization(self) -> str | None:
        return f"Bearer {self._key.reveal()}" if self._key else self._address.authorization

    def failure(self, error: BaseException) -> Failure:
        """Classify an exception; those of aiohttp are all connection failures."""
        if not isinstance(error, (self._aiohttp.ClientError, OSError, asyncio.TimeoutError)):
            raise error
        return Failure("transient", f"{type(error).__name__}: {error}")

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session[1].close()
            self._session = None

    def _open(self) -> Any:
        loop = asyncio.get_running_loop()
        if self._session is None or self._session[0] is not loop:
            # The engine bounds concurrency and time.
            connector = self._aiohttp.TCPConnector(limit=0)
            timeout = self._aiohttp.ClientTimeout(total=None)
            self._session = loop, self._aiohttp.ClientSession(connector=connector, timeout=timeout)
        return self._session[1]


async def _read(stream: Any) -> bytes:
    """Read a body, up to the size limit."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in stream.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > _MAX_BYTES:
            break
    return b"".join(chunks)


def _key_for(address: Address) -> Secret | None:
    """Read the key from the environment, except for a server on this machine."""
    if address.user or _is_on_this_machine(address):
        return None
    return key_from_environment(_KEY_VARIABLE)


def _is_on_this_machine(address: Address) -> bool:
    return urlsplit(address.place).hostname in ("127.0.0.1", "localhost", "::1")


def _wants_a_key(address: Address) -> Failure:
    if not _is_on_this_machine(address):
        reason = f"{address.place} requires a key: set the environment variable {_KEY_VARIABLE}"
        return Failure("no_credentials", reason, 401)
    reason = (
        f"{address.place} requires a key, and {_KEY_VARIABLE} is not sent to this machine: pass "
        "api_key to local_client, or write user:password@ into api_base"
    )
    return Failure("refused_key", reason, 401)
