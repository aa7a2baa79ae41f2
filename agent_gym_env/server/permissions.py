"""Permissions of the clients of a server: the names and files that their requests may contain.

On the command line a configuration may name any module and any file. Over a wire the same
configuration comes from somebody else, so a client may use registered names only, files below the
folder of the server only, and no address but those that the operator has set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from agent_gym_env.registry import is_importable
from agent_gym_env.server.wire import Refused

OWN_FOLDER = ".agent-gym"
"""Folder for the server's own files, below the folder of the runs."""

_OPERATORS = frozenset({"address", "api_base", "api_key", "base_url", "command", "track", "url"})
"""Settings that name a server, a key, a program or a receiver of data: only the operator sets
them."""

_TOOL_BACKENDS = frozenset({"replay", "nearest", "simulated"})
"""Back ends that run no code of a user."""


class Permissions(msgspec.Struct, frozen=True):
    """Permissions of the clients of a server.

    Attributes:
        corpora: names and absolute paths of corpora that a client may name.
        is_trusted: whether clients may name everything, as on the command line.
    """

    corpora: tuple[str, ...] = ("sample", "sgd")
    is_trusted: bool = False

    def check(self, settings: Mapping[str, Any]) -> None:
        """Check the arguments of an environment or the settings of a run.

        Raises:
            Refused: they name a module, an address, a path outside of the server's folder, or a
                corpus that the operator has not allowed.
        """
        if self.is_trusted:
            return
        for name, value in _named_values(settings):
            self._check_value(name, value)

    def _check_value(self, name: str, value: Any) -> None:
        if name in _OPERATORS and value not in (None, (), []):
            raise _forbidden(f"a client may not set {name!r}")
        if name == "corpus":
            if value is not None and value not in self.corpora:
                allowed = ", ".join(self.corpora)
                raise _forbidden(f"the corpus must be one of {allowed}, not {value!r:.80}")
            return
        if name == "tool_backend":
            chosen = value.get("name") if isinstance(value, Mapping) else value
            if not isinstance(chosen, str) or chosen not in _TOOL_BACKENDS:
                allowed = ", ".join(sorted(_TOOL_BACKENDS))
                raise _forbidden(f"the tool backend must be one of {allowed}, not {chosen!r:.80}")
        if isinstance(value, str):
            _check_text(name or "a setting", value)


def _named_values(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value with the key that it belongs to, through lists and objects."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield "", key
            yield str(key), inner
            yield from _named_values(inner, str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield name, inner
            yield from _named_values(inner, name)


def _check_text(name: str, value: str) -> None:
    if is_importable(value):
        raise _forbidden(f"{name} names the module {value!r:.80}")
    if "://" in value:  # some clients of language models take an address as the model's name
        raise _forbidden(f"{name} names an address: {value!r:.80}")
    parts = value.replace("\\", "/").split("/")
    is_outside = value.startswith(("/", "~", "\\")) or ".." in parts or "\0" in value
    if is_outside or OWN_FOLDER in parts:
        raise _forbidden(f"{name} names a path outside of the server's folder: {value!r:.80}")


def _forbidden(problem: str) -> Refused:
    return Refused(
        f"{problem}; `agent-gym serve --trusted` allows what the command line allows",
        status=403,
        code="forbidden",
    )
