"""The pages: runs of a folder, the episodes of a run, and one episode.

What a page shows was written by models and users. The templates escape all of it, the scripts set
text only, and the Content-Security-Policy allows our own files alone. Runs are found by ids that
the folder's listing knows, so no part of an address becomes a path.
"""

from __future__ import annotations

import logging
import math
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jinja2
import msgspec

from agent_gym_env.errors import AgentGymError, DataError
from agent_gym_env.evaluation.compare import Comparison
from agent_gym_env.evaluation.report import (
    asset,
    comparison_plot,
    page_templates,
    public_configuration,
)
from agent_gym_env.evaluation.showcase import shown_episode
from agent_gym_env.extras import require
from agent_gym_env.registry import POLICIES
from agent_gym_env.server.browse.background import Background
from agent_gym_env.server.browse.exports import EXPORTS
from agent_gym_env.server.browse.goals import Goals
from agent_gym_env.server.browse.index import PAGE_SIZE, Filters, Index, Key, Progress
from agent_gym_env.server.browse.notes import NoteBook, Remarks, keys_with, place, tags_in
from agent_gym_env.server.browse.pairs import ORDERS as PAIR_ORDERS
from agent_gym_env.server.browse.pairs import compare_runs, pairs
from agent_gym_env.server.browse.requests import (
    Asked,
    RequestError,
    given,
    page_number,
    read_filters,
    read_request,
    text_of,
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
    "asking.js": (__package__, "static/asking.js", "text/javascript"),
    "chat.js": (__package__, "static/chat.js", "text/javascript"),
    "play.js": (__package__, "static/play.js", "text/javascript"),
    "jobs.js": (__package__, "static/jobs.js", "text/javascript"),
    "htmx.min.js": (__package__, "static/htmx-4.0.1.min.js", "text/javascript"),
}
"""Package, path and media type of each file that pages load, by its name in addresses."""

_PATIENCE_S = 0.5
"""Longest wait for an index before a page shows what it has so far, in seconds."""

_ORDER_NAMES = {
    "worst": "worst first",
    "best": "best first",
    "order": "as played",
    "dialogue": "by dialogue",
    "long": "most turns first",
    "expensive": "highest cost first",
}
_PAIR_ORDER_NAMES = {
    "apart": "furthest apart first",
    "worse": "first run worse",
    "better": "first run better",
    "dialogue": "by dialogue",
}

_log = logging.getLogger(__name__)


def add_pages(
    app: Any,
    folder: Path,
    *,
    corpora: Sequence[str] = ("sample", "sgd"),
    plays: bool = False,
    prefix: str = PREFIX,
) -> None:
    """Add the pages to an application.

    The application checks who asks: its host name, its origin, and the key.

    Args:
        app: a FastAPI or Starlette application.
        folder: folder with runs, or one run.
        corpora: names and paths of corpora whose goals are shown with simulated dialogues.
        plays: whether to add the pages to play by hand and to start runs, which need the sessions
            and runs of `agent_gym_env.server.app`.
        prefix: beginning of the addresses of all pages.

    Raises:
        DataError: the folder does not exist.
        MissingDependency: FastAPI is not installed.
    """
    pages = Pages(folder, corpora, prefix, plays=plays)

    def add(path: str, answer: Callable[[Asked], Any], *methods: str) -> None:
        handler = pages.handler(answer)
        app.add_route(f"{prefix}{path}", handler, methods=methods or ("GET", "HEAD"))

    one = "/runs/{run}/episodes/{key}"
    add("", pages.runs)
    add("/static/{name}", pages.static)
    add("/compare", pages.compare)
    add("/compare/statistics", pages.statistics)
    add("/runs/{run}", pages.run)
    add("/runs/{run}/export", pages.export)
    add(one, pages.episode)
    if plays:
        add("/play", pages.play)
        add("/chat", pages.chat)
        add("/jobs", pages.jobs)
    add(f"{one}/remarks", pages.remark, "POST")


