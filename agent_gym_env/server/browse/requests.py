"""Reading requests: filters, pages and forms, each within limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from agent_gym_env.server.browse.index import ORDERS, Filters
from agent_gym_env.server.browse.summary import KINDS

MAX_FORM_BYTES = 1 << 17
_LONGEST_TEXT = 500
_MOST_PAGES = 1_000_000


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
        form: fields of the form; empty without one.
        is_partial: whether htmx asks for a part of the page.
        target: id of the element that the part replaces.
    """

    path: Mapping[str, str]
    query: Any
    form: Mapping[str, str]
    is_partial: bool
    target: str


async def read_request(request: Any) -> Asked:
    """Read a request.

    Raises:
        RequestError: a form is too large or not text, or comes from a page of another origin.
    """
    headers = request.headers
    is_partial = "HX-Request" in headers and "HX-History-Restore-Request" not in headers
    form: Mapping[str, str] = {}
    if request.method == "POST":
        _refuse_other_origins(headers)
        form = await _read_form(request)
    target = headers.get("HX-Target", "")
    return Asked(request.path_params, request.query_params, form, is_partial, target)


def _refuse_other_origins(headers: Any) -> None:
    """Refuse a form that a page of another origin has sent.

    Browsers send the origin with every form. Other programs need not.
    """
    origin = headers.get("Origin")
    try:
        is_same = origin is None or urlsplit(origin).netloc == headers.get("Host")
    except ValueError:
        is_same = False
    if not is_same or headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise RequestError("the form was sent from a page of another origin", 403)


async def _read_form(request: Any) -> dict[str, str]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise RequestError(f"the form has more than {MAX_FORM_BYTES:,} bytes", 413)
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=100)
    except ValueError as error:
        raise RequestError(f"the form cannot be read: {error}") from error
    return dict(pairs)


def read_filters(query: Mapping[str, str]) -> Filters:
    """Read filters from the parameters of an address.

    Raises:
        RequestError: a value is not allowed.
    """
    texts = {
        name: text_of(query, name)
        for name in ("words", "policy", "service", "outcome", "error", "kind", "tag")
    }
    order = text_of(query, "order") or "worst"
    if order not in ORDERS:
        raise RequestError(f"order must be one of {', '.join(ORDERS)}, not {order!r:.40}")
    if texts["kind"] and texts["kind"] not in KINDS:
        raise RequestError(f"kind must be one of {', '.join(KINDS)}, not {texts['kind']!r:.40}")
    return Filters(**texts, low=_number(query, "low"), high=_number(query, "high"), order=order)


def given(filters: Filters) -> dict[str, str]:
    """Return the filters that differ from the default, as parameters of an address."""
    plain = {name: getattr(filters, name) for name in filters.__struct_fields__}
    usual = Filters()
    return {name: str(v) for name, v in plain.items() if v != getattr(usual, name)}


def text_of(query: Mapping[str, str], name: str) -> str:
    """Return a parameter of an address; ``""`` if it is missing.

    Raises:
        RequestError: it is too long.
    """
    text = query.get(name, "").strip()
    if len(text) > _LONGEST_TEXT:
        raise RequestError(f"{name} is longer than {_LONGEST_TEXT} characters")
    return text


def _number(query: Mapping[str, str], name: str) -> float | None:
    text = text_of(query, name)
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise RequestError(f"{name} must be a number such as 0.5, not {text!r:.40}")
    return number


def page_number(query: Mapping[str, str]) -> int:
    """Return the number of a page, from 1 on.

    Raises:
        RequestError: it is not such a number.
    """
    text = text_of(query, "page") or "1"
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= _MOST_PAGES):
        raise RequestError(f"page must be a number from 1 on, not {text!r:.40}")
    return int(text[:9])
