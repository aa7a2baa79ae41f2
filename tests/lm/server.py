"""A real HTTP server on this machine that stands in for a provider, faults included.

It speaks OpenAI's chat completions under ``<url>/v1`` and Gemini's ``generateContent`` under
``<url>/v1beta``, answers with what an agent (a function) says, and fails as it is told to:

    with LMServer(lambda request: "Hello!", faults=Faults(rate=0.3)) as server:
        lm = litellm_client("openai/any", api_base=server.openai_base, api_key="x")

``python -m tests.lm.server --delay-s 0.05`` runs one in a separate process and prints its URL.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from tests.lm.wire_formats import (
    ChatAnswer,
    ChatRequest,
    Tokens,
    bill,
    read_request,
    write_answer,
    write_error,
    write_no_choices,
)

Agent = Callable[[ChatRequest], "str | ChatAnswer"]


@dataclass(frozen=True)
class Raw:
    """An answer given byte for byte, as a fault."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


FAULTS = (
    "429", "429_retry_after", "500", "503", "reset", "cut", "hang", "drip",
    "truncated_json", "html", "no_choices", "null_content",
)  # fmt: skip
"""The faults that pass when one asks again; any other three digits are a status too."""

Fault = str | Raw | Callable[[ChatRequest], Raw]


@dataclass
class Faults:
    """Faults of the server: their share of requests and their kinds.

    Attributes:
        rate: share of requests, in [0, 1].
        kinds: kinds of fault, drawn uniformly.
        seed: seed of the draws.
        retry_after_s: pause that ``429_retry_after`` asks for.
        hang_s: time that ``hang`` waits silently before it closes the connection.
        drip_s: time between two bytes of ``drip``, which sends 2,000 bytes before the answer.
    """

    rate: float = 0.0
    kinds: Sequence[Fault] = FAULTS
    seed: int = 0
    retry_after_s: float = 1.0
    hang_s: float = 60.0
    drip_s: float = 0.05

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def draw(self) -> Fault | None:
        """Decide about one request."""
        return self._random.choice(self.kinds) if self._random.random() < self.rate else None


@dataclass(frozen=True)
class Exchange:
    """One request that came over the wire.

    Attributes:
        request: what was asked.
        fault: how it was made to fail; ``None`` for a good answer.
        billed: tokens told to the client; ``None`` where it was told none.
    """

    request: ChatRequest
    fault: Fault | None
    billed: Tokens | None


