"""Bytes come whole and from where they are meant to come, or there is a `DataError`."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Iterator

import pytest

from agent_gym_env.corpus.fetch import Fetcher, FetchLimits
from agent_gym_env.errors import DataError
from tests.corpus.fault_server import (
    Answer,
    FaultServer,
    chunked,
    chunked_and_cut,
    cut_at,
    dripping,
    encoded_as,
    gzipped,
    gzipped_and_cut,
    hung_up,
    of_length,
    other,
    redirect,
    status,
    without_length,
)
from tests.timing import SOON_S

NAME = "train/dialogues_001.json"
CONTENT = bytes(range(256)) * 40
QUICK = FetchLimits(backoff_s=0.001, idle_s=2.0, deadline_s=20.0, max_bytes=20_000)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer({NAME: CONTENT, "empty.json": b""}) as running:
        yield running


def fetch(server: FaultServer, name: str = NAME, limits: FetchLimits = QUICK) -> bytes:
    return Fetcher(server.url, limits).fetch(server.url + name)


def test_a_file_is_fetched_with_one_request(server: FaultServer) -> None:
    assert fetch(server) == CONTENT
    assert server.requests == [NAME]


def test_an_empty_file_is_a_file(server: FaultServer) -> None:
    assert fetch(server, "empty.json") == b""


@pytest.mark.parametrize("answer", [gzipped, chunked])
def test_other_ways_to_send_a_file_give_its_bytes(server: FaultServer, answer: Answer) -> None:
    server.plan(NAME, answer)
    assert fetch(server) == CONTENT
    assert len(server.requests) == 1


def test_a_connection_cut_at_any_of_a_hundred_offsets_is_tried_again(server: FaultServer) -> None:
    offsets = range(0, len(CONTENT), len(CONTENT) // 100)
    for offset in offsets:
        server.plan(NAME, cut_at(offset))
        assert fetch(server) == CONTENT
    assert len(server.requests) == 2 * len(offsets) >= 200


TRANSIENT = [
    *(pytest.param(status(code), id=str(code)) for code in (408, 429, 500, 502, 503, 504)),
    pytest.param(cut_at(100), id="cut"),
    pytest.param(chunked_and_cut, id="chunk cut"),
    pytest.param(gzipped_and_cut, id="gzip cut"),
    pytest.param(encoded_as("gzip"), id="no gzip"),
    pytest.param(hung_up, id="hung up"),
    pytest.param(of_length(len(CONTENT) + 1), id="length too large"),
]


@pytest.mark.parametrize("answer", TRANSIENT)
def test_what_may_pass_is_tried_four_times(server: FaultServer, answer: Answer) -> None:
    server.plan(NAME, answer, answer, answer)
    assert fetch(server) == CONTENT
    assert len(server.requests) == 4


@pytest.mark.parametrize("answer", TRANSIENT)
def test_after_four_failures_there_is_an_error_that_names_the_url(
    server: FaultServer, answer: Answer
) -> None:
    server.always(NAME, answer)
    with pytest.raises(DataError, match="4 attempts") as caught:
        fetch(server)
    assert caught.value.file == server.url + NAME
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    "answer",
    [
        *(pytest.param(status(code), id=str(code)) for code in (400, 401, 403, 404, 410, 204, 206)),
        pytest.param(without_length, id="no length"),
        pytest.param(encoded_as("br"), id="other encoding"),
        pytest.param(of_length(20_001), id="length beyond the limit"),
    ],
)
def test_what_will_not_pass_is_asked_once(server: FaultServer, answer: Answer) -> None:
    server.always(NAME, answer)
    with pytest.raises(DataError):
        fetch(server)
    assert len(server.requests) == 1


@pytest.mark.parametrize("answer", [chunked, gzipped])
def test_a_body_beyond_the_limit_is_not_taken_in(server: FaultServer, answer: Answer) -> None:
    server.always(NAME, lambda handler, _: answer(handler, bytes(10_000_000)))
    with pytest.raises(DataError, match=r"larger than 20,000 bytes"):
        fetch(server)


def test_a_body_beyond_its_length_is_cut_to_it(server: FaultServer) -> None:
    server.always(NAME, of_length(10))
    assert fetch(server) == CONTENT[:10]


ELSEWHERE = [
    "http://example.org/x",
    "https://example.org/x",
    "//example.org/x",
    "file:///etc/passwd",
    "ftp://example.org/x",
    "data:,x",
    "https://127.0.0.1/x",
    "http://127.0.0.1:1/x",
    "http://localhost:1/x",
    "http://[::1]:1/x",
    "https://10.0.0.1/x",
    "http://169.254.169.254/latest/meta-data",
    "http://raw.githubusercontent.com/x",
    "https://raw.githubusercontent.com:8443/x",
    "https://raw.githubusercontent.com@example.org/x",
    "https://raw.githubusercontent.com.example.org/x",
    "https://[bad/x",
    "https://raw.githubusercontent.com:port/x",
]


@pytest.mark.parametrize("location", ELSEWHERE)
def test_a_redirect_to_where_nothing_is_meant_is_refused(
    server: FaultServer, location: str
) -> None:
    server.always(NAME, redirect(location))
    with pytest.raises(DataError):
        fetch(server)
    assert server.requests == [NAME]


def test_a_redirect_within_the_mirror_is_followed(server: FaultServer) -> None:
    server.plan("old.json", redirect("/" + NAME))
    assert fetch(server, "old.json") == CONTENT


def test_redirects_in_a_circle_end(server: FaultServer) -> None:
    server.always(NAME, redirect("/" + NAME))
    with pytest.raises(DataError):
        fetch(server)
    assert len(server.requests) <= 6


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "http://10.0.0.1/",
        "ftp://example.org/",
        "file:///tmp/",
        "https:///nohost",
        "no url",
        "https://[bad/",
        "https://example.org:port/",
        "https://user:secret@example.org/",
        "https://example.org/?token=secret",
    ],
)
def test_a_base_url_must_be_https_and_hold_no_secret(url: str) -> None:
    with pytest.raises(DataError) as caught:
        Fetcher(url, QUICK)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["https://example.org/sgd/", "http://localhost:8000/"])
def test_https_and_this_machine_are_good_base_urls(url: str) -> None:
    assert Fetcher(url, QUICK).remaining_s() > 0


@pytest.mark.parametrize(
    "retry_after", ["1", lambda: email.utils.formatdate(time.time() + 2, usegmt=True)]
)
def test_the_pause_that_a_server_asks_for_is_kept(server: FaultServer, retry_after: object) -> None:
    asked = retry_after() if callable(retry_after) else retry_after
    server.plan(NAME, status(429, Retry_After=str(asked)))
    started = time.monotonic()
    assert fetch(server) == CONTENT
    assert time.monotonic() - started >= 0.9


@pytest.mark.parametrize("retry_after", ["86400", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_no_pause_is_longer_than_the_longest(server: FaultServer, retry_after: str) -> None:
    server.plan(NAME, status(503, Retry_After=retry_after))
    started = time.monotonic()
    limits = FetchLimits(backoff_s=0.001, max_pause_s=0.1)
    assert fetch(server, limits=limits) == CONTENT
    assert time.monotonic() - started < SOON_S


@pytest.mark.parametrize("retry_after", ["soon", "-1", "", "1e999", "Fri, 99 Abc 2020"])
def test_a_pause_that_makes_no_sense_is_not_kept(server: FaultServer, retry_after: str) -> None:
    server.plan(NAME, status(503, Retry_After=retry_after))
    started = time.monotonic()
    assert fetch(server) == CONTENT
    assert time.monotonic() - started < SOON_S


def test_a_pause_beyond_the_deadline_is_not_begun(server: FaultServer) -> None:
    server.plan(NAME, status(503, Retry_After="30"))
    started = time.monotonic()
    with pytest.raises(DataError, match="not finished within 5 s"):
        fetch(server, limits=FetchLimits(deadline_s=5.0))
    assert time.monotonic() - started < SOON_S


def test_a_server_that_drips_is_left_at_the_deadline(server: FaultServer) -> None:
    server.always(NAME, dripping(0.02))
    started = time.monotonic()
    with pytest.raises(DataError, match=r"not finished within 0\.5 s"):
        fetch(server, limits=FetchLimits(deadline_s=0.5))
    assert time.monotonic() - started < SOON_S


def test_nothing_is_asked_after_the_deadline(server: FaultServer) -> None:
    with pytest.raises(DataError, match="within 0 s"):
        fetch(server, limits=FetchLimits(deadline_s=0.0))
    assert server.requests == []


def test_a_stopped_fetcher_asks_nothing(server: FaultServer) -> None:
    fetcher = Fetcher(server.url, QUICK)
    fetcher.stop()
    with pytest.raises(DataError):
        fetcher.fetch(server.url + NAME)
    assert server.requests == []


def test_a_machine_that_does_not_answer_is_a_data_error() -> None:
    with FaultServer({}) as gone:
        pass
    with pytest.raises(DataError, match="4 attempts"):
        fetch(gone)


def test_https_is_spoken_where_https_was_asked_for(server: FaultServer) -> None:
    url = server.url.replace("http:", "https:")
    with pytest.raises(DataError):
        Fetcher(url, QUICK).fetch(url + NAME)
    assert server.requests == []


def test_a_proxy_of_the_environment_is_used_for_other_machines_only(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultServer({}) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("https_proxy", proxy.url)
        assert fetch(server) == CONTENT
        with pytest.raises(DataError, match="Tunnel connection failed"):
            Fetcher("https://mirror.invalid/", QUICK).fetch("https://mirror.invalid/x")
    assert proxy.requests == []


def test_wrong_bytes_are_not_this_module_s_to_judge(server: FaultServer) -> None:
    server.plan(NAME, other(b"other"))
    assert fetch(server) == b"other"
