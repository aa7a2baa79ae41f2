"""One optimisation: baseline, search, the same turns again, files."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from agent_gym_env import __version__
from agent_gym_env.corpus.corpus import Corpus, open_corpus
from agent_gym_env.extras import require
from agent_gym_env.lm.base import LanguageModel
from agent_gym_env.optimization.dspy_examples import (
    Stage,
    TurnProgram,
    choose_turns,
    program_of,
)
from agent_gym_env.optimization.dspy_metric import TurnMetric
from agent_gym_env.optimization.dspy_proposals import ProposalAdapter
from agent_gym_env.optimization.dspy_strategies import Search, check_libraries, optimize
from agent_gym_env.optimization.event_log import EventLog
from agent_gym_env.optimization.events import (
    Finished,
    Phase,
    PhaseBegan,
    ProgramScored,
    Started,
    TurnScored,
)
from agent_gym_env.optimization.held_out import paired, score_held_out
from agent_gym_env.optimization.hush import hushed
from agent_gym_env.optimization.meter import Meter, MeteredLM, MeteredReward
from agent_gym_env.optimization.result import (
    HeldOutScore,
    OptimizationResult,
    Turns,
    improvement_pct,
)
from agent_gym_env.optimization.settings import Settings
from agent_gym_env.policies.dspy_module import SGDAgentModule, load_program, save_program
from agent_gym_env.policies.dspy_program import DSPyPolicy
from agent_gym_env.rewards.base import Reward
from agent_gym_env.rewards.presets import make_reward_for

require("dspy", extra="dspy")

import dspy  # noqa: E402  (`require` first says where it comes from)
from dspy.utils.callback import BaseCallback  # noqa: E402

from agent_gym_env.lm.dspy_engine import DSPyLM  # noqa: E402

_LIBRARIES = ("dspy", "optuna", "gepa", "numpy", "msgspec")


class DSPyRun:
    """The models, turns and meters of one optimisation.

    Args:
        settings: of the run.
        reward: as in `SGDEnv`.
        model: that the program asks.
        prompt_model: that writes instructions.
        meter: of the run.
        log: of the run.
    """

    def __init__(
        self,
        settings: Settings,
        reward: str | Mapping[str, Any] | Reward,
        model: LanguageModel,
        prompt_model: LanguageModel,
        *,
        meter: Meter,
        log: EventLog,
    ) -> None:
        check_libraries(settings.strategy)
        corpus = open_corpus(settings.data_path, schema_variant=settings.schema_variant)
        self.turns = split_turns(corpus, settings)
        self._settings = settings
        self._train, self._held_out = (
            _stage(corpus, split, reward, meter)
            for split in (self.turns.train_split, self.turns.held_out_split)
        )
        self._model = MeteredLM(model, meter)
        self._prompt_model = MeteredLM(prompt_model, meter)
        self._meter = meter
        self._log = log

    def run(self, program_path: Path, result_path: Path) -> OptimizationResult:
        """Optimise, measure, and write both files."""
        path = self._settings.program
        initial = SGDAgentModule() if path is None else load_program(path)
        self._log.tell(
            Started,
            strategy=self._settings.strategy,
            model=self._model.name,
            reward=self._train.reward.name,
            train_turns=len(self.turns.train),
            validation_turns=len(self.turns.validation),
            held_out_turns=len(self.turns.held_out),
        )
        baseline = self._measure(initial, "baseline")
        program = self._search(initial)
        optimized = self._measure(program, "optimized")
        improvement = improvement_pct(baseline.reward.mean, optimized.reward.mean)
        result = OptimizationResult(
            strategy=self._settings.strategy,
            baseline=baseline,
            optimized=optimized,
            difference=paired(optimized, baseline, self._settings.seed),
            improvement_pct=improvement,
            initial_prompt=initial.instructions,
            optimized_prompt=program.instructions,
            few_shot_demos=tuple(program.demos),
            events=tuple(self._log.events),
            counts=self._meter.counts,
            turns=self.turns,
            settings=msgspec.to_builtins(self._settings),
            versions=_versions(),
            program_path=str(program_path),
            duration_s=self._log.elapsed_s,
        )
        save_program(program, program_path)
        result.save(result_path)
        self._log.tell(
            Finished,
            baseline=baseline.reward.mean,
            optimized=optimized.reward.mean,
            improvement_pct=improvement,
            program_path=str(program_path),
            result_path=str(result_path),
        )
        return result

    def _measure(self, program: SGDAgentModule, phase: Phase) -> HeldOutScore:
        """Score a program on the held-out turns."""
        self._log.tell(PhaseBegan, phase=phase)
        return score_held_out(
            DSPyPolicy(program, self._model, temperature=self._settings.temperature),
            self._held_out,
            self.turns.held_out,
            threads=self._settings.threads,
            seed=self._settings.seed,
            on_turn=partial(self._tell_turn, phase),
        )

    def _search(self, program: SGDAgentModule) -> SGDAgentModule:
        """Look for a better program."""
        self._log.tell(PhaseBegan, phase="search")
        settings = self._settings
        search = Search(
            student=TurnProgram(program.deepcopy(), self._train),
            train=[self._train.example(turn) for turn in self.turns.train],
            validation=[self._train.example(turn) for turn in self.turns.validation],
            metric=TurnMetric(self._meter, partial(self._tell_turn, "search")),
            prompt_lm=DSPyLM(self._prompt_model, temperature=settings.temperature),
            forget=self._prompt_model.forget_last,
            seed=settings.seed,
            threads=settings.threads,
            effort=settings.effort,
            options=settings.options,
        )
        context = dspy.context(
            lm=DSPyLM(self._model, temperature=settings.temperature),
            adapter=ProposalAdapter(),
            callbacks=[_ProgramWatch(self._log), _ProposalWatch(self._prompt_model)],
            disable_history=True,
        )
        with hushed(), context:
            return program_of(optimize(settings.strategy, search))

    def _tell_turn(self, phase: Phase, turn: str, reward: float | None) -> None:
        counts = self._meter.counts
        self._log.tell(
            TurnScored,
            phase=phase,
            turn=turn,
            reward=reward,
            calls=counts.calls,
            cost_usd=counts.cost_usd,
        )


def split_turns(corpus: Corpus, settings: Settings) -> Turns:
    """Choose the turns that a run learns from, chooses by and is measured on.

    Raises:
        DataError: the corpus does not have a split.
        ValueError: a split has not as many turns as are asked for.
    """
    train = corpus.split(settings.split)
    others = (name for name in ("dev", "test") if name in corpus.splits() and name != train.name)
    held_out = corpus.split(settings.held_out_split or next(others, train.name))
    counts = (settings.num_train, settings.num_validation)
    if held_out.name == train.name:
        chosen = choose_turns(train, (*counts, settings.num_held_out), settings.seed)
    else:
        chosen = choose_turns(train, counts, settings.seed)
        chosen += choose_turns(held_out, (settings.num_held_out,), settings.seed)
    return Turns(
        train=tuple(chosen[0]),
        validation=tuple(chosen[1]),
        held_out=tuple(chosen[2]),
        train_split=train.name,
        held_out_split=held_out.name,
        corpora={split.name: split.fingerprint for split in (train, held_out)},
    )


def _stage(
    corpus: Corpus, split: str, reward: str | Mapping[str, Any] | Reward, meter: Meter
) -> Stage:
    opened = corpus.split(split)
    return Stage(opened, MeteredReward(make_reward_for(reward, opened, corpus), meter))


def _versions() -> dict[str, str]:
    libraries = {name: version(name) for name in _LIBRARIES}
    return {"agent_gym_env": __version__, "python": platform.python_version(), **libraries}


class _ProgramWatch(BaseCallback):  # type: ignore[misc]  # dspy is untyped
    """Tells what DSPy's evaluations of programs come to."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._programs: dict[str, TurnProgram] = {}

    def on_evaluate_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._programs[call_id] = inputs["program"]

    def on_evaluate_end(
        self, call_id: str, outputs: Any, exception: BaseException | None = None
    ) -> None:
        program = self._programs.pop(call_id)
        if outputs is None:
            return
        agent = program_of(program)
        self._log.tell(
            ProgramScored,
            reward=outputs.score / 100,
            turns=len(outputs.results),
            instructions=agent.instructions,
            demos=len(agent.demos),
        )


class _ProposalWatch(BaseCallback):  # type: ignore[misc]  # dspy is untyped
    """Lets an answer of the model that writes instructions be forgotten if it cannot be parsed.

    What the program's model answers is kept: a form that cannot be parsed is the program's fault,
    and was scored.
    """

    def __init__(self, prompt_model: MeteredLM) -> None:
        self._prompt_model = prompt_model

    def on_adapter_parse_end(
        self, call_id: str, outputs: Any, exception: BaseException | None = None
    ) -> None:
        if exception is not None:
            self._prompt_model.forget_last()
