"""The client behind every remote model: retries, budget, cache, and removal of secrets."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import inspect
import logging
import os
import threading
import time
import weakref
import zlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from agent_gym_env.errors import (
    ContextExceeded,
    DeadlineError,
    LMError,
    MissingCredentials,
    PermanentLMError,
    StorageError,
    TransientLMError,
)
from agent_gym_env.extras import tolerate_library_warnings
from agent_gym_env.lm.base import Request, Response
from agent_gym_env.lm.budget import Budget, Price
from agent_gym_env.lm.credentials import Scrubber, ScrubbingFilter, environment_secrets
from agent_gym_env.lm.gemini import WhenRetired
from agent_gym_env.lm.retry import (
    ConnectionBreaker,
    ErrorBreaker,
    KeyBreaker,
    Limits,
    is_unreachable,
    wait_s,
)
from agent_gym_env.lm.transport import Failure, Transport
from agent_gym_env.storage.files import written_whole
from agent_gym_env.types import Usage

_REASON_LENGTH = 400
_POLL_BUDGET_S = 0.02
_BYTES_PER_TOKEN = 3
_UNLIMITED_COMPLETION = 512
"""Tokens reserved for an answer whose length the request does not limit."""

_CACHE_FORMAT = 1
_T = TypeVar("_T")
_Factory = TypeVar("_Factory", bound=Callable[..., Any])
_log = logging.getLogger(__name__)

_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode
_decode_response = msgspec.json.Decoder(Response).decode


class ClientOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of a remote model that every client takes.

    Attributes:
        api_base: address to use instead of the provider's own.
        api_key: key to send; by default the client reads it from the environment.
        price: price of tokens; by default the client's own list has it.
        when_retired: treatment of a model that Google has shut down; see `agent_gym_env.lm.gemini`.
        limits: limits of each completion.
        budget: limit of what may be spent; clients that share one stay within it together.
        cache: folder of the cache; ``None`` for no cache.
    """

    api_base: str | None = None
    api_key: str | None = None
    price: Price | None = None
    when_retired: WhenRetired = "refuse"
    limits: Limits | None = None
    budget: Budget | None = None
    cache: Path | None = None

    def __repr__(self) -> str:
        """Return a text without the key."""
        return f"{type(self).__name__}(…)"


def with_client_options(factory: _Factory) -> _Factory:
    """List the fields of `ClientOptions` in the signature of a factory that takes ``**options``.

    `Registry.make` fills the parameters that a signature names, and `help` shows them.
    """
    signature = inspect.signature(factory)
    named = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    fields = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default)
        for field in msgspec.structs.fields(ClientOptions)
        if field.name not in signature.parameters
    ]
    parameters = [*named, *fields]
    factory.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return factory


def remote_model(
    transport: Callable[[str | None, ClientOptions], Transport],
    model: str | None,
    options: Mapping[str, Any],
) -> RemoteLM:
    """Create a client.

    Args:
        transport: class of the provider's library.
        model: name of the model; ``None`` for the default.
        options: fields of `ClientOptions`.
    """
    given = ClientOptions(**options)
    return RemoteLM(
        transport(model, given), limits=given.limits, budget=given.budget, cache=given.cache
    )


