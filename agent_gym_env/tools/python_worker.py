"""The process in which a user's Python functions answer calls.

    python -m agent_gym_env.tools.python_worker module:obj

It reads one JSON object with ``name`` and ``arguments`` a line, and writes one JSON object with
``result`` or ``error`` a line. The first line that it writes lists the functions.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, BinaryIO

import msgspec

from agent_gym_env.registry import Registry

MAX_RESULT_BYTES = 1 << 20
"""Largest result of a function, as JSON."""

Function = Callable[..., Any]


class Asked(msgspec.Struct, frozen=True):
    """A call of a function."""

    name: str
    arguments: dict[str, Any]


class Answered(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to a call.

    Attributes:
        result: the result, any JSON value.
        error: message ``"code: what happened"`` in place of a result.
        functions: in the first line, the names of the functions.
    """

    result: msgspec.Raw = msgspec.Raw(b"null")
    error: str | None = None
    functions: tuple[str, ...] = ()


def functions_of(tools: object) -> dict[str, Function]:
    """Return the functions of an object by name.

    Args:
        tools: a mapping from names to functions, or an object or module whose public functions
            count.

    Raises:
        ValueError: it has no functions, or a value of the mapping cannot be called.
    """
    if isinstance(tools, Mapping):
        refused = [name for name, each in tools.items() if not callable(each)]
        if refused:
            raise ValueError(f"expected a function for each name, but {refused[0]!r} has none")
        found = dict(tools)
    else:
        public = (name for name in dir(tools) if not name.startswith("_"))
        members = {name: getattr(tools, name) for name in public}
        found = {name: each for name, each in members.items() if callable(each)}
    if not found:
        raise ValueError(f"expected functions, found none in an object of {type(tools).__name__}")
    return found


def answer(functions: Mapping[str, Function], asked: Asked) -> Answered:
    """Call a function with the arguments as keywords; an exception of it becomes an error."""
    function = functions.get(asked.name)
    if function is None:
        listed = ", ".join(list(functions)[:12])
        return Answered(error=f"not_served: the tools have no {asked.name!r}; they have {listed}")
    try:
        result = function(**asked.arguments)
        if inspect.isawaitable(result):
            import asyncio  # most functions do not need it, and each process starts sooner

            result = asyncio.run(_awaited(result))
        written = msgspec.json.encode(result)
    except Exception as error:  # noqa: BLE001  (a user's function may raise anything)
        problem = " ".join(f"{type(error).__name__}: {error}".split())
        return Answered(error=f"tool_error: {problem}")
    if len(written) > MAX_RESULT_BYTES:
        most = f"at most {MAX_RESULT_BYTES:,} are expected"
        return Answered(error=f"tool_error: the result has {len(written):,} bytes; {most}")
    return Answered(msgspec.Raw(written))


async def _awaited(result: Awaitable[Any]) -> Any:
    return await result


def serve(functions: Mapping[str, Function], questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer calls, one a line, until the input ends."""
    _write(answers, Answered(functions=tuple(map(str, functions))))
    decode = msgspec.json.Decoder(Asked).decode
    for line in questions:
        _write(answers, answer(functions, decode(line)))


def _write(answers: BinaryIO, answered: Answered) -> None:
    answers.write(msgspec.json.encode(answered).replace(b"\n", b" ") + b"\n")
    answers.flush()


def main() -> None:
    """Serve the functions that the first argument names."""
    # What a function prints goes to standard error, and it reads nothing of the calls.
    answers = os.fdopen(os.dup(1), "wb")
    questions = os.fdopen(os.dup(0), "rb")
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        functions = functions_of(Registry("tools", {}, factories=False).find(sys.argv[1]))
    except Exception as error:  # noqa: BLE001  (the environment's process raises it)
        _write(answers, Answered(error=f"{error}"))
        return
    serve(functions, questions, answers)


if __name__ == "__main__":
    main()
