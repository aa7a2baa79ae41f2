"""The pages: runs of a folder, the episodes of a run, and one episode.

What a page shows was written by models and users. The templates escape all of it, the scripts set
text only, and the Content-Security-Policy allows our own files alone. Runs are found by ids that
the folder's listing knows, so no part of an address becomes a path.
"""

from __future__ import annotations

import logging
import math
import sqlite3
import threading
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import jinja2
import msgspec

from agent_gym_env.errors import AgentGymError, DataError
from agent_gym_env.evaluation import table
from agent_gym_env.evaluation.report import public_configuration
from agent_gym_env.evaluation.showcase import shown_episode
from agent_gym_env.extras import require
from agent_gym_env.server.browse.index import (
    ORDERS,
    PAGE_SIZE,
    Filters,
    Index,
    Key,
    Progress,
)
from agent_gym_env.server.browse.runs import Run, RunFolder
from agent_gym_env.server.browse.summary import KINDS

_responses: Any = require("starlette.responses", extra="serve")
_concurrency: Any = require("starlette.concurrency", extra="serve")

PREFIX = "/view"
"""Beginning of the addresses of all pages."""

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # A page and the part of it that htmx asks for have one address.
    "Cache-Control": "no-store",
    "Vary": "HX-Request",
}
_STATIC = {
    "report.css": ("agent_gym_env.evaluation", "report.css", "text/css"),
    "conversation.js": ("agent_gym_env.evaluation", "conversation.js", "text/javascript"),
    "browse.css": (__package__, "static/browse.css", "text/css"),
    "browse.js": (__package__, "static/browse.js", "text/javascript"),
    "htmx.min.js": (__package__, "static/htmx-4.0.1.min.js", "text/javascript"),
}
"""Package, path and media type of each file that pages load, by its name in addresses."""

_PATIENCE_S = 0.5
"""Longest wait for an index before a page shows what it has so far, in seconds."""

_LONGEST_TEXT = 500
_MOST_PAGES = 1_000_000
_ORDER_NAMES = {
    "worst": "worst first",
    "best": "best first",
    "order": "as played",
    "dialogue": "by dialogue",
    "long": "most turns first",
    "expensive": "highest cost first",
}

_log = logging.getLogger(__name__)


class RequestError(Exception):
    """A request that is not answered with a page.

    Args:
        problem: explanation for the user.
        status: HTTP status.
    """

    def __init__(self, problem: str, status: int = 400) -> None:
        super().__init__(problem)
        self.status = status


class Asked(NamedTuple):
    """A request.

    Attributes:
        path: parts of the address by name.
        query: parameters of the address.
        is_partial: whether htmx asks for a part of the page.
        target: id of the element that the part replaces.
    """

    path: Mapping[str, str]
    query: Mapping[str, str]
    is_partial: bool
    target: str


def add_pages(app: Any, folder: Path, *, prefix: str = PREFIX) -> None:
    """Add the pages to an application.

    The application checks who asks: its host name, its origin, and the key.

    Args:
        app: a FastAPI or Starlette application.
        folder: folder with runs, or one run.
        prefix: beginning of the addresses of all pages.

    Raises:
        DataError: the folder does not exist.
        MissingDependency: FastAPI is not installed.
    """
    pages = Pages(folder, prefix)

    def add(path: str, answer: Callable[[Asked], Any]) -> None:
        app.add_route(f"{prefix}{path}", pages.handler(answer), methods=["GET", "HEAD"])

    add("", pages.runs)
    add("/static/{name}", pages.static)
    add("/runs/{run}", pages.run)
    add("/runs/{run}/episodes/{key}", pages.episode)


