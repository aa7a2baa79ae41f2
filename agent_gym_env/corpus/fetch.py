"""Fetches files by URL, within limits, from known hosts only."""

from __future__ import annotations

import email.utils
import http.client
import ipaddress
import random
import ssl
import threading
import time
import urllib.error
import urllib.request
import zlib
from typing import IO
from urllib.parse import SplitResult, urlsplit

import msgspec

from agent_gym_env.errors import DataError

GITHUB_HOSTS = frozenset(
    {
        "codeload.github.com",
        "github.com",
        "objects.githubusercontent.com",
        "raw.githubusercontent.com",
    }
)
"""Hosts to which a redirect may lead."""

_CHUNK_BYTES = 64 * 2**10
_TRANSIENT_STATUSES = (408, 425, 429, 500, 502, 503, 504)


class FetchLimits(msgspec.Struct, frozen=True):
    """Limits of time and size.

    Attributes:
        attempts: number of requests for one file, the first one included.
        backoff_s: longest pause after the first failure; it doubles with each further one.
        max_pause_s: longest pause, even if the server asks for a longer one.
        idle_s: longest time in which a connection may send nothing.
        deadline_s: longest time for all files together.
        max_bytes: largest size of a file, in bytes.
    """

    attempts: int = 4
    backoff_s: float = 1.0
    max_pause_s: float = 60.0
    idle_s: float = 30.0
    deadline_s: float = 3600.0
    max_bytes: int = 64 * 2**20


class _TransientError(Exception):
    """A failure after which another attempt may succeed."""

    def __init__(self, problem: str, pause_s: float = 0.0) -> None:
        super().__init__(problem)
        self.pause_s = pause_s


class Fetcher:
    """Fetches files below a base URL; safe for several threads.

    The deadline counts from its construction. A server that sends single bytes may keep a thread
    busy beyond it, so do not wait for such a thread.
    """

    def __init__(self, base_url: str, limits: FetchLimits) -> None:
        """Check the URL.

        Args:
            base_url: https URL, or http on this machine; without user, password, query, fragment.
            limits: limits of time and size.

        Raises:
            DataError: the URL is not of that kind.
        """
        base = _checked_base(base_url)
        self._base_url = base_url
        self._limits = limits
        self._ends = time.monotonic() + limits.deadline_s
        self._stopped = threading.Event()
        self._opener = _opener(base)

    def fetch(self, url: str) -> bytes:
        """Return the content of a file.

        Raises:
            DataError: it cannot be fetched; the message says after how many attempts and why.
        """
        attempt = 1
        while True:
            try:
                return self._attempt(url)
            except _TransientError as error:
                if attempt == self._limits.attempts:
                    raise DataError(
                        f"could not fetch, {attempt} attempts: {error}. Run again later (what has "
                        "arrived is kept), or install a local archive with --from",
                        file=url,
                    ) from error
                self._pause(attempt, error.pause_s)
            attempt += 1

    def remaining_s(self) -> float:
        """Return the seconds to the deadline, never negative."""
        return max(0.0, self._ends - time.monotonic())

    def stop(self) -> None:
        """Make all threads give up at their next chunk or pause."""
        self._stopped.set()

    def deadline_error(self) -> DataError:
        """Return the error for a deadline that has passed."""
        return DataError(
            f"not finished within {self._limits.deadline_s:g} s. Run again: what has arrived is "
            "kept",
            file=self._base_url,
        )

    def _attempt(self, url: str) -> bytes:
        self._check_time()
        headers = {"Accept-Encoding": "gzip", "User-Agent": "agent-gym-env"}
        request = urllib.request.Request(url, headers=headers)  # noqa: S310  (checked, see _opener)
        timeout_s = min(self._limits.idle_s, max(self.remaining_s(), 0.001))
        try:
            with self._opener.open(request, timeout=timeout_s) as response:
                return self._body(response, url)
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(error, url) from error
        except urllib.error.URLError as error:
            raise _broken(error.reason, url) from error
        except (OSError, http.client.HTTPException) as error:
            raise _broken(error, url) from error
        except ValueError as error:
            raise DataError(f"redirected to an invalid URL: {error}", file=url) from error

    def _body(self, response: http.client.HTTPResponse, url: str) -> bytes:
        if response.status != http.client.OK:
            raise DataError(f"status {response.status}, expected 200", file=url)
        raw = self._raw_body(response, url)
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        if encoding == "identity":
            return raw
        if encoding == "gzip":
            return _gunzipped(raw, self._limits.max_bytes, url)
        raise DataError(f"sent with encoding {encoding!r}, expected gzip or none", file=url)

    def _raw_body(self, response: http.client.HTTPResponse, url: str) -> bytes:
        expected = response.length
        if expected is None and not response.chunked:
            raise DataError(
                "the server does not say how long the file is, so a cut connection could not be "
                "told from its end; use another mirror",
                file=url,
            )
        if expected is not None and expected > self._limits.max_bytes:
            raise _too_large(self._limits.max_bytes, url)
        body = bytearray()
        # read1 hands over what has come, so that a server which drips is seen to be late.
        while chunk := response.read1(_room(expected, len(body))):
            body += chunk
            if len(body) > self._limits.max_bytes:
                raise _too_large(self._limits.max_bytes, url)
            self._check_time()
        if expected is not None and len(body) != expected:
            raise _TransientError(f"cut off after {len(body):,} of {expected:,} bytes")
        return bytes(body)

    def _pause(self, attempt: int, asked_s: float) -> None:
        """Wait with full jitter: clients that failed together do not come back together."""
        longest_s = self._limits.backoff_s * 2 ** (attempt - 1)
        pause_s = min(asked_s + random.uniform(0, longest_s), self._limits.max_pause_s)
        if pause_s >= self.remaining_s():
            raise self.deadline_error()
        self._stopped.wait(pause_s)

    def _check_time(self) -> None:
        if self._stopped.is_set() or self.remaining_s() == 0.0:
            raise self.deadline_error()


