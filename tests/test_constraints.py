"""`constraints.txt` pins all that `make test` installs, on every Python that is supported."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LINES = (ROOT / "constraints.txt").read_text().splitlines()
EXTRAS = re.findall(r"^EXTRAS \?= (.*)$", (ROOT / "Makefile").read_text(), re.M)[0].split(",")
PYTHONS = ("3.10", "3.11", "3.12", "3.13")


def environment_of(python: str) -> dict[str, str]:
    """The variables of markers for a Python."""
    return {"python_version": python, "python_full_version": f"{python}.0"}


def pins(python: str) -> dict[str, str]:
    """The version of each library on a Linux machine with this Python."""
    environment = environment_of(python)
    applied: dict[str, str] = {}
    for requirement in map(Requirement, LINES):
        if requirement.marker is None or requirement.marker.evaluate(environment):
            (pin,) = requirement.specifier
            applied[canonicalize_name(requirement.name)] = pin.version
    return applied


def needed(name: str, extras: frozenset[str], seen: set[tuple[str, frozenset[str]]]) -> set[str]:
    """The installed libraries that a distribution needs, and those that they need."""
    if (name, extras) in seen:
        return set()
    seen.add((name, extras))
    found = {name}
    for text in metadata.requires(name) or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker and not any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
            continue
        found |= needed(canonicalize_name(requirement.name), frozenset(requirement.extras), seen)
    return found


def test_a_line_is_a_name_and_a_version() -> None:
    pattern = re.compile(r"[a-zA-Z0-9._-]+==[a-zA-Z0-9._!+-]+( ; [^/]+)?")
    assert [line for line in LINES if not pattern.fullmatch(line)] == []


@pytest.mark.parametrize("python", PYTHONS)
def test_every_direct_dependency_is_pinned_inside_its_range(python: str) -> None:
    pinned = pins(python)
    for text in metadata.requires("agent-gym-env") or ():
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        environments = [{**environment_of(python), "extra": extra} for extra in ("", *EXTRAS)]
        marker = requirement.marker
        if name == "agent-gym-env" or (marker and not any(map(marker.evaluate, environments))):
            continue
        assert name in pinned, f"run: make constraints ({name} is not pinned)"
        assert requirement.specifier.contains(pinned[name]), f"{name} {pinned[name]}"


def test_whatever_a_dependency_needs_is_pinned_too() -> None:
    pinned = pins(f"{sys.version_info[0]}.{sys.version_info[1]}")
    if metadata.version("numpy") != pinned["numpy"]:
        pytest.skip("this environment was not installed from constraints.txt")
    try:
        found = needed("agent-gym-env", frozenset(EXTRAS), set())
    except metadata.PackageNotFoundError as error:
        pytest.skip(f"not all extras are installed: {error}")
    assert found - pinned.keys() - {"agent-gym-env", "pip"} == set(), "run: make constraints"