class Pages:
    """Answers requests for the pages of one folder.

    Args:
        folder: folder with runs, or one run.
        prefix: beginning of the addresses of all pages.
    """

    def __init__(self, folder: Path, prefix: str) -> None:
        self._folder = RunFolder(folder)
        self._prefix = prefix
        self._updates = _Updates()
        self._templates = jinja2.Environment(
            loader=jinja2.PackageLoader(str(__package__)),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(number=table.number, size=_size, tone=_tone)
        self._templates.globals.update(
            prefix=prefix, folder=_encodable(self._folder.root.name or str(self._folder.root))
        )

    def handler(self, answer: Callable[[Asked], Any]) -> Callable[[Any], Any]:
        """Return the handler of a route: it answers in a thread, and shows errors as pages."""

        async def handle(request: Any) -> Any:
            asked = Asked(
                request.path_params,
                request.query_params,
                "HX-Request" in request.headers
                and "HX-History-Restore-Request" not in request.headers,
                request.headers.get("HX-Target", ""),
            )
            return await _concurrency.run_in_threadpool(self._answer, answer, asked)

        return handle

    def _answer(self, answer: Callable[[Asked], Any], asked: Asked) -> Any:
        try:
            return answer(asked)
        except RequestError as error:
            return self._failed(asked, str(error), error.status)
        except AgentGymError as error:
            return self._failed(asked, str(error), 404 if isinstance(error, DataError) else 500)
        except (OSError, sqlite3.Error) as error:
            _log.exception("a page could not be made")
            return self._failed(asked, f"a file cannot be read or written: {error}", 500)

    def _failed(self, asked: Asked, problem: str, status: int) -> Any:
        name = "_problem.html" if asked.is_partial else "problem.html"
        return self._page(name, status=status, problem=problem)

    def _page(
        self, template: str, *, status: int = 200, address: str | None = None, **context: Any
    ) -> Any:
        """Fill in a template; a part of a page may set the address of the page."""
        text = self._templates.get_template(template).render(context)
        headers = _HEADERS if address is None else {**_HEADERS, "HX-Replace-Url": address}
        return _responses.HTMLResponse(_encodable(text), status_code=status, headers=headers)

    # ---- pages ----

    def static(self, asked: Asked) -> Any:
        """Return one of the files that pages load."""
        if asked.path["name"] not in _STATIC:
            raise RequestError("there is no such file", 404)
        package, path, media_type = _STATIC[asked.path["name"]]
        content = files(str(package)).joinpath(path).read_bytes()
        headers = {**_HEADERS, "Cache-Control": "no-cache"}
        return _responses.Response(content, media_type=media_type, headers=headers)

    def runs(self, asked: Asked) -> Any:
        """List the runs."""
        sought = _text(asked.query, "words").lower().split()
        runs = self._folder.runs()
        shown = [run for run in runs if all(word in _described(run) for word in sought)]
        template = "_runs.html" if asked.is_partial else "runs.html"
        words = _text(asked.query, "words")
        return self._page(template, shown=shown, found=len(runs), words=words)

    def run(self, asked: Asked) -> Any:
        """List the episodes of a run that meet the filters."""
        run = self._run(asked)
        if asked.is_partial and asked.target.endswith("results"):
            shown = self._listed(run, asked)
            address = f"{self._prefix}/runs/{run.id}"
            pairs = [shown["query"], f"page={shown['page']}" if shown["page"] > 1 else ""]
            address += "?" * any(pairs) + "&".join(filter(None, pairs))
            return self._page("_episodes.html", address=address, **shown)
        return self._page("run.html", **self._listed(run, asked), opened=None)

    def episode(self, asked: Asked) -> Any:
        """Show one episode, beside the list that it was chosen from."""
        run = self._run(asked)
        try:
            key = Key.parse(asked.path["key"])
        except ValueError as error:
            raise RequestError(str(error), 404) from error
        index, _ = self._updates.updated(run)
        opened = {"key": key, "json": _json(shown_episode(index.episode(key)))}
        if asked.is_partial:
            return self._page("_episode.html", run=run, opened=opened)
        return self._page("run.html", **self._listed(run, asked), opened=opened)

    # ---- parts of them ----

    def _run(self, asked: Asked) -> Run:
        run = self._folder.find(asked.path["run"])
        if run is None:
            raise RequestError("there is no such run in this folder", 404)
        return run

    def _listed(self, run: Run, asked: Asked) -> dict[str, Any]:
        """Return the values that the list of a run's episodes shows."""
        filters = read_filters(asked.query)
        page = _page_number(asked.query)
        index, progress = self._updates.updated(run)
        figures = index.figures(filters)
        return {
            "run": run,
            "configuration": _configuration(run),
            "filters": filters,
            "query": urlencode(_given(filters)),
            "choices": {
                field: index.choices(field)
                for field in ("policy", "service", "outcome", "error", "kind")
            },
            "kinds": KINDS,
            "orders": _ORDER_NAMES,
            "figures": figures,
            "episodes": index.listed(filters, page),
            "page": page,
            "pages": max(math.ceil(figures.episodes / PAGE_SIZE), 1),
            "problems": index.problems(),
            "progress": progress,
        }


class _Updates:
    """Brings indexes up to date in threads, one for each run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, _Update] = {}

    def updated(self, run: Run) -> tuple[Index, Progress]:
        """Return the index of a run, and how much of the run it has.

        An index that needs long is brought up to date further after this returns.

        Raises:
            AgentGymError: the cache cannot be written, or the run cannot be read.
        """
        with self._lock:
            update = self._running.get(run.id)
            if update is None or not update.is_alive():
                update = self._running[run.id] = _Update(Index(run))
                update.start()
        update.join(_PATIENCE_S)
        if update.error is not None:
            raise update.error
        return update.index, update.index.progress()


class _Update(threading.Thread):
    """Brings an index up to date.

    Attributes:
        index: the index.
        error: exception that ended it; ``None`` without one.
    """

    def __init__(self, index: Index) -> None:
        super().__init__(daemon=True)
        self.index = index
        self.error: Exception | None = None

    def run(self) -> None:
        """Read all that the index lacks."""
        try:
            self.index.update()
        except (AgentGymError, OSError, sqlite3.Error) as error:
            self.error = error


def read_filters(query: Mapping[str, str]) -> Filters:
    """Read filters from the parameters of an address.

    Raises:
        RequestError: a value is not allowed.
    """
    texts = {
        name: _text(query, name)
        for name in ("words", "policy", "service", "outcome", "error", "kind", "tag")
    }
    order = _text(query, "order") or "worst"
    if order not in ORDERS:
        raise RequestError(f"order must be one of {', '.join(ORDERS)}, not {order!r:.40}")
    if texts["kind"] and texts["kind"] not in KINDS:
        raise RequestError(f"kind must be one of {', '.join(KINDS)}, not {texts['kind']!r:.40}")
    return Filters(**texts, low=_number(query, "low"), high=_number(query, "high"), order=order)


def _given(filters: Filters) -> dict[str, str]:
    """Return the filters that differ from the default, as parameters of an address."""
    plain = {name: getattr(filters, name) for name in filters.__struct_fields__}
    usual = Filters()
    return {name: str(v) for name, v in plain.items() if v != getattr(usual, name)}


def _text(query: Mapping[str, str], name: str) -> str:
    text = query.get(name, "").strip()
    if len(text) > _LONGEST_TEXT:
        raise RequestError(f"{name} is longer than {_LONGEST_TEXT} characters")
    return text


def _number(query: Mapping[str, str], name: str) -> float | None:
    text = _text(query, name)
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise RequestError(f"{name} must be a number such as 0.5, not {text!r:.40}")
    return number


def _page_number(query: Mapping[str, str]) -> int:
    text = _text(query, "page") or "1"
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= _MOST_PAGES):
        raise RequestError(f"page must be a number from 1 on, not {text!r:.40}")
    return int(text[:9])


def _described(run: Run) -> str:
    """Return the words by which a run is found."""
    configuration = "" if run.manifest is None else msgspec.json.encode(run.manifest.config)
    return f"{run.name} {configuration!r}".lower()


def _configuration(run: Run) -> str:
    return "" if run.manifest is None else public_configuration(run.manifest.config)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _encodable(text: str) -> str:
    """Replace what UTF-8 cannot encode, such as half a surrogate pair."""
    return text.encode("utf-8", "replace").decode()


def _size(size_bytes: int) -> str:
    """Format a size, such as ``2.1 MB``."""
    size, units = float(size_bytes), ["B", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size, _ = size / 1000, units.pop(0)
    return f"{size:.0f} {units[0]}" if units[0] == "B" else f"{size:.1f} {units[0]}"


def _tone(reward: float | None) -> str:
    """Return the class of a reward's colour: ``tone0`` to ``tone10``."""
    return "unscored" if reward is None else f"tone{round(min(max(reward, 0), 1) * 10)}"
