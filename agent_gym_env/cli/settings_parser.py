"""Command-line parsers made from structs: each field of a command's settings is an option.

The same struct reads the file of ``--config``, so that a file and the options hold the same names.
"""

from __future__ import annotations

import argparse
import inspect
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar, get_args, get_origin

import msgspec
from msgspec import inspect as shapes

from agent_gym_env.lm.lenient_json import MAX_DEPTH, nests_deeper
from agent_gym_env.suggestions import did_you_mean, explained

_Settings = TypeVar("_Settings", bound=msgspec.Struct)

_CONFIG_HELP = (
    "read options from a file that ends in .toml, .yaml or .json, or from a JSON object; the names "
    "are those of the options, with _ in place of -. Options of the command line override the file"
)


class Named(dict[str, Any]):
    """Name of a policy or reward, and its options."""


class Parser(argparse.ArgumentParser):
    """Parser that suggests the nearest known name for a mistyped option, command or value."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse unknown options before anything else: a missing one is often a mistyped one."""
        given = [*(sys.argv[1:] if args is None else args)]
        known = self._option_string_actions
        for text in given if self._subparsers is None else ():
            name = text.partition("=")[0]
            if name == "--":
                break
            if name.startswith("--") and not any(each.startswith(name) for each in known):
                words = [each.lstrip("-") for each in known]
                self.error(f"unknown option {name}{did_you_mean(name[2:], words)}")
        return super().parse_known_args(given, namespace)

    def error(self, message: str) -> NoReturn:
        """Print a message and exit with code 2."""
        choice = re.fullmatch(r".*invalid choice: '(.*)' \(choose from (.*)\)", message, re.DOTALL)
        if choice:
            known = [each.strip("' ") for each in choice[2].split(",")]
            message += did_you_mean(choice[1], known)
        self.exit(2, f"{self.prog}: error: {message}\nFor help: {self.prog} --help\n")


def add_options(parser: argparse.ArgumentParser, settings: type[msgspec.Struct]) -> list[str]:
    """Add an option for each field of a struct, and ``--config``.

    The explanations come from the section ``Attributes`` of the docstrings. A field whose type has
    the extra ``positional`` becomes an argument without dashes.

    Returns:
        The names of the arguments without dashes, as the help shows them.
    """
    fields = {field.name: field for field in msgspec.structs.fields(settings)}
    for name, explanation in _explanations(settings).items():
        _add_option(parser, fields[name], explanation)
    parser.add_argument("--config", metavar="FILE", type=read_config, default={}, help=_CONFIG_HELP)
    positional = (action for action in parser._actions if not action.option_strings)
    return [f"{each.metavar}{' …' if each.nargs == '*' else ''}" for each in positional]


def read_settings(settings: type[_Settings], options: argparse.Namespace) -> _Settings:
    """Return the settings of a parsed command line: its options, over those of ``--config``.

    Raises:
        ValueError: a setting of the file is unknown or has a wrong value, or one is missing.
    """
    names = settings.__struct_encode_fields__
    given = {name: value for name, value in vars(options).items() if name in names}
    config = _with_lists(settings, options.config)
    try:
        return msgspec.convert({**config, **given}, settings, dec_hook=_decode)
    except msgspec.ValidationError as error:
        problem, place = explained(error, settings)
        missing = re.fullmatch(r"the field '(.*)' is missing", problem)
        if missing and not place:
            raise ValueError(f"{_shown_name(settings, missing[1])} is required") from error
        where = f"--config{place}: " if options.config or place else ""
        raise ValueError(where + problem) from error


def _with_lists(settings: type[msgspec.Struct], config: dict[str, Any]) -> dict[str, Any]:
    """Put a single value into a list where an option takes several, as a command line does."""
    several = {
        field.encode_name
        for field in msgspec.structs.fields(settings)
        if isinstance(_kind_of(field)[0], shapes.VarTupleType)
    }
    return {
        name: [value] if name in several and isinstance(value, str | dict) else value
        for name, value in config.items()
    }