def plain_page(name: str, **context: Any) -> str:
    """Return a page that shows nothing of the folder.

    Args:
        name: name of the template.
        **context: values that it shows.
    """
    templates = page_templates(jinja2.PackageLoader(str(__package__)))
    return templates.get_template(name).render(prefix=PREFIX, **context)


class Pages:
    """Answers requests for the pages of one folder; for the arguments see `add_pages`.

    Args:
        folder: folder with runs, or one run.
        corpora: names and paths of corpora whose goals are shown with simulated dialogues.
        prefix: beginning of the addresses of all pages.
        plays: whether the pages link to those that play and start runs.
    """

    def __init__(
        self, folder: Path, corpora: Sequence[str], prefix: str, *, plays: bool = False
    ) -> None:
        self._folder = RunFolder(folder)
        self._goals = Goals(corpora)
        self._prefix = prefix
        self._updates = Background[Progress](_PATIENCE_S)
        self._comparisons = Background[Comparison](_PATIENCE_S)
        shared = jinja2.PrefixLoader({"evaluation": jinja2.FunctionLoader(asset)})
        own = jinja2.PackageLoader(str(__package__))
        self._templates = page_templates(jinja2.ChoiceLoader([own, shared]))
        self._templates.filters.update(size=_size, tone=_tone, day=_day)
        self._templates.globals.update(
            prefix=prefix,
            folder=_encodable(self._folder.root.name or str(self._folder.root)),
            corpora=list(corpora),
            plays=plays,
        )

    def handler(self, answer: Callable[[Asked], Any]) -> Callable[[Any], Any]:
        """Return the handler of a route: it answers in a thread, and shows errors as pages."""

        async def handle(request: Any) -> Any:
            try:
                asked = await read_request(request)
            except RequestError as error:
                return self._failed("HX-Request" in request.headers, str(error), error.status)
            return await _concurrency.run_in_threadpool(self._answer, answer, asked)

        return handle

    def _answer(self, answer: Callable[[Asked], Any], asked: Asked) -> Any:
        try:
            return answer(asked)
        except RequestError as error:
            problem, status = str(error), error.status
        except DataError as error:
            problem, status = str(error), 404
        except AgentGymError as error:
            problem, status = str(error), 500
        except (OSError, sqlite3.Error) as error:
            _log.exception("a page could not be made")
            problem, status = f"a file cannot be read or written: {error}", 500
        return self._failed(asked.is_partial, problem, status)

    def _failed(self, is_partial: bool, problem: str, status: int) -> Any:
        name = "_problem.html" if is_partial else "problem.html"
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
        words = text_of(asked.query, "words")
        runs = self._folder.runs()
        sought = words.lower().split()
        shown = [run for run in runs if all(word in _described(run) for word in sought)]
        template = "_runs.html" if asked.is_partial else "runs.html"
        return self._page(template, shown=shown, found=len(runs), words=words)

    def run(self, asked: Asked) -> Any:
        """List the episodes of a run that meet the filters."""
        run = self._run(asked.path["run"])
        shown = self._listed(run, asked)
        if not (asked.is_partial and asked.target.endswith("results")):
            return self._page("run.html", **shown, opened=None)
        pairs = [shown["query"], f"page={shown['page']}" if shown["page"] > 1 else ""]
        query = "&".join(filter(None, pairs))
        address = f"{self._prefix}/runs/{run.id}{'?' if query else ''}{query}"
        return self._page("_episodes.html", **shown, address=address)

    def episode(self, asked: Asked) -> Any:
        """Show one episode, beside the list that it was chosen from."""
        run = self._run(asked.path["run"])
        opened = self._opened(run, _key(asked.path["key"]), NoteBook(run).read())
        if asked.is_partial:
            return self._page("_episode.html", opened=opened)
        return self._page("run.html", **self._listed(run, asked), opened=opened)

    def remark(self, asked: Asked) -> Any:
        """Add or remove a tag or a note."""
        run, key = self._run(asked.path["run"]), _key(asked.path["key"])
        index, _ = self._updated(run)
        where = place(key, index.episode(key).dialogue_id)
        book = NoteBook(run)
        changes = {
            "add_tag": book.add_tag,
            "remove_tag": book.remove_tag,
            "add_note": book.add_note,
            "remove_note": book.remove_note,
        }
        ((name, value),) = asked.form.items() if len(asked.form) == 1 else (("", ""),)
        if name not in changes:
            raise RequestError(f"a form has one field of {', '.join(changes)}")
        try:
            changes[name](where, value)
        except ValueError as error:
            raise RequestError(str(error), 422) from error
        if asked.is_partial:
            return self._page("_remarks.html", opened=self._opened(run, key, book.read()))
        address = f"{self._prefix}/runs/{run.id}/episodes/{key}"
        return _responses.RedirectResponse(address, 303, headers=_HEADERS)

    def export(self, asked: Asked) -> Any:
        """Download the episodes that meet the filters, or training rows made of them."""
        run = self._run(asked.path["run"])
        form = text_of(asked.query, "format") or "episodes"
        if form not in EXPORTS:
            raise RequestError(f"format must be one of {', '.join(EXPORTS)}, not {form!r:.40}")
        filters = read_filters(asked.query)
        index, progress = self._updated(run)
        if not progress.is_complete:
            raise RequestError("the run is still being read; try again in a while", 503)
        episodes = index.episodes(filters, self._chosen(run, filters))
        name = "".join(letter if letter.isalnum() else "-" for letter in run.path.stem)
        disposition = f'attachment; filename="{name.encode("ascii", "replace").decode()}.jsonl"'
        return _responses.StreamingResponse(
            EXPORTS[form](episode for episode, _ in episodes),
            media_type="application/x-ndjson",
            headers={**_HEADERS, "Content-Disposition": disposition},
        )

    def play(self, _: Asked) -> Any:
        """Show the page to play the agent by hand."""
        return self._page("play.html")

    def chat(self, _: Asked) -> Any:
        """Show the page to play the user against a policy."""
        return self._page("chat.html")

    def jobs(self, _: Asked) -> Any:
        """Show the page to start runs and to watch them."""
        return self._page("jobs.html", policies=POLICIES.names())

    def compare(self, asked: Asked) -> Any:
        """Show two runs side by side: their statistics, and the dialogues that both played."""
        order = text_of(asked.query, "order") or "apart"
        if order not in PAIR_ORDERS:
            known = ", ".join(PAIR_ORDERS)
            raise RequestError(f"order must be one of {known}, not {order!r:.40}")
        page, apart = page_number(asked.query), bool(text_of(asked.query, "apart"))
        first, second = runs = self._two_runs(asked)
        updates = [self._updated(run) for run in runs]
        (one, _), (other, _) = updates
        listed, count = pairs(one, other, order=order, page=page, apart=apart)
        both = self._opened_pair(asked, runs)
        context: dict[str, Any] = {
            "first": first,
            "second": second,
            "pairs": listed,
            "count": count,
            "order": order,
            "orders": _PAIR_ORDER_NAMES,
            "apart": apart,
            "page": page,
            "pages": max(math.ceil(count / PAGE_SIZE), 1),
            "query": urlencode([("run", first.id), ("run", second.id)]),
            "is_complete": all(progress.is_complete for _, progress in updates),
            "both": both,
        }
        if asked.is_partial and asked.target.endswith("results"):
            return self._page("_pairs.html", **context)
        if asked.is_partial and both is not None:
            return self._page("_pair.html", **context)
        return self._page("compare.html", **context)

    def statistics(self, asked: Asked) -> Any:
        """Show the statistics of two runs, or that they are still being computed."""
        first, second = runs = self._two_runs(asked)
        (one, have), (other, have_other) = (self._updated(run) for run in runs)
        query = urlencode([("run", first.id), ("run", second.id)])
        comparison, problem = None, None
        if have.is_complete and have_other.is_complete:
            # Of what both hold now: a live run is compared again when it has grown.
            name = (first.id, second.id, have.done, have_other.done)
            try:
                comparison = self._comparisons.result(name, lambda: compare_runs(one, other))
            except ValueError as error:
                problem = str(error)
        plot = None if comparison is None else comparison_plot(comparison)
        return self._page(
            "_statistics.html", query=query, comparison=comparison, plot=plot, problem=problem
        )

    # ---- parts of them ----

    def _run(self, run_id: str) -> Run:
        run = self._folder.find(run_id)
        if run is None:
            raise RequestError("there is no such run in this folder", 404)
        return run

    def _two_runs(self, asked: Asked) -> tuple[Run, Run]:
        ids = asked.query.getlist("run")
        if len(ids) != 2:
            raise RequestError(f"choose two runs to compare; {len(ids)} were chosen")
        return self._run(ids[0]), self._run(ids[1])

    def _updated(self, run: Run) -> tuple[Index, Progress]:
        """Return the index of a run, and how much of the run it has.

        An index that needs long is brought up to date further after this returns.
        """
        index = Index(run)
        self._updates.result(run.id, index.update, again=True)
        return index, index.progress()

    def _chosen(self, run: Run, filters: Filters) -> list[Key] | None:
        """Return the keys of the episodes with the tag of the filters; ``None`` without a tag."""
        return keys_with(NoteBook(run).read(), filters.tag) if filters.tag else None

    def _opened(self, run: Run, key: Key, remarks: Mapping[str, Remarks]) -> dict[str, Any]:
        """Return the values that one episode shows."""
        index, _ = self._updated(run)
        episode = index.episode(key)
        return {
            "run": run,
            "key": key,
            "json": _json(shown_episode(episode)),
            "goal": self._goals.errands(run, episode),
            "remarks": remarks.get(place(key, episode.dialogue_id), Remarks()),
            "tags": tags_in(remarks),
        }

    def _opened_pair(self, asked: Asked, runs: Sequence[Run]) -> list[dict[str, Any]] | None:
        keys = [text_of(asked.query, name) for name in ("first", "second")]
        if not all(keys):
            return None
        return [self._opened(run, _key(key), {}) for run, key in zip(runs, keys, strict=True)]

    def _listed(self, run: Run, asked: Asked) -> dict[str, Any]:
        """Return the values that the list of a run's episodes shows."""
        filters = read_filters(asked.query)
        page = page_number(asked.query)
        index, progress = self._updated(run)
        remarks = NoteBook(run).read()
        chosen = self._chosen(run, filters)
        figures = index.figures(filters, chosen)
        fields = ("policy", "service", "outcome", "error", "kind")
        return {
            "run": run,
            "configuration": _configuration(run),
            "filters": filters,
            "query": urlencode(given(filters)),
            "given": given(filters),
            "choices": {field: index.choices(field) for field in fields},
            "kinds": KINDS,
            "orders": _ORDER_NAMES,
            "tags": tags_in(remarks),
            "exports": list(EXPORTS),
            "figures": figures,
            "episodes": [
                (each, remarks.get(place(each.key, each.summary.dialogue_id), Remarks()))
                for each in index.listed(filters, page, chosen)
            ],
            "page": page,
            "pages": max(math.ceil(figures.episodes / PAGE_SIZE), 1),
            "problems": index.problems(),
            "progress": progress,
        }


def _key(text: str) -> Key:
    try:
        return Key.parse(text)
    except ValueError as error:
        raise RequestError(str(error), 404) from error


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


def _day(time_s: float) -> str:
    """Format a time, such as ``2026-11-30 14:05``."""
    return f"{datetime.fromtimestamp(time_s):%Y-%m-%d %H:%M}"


def _size(size_bytes: int) -> str:
    """Format a size, such as ``2.1 MB``."""
    size, units = float(size_bytes), ["B", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size, _ = size / 1000, units.pop(0)
    return f"{size:.0f} {units[0]}" if units[0] == "B" else f"{size:.1f} {units[0]}"


def _tone(reward: float | None) -> str:
    """Return the class of a reward's colour: ``tone0`` to ``tone10``."""
    return "unscored" if reward is None else f"tone{round(min(max(reward, 0), 1) * 10)}"
