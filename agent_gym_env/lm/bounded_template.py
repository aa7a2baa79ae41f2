"""Chat templates, rendered as transformers does, with limits on steps and size.

A template comes with a model, as its weights do, and is a program: it can loop endlessly, or write
more than fits into memory. It may use what transformers documents: trimmed blocks, ``break`` and
``continue``, ``tojson``, ``raise_exception``, ``strftime_now`` and ``generation`` blocks.
"""

from __future__ import annotations

import datetime
import functools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2.ext
import jinja2.nodes
import jinja2.sandbox
import jinja2.visitor

MAX_SOURCE = 1 << 20
"""Characters of a template."""

MAX_STEPS = 1_000_000
"""Passes through loops, and calls of macros, in one rendering."""

MAX_SIZE = 1 << 25
"""Characters that one rendering writes, and items of a text or list that it computes."""

MAX_HANDLED = 1 << 28
"""Characters that go into and come out of filters and methods in one rendering."""

_STEP, _WRITE, _HANDLE = "_step", "_write", "_handle"
_WIDTH = re.compile(r"\d{7}")
_NESTED_WIDTH = re.compile(r"\{[^}]*\{")


class TemplateLimitError(jinja2.TemplateError):
    """A template exceeds a limit."""


def render(
    tokenizer: Any,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] | None = None,
    *,
    goes_on: bool = False,
) -> str:
    """Write a conversation by the chat template of a tokenizer.

    Args:
        tokenizer: tokenizer of transformers.
        messages: messages of the conversation.
        tools: tools on offer.
        goes_on: whether the beginning of the assistant's next message follows.

    Raises:
        jinja2.TemplateError: the template refuses them, or exceeds a limit.
    """
    tools = list(tools) if tools else None
    source = tokenizer.get_chat_template(tools=tools)
    if len(source) > MAX_SOURCE:
        problem = f"it has {len(source)} characters, more than {MAX_SOURCE}"
        raise TemplateLimitError(problem)
    meter = _Meter()
    text: str = _compiled(source).render(
        {
            **tokenizer.special_tokens_map,
            "messages": list(messages),
            "tools": tools,
            "documents": None,
            "add_generation_prompt": goes_on,
            _STEP: meter.step,
            _WRITE: meter.write,
            _HANDLE: meter.handle,
        }
    )
    return text


class _Meter:
    """Counter of the steps and the size of one rendering."""

    def __init__(self) -> None:
        self._steps = 0
        self._size = 0
        self._handled = 0

    def step(self) -> None:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise TemplateLimitError(f"it takes more than {MAX_STEPS} steps")

    def write(self, *values: Any) -> str:
        text = "".join(map(str, values))
        self._size += len(text)
        _check_size(self._size)
        return text

    def handle(self, value: Any) -> Any:
        size = max(0, _size(value))
        _check_size(size)
        self._handled += size
        if self._handled > MAX_HANDLED:
            raise TemplateLimitError(f"it handles more than {MAX_HANDLED} characters")
        return value


class _Metered(jinja2.visitor.NodeTransformer):
    """Adds calls of the meter to loops, macros and output of a template."""

    def visit_For(self, node: Any) -> Any:  # noqa: N802
        return self._stepping(node)

    def visit_Macro(self, node: Any) -> Any:  # noqa: N802
        return self._stepping(node)

    def visit_CallBlock(self, node: Any) -> Any:  # noqa: N802
        node.call.args = [self.visit(argument) for argument in node.call.args]
        call, node.call = node.call, jinja2.nodes.Const(None)
        self._stepping(node)
        node.call = call  # a call that a macro's caller belongs to stays one
        return node

    def visit_Filter(self, node: Any) -> Any:  # noqa: N802
        self.generic_visit(node)
        if node.node is None:  # it filters a block, of which each text is counted
            return node
        node.node = _call(_HANDLE, [node.node], node.lineno)
        return _call(_HANDLE, [node], node.lineno)

    def visit_Call(self, node: Any) -> Any:  # noqa: N802
        self.generic_visit(node)
        if isinstance(node.node, jinja2.nodes.Getattr):
            node.node.node = _call(_HANDLE, [node.node.node], node.lineno)
        return _call(_HANDLE, [node], node.lineno)

    def visit_Concat(self, node: Any) -> Any:  # noqa: N802
        self.generic_visit(node)
        return _call(_WRITE, node.nodes, node.lineno)

    def visit_Output(self, node: Any) -> Any:  # noqa: N802
        self.generic_visit(node)
        node.nodes = [
            _call(_WRITE, [jinja2.nodes.Const(each.data)], node.lineno)
            if isinstance(each, jinja2.nodes.TemplateData)
            else _call(_WRITE, [each], node.lineno)
            for each in node.nodes
        ]
        return node

    def _stepping(self, node: Any) -> Any:
        self.generic_visit(node)
        step = jinja2.nodes.ExprStmt(_call(_STEP, [], node.lineno), lineno=node.lineno)
        node.body.insert(0, step)
        return node


