from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent_gym_env.errors import (
    BudgetExceeded,
    CircuitOpenError,
    DeadlineError,
    LMError,
    PermanentLMError,
    TransientLMError,
)
from agent_gym_env.lm.aiohttp_client import local_client
from agent_gym_env.lm.base import Request, Response
from agent_gym_env.lm.budget import Budget
from agent_gym_env.lm.client import BackgroundLoop, RemoteLM
from agent_gym_env.lm.retry import Limits
from agent_gym_env.types import Usage
from tests.lm.clients import FAST, asks, make_client
from tests.lm.server import FAULTS, Faults, LMServer
from tests.timing import PROCESS_S, SOON_S

ROOT = Path(__file__).parents[2]


def lean(server: LMServer, **arguments: Any) -> RemoteLM:
    """The lean client: what is tested here is the engine, the same behind all."""
    return make_client("local", server, **arguments)


def limits(**changed: Any) -> Limits:
    return msgspec.structs.replace(FAST, **changed)


def texts(outcomes: list[Response | LMError]) -> list[str]:
    return [o.text if isinstance(o, Response) else type(o).__name__ for o in outcomes]


def test_many_requests_are_answered_in_their_order(server: LMServer) -> None:
    server.agent = lambda request: f"re {request.last['content']}"
    outcomes = lean(server).complete_many([asks(str(number)) for number in range(50)])
    assert texts(outcomes) == [f"re {number}" for number in range(50)]


def test_no_requests_need_no_answer(server: LMServer) -> None:
    assert lean(server).complete_many([]) == []


def test_as_many_are_under_way_as_the_limits_allow(server: LMServer) -> None:
    server.delay_s = 0.05
    lean(server, limits=limits(concurrency=7)).complete_many([asks()] * 40)
    assert server.most_in_flight == 7


def test_hundreds_under_way_take_the_time_of_one(server: LMServer) -> None:
    server.delay_s = 0.5
    begun = time.monotonic()
    lean(server, limits=limits(concurrency=256)).complete_many([asks()] * 256)
    assert time.monotonic() - begun < 64  # 128 s one after another
    assert server.most_in_flight > 200


