"""DSPy's optimisers behind one interface, and proposers that tolerate unusable answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from agent_gym_env.extras import require
from agent_gym_env.optimization.dspy_examples import AgentProgram
from agent_gym_env.optimization.dspy_metric import RewardMetric
from agent_gym_env.optimization.result import Effort
from agent_gym_env.process_wide import SharedChange
from agent_gym_env.registry import STRATEGIES

require("dspy", extra="dspy")

import dspy  # noqa: E402  (`require` names the extra if it is missing)
from dspy.adapters import ChatAdapter  # noqa: E402
from dspy.teleprompt.gepa import InstructionProposer  # noqa: E402
from dspy.utils.exceptions import AdapterParseError  # noqa: E402

_ANY = 10**9
"""Largest number of errors for DSPy; the run's own meter decides when there are too many."""

_PROPOSED, _BASIC = "proposed_instruction", "basic_instruction"
"""Fields of MIPROv2's signature for a proposed instruction."""

_DEMONSTRATIONS = {
    # Turns or dialogues with a lower reward give no demonstrations.
    "metric_threshold": 0.5,
    "max_bootstrapped_demos": 4,
    # Each contains its tools: DSPy's default of 16 would add about 9,000 tokens to every prompt.
    "max_labeled_demos": 4,
}


class Search(NamedTuple):
    """Arguments of a strategy.

    Attributes:
        student: program to begin with.
        train: examples to learn from.
        validation: examples to compare programs on.
        metric: metric of an example.
        prompt_lm: model that writes instructions.
        forget: called when the last answer of ``prompt_lm`` was unusable.
        seed: seed of every random draw.
        threads: number of examples that are played at once.
        effort: length of the search.
        options: options of DSPy's optimiser; they override ``effort``.
    """

    student: AgentProgram
    train: Sequence[dspy.Example]
    validation: Sequence[dspy.Example]
    metric: RewardMetric
    prompt_lm: dspy.LM
    forget: Callable[[], None]
    seed: int
    threads: int
    effort: Effort
    options: Mapping[str, Any]


def optimize(strategy: str, search: Search) -> AgentProgram:
    """Search for a better program.

    Raises:
        TypeError: DSPy's optimiser does not know an option.
    """
    program: AgentProgram = STRATEGIES.find(strategy)(search)
    return program


def check_libraries(strategy: str) -> None:
    """Check that the libraries of a strategy are installed; DSPy checks after the first calls.

    Raises:
        MissingDependency: a library is not installed.
    """
    if strategy == "mipro":
        require("optuna", extra="dspy")


def bootstrap(search: Search) -> Any:
    """Play training examples, and take demonstrations from those with a high reward."""
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
            # MIPROv2 treats 0 like None.
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
    """Rewrite the instructions after reflection on mistakes."""
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
    """Collect demonstrations and rules from the examples with the most variable rewards."""
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


class ProposalAdapter(ChatAdapter):  # type: ignore[misc]  # dspy is untyped
    """DSPy's chat adapter. If MIPROv2's proposer fails, the old instruction is proposed."""

    def __call__(
        self,
        lm: Any,
        lm_kwargs: dict[str, Any],
        signature: Any,
        demos: list[dict[str, Any]],
        inputs: dict[str, Any],
    ) -> list[dict[str, Any]]:
        """Send a request and parse the answer; see `ChatAdapter`."""
        try:
            answers: list[dict[str, Any]] = super().__call__(
                lm, lm_kwargs, signature, demos, inputs
            )
        except (AdapterParseError, dspy.utils.exceptions.LMError):
            if _PROPOSED not in signature.output_fields or _BASIC not in inputs:
                raise
            return [{_PROPOSED: inputs[_BASIC]}]
        return answers


class TolerantProposer(InstructionProposer):  # type: ignore[misc]  # dspy is untyped
    """GEPA's own proposer. If it fails, the old instruction is proposed.

    Args:
        forget: called when the last answer was unusable.
    """

    def __init__(self, forget: Callable[[], None]) -> None:
        super().__init__()
        self._forget = forget

    def __call__(
        self,
        candidate: dict[str, str],
        reflective_dataset: Mapping[str, Sequence[Mapping[str, Any]]],
        components_to_update: list[str],
    ) -> dict[str, str]:
        """Propose instructions; see `InstructionProposer`."""
        try:
            proposed: dict[str, str] = super().__call__(
                candidate, reflective_dataset, components_to_update
            )
        except Exception:  # noqa: BLE001  (foreign code that parses a model's words)
            self._forget()
            return {name: candidate[name] for name in components_to_update if name in candidate}
        return proposed
