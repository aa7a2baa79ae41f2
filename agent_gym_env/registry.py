"""The names of everything that a user can replace, and the factories behind them.

A configuration names a policy, a reward, a runner and so on. A name is one of

* a name that the package brings with it, which the tables of this module list;
* a name that `register_policy` or one of its siblings has added in this process;
* ``"package.module:Name"``, which is imported;
* a name that an installed plug-in registers. A plug-in is a distribution with an entry point in
  the group ``agent_gym_env.plugins``; the entry point is a function without arguments that calls
  `register_policy` and its siblings. Plug-ins are loaded once per process, when a name is not
  found otherwise.

A factory is a function or a class. Its parameters are the options that a configuration may set,
except for those that a caller of `make` fills by their names, such as ``env``.

Only names that a user passes to this process are looked up. A name that is read from a file (a
journal, an episode, a saved policy) is compared or printed, never looked up.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from agent_gym_env.errors import AgentGymError
from agent_gym_env.suggestions import (
    argument_types,
    did_you_mean,
    parameters,
    refuse_unknown,
    refuse_wrong_types,
    unknown_name,
)

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Factory = Callable[..., Any]

PLUGINS = "agent_gym_env.plugins"
"""Group of entry points that plug-ins declare."""

_IMPORTABLE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


class Registry:
    """The factories of one kind, by name.

    Args:
        kind: kind of the things that the factories make, for example ``policy``.
        builtin: the package's own factories as ``"package.module:Name"``, which are imported when
            they are looked up.
        factories: whether a name denotes a function or class; otherwise any object.
    """

    def __init__(self, kind: str, builtin: Mapping[str, str], *, factories: bool = True) -> None:
        self.kind = kind
        self.builtin = dict(builtin)
        self._factories = factories
        self.registered: dict[str, Factory] = {}

    def register(self, name: str, factory: Factory) -> None:
        """Register a factory under a name.

        Args:
            name: new name, without a colon.
            factory: function or class.

        Raises:
            ValueError: the name is taken, empty or has a colon.
            TypeError: the factory cannot be called.
        """
        if not isinstance(name, str) or not name or ":" in name:
            raise ValueError(
                f"a {self.kind} is registered under a name without ':', not under {name!r:.80}; "
                "a 'package.module:Name' needs no registration"
            )
        if self._factories and not callable(factory):
            raise TypeError(
                f"the factory of the {self.kind} {name!r} must be a function or class, not "
                f"{type(factory).__name__}"
            )
        if name in self.builtin or self.registered.get(name, factory) is not factory:
            raise ValueError(f"there is already a {self.kind} {name!r}: choose another name")
        self.registered[name] = factory

    def names(self) -> tuple[str, ...]:
        """Return the known names: the package's own first, then the registered ones."""
        return (*self.builtin, *self.registered)

    def all_names(self) -> tuple[str, ...]:
        """Load all plug-ins and return the known names."""
        _load_plugins()
        return self.names()

    def find(self, name: object) -> Any:
        """Return the factory behind a name, or the object if the names denote objects.

        Raises:
            ValueError: the name is unknown, or its module or attribute does not exist.
            AgentGymError: the module that it names cannot be imported.
        """
        if isinstance(name, str):
            if name in self.builtin:
                return _builtin(self.builtin[name])
            if is_importable(name):
                return _imported(self.kind, name, factories=self._factories)
            if self.knows(name):
                return self.registered[name]
        problem = (
            f"{unknown_name(self.kind, name, self.names())}; one of your own is named "
            "'package.module:Name'"
        )
        for plugin, error in _broken_plugins.items():
            problem += f"; the plug-in {plugin} failed: {type(error).__name__}: {error}"
        raise ValueError(problem)

    def knows(self, name: str) -> bool:
        """Return whether a name can be looked up; modules are not imported to find out."""
        if name in self.builtin or name in self.registered or is_importable(name):
            return True
        _load_plugins()
        return name in self.registered

    def takes(self, name: object, parameter: str) -> bool:
        """Return whether a factory has a parameter of a name."""
        return parameter in parameters_of(self.find(name))

    def make(self, name: object, options: Mapping[str, Any], context: Mapping[str, Any]) -> Any:
        """Call a factory.

        Args:
            name: name of the factory.
            options: options of a configuration.
            context: values for parameters of these names. An option of the same name goes first if
                the parameter has a default.

        Raises:
            ValueError: the name or an option is unknown, has a wrong type, or is missing.
        """
        self.check(name, options, context)
        return self.call(name, options, context)

    def check(
        self,
        name: object,
        options: Mapping[str, Any],
        context: Mapping[str, Any],
        more_types: Mapping[str, Any] | None = None,
    ) -> None:
        """Check options against the parameters of a factory.

        Args:
            name: as in `make`.
            options: as in `make`.
            context: as in `make`.
            more_types: types by name of further options, which the caller takes.

        Raises:
            ValueError: as in `make`.
        """
        factory = self.find(name)
        owner = f"{self.kind} {name!r}"
        more = more_types or {}
        parameters = parameters_of(factory).values()
        if not any(each.kind is each.VAR_KEYWORD for each in parameters):
            refuse_unknown(owner, options, {*option_names(factory, context), *more})
        refuse_wrong_types(owner, options, {**more, **argument_types(factory)})
        for each in parameters:
            if _is_required(each) and each.name not in {*context, *options}:
                raise ValueError(f"{owner} needs the option {each.name!r}")

    def call(self, name: object, options: Mapping[str, Any], context: Mapping[str, Any]) -> Any:
        """Call a factory with options that were checked."""
        factory = self.find(name)
        filled = {each: context[each] for each in parameters_of(factory) if each in context}
        return factory(**{**filled, **options})