def _shown_name(settings: type[msgspec.Struct], name: str) -> str:
    fields = {field.encode_name: field for field in msgspec.structs.fields(settings)}
    extra = _kind_of(fields[name])[1]
    return str(extra["metavar"]) if extra.get("positional") else _flag(name)


def read_config(text: str) -> dict[str, Any]:
    """Read the file of ``--config``, or the JSON object that takes its place.

    Raises:
        argparse.ArgumentTypeError: the text or the file is not a mapping of settings.
    """
    if text.lstrip().startswith("{"):
        return _json_object(text)
    decode = _DECODERS.get(Path(text).suffix)
    if decode is None:
        raise argparse.ArgumentTypeError(
            f"expected a JSON object or a file that ends in {', '.join(_DECODERS)}, not {text!r}"
        )
    try:
        return _checked_object(decode(Path(text).read_bytes()), f"cannot read {text}: ")
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot read {text}: {error.strerror}") from error
    except ImportError as error:
        raise argparse.ArgumentTypeError(
            f"cannot read {text}: run pip install {_LIBRARIES[Path(text).suffix]}, or use JSON"
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"cannot read {text}: {error}") from error


_DECODERS: dict[str, Callable[[bytes], Any]] = {
    ".toml": msgspec.toml.decode,
    ".yaml": msgspec.yaml.decode,
    ".yml": msgspec.yaml.decode,
    ".json": msgspec.json.decode,
}
_LIBRARIES = {".toml": "tomli", ".yaml": "pyyaml", ".yml": "pyyaml"}
"""Libraries that msgspec uses for a format; Python 3.11 and later read TOML themselves."""


def _explanations(settings: type[msgspec.Struct]) -> dict[str, str]:
    """Return the explanation of each field: first those of the struct itself, then of its bases."""
    found: dict[str, str] = {}
    for owner in settings.__mro__:
        _, _, section = inspect.cleandoc(owner.__doc__ or "").partition("Attributes:\n")
        for name, text in re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", section, re.MULTILINE):
            if name in settings.__struct_fields__:
                plain = text.replace("``None``", "null").replace("``", "")
                found.setdefault(name, " ".join(plain.split()).removesuffix("."))
    return found | {name: "" for name in settings.__struct_fields__ if name not in found}


def _add_option(
    parser: argparse.ArgumentParser, field: msgspec.structs.FieldInfo, explanation: str
) -> None:
    name, kind, extra = field.encode_name, *_kind_of(field)
    text = (explanation + _default_text(field)).replace("%", "%%")
    if isinstance(kind, shapes.BoolType):
        _add_switch(parser, field, text)
        return
    options: dict[str, Any] = {"help": text, "default": argparse.SUPPRESS}
    if takes_several := isinstance(kind, shapes.VarTupleType):
        kind = _alternatives(kind.item_type)[0][0]
        options |= {"nargs": "*" if extra.get("positional") else "+", "action": "extend"}
    elif extra.get("positional"):
        options["nargs"] = "?"
    elif isinstance(kind, shapes.StructType) and field.default is None:
        options |= {"nargs": "?", "const": {}}
    if isinstance(kind, shapes.LiteralType):
        options |= {"choices": _choices(field.type), "metavar": extra.get("metavar")}
    else:
        is_path = isinstance(kind, shapes.CustomType) and kind.cls is Path
        metavar = extra.get("metavar") or _METAVARS.get(type(kind), "PATH" if is_path else _NAME)
        options |= {"type": _reader(field.type, takes_several), "metavar": metavar}
    if extra.get("positional"):
        parser.add_argument(name, **options)
    else:
        parser.add_argument(_flag(name), dest=name, **options)


_METAVARS = {
    shapes.IntType: "N",
    shapes.FloatType: "X",
    shapes.DictType: "JSON",
    shapes.StructType: "JSON",
    shapes.StrType: "TEXT",
}
_NAME = "NAME|JSON"
"""Placeholders of values in the help; the last is for a name, or an object with options."""