def test_the_cap_holds_over_threads(server: LMServer) -> None:
    server.delay_s = 0.05
    lm = lean(server, limits=limits(concurrency=3))
    threads = [threading.Thread(target=lm.complete, args=(asks(),)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.exchanges) == 12
    assert server.most_in_flight == 3


def test_one_failure_leaves_the_other_answers(server: LMServer) -> None:
    server.plan(None, "400", None)
    outcomes = lean(server, limits=limits(concurrency=1)).complete_many([asks()] * 3)
    assert texts(outcomes) == ["Certainly.", "PermanentLMError", "Certainly."]


def test_time_in_the_queue_is_no_part_of_the_deadline(server: LMServer) -> None:
    server.delay_s = 0.1
    lm = lean(server, limits=limits(concurrency=1, deadline_s=0.5))
    assert texts(lm.complete_many([asks()] * 10)) == ["Certainly."] * 10


def test_the_deadline_counts_over_all_attempts(server: LMServer) -> None:
    server.faults = Faults(rate=1.0, kinds=["hang"])
    lm = lean(server, limits=limits(deadline_s=1.0, attempt_timeout_s=0.3, max_attempts=99))
    begun = time.monotonic()
    with pytest.raises(DeadlineError, match="within 1 s, in"):
        lm.complete(asks())
    assert time.monotonic() - begun < SOON_S


def test_a_wait_beyond_the_deadline_is_not_begun(server: LMServer) -> None:
    server.faults = Faults(retry_after_s=30.0)
    server.plan("429_retry_after")
    begun = time.monotonic()
    with pytest.raises(DeadlineError, match="HTTP 429"):
        lean(server, limits=limits(deadline_s=5.0)).complete(asks())
    assert time.monotonic() - begun < SOON_S


def test_a_provider_cannot_ask_for_more_than_the_longest_wait(server: LMServer) -> None:
    server.faults = Faults(retry_after_s=86_400.0)
    server.plan("429_retry_after")
    response = lean(server, limits=limits(max_retry_after_s=0.2)).complete(asks())
    assert 0.2 <= response.latency_s < SOON_S


def test_an_interrupted_wait_cancels_what_is_under_way(server: LMServer) -> None:
    code = (
        "import os, signal, sys, threading, time\n"
        "from agent_gym_env.lm.aiohttp_client import local_client\n"
        "from agent_gym_env.lm.base import Request\n"
        "lm = local_client('any', sys.argv[1])\n"
        "interrupt = lambda: os.kill(os.getpid(), signal.SIGINT)\n"
        "threading.Timer(0.5, interrupt).start()\n"
        "try:\n"
        "    lm.complete_many([Request([{'role': 'user', 'content': 'x'}])] * 3)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    server.delay_s = 120.0
    begun = time.monotonic()
    done = _python(code, server.openai_base)
    assert done.stdout == "interrupted\n"
    assert done.stderr == ""
    assert time.monotonic() - begun < SOON_S


def test_a_client_that_nobody_closes_says_nothing_at_exit(server: LMServer) -> None:
    code = (
        "import sys\n"
        "from agent_gym_env.lm.aiohttp_client import local_client\n"
        "from agent_gym_env.lm.base import Request\n"
        "lm = local_client('any', sys.argv[1])\n"
        "print(lm.complete(Request([{'role': 'user', 'content': 'x'}])).text)\n"
    )
    done = _python(code, server.openai_base)
    assert (done.stdout, done.stderr) == ("Certainly.\n", "")


def test_a_client_that_is_forgotten_closes_its_connections(server: LMServer) -> None:
    lm = lean(server)
    lm.complete(asks())
    finalizer = lm._finalizer
    del lm
    gc.collect()
    assert not finalizer.alive


def test_a_client_may_be_forgotten_while_the_loop_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finalizer runs anywhere: here while the thread begins, in both threads."""
    background, closed = BackgroundLoop(), []

    async def close() -> None:
        closed.append(threading.get_ident())

    class Thread(threading.Thread):
        def start(self) -> None:
            background.finish(close)
            super().start()

        def _set_ident(self) -> None:  # the first call of a new thread
            super()._set_ident()  # type: ignore[misc]
            background.finish(close)

    async def answer() -> str:
        return "done"

    monkeypatch.setattr("agent_gym_env.lm.client.threading.Thread", Thread)
    answers: list[str] = []
    asking = Thread(target=lambda: answers.append(background.run(answer())), daemon=True)
    asking.start()
    asking.join(60)
    assert answers == ["done"]
    assert closed == []  # nothing can have been opened before the loop ran
    background.finish(close)
    assert closed == [background._thread and background._thread.ident]


def test_closing_twice_is_fine_and_without_a_call_too(server: LMServer) -> None:
    lm = lean(server)
    lm.close()
    lm.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_asks_on_a_loop_of_its_own(server: LMServer) -> None:
    lm = lean(server)
    lm.complete(asks())
    child = multiprocessing.get_context("fork").Process(target=lm.complete, args=(asks(),))
    child.start()
    child.join(timeout=PROCESS_S)
    assert child.exitcode == 0
    assert len(server.exchanges) == 2
    assert lm.complete(asks()).text == "Certainly."


# Budget


def test_a_budget_in_calls_stops_at_its_last_call(server: LMServer) -> None:
    lm = lean(server, budget=Budget(calls=3))
    outcomes = lm.complete_many([asks()] * 5)
    assert sorted(texts(outcomes)) == ["BudgetExceeded"] * 2 + ["Certainly."] * 3
    assert len(server.exchanges) == 3


def test_attempts_that_fail_count_as_calls(server: LMServer) -> None:
    server.plan("500", "500", "500")
    with pytest.raises(BudgetExceeded, match="all 2 calls"):
        lean(server, budget=Budget(calls=2)).complete(asks())
    assert len(server.exchanges) == 2


def test_a_budget_in_dollars_is_passed_by_no_more_than_was_underestimated(
    server: LMServer,
) -> None:
    server.delay_s = 0.02
    budget = Budget(usd=1000.0)
    lm = lean(server, budget=budget)
    outcomes = lm.complete_many([asks(max_tokens=5)] * 200)
    answered = [outcome for outcome in outcomes if isinstance(outcome, Response)]
    assert all(isinstance(o, BudgetExceeded) for o in outcomes if o not in answered)
    cost = sum(response.cost_usd or 0.0 for response in answered)
    assert budget.spent.cost_usd == pytest.approx(cost)
    assert 900.0 < cost <= 1000.0


def test_two_clients_share_a_budget(server: LMServer) -> None:
    budget = Budget(calls=3)
    first, second = lean(server, budget=budget), lean(server, budget=budget)
    first.complete_many([asks()] * 2)
    second.complete(asks())
    with pytest.raises(BudgetExceeded):
        first.complete(asks())


# The key's circuit breaker


def test_ten_refused_keys_in_a_row_stop_everything(server: LMServer) -> None:
    lm = lean(server)
    server.faults = Faults(rate=1.0, kinds=["401"])
    for _ in range(10):
        with pytest.raises(PermanentLMError, match="HTTP 401"):
            lm.complete(asks())
    server.faults = Faults()
    with pytest.raises(CircuitOpenError, match="refused the key 10 times"):
        lm.complete(asks())
    assert len(server.exchanges) == 10


def test_an_answer_between_refused_keys_starts_the_count_again(server: LMServer) -> None:
    lm = lean(server)
    server.plan(*["401"] * 9, None, *["401"] * 9, None)
    outcomes = [lm.complete_many([asks()])[0] for _ in range(20)]
    assert texts(outcomes)[9::10] == ["Certainly."] * 2


# The cache


def test_a_second_run_is_answered_from_the_cache(server: LMServer, tmp_path: Path) -> None:
    requests = [asks(str(number)) for number in range(20)]
    first = lean(server, cache=tmp_path).complete_many(requests)
    lm = lean(server, cache=tmp_path)
    second = lm.complete_many(requests)
    assert texts(second) == texts(first)
    assert len(server.exchanges) == 20
    assert lm.budget.spent.calls == 0
    for response in second:
        assert isinstance(response, Response)
        assert (response.cached, response.attempts, response.cost_usd) == (True, 0, 0.0)
        assert response.usage == Usage()


@pytest.mark.parametrize(
    "other",
    [
        asks("Hello!"),
        asks(temperature=0.5),
        asks(max_tokens=5),
        asks(seed=1),
        asks(sample=1),
        asks(extra={"top_k": 3}),
        asks(response_format={"type": "object"}),
        asks(tools=[{"type": "function", "function": {"name": "f"}}]),
    ],
)
def test_another_request_is_another_entry(server: LMServer, tmp_path: Path, other: Request) -> None:
    lm = lean(server, cache=tmp_path)
    lm.complete(asks())
    assert not lm.complete(other).cached


def test_another_model_is_another_entry(server: LMServer, tmp_path: Path) -> None:
    for model in ("one", "two"):
        lm = local_client(model, server.openai_base, cache=tmp_path, limits=FAST)
        assert not lm.complete(asks()).cached


def test_equal_requests_at_once_are_one_call(server: LMServer, tmp_path: Path) -> None:
    server.delay_s = 0.1
    outcomes = lean(server, cache=tmp_path).complete_many([asks()] * 30)
    assert texts(outcomes) == ["Certainly."] * 30
    assert len(server.exchanges) == 1
    costs = [outcome.cost_usd for outcome in outcomes if isinstance(outcome, Response)]
    assert sum(cost is not None and cost > 0 for cost in costs) == 1


def test_a_failure_is_not_kept(server: LMServer, tmp_path: Path) -> None:
    lm = lean(server, cache=tmp_path)
    server.plan("400")
    assert texts(lm.complete_many([asks()])) == ["PermanentLMError"]
    assert lm.complete(asks()).text == "Certainly."


_ASKER = """
import sys
from pathlib import Path
from agent_gym_env.lm.aiohttp_client import local_client
from agent_gym_env.lm.base import Request
lm = local_client("any", sys.argv[1], cache=Path(sys.argv[2]))
for number in range(25):
    request = Request([{"role": "user", "content": f"question {number}"}])
    assert lm.complete(request).text == f"answer to question {number}"
"""


def test_eight_processes_share_a_cache(server: LMServer, tmp_path: Path) -> None:
    server.agent = lambda request: f"answer to {request.last['content']}"
    command = [sys.executable, "-c", _ASKER, server.openai_base, str(tmp_path)]
    processes = [subprocess.Popen(command, cwd=ROOT) for _ in range(8)]
    assert [process.wait(timeout=PROCESS_S) for process in processes] == [0] * 8
    made = len(server.exchanges)
    assert 25 <= made <= 200
    assert subprocess.run(command, cwd=ROOT).returncode == 0
    assert len(server.exchanges) == made
    assert not list(tmp_path.rglob("*.unfinished"))


# Faults in any mix


@pytest.mark.parametrize("seed", range(3))
def test_under_any_faults_every_call_ends_and_is_billed_once(seed: int) -> None:
    faults = Faults(rate=0.6, kinds=(*FAULTS, "400", "404"), seed=seed, hang_s=5.0)
    faults.retry_after_s = 0.01
    with LMServer(faults=faults) as server:
        lm = lean(server, limits=limits(attempt_timeout_s=1.5, deadline_s=15.0, concurrency=64))
        begun = time.monotonic()
        outcomes = lm.complete_many([asks(str(number)) for number in range(200)])
        assert time.monotonic() - begun < 4 * (15.0 + SOON_S)
        billed = [e.billed for e in server.exchanges if e.billed and e.fault != "drip"]
        wire = len(server.exchanges)
    assert len(outcomes) == 200
    kinds = (Response, TransientLMError, PermanentLMError, DeadlineError)
    assert all(isinstance(outcome, kinds) for outcome in outcomes)
    assert lm.budget.spent.calls == wire
    assert lm.budget.spent.prompt_tokens == sum(b.prompt for b in billed)
    assert lm.budget.spent.completion_tokens == sum(b.completion for b in billed)
    assert lm.budget.spent.cost_usd == sum(b.prompt + 2 * b.completion for b in billed)


def _python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=PROCESS_S,
    )  # fmt: skip