def parameters_of(factory: Factory) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a factory by name."""
    try:
        return _kept_parameters(factory)
    except TypeError:  # an object without a hash, such as a mutable dataclass
        return parameters(factory)


@lru_cache(maxsize=256)
def _kept_parameters(factory: Factory) -> Mapping[str, inspect.Parameter]:
    # Each environment that is opened asks several times, and Python parses the signature of a
    # class that is written in C, as structs are, from its text.
    return parameters(factory)


def _is_required(parameter: inspect.Parameter) -> bool:
    """Return whether a parameter has to be given."""
    variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return parameter.default is parameter.empty and not variadic


def option_names(factory: Factory, filled: Iterable[str] = ()) -> set[str]:
    """Return the names of a factory's parameters that a configuration can set.

    ``name`` is not among them: in a configuration it names the factory.

    Args:
        factory: function or class.
        filled: names of parameters that are filled otherwise, unless they have a default.
    """
    filled = set(filled)
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {
        each.name
        for each in parameters_of(factory).values()
        if each.kind not in variadic
        and each.name != "name"
        and not (each.name in filled and _is_required(each))
    }


def is_importable(name: object) -> bool:
    """Return whether a name has the form ``package.module:Name``."""
    return isinstance(name, str) and _IMPORTABLE.fullmatch(name) is not None


def importable_name(thing: object) -> str:
    """Return the name of an object's class in the form ``package.module:Name``."""
    return f"{type(thing).__module__}:{type(thing).__qualname__}"


@cache
def _builtin(place: str) -> Factory:
    module, _, name = place.partition(":")
    factory: Factory = attrgetter(name)(importlib.import_module(module))
    return factory


def _imported(kind: str, place: str, *, factories: bool) -> Factory:
    """Import what a user has named; only here code is run because of a name."""
    module_name, _, name = place.partition(":")
    module = _module(kind, module_name, place)
    try:
        factory = attrgetter(name)(module)
    except AttributeError as error:
        near = did_you_mean(name, [each for each in vars(module) if not each.startswith("_")])
        raise ValueError(f"{kind} {place!r}: {module_name} has no {name!r}{near}") from error
    if factories and not callable(factory):
        raise ValueError(
            f"{kind} {place!r} must be a function or class, not an object of the type "
            f"{type(factory).__name__}"
        )
    return factory  # type: ignore[no-any-return]


