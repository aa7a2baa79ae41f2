"""Guided generation: calls follow the schemas of their tools, so that none is malformed.

A grammar decides which tokens may come next (llguidance: https://github.com/guidance-ai/llguidance).
"""

from __future__ import annotations

import functools
import json
import re
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

from agent_gym_env.chat import functions_of, required_tool
from agent_gym_env.errors import PermanentLMError
from agent_gym_env.extras import require
from agent_gym_env.lm.base import Request
from agent_gym_env.lm.json_schema import Schema

llguidance: Any = require("llguidance", extra="train")
_hf: Any = require("llguidance.hf", extra="train")

MAX_CALLS = 16
"""Largest number of calls in one answer."""

MAX_STRING = 256
"""Most characters of an argument without ``maxLength``, so that every call ends."""

MAX_GRAMMAR = 1 << 19
"""Most characters of a grammar; larger ones take seconds to compile."""

_MAX_KEPT = 256
_MAX_BITS = 64

_encode = msgspec.json.Encoder(order="sorted").encode

_Length = Annotated[int, msgspec.Meta(ge=0)]


class _Parameters(msgspec.Struct):
    """The used part of a tool's parameters."""

    properties: dict[str, dict[str, Any] | bool] | None = None
    required: list[str] | None = None


class _Value(msgspec.Struct):
    """The used part of an argument's schema."""

    enum: Annotated[list[Any], msgspec.Meta(min_length=1)] | None = None
    min_length: _Length = msgspec.field(name="minLength", default=0)
    max_length: _Length | None = msgspec.field(name="maxLength", default=None)


class CallGrammar:
    """Creates the guide of each answer.

    Args:
        tokenizer: fast tokenizer of transformers.
        vocabulary: number of tokens that the model knows.
        ends: tokens that end an answer.
    """

    def __init__(self, tokenizer: Any, vocabulary: int, ends: Collection[int]) -> None:
        self._tokenizer = _hf.from_tokenizer(tokenizer, n_vocab=vocabulary, eos_token=sorted(ends))
        self._ends = tuple(ends)
        # Not `convert_tokens_to_ids`: it takes what is not there for the unknown token.
        known = tokenizer.get_vocab()
        self._tags = (
            self._tag(known.get("<tool_call>"), "<tool_call>"),
            self._tag(known.get("</tool_call>"), "</tool_call>"),
        )
        self._kept: OrderedDict[bytes, Any] = OrderedDict()

    def guide(self, request: Request) -> CallGuide | None:
        """Create the guide of an answer; ``None`` if the answer is free.

        Raises:
            PermanentLMError: the request's schemas cannot be followed.
        """
        calls = _must_call(request) or (request.tools and _may_call(request))
        if request.response_format is None and not calls:
            return None
        only_one = request.parallel_tool_calls is False
        key = _encode((request.response_format, request.tools, request.tool_choice, only_one))
        if key not in self._kept:
            self._kept[key] = self._matcher(self._grammar(request))
            if len(self._kept) > _MAX_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return CallGuide(self._kept[key].deep_copy(), self._ends)

    def _tag(self, token: int | None, text: str) -> str:
        """Write a tag for the grammar, in which special tokens are not text."""
        is_special = token is not None and self._tokenizer.is_special_token(token)
        return text if is_special else json.dumps(text)

    def _grammar(self, request: Request) -> str:
        if request.response_format is not None:
            return f"%llguidance {{}}\nstart: {_json(Schema(request.response_format))}\n"
        return grammar(
            _choice(request),
            self._tags,
            must_call=_must_call(request),
            most=1 if request.parallel_tool_calls is False else MAX_CALLS,
        )

    def _matcher(self, text: str) -> Any:
        if len(text) > MAX_GRAMMAR:
            raise PermanentLMError(
                f"the schemas of the request make a grammar of {len(text)} characters; at most "
                f"{MAX_GRAMMAR} can be followed: offer fewer tools or values, or pass guided=False"
            )
        matcher = llguidance.LLMatcher(self._tokenizer, text, log_level=0)
        if matcher.is_error():
            reason = matcher.get_error().partition("\n")[0]
            raise PermanentLMError(f"the schemas of the request cannot be followed: {reason}")
        return matcher


