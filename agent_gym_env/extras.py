"""Imports of optional libraries, with the exact pip line when one is missing."""

from __future__ import annotations

import importlib
import shlex
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType

from agent_gym_env.errors import MissingDependency

DISTRIBUTION = "agent-gym-env"

_ROOT = Path(__file__).resolve().parents[1]
"""The checkout's folder, or the folder that an installed package lies in."""


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional library.

    Args:
        module: dotted name, for example ``"stable_baselines3"``.
        extra: the extra of this distribution that installs it.

    Raises:
        MissingDependency: the library is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingDependency(
            f"{module} is not installed. It comes with the extra {extra!r}: {pip_line(extra)}",
            name=module,
        ) from error


def require_or_exit(module: str, *, extra: str) -> None:
    """Import an optional library in a script, or end the script with the pip line.

    Args:
        module: as in `require`.
        extra: as in `require`.

    Raises:
        SystemExit: the library is not installed.
    """
    try:
        require(module, extra=extra)
    except MissingDependency as error:
        raise SystemExit(str(error)) from error


def pip_line(extra: str) -> str:
    """Return the shell command that installs an extra beside this package.

    No package index knows this distribution. So the command names the checkout that the package is
    imported from or, for an installed package, the requirements in the distribution's metadata.

    Args:
        extra: name of the extra, for example ``"sb3"``.
    """
    pip = [sys.executable or "python", "-m", "pip", "install"]
    if _is_checkout(_ROOT):
        return shlex.join([*pip, "--editable", f"{_ROOT}[{extra}]"])
    try:
        return shlex.join([*pip, *requirements(extra)])
    except metadata.PackageNotFoundError:
        return f"pip install '.[{extra}]', in the folder of a checkout of {DISTRIBUTION}"


def requirements(extra: str) -> list[str]:
    """Return the requirements of an extra, such as ``["aiohttp<4,>=3.10"]``, from the metadata.

    Args:
        extra: name of the extra. Extras of this distribution in it are replaced by what they hold.

    Raises:
        PackageNotFoundError: the package lies there without metadata.
    """
    found: list[str] = []
    for line in metadata.requires(DISTRIBUTION) or ():
        requirement, _, marker = (part.strip() for part in line.partition(";"))
        condition = marker.replace("'", '"').removesuffix(f'extra == "{extra}"')
        if condition == marker.replace("'", '"'):
            continue
        condition = condition.strip().removesuffix("and").strip()
        name, _, inner = requirement.partition("[")
        if name == DISTRIBUTION:
            found += [each for part in inner.rstrip("]").split(",") for each in requirements(part)]
        else:
            found.append(f"{requirement}; {condition}" if condition else requirement)
    return list(dict.fromkeys(found))


def _is_checkout(folder: Path) -> bool:
    project = folder / "pyproject.toml"
    return project.is_file() and f'name = "{DISTRIBUTION}"' in project.read_text(encoding="utf-8")