def _module(kind: str, name: str, place: str) -> Any:
    try:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            if not _add_current_folder(name):
                raise
        return importlib.import_module(name)
    except AgentGymError:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise ValueError(
                f"{kind} {place!r}: there is no module {error.name!r}, neither installed nor in "
                f"the current folder {os.getcwd()}"
            ) from error
        raise AgentGymError(f"{kind} {place!r} cannot be imported: {error}") from error
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
        raise AgentGymError(f"{kind} {place!r} cannot be imported: {problem}") from error


def _add_current_folder(module: str) -> bool:
    """Let a module be found in the current folder, after everything that is installed.

    An installed command does not search that folder. It is added only if a user has named a module
    that is there, and at the end, so that no file of a folder replaces a library.

    Returns:
        Whether the folder was added.
    """
    folder, top = os.getcwd(), module.partition(".")[0]
    found = any(os.path.exists(os.path.join(folder, each)) for each in (top, f"{top}.py"))
    if folder in sys.path or not found:
        return False
    sys.path.append(folder)
    return True


_plugins_lock = threading.RLock()
_plugins_loaded = False
_broken_plugins: dict[str, Exception] = {}


def _load_plugins() -> None:
    """Call the function of each installed plug-in, once per process."""
    from importlib.metadata import entry_points  # slow to import

    global _plugins_loaded
    with _plugins_lock:
        if _plugins_loaded:
            return
        _plugins_loaded = True
        for entry in entry_points(group=PLUGINS):
            _load_plugin(entry)


def _load_plugin(entry: EntryPoint) -> None:
    try:
        entry.load()()
    except Exception as error:  # noqa: BLE001  (one broken plug-in must not stop the others)
        _broken_plugins[_plugin_name(entry)] = error


def _plugin_name(entry: EntryPoint) -> str:
    distribution = f" of {entry.dist.name}" if entry.dist is not None else ""
    return f"{entry.name!r}{distribution}"


POLICIES = Registry(
    "policy",
    {
        "oracle": "agent_gym_env.policies.oracle:OraclePolicy",
        "silent": "agent_gym_env.policies.constant:silent_policy",
        "constant": "agent_gym_env.policies.constant:ConstantPolicy",
        "uniform": "agent_gym_env.policies.uniform:UniformPolicy",
        "acts-oracle": "agent_gym_env.policies.acts_oracle:ActsOraclePolicy",
        "retrieval": "agent_gym_env.policies.retrieval:RetrievalPolicy.of_corpus",
        "rule": "agent_gym_env.policies.rule:RulePolicy.of_corpus",
        "sb3": "agent_gym_env.policies.factories:sb3_policy",
        "acts": "agent_gym_env.policies.act_policy:ActPolicy.load",
        "best-candidate": "agent_gym_env.training.hindsight:BestCandidatePolicy.of_corpus",
        "llm": "agent_gym_env.policies.llm:LLMPolicy",
        "transformers": "agent_gym_env.policies.factories:transformers_policy",
        "dspy": "agent_gym_env.policies.factories:dspy_policy",
    },
)

REWARDS = Registry(
    "reward",
    {
        "ground_truth": "agent_gym_env.rewards.ground_truth:GroundTruthReward",
        "balanced": "agent_gym_env.rewards.presets:balanced",
        "llm_judge": "agent_gym_env.rewards.presets:llm_judge",
        "rubric": "agent_gym_env.rewards.presets:rubric",
        "hybrid": "agent_gym_env.rewards.presets:hybrid",
    },
)

REPLAYED = ("SGD-v0", "Traces-v0")
"""Names of the environment that replays recorded dialogues."""

DEFAULT_REWARDS = {**dict.fromkeys(REPLAYED, "balanced"), "SGDSim-v0": "task"}
"""Reward by environment for commands, optimisers and trainers, if none is named."""

RUNNERS = Registry(
    "runner",
    {
        "serial": "agent_gym_env.rollout.runners:SerialRunner",
        "threads": "agent_gym_env.rollout.runners:ThreadRunner",
        "processes": "agent_gym_env.rollout.runners:ProcessRunner",
        "ray": "agent_gym_env.rollout.ray_runner:RayRunner",
        "lockstep": "agent_gym_env.rollout.runners:LockstepRunner",
    },
)


