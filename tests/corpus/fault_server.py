"""A real HTTP server on this machine that fails as servers do."""

from __future__ import annotations

import gzip
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

Answer = Callable[[BaseHTTPRequestHandler, bytes], None]
"""Sends an answer for a file of this content."""


class FaultServer:
    """Serves files; for a path, answers that were planned come first.

    Attributes:
        url: the top, with a slash at its end.
        requests: paths asked for, in order.
        pause_s: before each answer.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.requests: list[str] = []
        self.pause_s = 0.0
        self._files = files
        self._planned: dict[str, list[Answer]] = defaultdict(list)
        self._always: dict[str, Answer] = {}
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def plan(self, path: str, *answers: Answer) -> None:
        """Answer the next requests for a path so, one after another."""
        self._planned[path].extend(answers)

    def always(self, path: str, answer: Answer) -> None:
        """Answer every request for a path so."""
        self._always[path] = answer

    def __enter__(self) -> FaultServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.lstrip("/")
        self.requests.append(path)
        time.sleep(self.pause_s)
        content = self._files.get(path, b"")
        if self._planned[path]:
            answer = self._planned[path].pop(0)
        else:
            answer = self._always.get(path, whole if path in self._files else status(404))
        answer(handler, content)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.close_connection = True
                server._answer(self)

            def log_message(self, format: str, *arguments: object) -> None:
                """Log nothing."""

        return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is part of the test."""


def send(handler: BaseHTTPRequestHandler, headers: Mapping[str, str], body: bytes) -> None:
    handler.send_response(200)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def whole(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    send(handler, {"Content-Length": str(len(content))}, content)


def gzipped(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    body = gzip.compress(content)
    send(handler, {"Content-Length": str(len(body)), "Content-Encoding": "gzip"}, body)


def gzipped_and_cut(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    body = gzip.compress(content)[:-9]
    send(handler, {"Content-Length": str(len(body)), "Content-Encoding": "gzip"}, body)


def chunked(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content)
    send(handler, {"Transfer-Encoding": "chunked"}, body)


def chunked_and_cut(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    body = b"%x\r\n%s" % (len(content), content[:-1])
    send(handler, {"Transfer-Encoding": "chunked"}, body)


def without_length(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    send(handler, {}, content)


def hung_up(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    handler.connection.close()


def cut_at(offset: int) -> Answer:
    """Promise all and send the first bytes of it."""
    return lambda handler, content: send(
        handler, {"Content-Length": str(len(content))}, content[:offset]
    )


def of_length(length: int) -> Answer:
    """Promise a length, whatever is sent."""
    return lambda handler, content: send(handler, {"Content-Length": str(length)}, content)


def other(content: bytes) -> Answer:
    """Send other bytes than the file's."""
    return lambda handler, _: whole(handler, content)


def encoded_as(encoding: str) -> Answer:
    return lambda handler, content: send(
        handler, {"Content-Length": str(len(content)), "Content-Encoding": encoding}, content
    )


def status(code: int, **headers: str) -> Answer:
    """Answer with a status; a header's name is written with underscores."""

    def answer(handler: BaseHTTPRequestHandler, _: bytes) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def redirect(location: str) -> Answer:
    return status(302, Location=location)


def dripping(interval_s: float) -> Answer:
    """One byte after another."""

    def answer(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        send(handler, {"Content-Length": str(len(content))}, b"")
        for byte in content:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(interval_s)

    return answer


def dripping_headers(interval_s: float, for_s: float) -> Answer:
    """One byte of a header after another, for some time."""

    def answer(handler: BaseHTTPRequestHandler, _: bytes) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        ends = time.monotonic() + for_s
        while time.monotonic() < ends:
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(interval_s)

    return answer
