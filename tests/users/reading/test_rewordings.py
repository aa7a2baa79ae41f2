"""The acts oracle in the words of somebody who has not seen the reader."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from agent_gym_env.corpus.goals import turn_kind
from agent_gym_env.corpus.sgd import Slot
from agent_gym_env.envs.sgd_sim import SGDSimEnv
from agent_gym_env.policies.acts_oracle import ActsOraclePolicy
from agent_gym_env.retrieval.tokens import identifier_words
from agent_gym_env.types import DialogueAct
from agent_gym_env.users.agent_turn import read_acts
from agent_gym_env.users.own_phrases import spoken

REWORDINGS: dict[str, list[str]] = json.loads(
    Path(__file__).with_name("rewordings.json").read_text(encoding="utf-8")
)


class Reworded:
    """Words acts by templates that are drawn at random."""

    def __init__(self) -> None:
        self._draws = random.Random(0)

    def __call__(
        self, acts: Sequence[DialogueAct], slots: Mapping[str, Slot], intent: str, found: int
    ) -> str:
        kind = turn_kind({act.act for act in acts})
        fields = {"intent": _intent(intent), "found": str(max(found, 1)), **_fields(acts)}
        text = self._draws.choice(REWORDINGS[kind]).format(**fields)
        if kind in ("success", "counter") and fields.get("answer"):
            text += " " + self._draws.choice(REWORDINGS["inform"]).format(**fields)
        return text


def _intent(intent: str) -> str:
    return " ".join(identifier_words(intent)) or "do that"


def _fields(acts: Sequence[DialogueAct]) -> dict[str, str]:
    """Return what the templates' fields say."""

    def values(kind: str) -> dict[str, str]:
        return {act.slot: spoken(act.value) for act in acts if act.act == kind}

    asked = [act.slot.replace("_", " ") for act in acts if act.act == "REQUEST"]
    row = values("OFFER")
    naming = [slot for slot in row if "name" in slot or "title" in slot] or list(row)[:1]
    rest = [slot for slot in row if slot not in naming and row[slot] not in ("yes", "no")][:3]
    facts = {**{slot: row[slot] for slot in rest}, **values("INFORM")}
    fields = {
        "slots": " and ".join([", ".join(asked[:-1]), asked[-1]] if asked[1:] else asked),
        "name": row[naming[0]] if naming else "",
        "facts": _clauses(facts, "the {} is {}") or "it fits",
        "details": _clauses(values("CONFIRM") or row, "{}: {}"),
        "answer": _clauses(values("INFORM"), "the {} is {}"),
    }
    proposed = [act.value for act in acts if act.act == "OFFER_INTENT"]
    return {**fields, "intent": _intent(proposed[0])} if proposed else fields


def _clauses(values: Mapping[str, str], form: str) -> str:
    return ", ".join(form.format(s.replace("_", " "), value) for s, value in values.items())


def _play(env: SGDSimEnv, dialogue_id: str, counts: Counter[str]) -> None:
    policy = ActsOraclePolicy(env, wording=Reworded())
    policy.reset()
    observation, _ = env.reset(options={"dialogue_id": dialogue_id})
    over = False
    while not over:
        action = policy.act(observation)
        rows, today = env.simulation.user_state.rows, env.simulation.task.date
        right = read_acts(action.acts, rows, today).kind
        observation, _, over, _, info = env.step(action)
        if action.text:
            read = env.simulation.agent_turn
            counts["turns"] += 1
            counts["misread"] += read is not None and read.kind not in (right, "none")
    counts["dialogues"] += 1
    counts["successes"] += info["task"]["success"]


def _shares(env: SGDSimEnv, count: int) -> tuple[float, float]:
    """Return the shares of successes, and of turns that are taken for another kind."""
    ids = env.split.dialogue_ids()
    chosen = random.Random(0).sample([ids[i] for i in env.selected], min(count, len(ids)))
    counts: Counter[str] = Counter()
    for dialogue_id in chosen:
        _play(env, dialogue_id, counts)
    return counts["successes"] / counts["dialogues"], counts["misread"] / counts["turns"]


def test_there_are_forty_rewordings_of_each_kind_of_turn() -> None:
    assert all(len(set(templates)) >= 40 for templates in REWORDINGS.values())


@pytest.mark.parametrize("split", ["dev", "test"])
def test_on_the_sample_corpus(split: str) -> None:
    success, misread = _shares(SGDSimEnv(split=split), 52)
    print(f"{split}: success {success:.4f}, misread {misread:.4f}")
    assert success >= 0.9
    assert misread <= 0.03


@pytest.mark.long
@pytest.mark.parametrize("split", ["dev", "test"])
def test_on_sgd(sgd_path: Path, split: str) -> None:
    """Success of at least 95 %, with at most 0.5 % of the turns misread."""
    success, misread = _shares(SGDSimEnv(str(sgd_path), split), 150)
    print(f"{split}: success {success:.4f}, misread {misread:.4f}")
    assert success >= 0.95
    assert misread <= 0.005