class RemoteLM:
    """A remote model, asked through a provider's library.

    Args:
        transport: adapter of the provider's library.
        limits: limits of each completion.
        budget: limit of what may be spent; clients that share one stay within it together.
        cache: folder of the cache; ``None`` for no cache.

    Raises:
        ValueError: the budget is in US dollars, and the model's price is not known.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        limits: Limits | None = None,
        budget: Budget | None = None,
        cache: Path | None = None,
    ) -> None:
        self.name = transport.name
        self.is_own_server = transport.is_own_server
        self.limits = limits or Limits()
        self.budget = budget or Budget()
        if self.budget.usd is not None and transport.price is None:
            raise ValueError(
                f"the price of {self.name} is not known, so a budget in US dollars cannot be kept; "
                "pass price=Price(prompt, completion), or a budget in calls"
            )
        self._transport = transport
        self._scrubber = Scrubber((*transport.secrets, *environment_secrets()))
        self._log_filter = ScrubbingFilter(self._scrubber)
        self._log_filter.attach()
        self._breaker = KeyBreaker(self.name)
        self._connection = ConnectionBreaker(self.name)
        self._errors = ErrorBreaker(self.name)
        self._cache = None if cache is None else ResponseCache(cache)
        self._traffic: _Traffic | None = None
        self._under_way: set[asyncio.Task[Any]] = set()
        # For clients that nobody closes: aiohttp warns of connections left open.
        self._finalizer = weakref.finalize(self, _close, transport, self._log_filter)

    def complete(self, request: Request) -> Response:
        """Answer a request; see `LanguageModel.complete`."""
        (outcome,) = self.complete_many([request])
        if isinstance(outcome, LMError):
            raise outcome
        return outcome

    def complete_many(self, requests: Sequence[Request]) -> list[Response | LMError]:
        """Answer many requests, as many at once as the limits allow."""
        if not requests:
            return []
        with tolerate_library_warnings():
            return BACKGROUND.run(self._answer_all(requests))

    def cancel(self) -> None:
        """Cancel all requests under way in other threads, which get a `CancelledError`."""
        for task in list(self._under_way):
            task.get_loop().call_soon_threadsafe(task.cancel)

    def forget(self, request: Request) -> None:
        """Delete the answer to a request from the cache; see `ForgetfulModel.forget`."""
        if self._cache is not None:
            self._cache.remove(cache_key(self._transport.identity, request))

    def close(self) -> None:
        """Close the connections."""
        _close(self._transport, self._log_filter)

    async def _answer_all(self, requests: Sequence[Request]) -> list[Response | LMError]:
        tasks = [asyncio.ensure_future(self._answer(request)) for request in requests]
        whole = cast("asyncio.Task[Any]", asyncio.current_task())
        self._under_way.add(whole)
        try:
            return await asyncio.gather(*tasks)
        finally:
            self._under_way.discard(whole)
            for task in tasks:
                task.cancel()

    async def _answer(self, request: Request) -> Response | LMError:
        if self._cache is None:
            return await self._ask_in_turn(request)
        begun = time.monotonic()
        key = cache_key(self._transport.identity, request)
        known = self._cache.read(key)
        if known is not None:
            return _from_cache(known, time.monotonic() - begun)
        in_flight = self._on_this_loop().in_flight
        if key in in_flight:
            # An equal request is under way: one answer serves both.
            outcome = await asyncio.shield(in_flight[key])
            if isinstance(outcome, LMError):
                return outcome
            return _from_cache(outcome, time.monotonic() - begun)
        task = in_flight[key] = asyncio.ensure_future(self._ask_in_turn(request))
        try:
            outcome = await task
        finally:
            task.cancel()
            del in_flight[key]
        if isinstance(outcome, Response):
            self._cache.write(key, outcome)
        return outcome

    async def _ask_in_turn(self, request: Request) -> Response | LMError:
        async with self._on_this_loop().slots:
            try:
                return await self._ask(request)
            except LMError as error:
                return error

    def _on_this_loop(self) -> _Traffic:
        """Return the traffic of the running loop; a forked child runs another loop."""
        loop = asyncio.get_running_loop()
        if self._traffic is None or self._traffic.loop is not loop:
            self._traffic = _Traffic(loop, self.limits.concurrency)
        return self._traffic

    async def _ask(self, request: Request) -> Response:
        """Send a request until there is an answer, a refusal, or no try or time left."""
        begun = time.monotonic()
        ends = begun + self.limits.deadline_s
        bill = _Bill()
        attempts = 0
        while True:
            self._breaker.check()
            outcome = await self._attempt(request, ends)
            attempts += 1
            bill.add(outcome)
            self._breaker.record(refused=_is_refused_key(outcome))
            self._connection.record(reached=isinstance(outcome, Response) or outcome.reached)
            if isinstance(outcome, Response):
                self._errors.answered()
                return msgspec.structs.replace(
                    outcome,
                    usage=bill.usage,
                    cost_usd=bill.cost_usd,
                    latency_s=time.monotonic() - begun,
                    attempts=attempts,
                )
            if outcome.kind != "transient":
                raise _REFUSALS.get(outcome.kind, PermanentLMError)(
                    self._message("refused", outcome)
                )
            pause = wait_s(self.limits, outcome, attempts)
            is_last = attempts >= self.limits.max_attempts
            is_late = time.monotonic() + pause >= ends
            self._connection.check(outcome.reason, gives_up=is_last or is_late)
            if is_last or is_late:
                self._errors.gave_up(outcome.status, outcome.reason)
            if is_last:
                raise TransientLMError(self._message(f"failed {attempts} times", outcome))
            if is_late:
                raise DeadlineError(
                    self._message(
                        f"did not answer within {self.limits.deadline_s:g} s, in {attempts} tries",
                        outcome,
                    )
                )
            await asyncio.sleep(pause)

    async def _attempt(self, request: Request, ends: float) -> Response | Failure:
        """Send a request once; the time limit holds whatever the library is waiting for."""
        estimate = self._estimate_usd(request)
        while not self.budget.reserve(estimate):
            if time.monotonic() >= ends:
                raise DeadlineError(f"{self.name}: other calls held the budget until the deadline")
            await asyncio.sleep(_POLL_BUDGET_S)
        outcome: Response | Failure | None = None
        try:
            outcome = self._clean(self._priced(await self._send(request, ends - time.monotonic())))
        finally:
            if outcome is None:
                self.budget.settle(estimate, None, None)
            else:
                self.budget.settle(estimate, outcome.usage, outcome.cost_usd)
        return outcome

    async def _send(self, request: Request, remaining_s: float) -> Response | Failure:
        allowed_s = min(remaining_s, self.limits.attempt_timeout_s)
        task = asyncio.ensure_future(self._transport.send(request))
        try:
            await asyncio.wait({task}, timeout=allowed_s)
        finally:
            # Not awaited: a library that swallows the cancellation must not hold the answer back.
            task.cancel()
        if not task.done():
            task.add_done_callback(_read_outcome)
            return Failure("transient", f"no answer within {allowed_s:.3g} s", reached=False)
        if task.cancelled():
            return Failure("transient", "the library gave the request up")
        error = task.exception()
        # As a value and not with `except`: an error raised here carries no trace of the library's
        # own, which knows headers and keys.
        if error is None:
            return task.result()
        failure = self._transport.failure(error)
        return msgspec.structs.replace(failure, reached=not is_unreachable(error))

    def _estimate_usd(self, request: Request) -> float:
        if self.budget.usd is None or self._transport.price is None:
            return 0.0
        prompt = len(_encode((request.messages, request.tools))) // _BYTES_PER_TOKEN
        completion = request.max_tokens or _UNLIMITED_COMPLETION
        return self._transport.price.cost_usd(Usage(prompt, completion))

    def _priced(self, outcome: Response | Failure) -> Response | Failure:
        price = self._transport.price
        if outcome.usage is None or outcome.cost_usd is not None or price is None:
            return outcome
        return msgspec.structs.replace(outcome, cost_usd=price.cost_usd(outcome.usage))

    def _clean(self, outcome: Response | Failure) -> Response | Failure:
        """Remove secrets: a model may echo its headers, and a provider may quote them.

        This happens at once, so that a debugger that shows variables shows no secret.
        """
        if isinstance(outcome, Failure):
            reason = " ".join(self._scrubber.all(outcome.reason).split())[:_REASON_LENGTH]
            return msgspec.structs.replace(outcome, reason=reason)
        text = _encode(outcome).decode()
        cleaned = self._scrubber.known(text)
        return outcome if cleaned == text else msgspec.json.decode(cleaned, type=Response)

    def _message(self, what: str, failure: Failure) -> str:
        status = "" if failure.status is None else f" (HTTP {failure.status})"
        return f"{self.name} {what}{status}: {failure.reason}"


_REFUSALS: dict[str, type[PermanentLMError]] = {
    "no_credentials": MissingCredentials,
    "too_long": ContextExceeded,
}


def _close(transport: Transport, log_filter: ScrubbingFilter) -> None:
    log_filter.detach()
    BACKGROUND.finish(transport.aclose)


class _Traffic:
    """The requests under way on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, concurrency: int) -> None:
        self.loop = loop
        self.slots = asyncio.Semaphore(concurrency)
        self.in_flight: dict[str, asyncio.Task[Response | LMError]] = {}