class _GuardedRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect to a known host over https, or to the host of the base URL."""

    max_redirections = 5

    def __init__(self, base: SplitResult) -> None:
        self._base = base

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Refuse any other target."""
        if not self._is_meant(newurl):
            fp.close()
            raise DataError(
                f"redirected to {_shown(newurl)}, which is neither the mirror itself nor https on "
                f"{', '.join(sorted(GITHUB_HOSTS))}",
                file=req.full_url,
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def _is_meant(self, url: str) -> bool:
        try:
            target = urlsplit(url)
            if _origin(target) == _origin(self._base):
                return True
            is_known = target.hostname in GITHUB_HOSTS and target.port in (None, 443)
        except ValueError:
            return False
        return is_known and target.scheme == "https"


def _opener(base: SplitResult) -> urllib.request.OpenerDirector:
    """Return an opener for http and https only, without file, ftp and data URLs."""
    proxies: dict[str, str] | None = {} if _is_loopback(base.hostname) else None
    # One context for all connections: to read the certificates takes longer than to fetch a file.
    context = ssl.create_default_context() if base.scheme == "https" else None
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(proxies),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=context),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
        _GuardedRedirects(base),
    ):
        opener.add_handler(handler)
    return opener


def _checked_base(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _origin(parts)
    except ValueError as error:
        raise DataError(f"expected a URL, found {url!r}") from error
    if parts.username is not None or parts.query or parts.fragment:
        raise DataError("expected a URL without user, query and fragment", file=_shown(url))
    is_local = parts.scheme == "http" and _is_loopback(parts.hostname)
    if not (parts.scheme == "https" and parts.hostname) and not is_local:
        raise DataError(
            "expected an https URL (http is for mirrors on this machine only)", file=_shown(url)
        )
    return parts


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    default_port = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname, parts.port or default_port


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _shown(url: str) -> str:
    """Return a URL without its possibly secret parts."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{parts.path}"


def _refusal(error: urllib.error.HTTPError, url: str) -> Exception:
    problem = f"the server says {error.code} {error.reason}"
    if error.code not in _TRANSIENT_STATUSES:
        return DataError(problem, file=url)
    return _TransientError(problem, _asked_pause_s(error.headers.get("Retry-After")))


def _asked_pause_s(retry_after: str | None) -> float:
    if retry_after is None:
        return 0.0
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def _broken(reason: object, url: str) -> Exception:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return DataError(f"the server's certificate is not valid: {reason}", file=url)
    return _TransientError(f"the connection broke: {reason or type(reason).__name__}")


def _room(expected: int | None, received: int) -> int:
    return _CHUNK_BYTES if expected is None else min(_CHUNK_BYTES, expected - received)


def _gunzipped(raw: bytes, max_bytes: int, url: str) -> bytes:
    unpacking = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        content = unpacking.decompress(raw, max_bytes)
    except zlib.error as error:
        raise _TransientError(f"damaged on its way: {error}") from error
    if unpacking.unconsumed_tail:
        raise _too_large(max_bytes, url)
    if not unpacking.eof:
        raise _TransientError("cut off")
    return content


def _too_large(max_bytes: int, url: str) -> DataError:
    return DataError(f"larger than {max_bytes:,} bytes, which no file of a corpus is", file=url)
