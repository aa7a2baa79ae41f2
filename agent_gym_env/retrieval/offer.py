"""The tools on offer, with the words that a schema describes them with."""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.int64]
"""Hashes of words and flags, shape ``(n,)``."""

BOOLEAN = frozenset(("True", "False"))
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_STOP_WORDS = frozenset("a an and are as at be by for from has if in is it its of on or that the this to was were whether which who will with you your".split())


class _Property(msgspec.Struct):
    description: str = ""
    enum: tuple[str, ...] = ()
    default: str | None = None


class _Parameters(msgspec.Struct):
    properties: dict[str, _Property] = {}
    required: tuple[str, ...] = ()


class _Function(msgspec.Struct):
    name: str
    description: str = ""
    parameters: _Parameters = msgspec.field(default_factory=_Parameters)


class _Tool(msgspec.Struct):
    function: _Function


_TOOLS = msgspec.json.Decoder(list[_Tool])


class OfferedSlot:
    """An argument of a tool.

    Attributes:
        name: the slot.
        words: of its name and its description.
        values: the allowed values; empty for free text.
        default: ``None`` for a required argument.
        features: hashes of ``words`` and of what kind of slot it is.
    """

    def __init__(self, name: str, described: _Property, required: bool) -> None:
        self.name = name
        self.required = required
        self.values = tuple(value for value in described.enum if value != "dontcare")
        self.default = described.default
        self.is_boolean = set(self.values) == BOOLEAN
        self.is_numeric = bool(self.values) and all(value.isdigit() for value in self.values)
        name_words = identifier_words(name)
        self.words = frozenset((*name_words, *content_words(described.description)))
        kind = "boolean" if self.is_boolean else "numeric" if self.is_numeric else "listed" if self.values else "free"
        self.features = hashed(
            "slot",
            (*self.words, *(f"n:{word}" for word in name_words), f"last:{name_words[-1] if name_words else ''}", f"kind:{kind}"),
        )


class OfferedTool:
    """A tool on offer.

    Attributes:
        name: ``Service-Intent``.
        service: the part of the name before the first dash.
        words: of its name and its description.
        slots: its arguments by name.
        required: the names of those that a call must give.
        features: hashes of ``words``.
    """

    def __init__(self, function: _Function) -> None:
        self.name = function.name
        self.service, _, intent = function.name.rpartition("-")
        self.verb = next(iter(identifier_words(intent)), "")
        self.words = frozenset((*identifier_words(intent), *identifier_words(self.service), *content_words(function.description)))
        parameters = function.parameters
        self.slots = {
            name: OfferedSlot(name, described, name in parameters.required)
            for name, described in parameters.properties.items()
        }
        self.required = parameters.required
        self.features = hashed("tool", (*self.words, f"verb:{self.verb}"))


class Offer:
    """The tools of an observation.

    Attributes:
        tools: by name.
        slots: the arguments of a service's tools by service and slot.
    """

    def __init__(self, tools_json: str) -> None:
        tools = [OfferedTool(tool.function) for tool in _TOOLS.decode(tools_json)]
        self.tools = {tool.name: tool for tool in tools}
        self.of_service: dict[str, list[OfferedTool]] = {}
        self.slots: dict[str, dict[str, OfferedSlot]] = {}
        for tool in tools:
            self.of_service.setdefault(tool.service, []).append(tool)
            for name, slot in tool.slots.items():
                self.slots.setdefault(tool.service, {}).setdefault(name, slot)


def hashed(namespace: str, words: Iterable[str]) -> Features:
    """Hash words, the same on every machine."""
    return np.array([_crc(namespace, word) for word in words], np.int64)


@functools.lru_cache(maxsize=1 << 17)
def _crc(namespace: str, word: str) -> int:
    return zlib.crc32(f"{namespace} {word}".encode())


@functools.lru_cache(maxsize=1 << 12)
def identifier_words(identifier: str) -> tuple[str, ...]:
    """Cut an identifier into words: ``Restaurants_1`` and ``FindRestaurants`` share ``restaurant``."""
    return tuple(stem(part.lower()) for part in _PART.findall(identifier) if not part.isdigit())


@functools.lru_cache(maxsize=1 << 12)
def content_words(description: str) -> tuple[str, ...]:
    """The words of a description that say something, as stems."""
    found = re.findall(r"[a-z]+", description.lower())
    return tuple(stem(word) for word in found if word not in _STOP_WORDS)


def stem(word: str) -> str:
    """Take the plural's ending off a word in lower case."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
