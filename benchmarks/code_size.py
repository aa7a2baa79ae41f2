"""The size of the code: modules, lines, who imports whom, public names, the start of the command.

    python -m benchmarks.code_size --before 531939d

prints a table with a column for the earlier commit and one for the present tree.
"""

from __future__ import annotations

import argparse
import ast
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "agent_gym_env"
SMALL = 110
"""Lines below which a module with one importer could be a part of that importer."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", metavar="COMMIT", help="a commit to compare with")
    before = parser.parse_args().before
    trees = {"now": measure(ROOT)}
    if before is not None:
        with tempfile.TemporaryDirectory() as folder:
            unpack(before, Path(folder))
            trees = {before: measure(Path(folder)), **trees}
    print(f"| | {' | '.join(trees)} |\n|---|{'---|' * len(trees)}")
    for name in trees["now"]:
        print(f"| {name} | {' | '.join(tree[name] for tree in trees.values())} |")


def unpack(commit: str, folder: Path) -> None:
    """Write the tree of a commit to a folder."""
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", commit], capture_output=True, check=True
    )
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)


def measure(tree: Path) -> dict[str, str]:
    """Return the figures of a tree, by their names."""
    sources = {module_name(path, tree): path for path in sorted((tree / PACKAGE).rglob("*.py"))}
    lines = {name: len(path.read_text("utf-8").splitlines()) for name, path in sources.items()}
    modules = [name for name in sources if sources[name].name != "__init__.py"]
    importers = Counter(
        target for name, path in sources.items() for target in imported(path, {*sources} - {name})
    )
    alone = [name for name in modules if importers[name] == 1 and lines[name] < SMALL]
    return {
        "modules": f"{len(modules)}",
        "lines": f"{sum(lines.values()):,}",
        "median module, lines": f"{statistics.median(lines[name] for name in modules):.0f}",
        f"modules below {SMALL} lines with one importer": f"{len(alone)}",
        "public functions and classes": f"{sum(map(public_definitions, sources.values())):,}",
        "names that the package exports": f"{len(exported(tree))}",
        "`agent-gym --help`, CPU": f"{start_s(tree, '--help'):.2f} s",
        "`agent-gym play --help`, CPU": f"{start_s(tree, 'play', '--help'):.2f} s",
    }


def module_name(path: Path, tree: Path) -> str:
    """Return the dotted name of a module."""
    return ".".join(path.relative_to(tree).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path, known: set[str]) -> set[str]:
    """Return the known modules that a module imports, inside of functions and as text too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value.partition(":")[0])
    return found & known


def public_definitions(path: Path) -> int:
    """Return the number of functions and classes of a module without an underscore in front."""
    return sum(
        not node.name.startswith("_")
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    )


def exported(tree: Path) -> list[str]:
    """Return ``__all__`` of the package."""
    return run(tree, "-c", f"import {PACKAGE}; print(*{PACKAGE}.__all__)").split()


def start_s(tree: Path, *arguments: str, repeats: int = 5) -> float:
    """Return the CPU seconds that a command takes, the least of some repeats."""
    code = f"import sys; from {PACKAGE}.cli.main import main; sys.exit(main())"
    return min(_cpu_s(tree, code, *arguments) for _ in range(repeats))


def _cpu_s(tree: Path, code: str, *arguments: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(tree, "-c", code, *arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(after[:2]) - sum(before[:2])


def run(tree: Path, *arguments: str) -> str:
    """Run Python over a tree and return what it prints."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


if __name__ == "__main__":
    main()