CORPORA = Registry(
    "corpus",
    {
        "sample": "agent_gym_env.corpus.locations:sample_path",
        "sgd": "agent_gym_env.corpus.locations:sgd_path",
        "logs": "agent_gym_env.corpus.logs.reader:LogReader",
        "episodes": "agent_gym_env.rollout.episode_corpus:EpisodeReader",
    },
)

CLIENTS = Registry(
    "client",
    {
        "litellm": "agent_gym_env.lm.litellm_client:litellm_client",
        "local": "agent_gym_env.lm.aiohttp_client:local_client",
        "google-genai": "agent_gym_env.lm.google_genai_client:google_genai_client",
        "google-generativeai": (
            "agent_gym_env.lm.google_generativeai_client:google_generativeai_client"
        ),
    },
)

TRAINERS = Registry(
    "trainer",
    {
        "sft": "agent_gym_env.training.trainers:SFT",
        "dpo": "agent_gym_env.training.trainers:DPO",
        "kto": "agent_gym_env.training.trainers:KTO",
        "grpo": "agent_gym_env.training.trainers:GRPO",
    },
    factories=False,
)

TRACKERS = Registry(
    "tracker",
    {
        "tensorboard": "agent_gym_env.training.tensorboard_tracker:TensorBoardTracker",
        "wandb": "agent_gym_env.training.wandb_tracker:WandbTracker",
        "mlflow": "agent_gym_env.training.mlflow_tracker:MlflowTracker",
        "trackio": "agent_gym_env.training.trackio_tracker:TrackioTracker",
    },
)

STRATEGIES = Registry(
    "strategy",
    {
        "bootstrap": "agent_gym_env.optimization.dspy_strategies:bootstrap",
        "bootstrap_random": "agent_gym_env.optimization.dspy_strategies:bootstrap_random",
        "mipro": "agent_gym_env.optimization.dspy_strategies:mipro",
        "gepa": "agent_gym_env.optimization.dspy_strategies:gepa",
        "simba": "agent_gym_env.optimization.dspy_strategies:simba",
    },
)


EXPORTS = Registry(
    "export",
    {
        name: f"agent_gym_env.cli.export:export_{name}"
        for name in ("sft", "dpo", "kto", "grpo", "parquet", "minari", "atif", "otel")
    },
)

TOOL_BACKENDS = Registry(
    "tool backend",
    {
        "replay": "agent_gym_env.tools.replay:ReplayBackend",
        "nearest": "agent_gym_env.tools.nearest:NearestBackend",
        "simulated": "agent_gym_env.tools.simulated:simulated_tools",
        "python": "agent_gym_env.tools.python_tools:PythonTools",
        "mcp": "agent_gym_env.tools.mcp_tools:McpTools",
    },
)

REDACTORS = Registry("redactor", {})
"""Functions that replace personal data in a text and return it; each is named by its module."""

USERS = Registry(
    "user",
    {
        "agenda": "agent_gym_env.users.wording:AgendaWording.of_split",
        "llm": "agent_gym_env.users.llm:llm_user",
    },
)


def register_policy(name: str, factory: Factory) -> None:
    """Register a policy under a name, for configurations and the command line.

    Args:
        name: new name.
        factory: class or function that returns a `Policy`. It may ask for ``env`` (the environment
            to be played), ``corpus`` (its corpus), ``date`` (the dialogues' "today", ISO) and
            ``model`` (the configuration of a language model for `open_model`); all other
            parameters are options.

    Raises:
        ValueError: the name is taken.
    """
    POLICIES.register(name, factory)


def register_reward(name: str, factory: Factory) -> None:
    """Register a reward under a name.

    Args:
        name: new name.
        factory: class or function that returns a `Reward`. It may ask for ``split`` (the split to
            be scored), ``corpus`` (its corpus) and ``model`` (the configuration of a language
            model for `open_model`); all other parameters are options.

    Raises:
        ValueError: the name is taken.
    """
    REWARDS.register(name, factory)


