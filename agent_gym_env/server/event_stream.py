"""Events of runs as server-sent events, which a client can resume after a lost connection.

The id of an event is the place after it in the run's file of events. A client that sends the last
id that it has seen (``Last-Event-ID``) receives each later event once. In the stream of all runs
the id holds a place for each run that has not ended, and the time up to which requests to start or
resume a run are known.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from agent_gym_env.server.run_jobs import RunJobs, RunStatus, read_event
from agent_gym_env.server.wire import Refused

POLL_S = 0.25
_KEEP_ALIVE_S = 15.0
"""Seconds without an event after which a comment is sent, so that nothing on the way gives up."""

_MAX_READ_BYTES = 1 << 20
_PLACES = re.compile(
    r"(?P<since>\d{1,12}(?:\.\d{1,9})?)(?P<places>(?:;[\w.-]{1,80}:\d{1,15}){0,512})"
)


async def run_events(runs: RunJobs, name: str, last_id: str | None) -> AsyncIterator[bytes]:
    """Yield the events of a run, until it has ended.

    Args:
        runs: the runs.
        name: name of the run.
        last_id: id of the last event that the client has; ``None`` for all events.

    Raises:
        Refused: there is no such run, or the id is not one of its ids.
    """
    path = runs.events_file(name)
    place = _place(last_id)
    if place > _size(path):
        raise _not_an_id(str(last_id))

    async def read_new() -> list[bytes] | None:
        nonlocal place
        is_over = not _is_open(await asyncio.to_thread(runs.find, name))
        found = []
        for place, event in read_events(path, place):  # noqa: B020  (the place after the event)
            found.append(_framed(event, str(place)))
        return found or (None if is_over else [])

    async def stream() -> AsyncIterator[bytes]:
        async for frame in _polled(read_new):
            yield frame
        yield _framed({"kind": "end"}, str(place))

    return stream()


async def all_events(runs: RunJobs, last_id: str | None) -> AsyncIterator[bytes]:
    """Yield the events of all runs, those that begin later too, until the client goes.

    Each event has the field ``run``. A new client receives the events of the runs that have not
    ended, and of later ones.

    Raises:
        Refused: the id is not one of this stream's.
    """
    places, since = _read_places(runs, last_id)

    async def read_new() -> list[bytes]:
        nonlocal since
        found: list[bytes] = []
        for run in sorted(await asyncio.to_thread(runs.all), key=lambda run: run.asked):
            if run.asked > since:
                if run.name not in places:
                    unseen = 1 if run.created > since else run.attempts
                    places[run.name] = _place_of_attempt(runs.events_file(run.name), unseen)
                since = run.asked
            if run.name not in places:
                continue
            before = len(found)
            for place, event in read_events(runs.events_file(run.name), places[run.name]):
                places[run.name] = place
                found.append(_framed({**event, "run": run.name}, _written(since, places)))
            if len(found) == before and not _is_open(run):
                del places[run.name]
        return found

    return _polled(read_new)


async def _polled(read_new: Callable[[], Awaitable[list[bytes] | None]]) -> AsyncIterator[bytes]:
    """Yield what a function reads, as it comes, until it returns ``None``.

    While there is nothing, a comment is sent now and then.
    """
    quiet = 0.0
    while (found := await read_new()) is not None:
        for frame in found:
            yield frame
        if found:
            quiet = 0.0
            continue
        quiet += POLL_S
        if quiet >= _KEEP_ALIVE_S:
            quiet = 0.0
            yield b": waiting\n\n"
        await asyncio.sleep(POLL_S)


def read_events(path: Path, place: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the events after a place in a file, each with the place after it.

    At most 1 MiB is read; call it again for more. An unfinished last line is left for later.
    """
    try:
        with path.open("rb") as file:
            file.seek(place)
            content = file.read(_MAX_READ_BYTES)
    except FileNotFoundError:
        return
    for line in content[: content.rfind(b"\n") + 1].splitlines(keepends=True):
        place += len(line)
        event = read_event(line)
        if event is not None:
            yield place, event


def _place_of_attempt(path: Path, attempt: int) -> int:
    """Return the place before the first event of an attempt; the last place before it begins."""
    place = 0
    while events := [*read_events(path, place)]:
        for after, event in events:
            if event.get("attempt", attempt) >= attempt:
                return place
            place = after
    return place


def _is_open(run: RunStatus) -> bool:
    return run.state in ("queued", "running")


def _framed(event: dict[str, Any], id_: str) -> bytes:
    return b"id: %s\ndata: %s\n\n" % (id_.encode(), msgspec.json.encode(event))


def _place(last_id: str | None) -> int:
    if last_id is None:
        return 0
    if not re.fullmatch(r"\d{1,15}", last_id):
        raise _not_an_id(last_id)
    return int(last_id)


def _read_places(runs: RunJobs, last_id: str | None) -> tuple[dict[str, int], float]:
    if last_id is None:
        every = runs.all()
        return {run.name: 0 for run in every if _is_open(run)}, max(
            (run.asked for run in every), default=0.0
        )
    found = _PLACES.fullmatch(last_id)
    if found is None:
        raise _not_an_id(last_id)
    pairs = (pair.rpartition(":") for pair in found["places"].split(";")[1:])
    places = {name: int(place) for name, _, place in pairs}
    known = {run.name for run in runs.all()} & places.keys()  # the others were deleted
    if any(places[name] > _size(runs.events_file(name)) for name in known):
        raise _not_an_id(last_id)
    return {name: places[name] for name in known}, float(found["since"])


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _written(since: float, places: dict[str, int]) -> str:
    return ";".join([repr(since), *(f"{name}:{place}" for name, place in places.items())])


def _not_an_id(last_id: str) -> Refused:
    return Refused(f"Last-Event-ID is not an id of this stream: {last_id!r:.80}", code="event_id")
