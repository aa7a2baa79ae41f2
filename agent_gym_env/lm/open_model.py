"""Language models from plain configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from agent_gym_env.extras import require_installed
from agent_gym_env.lm.base import LanguageModel, default_model
from agent_gym_env.lm.budget import Budget, Price
from agent_gym_env.lm.gemini import WhenRetired
from agent_gym_env.lm.retry import Limits
from agent_gym_env.registry import CLIENTS, Registry
from agent_gym_env.suggestions import argument_types, explained
from agent_gym_env.types import AtLeast0, FromZero

ModelConfig = str | Mapping[str, Any] | LanguageModel
"""A model's name, a mapping as in `ModelOptions`, or a model."""


class ModelOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Configuration of a model as JSON values, without a key: keys come from the environment.

    Attributes:
        model: name of the model in the client's spelling.
        client: ``litellm``; ``local`` for a server that speaks OpenAI's protocol;
            ``google-genai``; ``google-generativeai``; or a registered one, see
            `agent_gym_env.registry`.
        api_base: address to use instead of the provider's own; required by ``local``.
        cache: folder of the cache of answers.
        budget_usd: limit of the cost in US dollars.
        budget_calls: limit of the number of requests.
        when_retired: treatment of a model that Google has shut down: ``refuse``; ``successor`` to
            ask the nearest model that replaces it; ``ask`` to ask it anyway.
        limits: limits of each completion.
        price: price of tokens, if the client does not know it.
    """

    model: str = msgspec.field(default_factory=default_model)
    client: str = "litellm"
    api_base: str | None = None
    cache: str | None = None
    budget_usd: FromZero | None = None
    budget_calls: AtLeast0 | None = None
    when_retired: WhenRetired = "refuse"
    limits: Limits = Limits()
    price: Price | None = None


def open_model(config: ModelConfig | None = None, *, cache: Path | None = None) -> LanguageModel:
    """Create a model from its configuration.

    Args:
        config: name of a model for litellm; mapping as in `ModelOptions`; a model, which is
            returned; ``None`` for the default model.
        cache: folder of the cache, if the configuration names none.

    Raises:
        ValueError: the mapping has an option that is not known, or a value that does not fit.
        MissingDependency: the client's library is not installed.
        MissingCredentials: no key is set.
        RetiredModelError: Google has shut the model down.
    """
    if config is None or isinstance(config, str):
        config = {} if config is None else {"model": config}
    if not isinstance(config, Mapping):
        return checked_model(config)
    options = _options(config)
    if options.client in _LIBRARIES:
        module, extra = _LIBRARIES[options.client]
        require_installed(module, extra=extra)  # before a key is asked for
    if options.client == "local" and options.api_base is None:
        raise ValueError(
            'the client "local" needs "api_base", for example http://127.0.0.1:8000/v1'
        )
    context = {
        "model": options.model,
        "api_base": options.api_base,
        "price": options.price,
        "when_retired": options.when_retired,
        "limits": options.limits,
        "budget": Budget(usd=options.budget_usd, calls=options.budget_calls),
        "cache": cache if options.cache is None else Path(options.cache),
    }
    return checked_model(CLIENTS.make(options.client, {}, context))


_LIBRARIES = {
    "litellm": ("litellm", "llm"),
    "local": ("aiohttp", "local"),
    "google-genai": ("google.genai", "gemini"),
    "google-generativeai": ("google.generativeai", "google-generativeai"),
}
"""The library of each client, and the extra that it comes with."""


def take_model(options: dict[str, Any]) -> ModelConfig:
    """Remove the options of a model from those of a policy or judge, and return them.

    They are listed flat among the others, as `ModelOptions` names them. ``model`` may also be a
    mapping with these options, or a model.

    Args:
        options: loses the options of the model.

    Raises:
        ValueError: an option is given both ways, or beside a model.
    """
    found = options.keys() & ModelOptions.__struct_fields__
    flat = {name: options.pop(name) for name in sorted(found)}
    model = flat.pop("model", None)
    if model is None or isinstance(model, str):
        return flat if model is None else {"model": model, **flat}
    if not isinstance(model, Mapping):
        _refuse_beside(flat, "a model that is made already")
        return checked_model(model)
    _refuse_beside({name: flat[name] for name in flat.keys() & model.keys()}, '"model"')
    return {**model, **flat}


def make_with_model(
    registry: Registry, name: object, options: Mapping[str, Any], context: Mapping[str, Any]
) -> Any:
    """Make a policy or reward from a configuration that may have the options of a model.

    A factory with a parameter ``model`` receives them as one value for `open_model`.

    Args:
        registry: factories of policies or rewards.
        name: name of the factory.
        options: options of the configuration.
        context: context, as `Registry.make` takes it.

    Raises:
        ValueError: the name or an option is unknown, has a wrong type, or is missing.
    """
    if not registry.takes(name, "model"):
        return registry.make(name, options, context)
    registry.check(name, options, context, {**argument_types(ModelOptions), "model": Any})
    options = dict(options)
    model = take_model(options)
    return registry.call(name, {**options, "model": model}, context)


def checked_model(model: Any) -> LanguageModel:
    """Return a language model.

    Raises:
        ValueError: it is something else.
    """
    if not callable(getattr(model, "complete", None)):
        raise ValueError(
            f"model must be a name, an object of its options or a language model, not {model!r:.80}"
        )
    return model  # type: ignore[no-any-return]


def _refuse_beside(options: Mapping[str, Any], what: str) -> None:
    if options:
        raise ValueError(
            f"the options {sorted(options)} of the model are given beside {what}: give each once"
        )


def _options(config: Mapping[str, Any]) -> ModelOptions:
    try:
        return msgspec.convert(dict(config), ModelOptions)
    except msgspec.ValidationError as error:
        problem, path = explained(error, ModelOptions)
        raise ValueError(f"the model's {path.lstrip('.') or 'options'}: {problem}") from error