def register_runner(name: str, factory: Factory) -> None:
    """Register a runner under a name.

    Args:
        name: new name.
        factory: class or function that returns a `Runner`. It may ask for ``workers``, the number
            of threads, processes or actors.

    Raises:
        ValueError: the name is taken.
    """
    RUNNERS.register(name, factory)


def register_corpus(name: str, factory: Factory) -> None:
    """Register a corpus under a name.

    Args:
        name: new name.
        factory: class or function that returns a `CorpusReader`, or the path of a corpus in SGD's
            format. All parameters are options.

    Raises:
        ValueError: the name is taken.
    """
    CORPORA.register(name, factory)


def register_client(name: str, factory: Factory) -> None:
    """Register a client of language models under a name.

    Args:
        name: new name.
        factory: class or function that returns a `LanguageModel`. It may ask for ``model`` (the
            name of the model), ``api_base``, ``limits``, ``budget``, ``cache``, ``price`` and
            ``when_retired``, which come from the configuration; see `ModelOptions`.

    Raises:
        ValueError: the name is taken.
    """
    CLIENTS.register(name, factory)


def register_strategy(name: str, strategy: Factory) -> None:
    """Register a strategy of `OptimizationRunner` under a name.

    Args:
        name: new name.
        strategy: function that takes a `Search` and returns the best program that it found.

    Raises:
        ValueError: the name is taken.
    """
    STRATEGIES.register(name, strategy)


def register_trainer(name: str, trainer: Any) -> None:
    """Register a trainer of language models under a name, for ``agent-gym train``.

    Args:
        name: new name.
        trainer: an `agent_gym_env.training.trainers.Trainer`.

    Raises:
        ValueError: the name is taken.
    """
    TRAINERS.register(name, trainer)


def register_tracker(name: str, factory: Factory) -> None:
    """Register a tracker of experiments under a name, for ``agent-gym train --track``.

    Args:
        name: new name.
        factory: class or function that returns a `Tracker`. It may ask for ``out`` (the folder of
            the run), ``run`` (its name) and ``settings`` (its settings, JSON values without
            credentials); all other parameters are options.

    Raises:
        ValueError: the name is taken.
    """
    TRACKERS.register(name, factory)


def register_export(name: str, export: Factory) -> None:
    """Register an export under a name, for ``agent-gym export --format``.

    Args:
        name: new name.
        export: function that writes a file or folder. It may ask for ``episodes`` (the episodes,
            one by one), ``out`` (the path to write) and ``tally`` (an `agent_gym_env.export.Tally`,
            whose ``written`` it increases).

    Raises:
        ValueError: the name is taken.
    """
    EXPORTS.register(name, export)


def register_tool_backend(name: str, factory: Factory) -> None:
    """Register a tool backend under a name.

    Args:
        name: new name.
        factory: class or function that returns a `ToolBackend`. It may ask for ``catalogue`` (the
            tools on offer in a dialogue), ``split`` (the split that is played) and ``entities``
            (the rows of its recorded results); all other parameters are options. A factory that
            does not ask for ``catalogue`` is called once for an environment, and may return a
            `BackendSource`, which makes the backends of the dialogues. It may also ask for
            ``model`` (the configuration of a language model for `open_model`).

    Raises:
        ValueError: the name is taken.
    """
    TOOL_BACKENDS.register(name, factory)


def register_user(name: str, factory: Factory) -> None:
    """Register a user of ``SGDSim-v0`` under a name.

    Every user has the same goal, decisions and judge. A registered one says the user's acts in its
    own words, and may read the agent's text.

    Args:
        name: new name.
        factory: class or function that returns a `UserWording`, perhaps also a `UserReading`, of
            `agent_gym_env.users.wording`. It may ask for ``split`` (the split that is played),
            ``corpus`` (its corpus) and ``model`` (the configuration of a language model for
            `open_model`); all other parameters are options.

    Raises:
        ValueError: the name is taken.
    """
    USERS.register(name, factory)
