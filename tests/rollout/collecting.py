"""Players that other processes can make, and what they have collected."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import msgspec

from agent_gym_env.assembly import choose_dialogues, make_env, make_policy
from agent_gym_env.lm.base import Request, Response
from agent_gym_env.lm.scripted import ScriptedLM
from agent_gym_env.policies.base import Policy
from agent_gym_env.policies.llm import LLMPolicy
from agent_gym_env.rollout.collection import Collection
from agent_gym_env.rollout.framing import is_whole
from agent_gym_env.rollout.job_player import Env, JobPlayer
from agent_gym_env.types import Usage

CALL = '<tool_call>{"name": "Teas_1-FindTea", "arguments": {"kind": "green"}}</tool_call>'


def collection(corpus: Path, *policies: str, jobs: int = 6, **options: Any) -> Collection:
    """Say what to collect of a corpus; ``model`` is the policy below."""
    world = {"corpus": str(corpus), "reward": "balanced"}
    named = tuple({"name": name} for name in policies or ("model",))
    return Collection(policies=named, world=world, corpus="0" * 64, jobs=jobs, **options)


def open_player(collection: Collection) -> JobPlayer:
    """Make a player as `agent_gym_env.assembly.open_player` does, which also knows ``model``."""
    env = make_env(**collection.world)

    def open_policies(env: Env) -> list[Policy]:
        configs = [*collection.policies, collection.path]
        return [
            model_policy() if config["name"] == "model" else make_policy(config, env)
            for config in configs
        ]

    dialogues = choose_dialogues(env, collection.dialogues, collection.seed)
    return JobPlayer(collection, dialogues, lambda: make_env(**collection.world), open_policies)


def model_policy() -> LLMPolicy:
    """Make a policy that can be asked about several conversations, and asks what a seed decides."""
    return LLMPolicy(ScriptedLM(_reply), send_seed=True)


def _reply(request: Request) -> Response:
    drawn = zlib.crc32(repr((request.seed, len(request.messages))).encode())
    text = CALL if drawn % 3 == 0 else f"There is Sencha {drawn % 7}."
    return Response(text, usage=Usage(10, drawn % 5), cost_usd=0.5)


def records(folder: Path) -> dict[tuple[int, int], dict[str, Any]]:
    """Read what is in a journal, by job and part, without what differs between equal runs."""
    found = {}
    for path in sorted(folder.glob("*-*.jsonl")):
        for line in path.read_bytes().splitlines():
            assert is_whole(line)
            record = msgspec.json.decode(line)
            for differs in ("crc", "duration_s"):
                record.pop(differs, None)
            place = record["job"], record.get("part", 0)
            assert place not in found
            found[place] = record
    return found
