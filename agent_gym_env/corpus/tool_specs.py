"""Describes the intents of a schema, and the functions of a log, as tools of an agent."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from agent_gym_env.chat import make_tool
from agent_gym_env.corpus.sgd import Intent, Service, Slot
from agent_gym_env.values.equality import DONTCARE


class FunctionTool(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tool of a log: a function with a JSON schema.

    Attributes:
        key: key in the split. Tools of one name but with different schemas have different keys.
        name: name by which agents call it.
        description: description for the model.
        parameters: JSON schema of the arguments, an object's.
    """

    key: str
    name: str
    description: str
    parameters: dict[str, Any]


class ToolSpec(msgspec.Struct, frozen=True):
    """A tool: an intent of a service, or a function of a log.

    Attributes:
        name: ``Service-Intent``, because two services of a dialogue may have an intent of one name;
            the name of a function.
        service: name of the service; the key of a function.
        intent: name of the intent, which is enough to call the tool where it is unambiguous.
        description: description of the intent.
        transactional: whether a call changes something, such as a booking.
        arguments: slot by argument name, the required ones first.
        required: names of the required arguments.
        defaults: default by name of each optional argument of an intent, ``"dontcare"`` for no
            preference; of the arguments of a function that have one in its schema.
        result_slots: slots of a result row.
        parameters: JSON schema of the arguments of a function; ``None`` for an intent.
    """

    name: str
    service: str
    intent: str
    description: str
    transactional: bool
    arguments: dict[str, Slot]
    required: tuple[str, ...]
    defaults: dict[str, Any]
    result_slots: tuple[str, ...]
    parameters: dict[str, Any] | None = None


PROVIDERS_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""The names of functions that OpenAI, and most providers with its protocol, accept."""


def refused_names(names: Iterable[str]) -> list[str]:
    """Return those names of tools that providers of language models refuse, in order."""
    return [name for name in names if not PROVIDERS_NAME.fullmatch(name)]


def tool_name(service: str, intent: str) -> str:
    """Return the name of the tool for an intent."""
    return f"{service}-{intent}"


def tool_specs(services: Iterable[Service]) -> dict[str, ToolSpec]:
    """Return the tools of services by name, in the order of the schema."""
    specs = (_tool_spec(service, intent) for service in services for intent in service.intents)
    return {spec.name: spec for spec in specs}


def _tool_spec(service: Service, intent: Intent) -> ToolSpec:
    slots = {slot.name: slot for slot in service.slots}
    return ToolSpec(
        name=tool_name(service.service_name, intent.name),
        service=service.service_name,
        intent=intent.name,
        description=intent.description,
        transactional=intent.is_transactional,
        arguments={name: slots[name] for name in (*intent.required_slots, *intent.optional_slots)},
        required=tuple(intent.required_slots),
        defaults=intent.optional_slots,
        result_slots=tuple(intent.result_slots),
    )


def without_nulls(spec: ToolSpec, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out arguments that are null and not required: they equal their absence."""
    return {n: v for n, v in arguments.items() if v is not None or n in spec.required}


def function_specs(functions: Iterable[FunctionTool]) -> dict[str, ToolSpec]:
    """Return the tools of functions by key, in their order."""
    return {function.key: _function_spec(function) for function in functions}


def _function_spec(function: FunctionTool) -> ToolSpec:
    properties = function.parameters.get("properties")
    found = properties if isinstance(properties, dict) else {}
    required = function.parameters.get("required")
    names = required if isinstance(required, list) else []
    arguments = {name: _argument(name, schema) for name, schema in found.items()}
    return ToolSpec(
        name=function.name,
        service=function.key,
        intent=function.name,
        description=function.description,
        transactional=False,
        arguments=arguments,
        required=tuple(name for name in names if isinstance(name, str)),
        defaults={
            name: schema["default"]
            for name, schema in found.items()
            if isinstance(schema, dict) and schema.get("default") is not None
        },
        result_slots=(),
        parameters=function.parameters,
    )


def _argument(name: str, schema: Any) -> Slot:
    """Describe a property as far as a slot can: its choices if all of them are texts."""
    known = schema if isinstance(schema, dict) else {}
    description, choices = known.get("description"), known.get("enum")
    is_categorical = isinstance(choices, list) and all(isinstance(each, str) for each in choices)
    return Slot(
        name=name,
        description=description if isinstance(description, str) else "",
        is_categorical=is_categorical and bool(choices),
        possible_values=list(choices) if is_categorical and choices else [],
    )


def openai_function(spec: ToolSpec) -> dict[str, Any]:
    """Describe a tool in OpenAI's function format."""
    if spec.parameters is not None:
        return make_tool(spec.name, spec.description, _plain_parameters(spec.parameters))
    parameters = {
        "type": "object",
        "properties": {
            name: _property(slot, spec.defaults.get(name)) for name, slot in spec.arguments.items()
        },
        "required": list(spec.required),
        "additionalProperties": False,
    }
    return make_tool(spec.name, spec.description, parameters)


def _plain_parameters(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return a schema whose ``properties`` are objects by name, as agents expect.

    A log's schema may say ``true`` of a property, or have ``properties`` that are not an object.
    """
    found, required = parameters.get("properties"), parameters.get("required", [])
    properties = found if isinstance(found, dict) else {}
    plain = {name: each if isinstance(each, dict) else {} for name, each in properties.items()}
    if isinstance(required, list) and plain == found:
        return parameters
    names = required if isinstance(required, list) else []
    return {**parameters, "properties": plain, "required": names}


def _property(slot: Slot, default: str | None) -> dict[str, Any]:
    described: dict[str, Any] = {"type": "string", "description": slot.description}
    if slot.is_categorical:
        allowed = list(slot.possible_values)
        described["enum"] = [*allowed, DONTCARE] if default == DONTCARE else allowed
    if default is not None:
        described["default"] = default
    return described


def tools_json(specs: Mapping[str, ToolSpec], services: Iterable[str]) -> str:
    """Return the tools of some services as JSON, as ``tools`` of an observation has them."""
    wanted = set(services)
    offered = [openai_function(spec) for spec in specs.values() if spec.service in wanted]
    return msgspec.json.encode(offered).decode()
