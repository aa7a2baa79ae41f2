"""One optimisation: measure the baseline, search, measure the result, write the files."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from agent_gym_env import __version__
from agent_gym_env.corpus.corpus import Corpus, Split, open_corpus
from agent_gym_env.envs.sgd_sim import SGDSimEnv
from agent_gym_env.errors import LMError
from agent_gym_env.evaluation.evaluate import RESAMPLES
from agent_gym_env.evaluation.rescore import ScoreCheck
from agent_gym_env.evaluation.statistics import (
    Bootstrap,
    ClusterSums,
    Difference,
    paired_difference,
)
from agent_gym_env.export.rows import digest
from agent_gym_env.extras import require
from agent_gym_env.lm.base import LanguageModel
from agent_gym_env.optimization.dspy_dialogues import SimulatedDialogues, choose_dialogues
from agent_gym_env.optimization.dspy_examples import (
    AgentProgram,
    Examples,
    RecordedTurns,
    choose_turns,
    program_of,
)
from agent_gym_env.optimization.dspy_metric import RewardMetric
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
    LeakCheck,
    OptimizationResult,
    Settings,
    Turns,
    improvement_pct,
)
from agent_gym_env.policies.base import Policy
from agent_gym_env.policies.dspy_module import SGDAgentModule, load_program, save_program
from agent_gym_env.policies.dspy_program import DSPyPolicy
from agent_gym_env.process_wide import suppress_output
from agent_gym_env.registry import REPLAYED
from agent_gym_env.rewards.base import Score
from agent_gym_env.rewards.presets import make_reward_for

require("dspy", extra="dspy")

import dspy  # noqa: E402  (`require` names the extra if it is missing)
from dspy.utils.callback import BaseCallback  # noqa: E402

from agent_gym_env.lm.dspy_engine import DSPyLM  # noqa: E402

_COMPONENT = "component/"
_LIBRARIES = ("dspy", "optuna", "gepa", "numpy", "msgspec")


class DSPyRun:
    """The models, examples and meters of one optimisation.

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
        self.turns, self._train, self._held_out = _examples(corpus, settings, meter)
        self._leaks = check_leaks(corpus, self.turns, self._train.dialogue)
        self._settings = settings
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
            difference=paired(optimized, baseline, self._settings.seed, self._held_out.dialogue),
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
            unit=self._train.unit,
            leak_check=msgspec.structs.replace(
                self._leaks,
                demonstrations=tuple(map(self._train.origins.of, program.demos)),
            ),
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
        """Score a program on the held-out examples."""
        self._log.record(PhaseBegan, phase=phase)
        temperature = self._settings.temperature
        return score_held_out(
            lambda date: DSPyPolicy(program, self._model, date=date, temperature=temperature),
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
            student=self._train.program(program.deepcopy()),
            train=[self._train.example(turn) for turn in self.turns.train],
            validation=[self._train.example(turn) for turn in self.turns.validation],
            metric=RewardMetric(
                self._meter, partial(self._record_turn, "search"), self._train.feedback
            ),
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


def _examples(corpus: Corpus, settings: Settings, meter: Meter) -> tuple[Turns, Examples, Examples]:
    """Open the examples to learn from and those to measure on, and choose among them."""
    train = corpus.split(settings.split)
    others = (name for name in ("dev", "test") if name in corpus.splits() and name != train.name)
    held_out = corpus.split(settings.held_out_split or next(others, train.name))
    opened: dict[str, tuple[Examples, _Choose]] = {
        split.name: _open_examples(corpus, split, settings, meter) for split in (train, held_out)
    }
    (of_train, choose), (of_held_out, choose_held_out) = (
        opened[split.name] for split in (train, held_out)
    )
    counts = (settings.num_train, settings.num_validation)
    if held_out.name == train.name:
        chosen = choose((*counts, settings.num_held_out), settings.seed)
    else:
        chosen = choose(counts, settings.seed)
        chosen += choose_held_out((settings.num_held_out,), settings.seed)
    turns = Turns(
        train=tuple(chosen[0]),
        validation=tuple(chosen[1]),
        held_out=tuple(chosen[2]),
        train_split=train.name,
        held_out_split=held_out.name,
        corpora={split.name: split.fingerprint for split in (train, held_out)},
    )
    return turns, of_train, of_held_out


_Choose = Callable[[Sequence[int], int], list[list[str]]]
"""Chooses groups of examples, from their sizes and a seed."""


def _open_examples(
    corpus: Corpus, split: Split, settings: Settings, meter: Meter
) -> tuple[Examples, _Choose]:
    options: dict[str, Any] = dict(settings.environment)
    scored_by: Any = settings.reward  # by name or mapping, or the environment checks the object
    if options.pop("name") in REPLAYED:
        reward = MeteredReward(make_reward_for(scored_by, split, corpus), meter)
        return RecordedTurns(split, reward), partial(choose_turns, split)
    data: Any = settings.data_path
    variant = settings.schema_variant
    env = SGDSimEnv(data, split.name, schema_variant=variant, reward=scored_by, **options)
    dialogues = SimulatedDialogues(env, meter, settings.seed)
    return dialogues, partial(choose_dialogues, split, env.selected)


def check_leaks(corpus: Corpus, turns: Turns, dialogue: Callable[[str], str]) -> LeakCheck:
    """Check that the held-out dialogues are not among those that a run learns from.

    Args:
        corpus: the corpus.
        turns: examples of the run.
        dialogue: returns the id of an example's dialogue.

    Raises:
        ValueError: a dialogue is among both.
    """

    def keys(names: Sequence[str], split: Split) -> dict[bytes, str]:
        ids = dict.fromkeys(map(dialogue, names))
        tasks = (split.task(split.index(each)) for each in ids)
        return {digest([turn.user for turn in task.turns]): task.dialogue_id for task in tasks}

    learned_from = keys((*turns.train, *turns.validation), corpus.split(turns.train_split))
    held_out = keys(turns.held_out, corpus.split(turns.held_out_split))
    both = [held_out[key] for key in held_out.keys() & learned_from.keys()]
    if both:
        raise ValueError(
            f"{len(both)} held-out dialogues of split {turns.held_out_split!r} are also in split "
            f"{turns.train_split!r}, where the run learns from them, for example {min(both)!r}: "
            "choose another held_out_split, or remove the copies from the corpus"
        )
    return LeakCheck((), len(learned_from), len(held_out), len(both))


def _versions() -> dict[str, str]:
    libraries = {name: version(name) for name in _LIBRARIES}
    return {"agent_gym_env": __version__, "python": platform.python_version(), **libraries}


def score_held_out(
    make_policy: Callable[[str | None], Policy],
    examples: Examples,
    names: Sequence[str],
    *,
    threads: int,
    seed: int,
    on_turn: Callable[[str, float | None], None],
) -> HeldOutScore:
    """Play examples with a policy.

    The reward of an example in which the model does not answer is unknown, not 0.

    Args:
        make_policy: makes the policy for dialogues of a date; it is called from several threads.
        examples: examples of the split.
        names: names of the examples to play.
        threads: number of examples that are played at once.
        seed: seed of the bootstrap.
        on_turn: called with each example and its reward.

    Raises:
        JudgeError: no example has a reward; names the first reason.
    """

    def play(name: str) -> Score:
        try:
            score = examples.play(make_policy(examples.date(name)), name)
        except LMError as error:
            score = Score(None, {}, f"{type(error).__name__}: {error}")
        on_turn(name, score.value)
        return score

    pool = ThreadPoolExecutor(threads)
    try:
        scores = dict(zip(names, pool.map(play, names), strict=True))
    finally:
        # If the run ends early, do not wait for examples that have not begun.
        pool.shutdown(wait=False, cancel_futures=True)
    check = ScoreCheck(examples.reward.name)
    for score in scores.values():
        check.add(score.value, score.reason)
    check.finish()
    return _summary(scores, examples, seed)


def _summary(scores: Mapping[str, Score], examples: Examples, seed: int) -> HeldOutScore:
    sums = ClusterSums()
    for name, score in scores.items():
        dialogue = examples.dialogue(name)
        sums.add(dialogue, "reward", score.value)
        for part in examples.parts:
            sums.add(dialogue, _COMPONENT + part, score.components.get(part))
    bootstrap = Bootstrap(sums, resamples=RESAMPLES, seed=seed)
    return HeldOutScore(
        reward=bootstrap.estimate("reward"),
        components=bootstrap.estimates(_COMPONENT),
        rewards={name: score.value for name, score in scores.items()},
    )


def paired(
    first: HeldOutScore, second: HeldOutScore, seed: int, dialogue: Callable[[str], str]
) -> Difference:
    """Compare two programs example by example, first minus second.

    Args:
        first: scores of one program.
        second: scores of another program.
        seed: seed of the bootstrap, which resamples dialogues.
        dialogue: returns the id of an example's dialogue.
    """
    sums = ClusterSums()
    for name, mine in first.rewards.items():
        theirs = second.rewards.get(name)
        if mine is not None and theirs is not None:
            sums.add(dialogue(name), "first", mine)
            sums.add(dialogue(name), "second", theirs)
    mine_sums, counts = sums.columns("first")
    their_sums, _ = sums.columns("second")
    rng = np.random.default_rng(seed)
    return paired_difference(mine_sums, their_sums, counts, resamples=RESAMPLES, rng=rng)


class _ProgramWatch(BaseCallback):  # type: ignore[misc]  # dspy is untyped
    """Records the scores of DSPy's evaluations of programs."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._programs: dict[str, AgentProgram] = {}

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
