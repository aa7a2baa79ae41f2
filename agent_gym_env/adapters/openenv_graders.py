"""Graders for ``openenv validate``: our ``verify`` and ``audit``, in OpenEnv's terms.

They grade packages that have an ``environment.json`` with ``env_id`` and ``arguments``. A package
declares them under the entry-point group ``openenv.validation.graders``.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

from agent_gym_env.assembly import choose_dialogues, rollout
from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.extras import require
from agent_gym_env.reward_audit.audit import audit
from agent_gym_env.reward_audit.verify import verify
from agent_gym_env.server.session import Session

require("openenv", extra="openenv")

from openenv.validation import (  # noqa: E402  (`require` names the extra if it is missing)
    CheckResult,
    CheckStatus,
    Level,
    NormalizedManifest,
    ProviderCapability,
    Subject,
)

CONFIG_NAME = "environment.json"

EPISODES = 50
"""Largest number of dialogues that a grader plays."""

_EPISODE_STEPS = 200

_LEAST_GAP = 0.01


class _Finding(NamedTuple):
    """Findings of a grader: figures, and problems, empty if there are none."""

    measured: dict[str, Any]
    problems: list[str]
    evidence: str


class _Package(NamedTuple):
    """The package under examination: its folder, its declarations, and its environment."""

    root: Path
    manifest: NormalizedManifest
    session: Session
    env: SGDEnv

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of its environment."""
        arguments: dict[str, Any] = _config(self.root)["arguments"]
        return arguments


class _Grader:
    """A grader of a package with recorded dialogues."""

    check_id: str
    level = Level.SEMANTIC
    requires_capabilities: frozenset[str] = frozenset()
    requires_provider: frozenset[ProviderCapability] = frozenset()
    depends_on: tuple[str, ...] = ("static.manifest",)
    remedy: str

    def examine(self, package: _Package) -> _Finding:
        """Examine a package."""
        raise NotImplementedError

    def applies_to(self, manifest: NormalizedManifest) -> bool:
        """Return whether the package has a tag of ours."""
        return "task-oriented-dialogue" in manifest.types.tags

    def run(self, subject: Subject) -> CheckResult:
        """Grade a package."""
        begin = time.monotonic()
        session = Session(**_config(subject.root))
        env = session.env
        if not isinstance(env, SGDEnv):
            status, measured, problems = (
                CheckStatus.SKIP,
                {},
                ["only recorded dialogues are graded"],
            )
        else:
            found = self.examine(_Package(subject.root, subject.manifest, session, env))
            status = CheckStatus.FAIL if found.problems else CheckStatus.PASS
            measured, problems = found.measured, found.problems or [found.evidence]
        return CheckResult(
            check_id=self.check_id,
            status=status,
            measured=measured,
            evidence=problems[:20],
            remediation=f"see {self.remedy}" if status is CheckStatus.FAIL else None,
            duration_s=time.monotonic() - begin,
        )


def _config(root: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((root / CONFIG_NAME).read_text("utf-8"))
    return config


class OracleMaxGrader(_Grader):
    """Plays the recording: every turn must earn the highest reward, as for ``agent-gym verify``."""

    check_id = "semantic.oracle_max"
    remedy = "agent-gym verify"

    def examine(self, package: _Package) -> _Finding:
        """Play the oracle and list the turns below the highest reward."""
        env = package.env
        played = rollout("oracle", episodes=EPISODES, **package.arguments)
        verified = verify(played, [env.settings.reward])
        short = [
            f"{turn.dialogue_id} turn {turn.turn}: {turn.value} ({turn.reason})"
            for turn in verified.short
            if turn.value is None or turn.value < 1.0 - package.manifest.reward.oracle_tolerance
        ]
        measured = {
            "dialogues": verified.dialogues,
            "turns": verified.turns,
            "turns_below": len(short),
        }
        return _Finding(measured, short, f"the oracle earns 1 in all {verified.turns} turns")


class CanaryFloorGrader(_Grader):
    """Plays every known exploit and the package's canaries: each must stay below the maximum.

    An exploit must earn ``floor_margin`` less than the maximum in the mean. Those that say the
    words of the recording, such as a shuffled recording, must earn less than the maximum. A canary
    must not earn more than its file allows.
    """

    check_id = "semantic.canary_floor"
    requires_capabilities = frozenset({"canaries"})
    remedy = "agent-gym audit"

    def examine(self, package: _Package) -> _Finding:
        """Play exploits and canaries, and list those that earn too much."""
        env, reward = package.env, package.manifest.reward
        settings = env.settings.reward
        ids = choose_dialogues(env, EPISODES, 0)
        rows = audit(env.split, [settings], ids).rows
        means = {row.name: row.scores[settings.name].reward.mean or 0.0 for row in rows}
        del means["oracle"]
        highest = reward.range[1]
        problems = []
        for name, mean in means.items():
            knows_the_words = name.startswith("target")
            most = highest - (_LEAST_GAP if knows_the_words else reward.floor_margin)
            if mean > most:
                problems.append(_too_much(name, mean, most))
        canaries = json.loads(
            (package.root / str(package.manifest.capabilities.canaries)).read_text("utf-8")
        )
        allowed = canaries["max_mean_reward"]
        earned = {each["name"]: _canary(package.session, each) for each in canaries["trajectories"]}
        problems += [_too_much(n, mean, allowed) for n, mean in earned.items() if mean > allowed]
        measured = {"exploits": means, "canaries": earned}
        evidence = (
            f"{len(means)} exploits and {len(earned)} canaries earn too little to be worth it"
        )
        return _Finding(measured, problems, evidence)


def _too_much(name: str, mean: float, most: float) -> str:
    return f"{name!r} earns {mean:.3f} a turn; at most {most:.3f} is allowed"


def _canary(session: Session, canary: dict[str, Any]) -> float:
    """Play a canary's action again and again, and return the mean reward of a step."""
    reply = session.reset(seed=canary["seed"])
    rewards: list[float] = []
    while not reply.over and len(rewards) < _EPISODE_STEPS:
        reply = session.step({"tool_calls": "", **canary["repeated_action"]})
        rewards.append(reply.reward or 0.0)
    return sum(rewards) / len(rewards)