class _Bill:
    """Sum of the bills of one completion's requests."""

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.cost_usd: float | None = None

    def add(self, outcome: Response | Failure) -> None:
        if outcome.usage is None:
            return
        before = self.usage or Usage()
        self.usage = Usage(
            before.prompt_tokens + outcome.usage.prompt_tokens,
            before.completion_tokens + outcome.usage.completion_tokens,
        )
        if outcome.cost_usd is not None:
            self.cost_usd = (self.cost_usd or 0.0) + outcome.cost_usd


def _from_cache(response: Response, latency_s: float) -> Response:
    """Return a cached answer, which costs nothing again."""
    return msgspec.structs.replace(
        response, usage=Usage(), cost_usd=0.0, latency_s=latency_s, attempts=0, cached=True
    )


def _is_refused_key(outcome: Response | Failure) -> bool:
    return isinstance(outcome, Failure) and outcome.kind == "refused_key"


def _read_outcome(task: asyncio.Task[Response | Failure]) -> None:
    """Read the outcome of an abandoned request, so that asyncio does not log it as lost."""
    if not task.cancelled():
        task.exception()


class ResponseCache:
    """Cache of answers on disk: one file for each, named by a hash. Processes may share a folder.

    A file is written under another name and renamed, so that readers never see a part of it. Its
    first line has a checksum; a damaged file counts as missing.

    Args:
        folder: folder of the files, created with the first answer.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, key: str) -> Response | None:
        """Return the answer stored under a key; ``None`` if there is none."""
        try:
            checksum, _, body = self._path(key).read_bytes().partition(b"\n")
        except OSError:
            return None
        if checksum != _checksum(body):
            return None
        try:
            return _decode_response(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    def write(self, key: str, response: Response) -> None:
        """Store an answer; a full disk is only logged, since the answer was paid for."""
        body = _encode(response)
        try:
            with written_whole(self._path(key), synced=False) as file:
                file.write(_checksum(body) + b"\n" + body)
        except StorageError as error:
            _log.warning("cannot cache an answer: %s", error)

    def remove(self, key: str) -> None:
        """Delete the answer under a key, if it is there."""
        with contextlib.suppress(OSError):
            self._path(key).unlink()

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key[2:]}.json"


def cache_key(identity: str, request: Request) -> str:
    """Hash everything that decides an answer.

    Args:
        identity: library, model and address, as in `Transport`.
        request: the request.
    """
    return hashlib.sha256(_encode_sorted((_CACHE_FORMAT, identity, request))).hexdigest()


def _checksum(body: bytes) -> bytes:
    return b"%08x" % zlib.crc32(body)


class BackgroundLoop:
    """An event loop in a daemon thread, started by the first call; a forked child gets its own.

    The process has one, not one for each client: litellm binds its queues and connections to the
    first loop that it meets.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._tidying: set[asyncio.Task[None]] = set()
        self._process = os.getpid()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine to its end; an interruption of the wait, such as Ctrl-C, cancels it."""
        return _wait(work, self._running())

    def finish(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run the coroutine that closes connections, unless none can have been opened.

        It may be called in a finalizer, which runs anywhere: on the loop's own thread, or while
        this one holds the lock. So it takes no lock.
        """
        loop, thread = self._loop, self._thread
        if loop is None or thread is None or self._process != os.getpid():
            return
        # By its number, since a thread that has just begun is not yet the current thread.
        if threading.get_ident() == thread.ident:
            self._tidying.add(task := loop.create_task(work()))
            task.add_done_callback(self._tidying.discard)
        else:
            _wait(work(), loop)

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._process != os.getpid():
            # A fork does not copy the thread, and the lock may have been held at that time.
            self._lock, self._loop, self._process = threading.Lock(), None, os.getpid()
        with self._lock:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=loop.run_forever, name="agent-gym-lm", daemon=True
                )
                self._thread.start()
                self._loop = loop  # last, so that `finish` waits for a loop that runs only
            return self._loop


def _wait(work: Coroutine[Any, Any, _T], loop: asyncio.AbstractEventLoop) -> _T:
    future = asyncio.run_coroutine_threadsafe(work, loop)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


BACKGROUND = BackgroundLoop()