class CallGuide:
    """Follows one answer; see `agent_gym_env.lm.torch_generation.Guide`.

    Args:
        matcher: llguidance's matcher, at the beginning of the answer.
        ends: tokens that end an answer.
    """

    def __init__(self, matcher: Any, ends: Sequence[int]) -> None:
        self._matcher = matcher
        self._ends = ends

    def fill(self, masks: npt.NDArray[np.int32], row: int) -> None:
        """Write the allowed next tokens into a row of bits, 32 tokens in an integer."""
        masks[row] = 0
        if not self._matcher.is_error():
            bits = np.frombuffer(self._matcher.compute_bitmask(), np.int32)
            # It may have a word more, or fewer where the model's vocabulary is padded.
            words = min(len(bits), masks.shape[1])
            masks[row, :words] = bits[:words]
        # A parser that has reached an internal limit allows nothing: then the answer ends.
        if not masks[row].any():
            for token in self._ends:
                masks[row, token // 32] |= np.left_shift(1, token % 32, dtype=np.int32)

    def advance(self, token: int) -> None:
        """Advance by one token."""
        self._matcher.consume_token(token)

    def may_stop(self) -> bool:
        """Return whether the answer is complete."""
        return bool(self._matcher.is_accepting())

    def problem(self) -> str | None:
        """Return why the answer could not continue; ``None`` if it could."""
        if not self._matcher.is_error():
            return None
        return str(self._matcher.get_error().partition("\n")[0])


def grammar(
    functions: Sequence[Mapping[str, Any]],
    tags: tuple[str, str],
    *,
    must_call: bool = False,
    most: int = MAX_CALLS,
) -> str:
    """Write the grammar of an answer: text, calls in Hermes' form, or text and then calls.

    Args:
        functions: functions that may be called; see `functions_of`.
        tags: opening and closing tag of a call, written for llguidance's grammar.
        must_call: whether the answer must have a call.
        most: largest number of calls.
    """
    opening, closing = tags
    if opening.startswith("<"):
        first = f"first: TEXT {opening} call"
    else:
        # Lazy: the call begins as soon as the tag is written.
        first = f"first: words call\nwords[lazy]: TEXT {opening}"
    begin = f"{opening} call" if must_call else "first"
    more = f" next{{0,{most - 1}}}" if most > 1 else ""
    text = "" if must_call else " | TEXT"
    choices = " | ".join(f"call_{number}" for number in range(len(functions)))
    lines = [
        "%llguidance {}",
        f"start: {begin}{more}{text}",
        first,
        f"next: GAP {opening} call",
        f'call: "\\n{{\\"name\\": " ({choices}) "}}\\n" {closing}',
        "TEXT: /(.|\\n)*/",
        "GAP: /\\n?/",
        # No `<`: no value can close the tag.
        r"CHARACTER: /[^\"\\<\x00-\x1F\x7F]|\\[\"\\]|\\u003c/",
        r"INTEGER: /-?(0|[1-9][0-9]{0,17})/",
        r"NUMBER: /-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?/",
        'BOOLEAN: "true" | "false"',
    ]
    for number, function in enumerate(functions):
        lines += _call(f"call_{number}", function)
    lines += _strings(lines)
    return "\n".join(lines) + "\n"


def _call(rule: str, function: Mapping[str, Any]) -> Iterator[str]:
    """Write the rules of one tool: its arguments in any order, each once, the required ones all."""
    name = f"{_written(function['name'])}, {_written('arguments')}: "
    try:
        root = Schema(function.get("parameters") or {})
        parameters = msgspec.convert(root.value, _Parameters)
        properties = {
            name: schema
            for name, schema in (parameters.properties or {}).items()
            if schema is not False  # nothing may be given
        }
        values = {each: _value(root.below(schema)) for each, schema in properties.items()}
    except msgspec.ValidationError as error:
        raise PermanentLMError(
            f"the parameters of the tool {function['name']} are not a JSON schema: {error}"
        ) from error
    required = list(dict.fromkeys(parameters.required or ()))
    names = [*required, *(name for name in properties if name not in required)]
    if len(names) > _MAX_BITS:
        raise PermanentLMError(
            f"the tool {function['name']} has {len(names)} arguments; at most {_MAX_BITS} can be "
            "followed: pass guided=False"
        )
    if not properties and any(root.value.get(key) for key in _OPEN):
        yield f"{rule}: {json.dumps(name, ensure_ascii=False)} {_json(root)}"
        return
    name += "{"
    if not names:
        yield f"{rule}: {json.dumps(name + '}', ensure_ascii=False)}"
        return
    whole = f" %if is_ones([0:{len(required)}])" if required else ""
    members = [(bit, f"{rule}_{bit}") for bit in range(len(names))]
    yield f"{rule}: {json.dumps(name, ensure_ascii=False)} {rule}_first::0x0"
    for state, comma in (("first", ""), ("more", '", " ')):
        yield f'{rule}_{state}::_: "}}"{whole}'
        for bit, member in members:
            yield f"    | {comma}{member} {rule}_more::set_bit({bit}) %if bit_clear({bit})"
    for (_, member), name in zip(members, names, strict=True):
        key = json.dumps(f"{_written(name)}: ", ensure_ascii=False)
        yield f"{member}: {key} {values.get(name) or _value(root.below({}))}"


def _value(schema: Schema) -> str:
    """Write the rule of a value.

    Raises:
        msgspec.ValidationError: the schema is invalid.
    """
    value = schema.value
    read = msgspec.convert(value, _Value)
    if read.enum is not None or "const" in value:
        choices = [value["const"]] if "const" in value else read.enum or []
        return f"({' | '.join(json.dumps(_written(choice)) for choice in choices)})"
    kind = value.get("type")
    if kind == "string" and not value.keys() & {"pattern", "format", *_PARTS}:
        most = max(MAX_STRING, read.min_length) if read.max_length is None else read.max_length
        return f"STRING_{read.min_length}_{most}"
    simple = {"integer": "INTEGER", "number": "NUMBER", "boolean": "BOOLEAN"}
    if isinstance(kind, str) and kind in simple and not value.keys() & {*_BOUNDS, *_PARTS}:
        return simple[kind]
    return _json(schema)


def _json(schema: Schema) -> str:
    return f"%json {json.dumps(schema.alone(_is_followed))}"


@functools.lru_cache(maxsize=1024, typed=True)
def _rule_compiles(key: str, value: Any, kind: str | None) -> bool:
    schema = json.dumps({key: value} if kind is None else {"type": kind, key: value})
    text = f"%llguidance {{}}\nstart: %json {schema}"
    return not llguidance.LLMatcher.validate_grammar(text)


def _is_followed(key: str, value: Any, kind: Any) -> bool:
    """Return whether llguidance supports a rule; it lacks some patterns and very large bounds."""
    return _rule_compiles(key, value, kind if isinstance(kind, str) else None)


def _strings(lines: Sequence[str]) -> Iterator[str]:
    """Write the rules of texts with limited length."""
    for name in sorted(set(_STRING.findall("\n".join(lines)))):
        least, most = name.split("_")[1:]
        characters = f"CHARACTER{{{least},{most}}}" if int(most) else ""
        yield rf'{name}: /"/ {characters} /"/'


_OPEN = ("additionalProperties", "patternProperties", "anyOf", "oneOf", "allOf")
"""Keywords that describe the members of a schema without properties."""

_STRING = re.compile(r"\bSTRING_\d+_\d+$", re.MULTILINE)
_PARTS = ("anyOf", "oneOf", "allOf")
_BOUNDS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}


def _written(value: Any) -> str:
    """Write a value as chat templates do, but so that it cannot close the tag."""
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")


def _may_call(request: Request) -> bool:
    return request.tool_choice != "none"


def _must_call(request: Request) -> bool:
    return request.tool_choice not in (None, "auto", "none")


def _choice(request: Request) -> list[dict[str, Any]]:
    """Return the functions that may be called."""
    functions = functions_of(request.tools)
    if not functions:
        raise PermanentLMError("tool_choice asks for a call, but the request has no tools")
    named = required_tool(request.tool_choice)
    if named is None:
        return functions
    chosen = [function for function in functions if function["name"] == named]
    if not chosen:
        raise PermanentLMError(f"tool_choice names {named!r}, which is not among the tools")
    return chosen