class LMServer:
    """Server that runs in a separate thread for the duration of a ``with`` block.

    Args:
        agent: the model: from a request to a text or an answer.
        delay_s: before each answer.
        faults: what goes wrong.

    Attributes:
        exchanges: all that came over the wire, in order of arrival.
        most_in_flight: requests that waited for their answers at the same time, at most.
        url: the top, without a slash at its end.
    """

    def __init__(
        self,
        agent: Agent = lambda request: "Certainly.",
        *,
        delay_s: float = 0.0,
        faults: Faults | None = None,
    ) -> None:
        self.agent = agent
        self.delay_s = delay_s
        self.faults = faults or Faults()
        self.exchanges: list[Exchange] = []
        self.most_in_flight = 0
        self._in_flight = 0
        self._planned: deque[Fault | None] = deque()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lm-server")
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def openai_base(self) -> str:
        """The ``api_base`` of OpenAI's protocol."""
        return f"{self.url}/v1"

    @property
    def gemini_base(self) -> str:
        """The ``api_base`` of Gemini's protocol, as litellm takes it."""
        return f"{self.url}/v1beta"

    @property
    def requests(self) -> list[ChatRequest]:
        """All requests that the server has received."""
        return [exchange.request for exchange in self.exchanges]

    def plan(self, *faults: Fault | None) -> None:
        """Decide about the next requests, one after another; ``None`` is a good answer."""
        self._planned.extend(faults)

    def __enter__(self) -> LMServer:
        self._thread.start()
        self._server = self._run(
            asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1024, limit=1 << 20)
        )
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _stop(self) -> None:
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await asyncio.sleep(0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._exchange(reader, writer):
                    pass
        except asyncio.CancelledError:
            pass  # the server stops; a cancelled handler would be logged as an error
        finally:
            self._connections.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection stays open."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        path = head[0].split(" ")[1]
        pairs = (line.partition(":") for line in head[1:] if line)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        request = read_request(path, headers, body) if body else None
        if request is None:
            return await _send(writer, Raw(404, b"not here"))
        fault = self._planned.popleft() if self._planned else self.faults.draw()
        answer = self.agent(request)
        if isinstance(answer, str):
            # A judge that quotes a lone surrogate: no server can write one.
            answer = ChatAnswer(answer.encode("utf-8", "replace").decode())
        billed = _billed(request, answer, fault)
        self.exchanges.append(Exchange(request, fault, billed))
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        await asyncio.sleep(self.delay_s)
        self._in_flight -= 1
        if fault is None:
            content = write_answer(request, answer, bill(request, answer), len(self.exchanges))
            return await _send(writer, Raw(200, content))
        return await self._fail(writer, request, answer, fault)

    async def _fail(
        self, writer: asyncio.StreamWriter, request: ChatRequest, answer: ChatAnswer, fault: Fault
    ) -> bool:
        if callable(fault):
            fault = fault(request)
        if isinstance(fault, Raw):
            return await _send(writer, fault)
        if fault[:3].isdecimal():
            status = int(fault[:3])
            headers = {}
            if fault.endswith("_retry_after"):
                headers["Retry-After"] = f"{self.faults.retry_after_s:g}"
            message = f"planned failure {status}"
            return await _send(writer, Raw(status, write_error(request, status, message), headers))
        if fault == "null_content":
            empty = ChatAnswer(None)
            content = write_answer(request, empty, bill(request, empty), len(self.exchanges))
            return await _send(writer, Raw(200, content))
        if fault == "no_choices":
            content = write_no_choices(request, bill(request, ChatAnswer()))
            return await _send(writer, Raw(200, content))
        if fault == "html":
            page = b"<!doctype html><html><body>502 Bad Gateway</body></html>"
            return await _send(writer, Raw(200, page, {"Content-Type": "text/html"}))
        whole = write_answer(request, answer, bill(request, answer), len(self.exchanges))
        if fault == "truncated_json":
            return await _send(writer, Raw(200, whole[: len(whole) // 2]))
        await self._break_off(writer, whole, fault)
        return False

    async def _break_off(self, writer: asyncio.StreamWriter, whole: bytes, fault: str) -> None:
        """Faults of the connection, which does not survive them."""
        if fault == "reset":
            _reset(writer)
        elif fault == "cut":
            writer.write(_head(200, len(whole), {}) + whole[: len(whole) // 2])
            await writer.drain()
        elif fault == "hang":
            await asyncio.sleep(self.faults.hang_s)
        elif fault == "drip":
            # White space before a JSON document belongs to it: this answer is good, only slow.
            writer.write(_head(200, 2000 + len(whole), {}))
            for byte in b" " * 2000 + whole:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(self.faults.drip_s)
        else:
            raise ValueError(f"a fault is one of {FAULTS}, a status or Raw, not {fault!r}")


def _billed(request: ChatRequest, answer: ChatAnswer, fault: Fault | None) -> Tokens | None:
    if fault is None or fault == "drip":
        return bill(request, answer)
    return bill(request, ChatAnswer()) if fault in ("null_content", "no_choices") else None


async def _send(writer: asyncio.StreamWriter, answer: Raw) -> bool:
    writer.write(_head(answer.status, len(answer.body), answer.headers) + answer.body)
    await writer.drain()
    return True


def _head(status: int, length: int, headers: Mapping[str, str]) -> bytes:
    lines = {"Content-Type": "application/json", "Content-Length": str(length), **headers}
    rows = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} Planned\r\n{rows}\r\n".encode()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def main() -> None:
    """Serve until the standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m tests.lm.server", description=__doc__)
    parser.add_argument("--delay-s", type=float, default=0.0)
    parser.add_argument("--fault-rate", type=float, default=0.0)
    chosen = parser.parse_args()
    with LMServer(delay_s=chosen.delay_s, faults=Faults(rate=chosen.fault_rate)) as server:
        print(server.url, flush=True)
        with contextlib.suppress(EOFError, KeyboardInterrupt):
            input()


if __name__ == "__main__":
    main()
