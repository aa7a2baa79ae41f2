"""The schemas of the tools in an observation, with features of the words that describe them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from agent_gym_env.chat import functions_reader
from agent_gym_env.retrieval.tokens import (
    Features,
    content_words,
    hashed,
    identifier_words,
    phrase_key,
)
from agent_gym_env.retrieval.vocabulary import Vocabulary
from agent_gym_env.values.equality import DONTCARE, canonical, value_text

BOOLEAN_VALUES = frozenset(("True", "False"))


class _Property(msgspec.Struct, frozen=True):
    description: Any = ""
    enum: Any = ()
    default: Any = None
    type: Any = None


class _Parameters(msgspec.Struct, frozen=True):
    properties: Any = None
    required: Any = ()


class _Function(msgspec.Struct, frozen=True):
    name: str
    description: str = ""
    parameters: _Parameters = _Parameters()


_read_functions = functions_reader(_Function)


class SlotSchema:
    """An argument of a tool.

    Attributes:
        name: name of the slot.
        description: description in the schema.
        words: stems of the name and the description.
        values: allowed values; empty for free text.
        default: value of an optional argument that is left out; ``None`` if the schema names none.
        type: type of the values in the schema; ``None`` if it names none or several.
        kind: kind of the values that the slot takes, judged by its words; ``listed`` if the schema
            lists the values.
        is_boolean: whether the values are ``True`` and ``False``.
        is_count: whether the values are numbers.
        is_known: whether each listed value shares a word with a listed value of the train split.
        features: features of the words and of the way in which values are specified.
        value_features: features of "no value", then of each listed value in this slot.
    """

    def __init__(self, name: str, described: _Property, vocabulary: Vocabulary) -> None:
        self.name = name
        self.description = described.description if isinstance(described.description, str) else ""
        choices = described.enum if isinstance(described.enum, (list, tuple)) else ()
        self.values = tuple(
            value_text(value) for value in choices if value != DONTCARE and value is not None
        )
        has_default = isinstance(described.default, (str, int, float))
        default = value_text(described.default) if has_default else None
        self.default = None if default == DONTCARE else default
        kinds = described.type if isinstance(described.type, list) else [described.type]
        named = [kind for kind in kinds if kind != "null"]
        self.type = named[0] if len(named) == 1 else None
        self.is_boolean = set(self.values) == BOOLEAN_VALUES
        self.is_count = bool(self.values) and all(value.isdecimal() for value in self.values)
        name_words = identifier_words(name)
        self.words = frozenset((*name_words, *content_words(self.description)))
        named = [f"name {word}" for word in name_words]
        self.features = hashed(
            "slot", (*sorted(self.words), *named, f"last {name_words[-1:]}", self._form())
        )
        free_kind = vocabulary.kind_of_slot(name, self.description)
        self.kind = "listed" if self.values else free_kind
        self.is_known = vocabulary.knows(self.values)
        self.value_features = [self._features_of(value) for value in (None, *self.values)]

    def _features_of(self, value: str | None) -> Features:
        words = sorted(self.words)
        if value is None:
            return hashed(f"no {self.is_boolean}", words)
        if self.is_boolean:
            return hashed(value, words)
        key = phrase_key(value)
        return hashed("value", (*key.split(), *(f"{key} as {word}" for word in words)))

    def _form(self) -> str:
        if self.is_boolean:
            return "is boolean"
        if self.is_count:
            return "is count"
        return "is listed" if self.values else "is free"


class ToolSchema:
    """A tool.

    Attributes:
        name: ``Service-Intent``.
        service: part of the name before the last dash.
        is_query: whether the tool only looks something up, judged by the verb of the intent.
        words: stems of the name and the description.
        slots: arguments by name, in the order of the schema.
        required: names of the required arguments.
        features: features of the words.
        verb_features: features of the verb of the intent.
    """

    def __init__(self, function: _Function, vocabulary: Vocabulary) -> None:
        self.name = function.name
        self.service, _, intent = function.name.rpartition("-")
        intent_words = identifier_words(intent)
        self.is_query = vocabulary.is_query(intent)
        self.words = frozenset(
            (*intent_words, *identifier_words(self.service), *content_words(function.description))
        )
        parameters = function.parameters
        properties = parameters.properties if isinstance(parameters.properties, dict) else {}
        self.slots = {
            name: SlotSchema(name, msgspec.convert(slot, _Property), vocabulary)
            for name, slot in properties.items()
            if isinstance(slot, dict)
        }
        required = parameters.required if isinstance(parameters.required, (list, tuple)) else ()
        # The schema of a log may require what it does not describe, and nobody can fill that.
        self.required = tuple(name for name in self.slots if name in required)
        self.features = hashed("tool", (*sorted(self.words), f"verb {intent_words[:1]}"))
        self.verb_features = hashed("call", [f"verb {intent_words[:1]}"])

    def typed(self, arguments: dict[str, str]) -> dict[str, Any]:
        """Return arguments as JSON values of the types that the schema names, if they can be."""
        return {name: _typed(value, self.slots[name].type) for name, value in arguments.items()}

    def missing(self, arguments: dict[str, str]) -> list[str]:
        """Return the names of the required arguments that are missing."""
        return [name for name in self.required if name not in arguments]


def _typed(value: str, kind: Any) -> Any:
    if kind in ("integer", "number", "boolean", "array", "object"):
        try:
            return msgspec.json.decode(canonical(value, None) if kind == "boolean" else value)
        except msgspec.DecodeError:
            return value  # the tool says what it expects
    return value


class ToolSchemas:
    """All tools of an observation.

    Args:
        tools_json: ``tools`` of the observation.
        vocabulary: word counts of the train split, by which slots and tools are judged.

    Attributes:
        vocabulary: word counts of the train split.
        by_name: tools by name.
        by_service: tools by service.
        slots: arguments of a service's tools, by service and name.
        listed_phrases: names of the slots that list a value, by service and `phrase_key` of the
            value.
    """

    def __init__(self, tools_json: str, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.by_name = {
            function.name: ToolSchema(function, vocabulary)
            for function in _read_functions(tools_json)
        }
        self.by_service: dict[str, list[ToolSchema]] = {}
        self.slots: dict[str, dict[str, SlotSchema]] = {}
        for tool in self.by_name.values():
            self.by_service.setdefault(tool.service, []).append(tool)
            slots = self.slots.setdefault(tool.service, {})
            for name, slot in tool.slots.items():
                slots.setdefault(name, slot)
        self.listed_phrases = {
            service: _listed_phrases(slots.values()) for service, slots in self.slots.items()
        }


def _listed_phrases(slots: Iterable[SlotSchema]) -> dict[str, set[str]]:
    phrases: dict[str, set[str]] = {}
    for slot in slots:
        if not slot.is_boolean and not slot.is_count:
            for value in slot.values:
                phrases.setdefault(phrase_key(value), set()).add(slot.name)
    return phrases