def _add_switch(
    parser: argparse.ArgumentParser, field: msgspec.structs.FieldInfo, text: str
) -> None:
    """Add ``--name`` and ``--no-name``; the help shows what changes the default."""
    name = field.encode_name
    for flag, value in ((_flag(name), True), (_flag(f"no_{name}"), False)):
        shown = argparse.SUPPRESS if field.default is value else text
        parser.add_argument(
            flag,
            dest=name,
            action="store_const",
            const=value,
            default=argparse.SUPPRESS,
            help=shown,
        )


def _choices(type_: Any) -> tuple[Any, ...]:
    """Return the values of the ``Literal`` in a type, in the order in which they are written."""
    if get_origin(type_) is Literal:
        return get_args(type_)
    found = (_choices(each) for each in get_args(type_) if get_args(each))
    return next(filter(None, found), ())


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _default_text(field: msgspec.structs.FieldInfo) -> str:
    value = field.default
    if field.required:
        return " (required)"
    if isinstance(value, bool):
        return ""
    shown = value if isinstance(value, tuple) else (value,)
    names = [each["name"] if isinstance(each, Named) else str(each) for each in shown]
    is_told = all(isinstance(each, Named | str | Path | int | float) for each in shown)
    return f" (default: {' '.join(names)})" if names and is_told else ""


def _kind_of(field: msgspec.structs.FieldInfo) -> tuple[shapes.Type, dict[str, Any]]:
    """Return the first alternative of a field's type, and the extras of its annotations."""
    kinds, extra = _alternatives(shapes.type_info(field.type))
    if len(kinds) > 1:  # a name, or an object with options
        return shapes.AnyType(), extra
    return kinds[0], extra


def _alternatives(shape: shapes.Type) -> tuple[list[shapes.Type], dict[str, Any]]:
    """Return the alternatives of a type, without ``None``, and the extras of its annotations."""
    if isinstance(shape, shapes.Metadata):
        kinds, extra = _alternatives(shape.type)
        return kinds, {**extra, **(shape.extra or {})}
    if not isinstance(shape, shapes.UnionType):
        return [] if isinstance(shape, shapes.NoneType) else [shape], {}
    parts = [_alternatives(each) for each in shape.types]
    extras = {name: value for _, extra in parts for name, value in extra.items()}
    return [kind for kinds, _ in parts for kind in kinds], extras


def _reader(type_: Any, takes_several: bool) -> Callable[[str], Any]:
    """Return a function that reads the text of an option as a value of a type.

    Args:
        type_: type of the field.
        takes_several: whether the field is a tuple of which each text is an item.
    """

    def read(text: str) -> Any:
        value = _json_object(text) if text.lstrip().startswith("{") else text
        whole = [value] if takes_several else value
        try:
            found = msgspec.convert(whole, type_, strict=False, dec_hook=_decode)
        except msgspec.ValidationError as error:
            problem = explained(error, type_)[0].removesuffix(", found a string")
            raise argparse.ArgumentTypeError(f"{problem}, not {text!r:.80}") from error
        if isinstance(found, float) and not math.isfinite(found):
            raise argparse.ArgumentTypeError(f"expected a number, not {text!r}")
        return found[0] if takes_several else value if isinstance(value, dict) else found

    return read


def _decode(type_: type, value: Any) -> Any:
    """Convert a value to a type that JSON does not have; see `msgspec.convert`."""
    if type_ is Path and isinstance(value, str | Path):
        return Path(value)
    if type_ is Named and isinstance(value, str):
        return Named(name=value)
    if type_ is Named and isinstance(value, dict):
        if not isinstance(value.get("name"), str):
            raise ValueError('expected an object with a "name", which is a string')
        return Named(value)
    raise ValueError("expected a path" if type_ is Path else "expected a name or an object")


def _json_object(text: str) -> dict[str, Any]:
    try:
        return _checked_object(msgspec.json.decode(text))
    except (msgspec.DecodeError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error


def _checked_object(value: Any, where: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{where}expected a mapping of names to values")
    if nests_deeper(value, MAX_DEPTH):
        raise argparse.ArgumentTypeError(f"{where}it nests more than {MAX_DEPTH} levels")
    return value
