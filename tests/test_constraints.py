"""`constraints.txt` pins all that `make test` installs, on every Python that is supported.

`constraints/NAME.txt` pins what `make test-hub-NAME` installs.
"""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text()
LINES = (ROOT / "constraints.txt").read_text().splitlines()
EXTRAS = re.findall(r"^EXTRAS \?= (.*)$", MAKEFILE, re.M)[0].split(",")
HUBS = sorted(path.stem for path in (ROOT / "constraints").glob("*.txt"))
PYTHONS = ("3.10", "3.11", "3.12", "3.13")


def environment_of(python: str) -> dict[str, str]:
    """The variables of markers for a Python."""
    return {"python_version": python, "python_full_version": f"{python}.0"}


def lines_of(hub: str) -> list[str]:
    return (ROOT / "constraints" / f"{hub}.txt").read_text().splitlines()


def pins(python: str, lines: list[str] = LINES) -> dict[str, str]:
    """The version of each library on a Linux machine with this Python."""
    environment = environment_of(python)
    applied: dict[str, str] = {}
    for requirement in map(Requirement, lines):
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


@pytest.mark.parametrize("hub", [None, *HUBS])
def test_a_line_is_a_name_and_a_version(hub: str | None) -> None:
    pattern = re.compile(r"[a-zA-Z0-9._-]+==[a-zA-Z0-9._!+-]+( ; [^/]+)?")
    lines = LINES if hub is None else lines_of(hub)
    assert [line for line in lines if not pattern.fullmatch(line)] == []


def test_the_makefile_tests_each_hub_that_has_pins() -> None:
    named = re.findall(r"^HUBS := (.*)$", MAKEFILE, re.M)[0].split()
    assert set(HUBS) <= set(named)


@pytest.mark.parametrize("hub", HUBS)
def test_the_library_of_a_hub_is_pinned_inside_its_range(hub: str) -> None:
    oldest = re.findall(rf"^OLDEST_PYTHON_{hub} := (.*)$", MAKEFILE, re.M) or ["3.10"]
    pinned = pins(oldest[0], lines_of(hub))
    for text in metadata.requires("agent-gym-env") or ():
        requirement = Requirement(text)
        marker = requirement.marker
        applies = {**environment_of(oldest[0]), "extra": hub}
        if f'extra == "{hub}"' in text.replace("'", '"') and marker and marker.evaluate(applies):
            name = canonicalize_name(requirement.name)
            assert requirement.specifier.contains(pinned[name]), f"run: make constraints/{hub}.txt"


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
