"""DSPy's optimisers behind one interface: from examples and a metric to a better program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from agent_gym_env.extras import require
from agent_gym_env.optimization.dspy_examples import TurnProgram
from agent_gym_env.optimization.dspy_metric import TurnMetric
from agent_gym_env.optimization.dspy_proposals import TolerantProposer
from agent_gym_env.optimization.settings import Effort
from agent_gym_env.process_wide import SharedChange
from agent_gym_env.registry import STRATEGIES

require("dspy", extra="dspy")

import dspy  # noqa: E402  (`require` first says where it comes from)

_ANY = 10**9
"""Errors that DSPy bears: the run's own meter decides when there are too many."""

_DEMONSTRATIONS = {
    # A turn that earned less is no demonstration.
    "metric_threshold": 0.5,
    "max_bootstrapped_demos": 4,
    # Each carries its tools: DSPy's 16 would be some 9,000 tokens in every prompt.
    "max_labeled_demos": 4,
}


class Search(NamedTuple):
    """What an optimiser is given.

    Attributes:
        student: the program to begin with.
        train: examples to learn from.
        validation: examples to choose between programs by.
        metric: of a turn.
        prompt_lm: writes instructions.
        forget: called when the last answer of ``prompt_lm`` could not be used.
        seed: of every draw.
        threads: turns played at once.
        effort: how long to search.
        options: of DSPy's optimiser, over those that follow from the effort.
    """

    student: TurnProgram
    train: Sequence[dspy.Example]
    validation: Sequence[dspy.Example]
    metric: TurnMetric
    prompt_lm: dspy.LM
    forget: Callable[[], None]
    seed: int
    threads: int
    effort: Effort
    options: Mapping[str, Any]


def optimize(strategy: str, search: Search) -> TurnProgram:
    """Search for a better program.

    Raises:
        TypeError: DSPy's optimiser does not take an option.
    """
    program: TurnProgram = STRATEGIES.find(strategy)(search)
    return program


def check_libraries(strategy: str) -> None:
    """Make sure that a strategy can run; DSPy looks only after it has spent calls.

    Raises:
        MissingDependency: a library that it needs is not installed.
    """
    if strategy == "mipro":
        require("optuna", extra="dspy")


def bootstrap(search: Search) -> Any:
    """Collect demonstrations from turns that went well."""
    settings = {**_DEMONSTRATIONS, **search.options}
    optimizer = dspy.BootstrapFewShot(metric=search.metric, max_errors=_ANY, **settings)
    return optimizer.compile(search.student, trainset=list(search.train))


def bootstrap_random(search: Search) -> Any:
    """Collect several sets of demonstrations, and take the best."""
    settings = {
        **_DEMONSTRATIONS,
        "num_candidate_programs": {"light": 4, "medium": 8, "heavy": 16}[search.effort],
        "num_threads": search.threads,
        **search.options,
    }
    optimizer = dspy.BootstrapFewShotWithRandomSearch(
        metric=search.metric, max_errors=_ANY, **settings
    )
    return optimizer.compile(
        search.student, trainset=list(search.train), valset=list(search.validation)
    )


def mipro(search: Search) -> Any:
    """Search for demonstrations and instructions together."""
    options = dict(search.options)
    of_compile = {
        name: options.pop(name)
        for name in ("num_trials", "minibatch", "minibatch_size", "minibatch_full_eval_steps")
        if name in options
    }
    settings = {
        **_DEMONSTRATIONS,
        "auto": None if "num_candidates" in options else search.effort,
        "num_threads": search.threads,
        **options,
    }
    optimizer = dspy.MIPROv2(
        metric=search.metric,
        prompt_model=search.prompt_lm,
        max_errors=_ANY,
        seed=search.seed,
        **settings,
    )
    with _optuna_verbosity.held():
        return optimizer.compile(
            search.student,
            trainset=list(search.train),
            valset=list(search.validation),
            # 0 would be taken for "not given".
            seed=search.seed or None,
            **of_compile,
        )


@contextmanager
def _kept_verbosity() -> Iterator[None]:
    """Restore Optuna's logging level, which MIPROv2 changes."""
    logging = require("optuna", extra="dspy").logging
    before = logging.get_verbosity()
    try:
        yield
    finally:
        logging.set_verbosity(before)


_optuna_verbosity = SharedChange(_kept_verbosity)


def gepa(search: Search) -> Any:
    """Rewrite the instructions by reflection on what went wrong."""
    limits = {"auto", "max_metric_calls", "max_full_evals"} & search.options.keys()
    settings = {
        **({} if limits else {"auto": search.effort}),
        "num_threads": search.threads,
        "instruction_proposer": TolerantProposer(search.forget),
        **search.options,
    }
    optimizer = dspy.GEPA(
        metric=search.metric.with_feedback,
        reflection_lm=search.prompt_lm,
        seed=search.seed,
        **settings,
    )
    return optimizer.compile(
        search.student, trainset=list(search.train), valset=list(search.validation)
    )


def simba(search: Search) -> Any:
    """Collect demonstrations and rules from the turns that vary most."""
    settings = {
        "bsize": min(32, len(search.train)),
        "max_steps": {"light": 4, "medium": 8, "heavy": 16}[search.effort],
        "num_threads": search.threads,
        **search.options,
    }
    optimizer = dspy.SIMBA(metric=search.metric, prompt_model=search.prompt_lm, **settings)
    return optimizer.compile(
        search.student, trainset=[*search.train, *search.validation], seed=search.seed
    )
