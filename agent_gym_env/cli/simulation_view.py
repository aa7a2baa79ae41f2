"""Shows a simulated dialogue while it is played, with the user's goal, state and understanding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import gymnasium as gym

from agent_gym_env.corpus.goals import Goal, UserAct
from agent_gym_env.envs.render import lines, printable
from agent_gym_env.envs.sgd_sim import unwrap_simulation
from agent_gym_env.envs.simulation import Simulation
from agent_gym_env.rewards.task import Verdict
from agent_gym_env.users.agent_turn import AgentTurn


class SimulationView(gym.Wrapper[Any, Any, Any, Any]):
    """Prints each turn of a simulated dialogue as it happens.

    It shows what no policy may see. It changes neither observations nor actions.

    Args:
        env: ``SGDSim-v0``, possibly in wrappers.
    """

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Begin a dialogue, and show the goal and the user's first words."""
        observation, info = self.env.reset(seed=seed, options=options)
        simulation = self._simulation
        _show(goal_lines(simulation.goal))
        self._shown = 0
        _show(self._new_lines())
        _show([("acts", acts_text(simulation.user_state.acts))])
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take an action; show it, its meaning to the user, the answer and the user's state."""
        result = self.env.step(action)
        simulation, new = self._simulation, self._new_lines()
        _show(line for line in new if line[0] != "user")
        if simulation.score is not None:
            if simulation.agent_turn is not None:
                _show([("heard", understood_text(simulation.agent_turn))])
            _show(line for line in new if line[0] == "user")
            _show(state_lines(simulation))
        if simulation.over:
            _show(verdict_lines(simulation.verdict))
        return result

    @property
    def _simulation(self) -> Simulation:
        return unwrap_simulation(self).simulation

    def _new_lines(self) -> list[tuple[str, str]]:
        """Return the lines of the conversation that were not returned before."""
        conversation = list(lines(self._simulation.messages))
        new = [(line.speaker, line.text) for line in conversation[self._shown :]]
        self._shown = len(conversation)
        return new


def goal_lines(goal: Goal) -> Iterator[tuple[str, str]]:
    """Yield a line for each errand of a goal."""
    for number, errand in enumerate(goal.errands, start=1):
        wanted = values_text(errand.final or {})
        ending = f", ends in {errand.outcome}" if errand.outcome else ""
        yield "goal", f"{number}. {errand.tool}({wanted}){ending}"


def state_lines(simulation: Simulation) -> Iterator[tuple[str, str]]:
    """Yield the acts of the user's answer and the user's state after it."""
    state = simulation.user_state
    yield "acts", acts_text(state.acts)
    errands = simulation.goal.errands
    waiting = [f"answer about {q.slot}" for q in state.questions if not q.answered]
    waiting += ["another row"] if state.wants_other else []
    parts = [
        f"errand {state.errand + 1} of {len(errands)}, {errands[state.errand].tool}",
        f"patience {state.patience}",
        f"waits for: {', '.join(waiting)}" if waiting else "",
        "agreed to the booking" if state.errand in state.consented else "",
        f"said: {values_text(state.said.get(errands[state.errand].service, {}))}",
    ]
    yield "state", "; ".join(filter(None, parts))


def understood_text(turn: AgentTurn) -> str:
    """Return the meaning of an agent's turn as the user understood it."""
    parts = [
        ", ".join(turn.slots),
        values_text(turn.offered or {}),
        values_text(turn.confirmed),
        values_text(turn.informed),
        turn.intent,
    ]
    return ": ".join([turn.kind, *filter(None, ["; ".join(filter(None, parts))])])


def acts_text(acts: Iterable[UserAct]) -> str:
    """Return a user's acts on one line."""
    return ", ".join(
        " ".join(filter(None, (act.act, act.slot, act.value and repr(act.value)))) for act in acts
    )


def values_text(values: Mapping[str, str]) -> str:
    """Return values by slot on one line."""
    return ", ".join(f"{slot}={value!r}" for slot, value in values.items())


def verdict_lines(verdict: Verdict) -> Iterator[tuple[str, str]]:
    """Yield the verdict on a dialogue."""
    result = "strict success" if verdict.strict else "success" if verdict.success else "no success"
    yield "end", f"{result}, milestones {verdict.milestones:.2f}"
    if verdict.reasons:
        yield "why", ", ".join(verdict.reasons)


def _show(rows: Iterable[tuple[str, str]]) -> None:
    for name, text in rows:
        print(f"{name:>6} │ {printable(text)}", flush=True)