def _call(name: str, values: list[Any], line: int) -> Any:
    function = jinja2.nodes.Name(name, "load", lineno=line)
    return jinja2.nodes.Call(function, values, [], None, None, lineno=line)


class _Generation(jinja2.ext.Extension):
    """Parser of the blocks that mark, for training, what the assistant says."""

    tags = {"generation"}  # noqa: RUF012  (jinja2's own form)

    def parse(self, parser: Any) -> Any:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Environment(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """A sandbox that refuses to compute texts, lists and numbers beyond a prompt's size."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        sizes = sorted((_size(left), _size(right)))
        if operator == "*" and sizes[0] < 0 < sizes[1]:
            _check_size(sizes[1] * max(abs(each) for each in (left, right) if _is_number(each)))
        elif operator == "**":
            _check_size(abs(right) * max(1, abs(left).bit_length() if type(left) is int else 1))
        elif operator == "%" and isinstance(left, str) and (_WIDTH.search(left) or "*" in left):
            raise TemplateLimitError("it pads a text to a width of a million or more")
        elif operator == "%" and isinstance(left, str):
            given = right if isinstance(right, tuple) else (right,)
            _check_size(len(left) + left.count("%") * max(map(_size, given), default=0))
        elif operator == "+":
            _check_size(sum(sizes))
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        # The sandbox wraps a text's `format`.
        method = getattr(obj, "__wrapped__", obj)
        if isinstance(getattr(method, "__self__", None), (str, list)):
            for value in (*args, *kwargs.values()):
                _check_size(abs(value) if _is_number(value) else 0)
            _check_growth(method.__name__, method.__self__, *args, *kwargs.values())
        return super().call(context, obj, *args, **kwargs)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


def _size(value: Any) -> int:
    """Return the length of a text or a sequence, and -1 for what has none."""
    return len(value) if isinstance(value, (str, bytes, list, tuple)) else -1


def _check_growth(name: str, value: Any, *arguments: Any) -> None:
    """Check methods and filters that can make much more out of what they are given."""
    longest = max((_size(each) for each in arguments), default=0)
    if name == "replace" and isinstance(value, str) and arguments and _size(arguments[0]) >= 0:
        _check_size(len(value) + (value.count(str(arguments[0])) * longest))
    elif name == "join":
        few, many = (value, arguments[:1]) if isinstance(value, str) else (arguments[:1], [value])
        between = _size(few) if isinstance(few, str) else max(map(_size, few), default=0)
        _check_size(max(0, between) * max(map(_size, many), default=0))
    elif name in ("format", "format_map") and isinstance(value, str):
        if _WIDTH.search(value) or _NESTED_WIDTH.search(value):
            raise TemplateLimitError("it pads a text to more than anybody reads")
    elif name == "translate":
        raise TemplateLimitError("it translates characters, which no chat template needs")


def _check_size(size: float) -> None:
    if size > MAX_SIZE:
        raise TemplateLimitError(f"it writes or computes more than {MAX_SIZE} characters")


@functools.lru_cache(maxsize=16)
def _compiled(source: str) -> Any:
    environment = _Environment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    for name in ("center", "indent", "wordwrap", "format", "batch", "slice"):
        environment.filters[name] = _with_small_numbers(environment.filters[name])
    for name in ("replace", "join"):
        environment.filters[name] = _with_small_growth(name, environment.filters[name])
    del environment.globals["lipsum"]
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    try:
        return environment.from_string(_Metered().visit(environment.parse(source)))
    except (RecursionError, MemoryError, SyntaxError) as error:
        raise TemplateLimitError(f"it is nested too deeply ({type(error).__name__})") from error


def _with_small_numbers(function: Any) -> Any:
    """Wrap a filter so that it cannot be asked for a width that fills the memory."""

    @functools.wraps(function)
    def bounded(*values: Any, **named: Any) -> Any:
        for value in (*values, *named.values()):
            _check_size(abs(value) if _is_number(value) else 0)
        return function(*values, **named)

    return bounded


def _with_small_growth(name: str, function: Any) -> Any:
    """Wrap a filter, whose first argument is the evaluation context, as `_check_growth` asks."""

    @functools.wraps(function)
    def bounded(context: Any, value: Any, *arguments: Any, **named: Any) -> Any:
        if name == "join":
            value = list(value)
        _check_growth(name, value, *arguments, *named.values())
        return function(context, value, *arguments, **named)

    return bounded


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    if isinstance(indent, int):
        _check_size(indent * 1024)
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
