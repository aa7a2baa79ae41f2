"""One optimisation: measure the baseline, search, measure the result, write the files."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from agent_gym_env import __version__
from agent_gym_env.corpus.corpus import Corpus, open_corpus
from agent_gym_env.errors import LMError
from agent_gym_env.evaluation.evaluate import RESAMPLES
from agent_gym_env.evaluation.rescore import ScoreCheck
from agent_gym_env.evaluation.statistics import (
    Bootstrap,
    ClusterSums,
    Difference,
    paired_difference,
)
from agent_gym_env.extras import require
from agent_gym_env.lm.base import LanguageModel
from agent_gym_env.optimization.dspy_examples import (
    RecordedTurns,
    TurnMetric,
    TurnProgram,
    choose_turns,
    play_turn,
    program_of,
)
from agent_gym_env.optimization.dspy_strategies import (
    ProposalAdapter,
    Search,
    check_libraries,
    optimize,
)
from agent_gym_env.optimization.monitor import (
    EventLog,
    Finished,
    Meter,
    MeteredLM,
    MeteredReward,
    Phase,
    PhaseBegan,
    ProgramScored,
    Started,
    TurnScored,
)
from agent_gym_env.optimization.result import (
    HeldOutScore,
    OptimizationResult,
    Settings,
    Turns,
    improvement_pct,
)
from agent_gym_env.policies.base import Policy
from agent_gym_env.policies.dspy_module import SGDAgentModule, load_program, save_program
from agent_gym_env.policies.dspy_program import DSPyPolicy
from agent_gym_env.process_wide import suppress_output
from agent_gym_env.rewards.base import Reward, Score
from agent_gym_env.rewards.presets import make_reward_for

require("dspy", extra="dspy")

import dspy  # noqa: E402  (`require` names the extra if it is missing)
from dspy.utils.callback import BaseCallback  # noqa: E402

from agent_gym_env.lm.dspy_engine import DSPyLM  # noqa: E402

_COMPONENT = "component/"
_LIBRARIES = ("dspy", "optuna", "gepa", "numpy", "msgspec")


class DSPyRun:
    """The models, turns and meters of one optimisation.

    Args:
        settings: settings of the run.
        model: model of the program.
        prompt_model: model that writes instructions.
        meter: meter of the run.
        log: event log of the run.
    """

    def __init__(
        self,
        settings: Settings,
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
            _recorded_turns(corpus, split, settings.reward, meter)
            for split in (self.turns.train_split, self.turns.held_out_split)
        )
        self._model = MeteredLM(model, meter)
        self._prompt_model = MeteredLM(prompt_model, meter)
        self._meter = meter
        self._log = log

    def run(self, program_path: Path, result_path: Path) -> OptimizationResult:
        """Optimise, measure, and write both files."""
        path = self._settings.program
        initial = SGDAgentModule() if path is None else load_program(Path(path))
        self._log.record(
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
            settings=self._settings.as_json(),
            versions=_versions(),
            program_path=str(program_path),
            duration_s=self._log.elapsed_s,
        )
        save_program(program, program_path)
        result.save(result_path)
        self._log.record(
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
        self._log.record(PhaseBegan, phase=phase)
        return score_held_out(
            DSPyPolicy(program, self._model, temperature=self._settings.temperature),
            self._held_out,
            self.turns.held_out,
            threads=self._settings.threads,
            seed=self._settings.seed,
            on_turn=partial(self._record_turn, phase),
        )

    def _search(self, program: SGDAgentModule) -> SGDAgentModule:
        """Search for a better program."""
        self._log.record(PhaseBegan, phase="search")
        settings = self._settings
        search = Search(
            student=TurnProgram(program.deepcopy(), self._train),
            train=[self._train.example(turn) for turn in self.turns.train],
            validation=[self._train.example(turn) for turn in self.turns.validation],
            metric=TurnMetric(self._meter, partial(self._record_turn, "search")),
            prompt_lm=DSPyLM(self._prompt_model, temperature=settings.temperature),
            forget=self._prompt_model.forget_last,
            seed=settings.seed,
            threads=settings.threads,
            effort=settings.effort,
            options=settings.options or {},
        )
        context = dspy.context(
            lm=DSPyLM(self._model, temperature=settings.temperature),
            adapter=ProposalAdapter(),
            callbacks=[_ProgramWatch(self._log), _ProposalWatch(self._prompt_model)],
            disable_history=True,
        )
        with suppress_output(), context:
            return program_of(optimize(settings.strategy, search))

    def _record_turn(self, phase: Phase, turn: str, reward: float | None) -> None:
        counts = self._meter.counts
        self._log.record(
            TurnScored,
            phase=phase,
            turn=turn,
            reward=reward,
            calls=counts.calls,
            cost_usd=counts.cost_usd,
        )


def split_turns(corpus: Corpus, settings: Settings) -> Turns:
    """Choose the turns to learn from, to compare programs on, and to measure on.

    Raises:
        DataError: the corpus lacks a split.
        ValueError: a split has too few turns.
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


