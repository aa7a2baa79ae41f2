"""Players that other processes can create, and reading what they have collected."""

from __future__ import annotations

import itertools
import os
import signal
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from agent_gym_env.assembly import choose_dialogues, make_env, make_policy
from agent_gym_env.errors import BudgetExceeded, LMError, PermanentLMError
from agent_gym_env.lm.base import Request, Response
from agent_gym_env.policies.base import Policy
from agent_gym_env.policies.llm import LLMPolicy
from agent_gym_env.rollout.jobs import Collection, Env, JobPlayer
from agent_gym_env.rollout.journal.format import is_whole
from agent_gym_env.types import Usage

CALL = '<tool_call>{"name": "Teas_1-FindTea", "arguments": {"kind": "green"}}</tool_call>'


def collection(
    corpus: Path, *policies: str, jobs: int = 6, model: dict[str, Any] | None = None, **options: Any
) -> Collection:
    """Configure a collection.

    Args:
        corpus: path of a corpus in SGD's format.
        *policies: names of policies; ``model`` is `model_policy`, and the default.
        jobs: number of jobs.
        model: arguments of `model_policy`.
        **options: options of `Collection`.
    """
    world = {"corpus": str(corpus), "reward": "balanced"}
    named = [{"name": name} for name in policies or ("model",)]
    configs = tuple(each | (model or {}) if each["name"] == "model" else each for each in named)
    return Collection(policies=configs, world=world, corpus="0" * 64, jobs=jobs, **options)


def open_player(collection: Collection) -> JobPlayer:
    """Create a player like `agent_gym_env.assembly.open_player`, which also knows ``model``."""
    env = make_env(**collection.world)

    def open_policies(env: Env) -> list[Policy]:
        return [_policy(config, env) for config in (*collection.policies, collection.path)]

    dialogues = choose_dialogues(env, collection.dialogues, collection.seed)
    return JobPlayer(collection, dialogues, lambda: make_env(**collection.world), open_policies)


def _policy(config: Mapping[str, Any], env: Env) -> Policy:
    if config["name"] != "model":
        return make_policy(config, env)
    return model_policy(**{name: value for name, value in config.items() if name != "name"})


def model_policy(
    *,
    fails_on: str | None = None,
    dies_on: str | None = None,
    stops_after: int | None = None,
    delay_s: float = 0.0,
) -> LLMPolicy:
    """Create a policy that takes batches and whose actions follow from the seed.

    Args:
        fails_on: words of the user after which the model refuses.
        dies_on: words of the user after which the process dies.
        stops_after: number of answers within the budget.
        delay_s: seconds before each answer.
    """
    asked = itertools.count()

    def reply(request: Request) -> Response | LMError:
        if delay_s:
            time.sleep(delay_s)
        last = request.messages[-1]["content"]
        if stops_after is not None and next(asked) >= stops_after:
            return BudgetExceeded("all is spent")
        if last == fails_on:
            return PermanentLMError("refused")
        if last == dies_on:
            os.kill(os.getpid(), signal.SIGKILL)
        drawn = zlib.crc32(repr((request.seed, len(request.messages))).encode())
        text = CALL if drawn % 3 == 0 else f"There is Sencha {drawn % 7}."
        return Response(text, usage=Usage(10, drawn % 5), cost_usd=0.5)

    return LLMPolicy(_Model(reply), send_seed=True)


class _Model:
    """Answers by a function; unlike `ScriptedLM` it does not keep the requests."""

    name = "scripted"

    def __init__(self, reply: Callable[[Request], Response | LMError]) -> None:
        self._reply = reply

    def complete(self, request: Request) -> Response:
        answer = self._reply(request)
        if isinstance(answer, LMError):
            raise answer
        return answer

    def complete_many(self, requests: Sequence[Request]) -> list[Response | LMError]:
        return [self._reply(request) for request in requests]

    def close(self) -> None:
        """Release nothing: the model holds no resources."""


def records(folder: Path, *, torn: bool = False) -> dict[tuple[int, int], dict[str, Any]]:
    """Read the records of a journal by job and part, without fields that differ between equal runs.

    Args:
        folder: folder of the journal.
        torn: true if the last line may be unfinished.
    """
    found = {}
    for path in sorted(folder.glob("*-*.jsonl")):
        for line in path.read_bytes().splitlines(keepends=True):
            if torn and not line.endswith(b"\n"):
                continue
            assert is_whole(line)
            record = msgspec.json.decode(line)
            for differs in ("crc", "duration_s"):
                record.pop(differs, None)
            place = record["job"], record.get("part", 0)
            assert place not in found
            found[place] = record
    return found