def _recorded_turns(
    corpus: Corpus, split: str, reward: str | Mapping[str, Any] | Reward, meter: Meter
) -> RecordedTurns:
    opened = corpus.split(split)
    return RecordedTurns(opened, MeteredReward(make_reward_for(reward, opened, corpus), meter))


def _versions() -> dict[str, str]:
    libraries = {name: version(name) for name in _LIBRARIES}
    return {"agent_gym_env": __version__, "python": platform.python_version(), **libraries}


def score_held_out(
    policy: Policy,
    recorded: RecordedTurns,
    turns: Sequence[str],
    *,
    threads: int,
    seed: int,
    on_turn: Callable[[str, float | None], None],
) -> HeldOutScore:
    """Play turns with a policy.

    The reward of a turn in which the model does not answer is unknown, not 0.

    Args:
        policy: policy; it is called from several threads.
        recorded: turns of the split.
        turns: turns to play, each ``dialogue_id#turn``.
        threads: number of turns that are played at once.
        seed: seed of the bootstrap.
        on_turn: called with each turn and its reward.

    Raises:
        JudgeError: no turn has a reward; names the first reason.
    """

    def play(turn: str) -> Score:
        try:
            score = play_turn(policy, recorded, turn)
        except LMError as error:
            score = Score(None, {}, f"{type(error).__name__}: {error}")
        on_turn(turn, score.value)
        return score

    pool = ThreadPoolExecutor(threads)
    try:
        scores = dict(zip(turns, pool.map(play, turns), strict=True))
    finally:
        # If the run ends early, do not wait for turns that have not begun.
        pool.shutdown(wait=False, cancel_futures=True)
    check = ScoreCheck(recorded.reward.name)
    for score in scores.values():
        check.add(score.value, score.reason)
    check.finish()
    return _summary(scores, recorded.reward.parts, seed)


def _summary(scores: Mapping[str, Score], parts: Sequence[str], seed: int) -> HeldOutScore:
    sums = ClusterSums()
    for turn, score in scores.items():
        sums.add(_dialogue(turn), "reward", score.value)
        for part in parts:
            sums.add(_dialogue(turn), _COMPONENT + part, score.components.get(part))
    bootstrap = Bootstrap(sums, resamples=RESAMPLES, seed=seed)
    return HeldOutScore(
        reward=bootstrap.estimate("reward"),
        components=bootstrap.estimates(_COMPONENT),
        rewards={turn: score.value for turn, score in scores.items()},
    )


def paired(first: HeldOutScore, second: HeldOutScore, seed: int) -> Difference:
    """Compare two programs turn by turn, first minus second; the bootstrap resamples dialogues."""
    sums = ClusterSums()
    for turn, mine in first.rewards.items():
        theirs = second.rewards.get(turn)
        if mine is not None and theirs is not None:
            sums.add(_dialogue(turn), "first", mine)
            sums.add(_dialogue(turn), "second", theirs)
    mine_sums, counts = sums.columns("first")
    their_sums, _ = sums.columns("second")
    rng = np.random.default_rng(seed)
    return paired_difference(mine_sums, their_sums, counts, resamples=RESAMPLES, rng=rng)


def _dialogue(turn: str) -> str:
    return turn.rpartition("#")[0]


class _ProgramWatch(BaseCallback):  # type: ignore[misc]  # dspy is untyped
    """Records the scores of DSPy's evaluations of programs."""

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
        self._log.record(
            ProgramScored,
            reward=outputs.score / 100,
            turns=len(outputs.results),
            instructions=agent.instructions,
            demos=len(agent.demos),
        )


class _ProposalWatch(BaseCallback):  # type: ignore[misc]  # dspy is untyped
    """Removes answers from the cache of the model that writes instructions if they are unusable.

    Answers of the program's model are kept: it is the program's fault if they cannot be parsed, and
    they were scored.
    """

    def __init__(self, prompt_model: MeteredLM) -> None:
        self._prompt_model = prompt_model

    def on_adapter_parse_end(
        self, call_id: str, outputs: Any, exception: BaseException | None = None
    ) -> None:
        if exception is not None:
            self._prompt_model.forget_last()
