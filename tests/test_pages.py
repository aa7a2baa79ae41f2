"""The pages of the documentation hold: their code runs, and what they name exists."""

from __future__ import annotations

import argparse
import ast
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agent_gym_env.assembly import policy_options
from agent_gym_env.cli.exit_codes import ExitCode
from agent_gym_env.cli.main import make_parser, parse
from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.errors import MissingDependency
from agent_gym_env.registry import POLICIES, is_importable
from tests.lm.server import LMServer
from tests.lm.wire_formats import ChatRequest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
TUTORIAL = DOCS / "start/tutorial.md"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]

NEEDS = {
    "exports": ("pyarrow",),
    "language_models": ("litellm",),
    "local_models": ("torch", "transformers"),
    "preference_training": ("trl",),
    "prompt_optimization": ("dspy", "optuna"),
    "rewards": ("litellm",),
    "serving": ("fastapi", "websockets"),
}
"""Optional libraries that the code of a page imports."""

ARCHIVE = "dstc8-schema-guided-dialogue-master.zip"
"""Real SGD, under the name that docs/guides/data.md gives it."""

DOCUMENTED = (
    "agent_gym_env",
    "agent_gym_env.benchmark",
    "agent_gym_env.client",
    "agent_gym_env.export",
    "agent_gym_env.testing",
    "agent_gym_env.wrappers",
    "agent_gym_env.corpus.sgd",
    "agent_gym_env.trl",
)
"""Modules that the pages import from: the public packages, and the structs of a corpus."""

LIMIT_S = 2000
"""Limit of the code of one page, 20 times what the longest takes on an idle machine."""

VARIABLES = {"$v": "1"}
"""Values of the shell variables in the pages' loops."""

FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def fenced(page: Path) -> list[tuple[str, str]]:
    """The code blocks of a page, each with the words after its opening fence."""
    return FENCE.findall(page.read_text("utf-8"))


def python_blocks(page: Path) -> list[str]:
    return [code for info, code in fenced(page) if info == "python"]


def python_blocks_with_output(page: Path) -> list[tuple[str, str | None]]:
    """The Python blocks of a page; with what they print where the page shows it below them."""
    blocks = [*fenced(page), ("", "")]
    return [
        (code, output if following == 'text title="output"' else None)
        for (info, code), (following, output) in pairwise(blocks)
        if info == "python"
    ]


def test_the_table_of_policies_names_all_of_them_and_options_that_they_have() -> None:
    rows = re.findall(
        r"^\| `([\w-]+)` \|.*\|(.*)\|$", (ROOT / "docs/guides/policies.md").read_text(), re.M
    )
    table = {name: set(re.findall(r"`(\w+)`", options)) for name, options in rows}
    assert set(table) == set(POLICIES.names())
    for name, options in table.items():
        try:
            known = policy_options(name)
        except MissingDependency:
            continue
        shown = dict(rows)[name]
        assert options == known or ("…" in shown and options <= known), name


def page_name(page: Path) -> str:
    return page.relative_to(ROOT).with_suffix("").as_posix()


every_page = pytest.mark.parametrize("page", PAGES, ids=page_name)


# Code


@pytest.fixture(scope="module")
def provider() -> Iterator[LMServer]:
    """A server in Gemini's place: a pupil for DSPy's prompts, and one phrase for all others."""
    from tests.optimization.pupil import Pupil, recorded_steps

    sample = open_corpus("sample")
    pupil = Pupil(recorded_steps([sample.split("train"), sample.split("dev")]))

    def answer(request: ChatRequest) -> str:
        if "Your output fields are" in request.system:
            return pupil.answer(request.messages, request.body.get("temperature"))
        return "Certainly."

    with LMServer(answer) as server:
        yield server


@pytest.fixture
def running_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from tests.server.running import Running

    with Running(tmp_path_factory.mktemp("runs")) as running:
        yield running


@pytest.mark.timeout(LIMIT_S)
@pytest.mark.parametrize(
    "page", [each for each in PAGES if python_blocks(each) and each != TUTORIAL], ids=page_name
)
def test_the_code_of_a_page_runs_as_it_stands(
    page: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Blocks run in order, each in a fresh interpreter, all in one folder."""
    environment = dict(os.environ)
    for library in NEEDS.get(page.stem, ()):
        if importlib.util.find_spec(library) is None:
            pytest.skip(f"{library} is not installed")
    if {"litellm", "dspy"} & {*NEEDS.get(page.stem, ())}:
        server = request.getfixturevalue("provider")
        environment |= {"GEMINI_API_BASE": server.gemini_base, "GOOGLE_API_KEY": "not-a-key"}
    if page.stem == "data":
        (tmp_path / ARCHIVE).symlink_to(request.getfixturevalue("sgd_path").resolve())
        environment["AGENT_GYM_HOME"] = str(tmp_path / "out" / "home")
    if page.stem == "serving":
        server = request.getfixturevalue("running_server")
        environment["AGENT_GYM_SERVER"] = server.url
    given = write_files(page, tmp_path)
    for code, output in python_blocks_with_output(page):
        printed = run_python(code, tmp_path, environment)
        assert output is None or printed == output
    written = {path.name for path in tmp_path.iterdir()} - given
    assert written <= {"out", "__pycache__"}, "the code of a page writes below out/ only"


@pytest.mark.timeout(LIMIT_S)
def test_the_tutorial_runs_as_it_stands(tmp_path: Path) -> None:
    """Its commands and its Python blocks, in order, in one folder."""
    if importlib.util.find_spec("sb3_contrib") is None:
        pytest.skip("sb3_contrib is not installed")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    outputs = dict(python_blocks_with_output(TUTORIAL))
    for info, block in fenced(TUTORIAL):
        if info == "sh":
            for arguments in commands_in(block):
                run([sys.executable, "-m", "agent_gym_env", *arguments], tmp_path, environment)
        elif info == "python":
            assert run_python(block, tmp_path, environment) == outputs[block]
    assert (tmp_path / "out/baselines/report-balanced.html").is_file()


def run_python(code: str, folder: Path, environment: dict[str, str]) -> str:
    script = folder / "block.py"
    script.write_text(code, encoding="utf-8")
    printed = run_script(script, environment)
    script.unlink()
    return printed


def write_files(page: Path, folder: Path) -> set[str]:
    """Write the files that a page shows (```` ```json title="NAME" ````); list the folder."""
    for info, content in fenced(page):
        if named := re.search(r'title="(.+\..+)"', info):
            (folder / named[1]).write_text(content, encoding="utf-8")
    return {path.name for path in folder.iterdir()}


def run_script(script: Path, environment: dict[str, str]) -> str:
    return run([sys.executable, str(script)], script.parent, environment)


def run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# Commands


def shell_lines(page: Path) -> list[str]:
    """The lines of a page's shell blocks, fenced or indented, without prompts."""
    text = page.read_text("utf-8")
    fences = [code for info, code in FENCE.findall(text) if info in ("sh", "console")]
    indented = re.findall(r"^ {4}\S.*(?:\\\n.*)*", FENCE.sub("", text), re.MULTILINE)
    return lines_of("\n".join([*fences, *indented]))


def lines_of(block: str) -> list[str]:
    lines = block.replace("\\\n", " ").splitlines()
    for name, value in VARIABLES.items():
        lines = [line.replace(name, value) for line in lines]
    return [line.strip().removeprefix("$ ") for line in lines]


def commands(page: Path) -> list[list[str]]:
    """The arguments of each ``agent-gym`` in a page's shell blocks."""
    return arguments_in(shell_lines(page))


def commands_in(block: str) -> list[list[str]]:
    """The arguments of each ``agent-gym`` in a shell block."""
    return arguments_in(lines_of(block))


def arguments_in(lines: list[str]) -> list[list[str]]:
    found = []
    for line in lines:
        if re.search(r"(^|\s|/)agent-gym\s", line) and "pip install" not in line:
            words = shlex.split(line, comments=True)
            start = next(at for at, word in enumerate(words) if word.split("/")[-1] == "agent-gym")
            ends = [at for at, word in enumerate(words) if word in (";", "|", "&&", ">")]
            found.append(words[start + 1 : min(ends, default=len(words))])
    return found


def every_command() -> list[tuple[str, list[str]]]:
    return [(page.stem, arguments) for page in PAGES for arguments in commands(page)]


@pytest.mark.parametrize(
    ("page", "arguments"),
    every_command(),
    ids=lambda value: value if isinstance(value, str) else " ".join(value[:2]),
)
def test_a_command_of_a_page_is_understood(
    page: str, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in PAGES:
        if path.stem == page:
            write_files(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    try:
        _, settings = parse(arguments)
    except (SystemExit, ValueError) as error:
        pytest.fail(f"{page}: agent-gym {shlex.join(arguments)}: {error}")
    for policy in policies_of(settings):
        assert is_importable(policy["name"]) or policy["name"] in POLICIES.names()


def policies_of(settings: object) -> list[dict[str, str]]:
    given = getattr(settings, "policy", None) or []
    return [given] if isinstance(given, dict) else list(given)


def test_the_table_of_exit_codes_is_that_of_the_command_line() -> None:
    source = (ROOT / "agent_gym_env/cli/exit_codes.py").read_text("utf-8")
    codes = re.findall(r'^    [A-Z]+ = (\d)\n    """(.*)"""$', source, re.MULTILINE)
    assert len(codes) == len(ExitCode)
    page = (ROOT / "docs/reference/command_line.md").read_text("utf-8")
    for number, meaning in codes:
        assert f"| {number} | {meaning} |" in page


@every_page
def test_a_command_in_a_sentence_exists_with_its_options(page: Path) -> None:
    for span in re.findall(r"`agent-gym ([^`]+)`", FENCE.sub("", page.read_text("utf-8"))):
        parser, words = make_parser(), span.split()
        while words and (deeper := subcommands(parser).get(words[0])):
            parser, words = deeper, words[1:]
        options_only = words == ["--help"]
        assert subcommands(parser) == {} or options_only, f"no command: agent-gym {span}"
        for word in words:
            if word.startswith("--"):
                assert word in parser._option_string_actions, f"no option: agent-gym {span}"


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def code_of(page: Path) -> str:
    """All code of a page: its shell lines, and the code inside its sentences."""
    spans = re.findall(r"`([^`\n]+)`", FENCE.sub("", page.read_text("utf-8")))
    return "\n".join([*shell_lines(page), *spans])


@every_page
def test_a_make_target_of_a_page_exists(page: Path) -> None:
    rules = re.findall(r"^([a-z-]+%?):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    patterns = [rule.replace("%", "[a-zA-Z]+") for rule in rules]
    for named in re.findall(r"^make ([a-zA-Z-]+)", code_of(page), re.MULTILINE):
        assert any(re.fullmatch(pattern, named) for pattern in patterns), named


@every_page
def test_a_module_that_a_page_runs_exists(page: Path) -> None:
    for module in re.findall(r"python -m ([\w.]+)", code_of(page)):
        assert importlib.util.find_spec(module), module


# Installing, links, figures


def test_what_a_page_installs_is_an_extra_of_a_checkout() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    _, _, section = project.partition("[project.optional-dependencies]")
    extras = {*re.findall(r"^([\w-]+) = \[", section.partition("\n[")[0], re.MULTILINE)}
    for path in [*PAGES, *(ROOT / "examples").glob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        text = path.read_text("utf-8")
        for named in re.findall(r"pip install (?:-e )?'[^']*\[([^]']+)\]'", text):
            assert {*named.split(",")} <= {*extras, "{extra}"}, path
        if path.suffix == ".md" or path.parent.name == "examples":
            assert "agent-gym-env[" not in text, f"{path}: the package is on no index"


@every_page
def test_a_link_inside_the_repository_leads_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text("utf-8"))
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path), target


@every_page
def test_a_file_that_a_page_names_exists(page: Path) -> None:
    folders = "agent_gym_env|benchmarks|data|docs|examples|tests"
    for name in re.findall(rf"(?<![\w/.])((?:{folders})/[\w./-]+\.\w+)", page.read_text("utf-8")):
        assert (ROOT / name).exists(), name


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def test_a_figure_in_the_readmes_text_is_one_of_the_page_that_it_names() -> None:
    for paragraph in (ROOT / "README.md").read_text("utf-8").split("\n\n"):
        linked = re.findall(r"\]\((docs/[\w.]+\.md)", paragraph)
        figures = re.findall(r"\d\.\d{3} \[[\d., ]+\]", paragraph)
        if figures and linked and "|---" not in paragraph:
            text = "".join((ROOT / name).read_text("utf-8") for name in linked)
            assert not [figure for figure in figures if figure not in text]


# Style


def prose(page: Path) -> list[str]:
    """The paragraphs and list items of a page; without code, tables, headings and addresses."""
    text = FENCE.sub("\n", page.read_text("utf-8"))
    text = re.sub(r"\]\([^)]*\)", "]", text)
    text = re.sub(r"^(\||#|<|:::| {4,}\S).*$", "", text, flags=re.MULTILINE)
    return re.split(r"\n\s*\n|\n\s*(?=[-*] |\d+\. )", text)


@every_page
def test_no_paragraph_has_more_than_85_words(page: Path) -> None:
    long = [text for text in prose(page) if len(text.split()) > 85]
    assert long == []


def test_the_readme_has_at_most_120_lines() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 120


# The public names


def imports(code: str) -> set[tuple[str, str]]:
    """The modules and names of this package that a Python block imports."""
    return {
        (node.module, alias.name)
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("agent_gym_env")
        for alias in node.names
        if node.module is not None
    }


@every_page
def test_the_code_of_a_page_imports_public_names_only(page: Path) -> None:
    blocks = [code for info, code in fenced(page) if info.split(" ")[0] == "python"]
    for module, name in set().union(*map(imports, blocks)):
        assert module in DOCUMENTED, f"{module}.{name}"
        try:
            public = getattr(import_module(module), "__all__", [name])
        except MissingDependency as missing:
            pytest.skip(str(missing))
        assert name in public


def test_the_api_reference_has_every_public_name() -> None:
    places = re.findall(r"^::: ([\w.]+)\.(\w+)$", (DOCS / "reference/api.md").read_text(), re.M)
    for module, name in places:
        spec = importlib.util.find_spec(module)
        assert spec is not None, module
        assert spec.origin is not None
        assert re.search(rf"^(class |def |){name}\b", Path(spec.origin).read_text(), re.M), name
    for package in DOCUMENTED[:6]:
        named = {name for module, name in places if module != "agent_gym_env.corpus.sgd"}
        assert set(import_module(package).__all__) - named == set()
    assert len(places) == len(set(places))


def test_the_reference_of_the_command_line_has_every_command() -> None:
    page = (DOCS / "reference/command_line.md").read_text()
    named = re.findall(r"<!-- help: (.*) -->", page)
    assert sorted(named) == sorted(every_command_name(make_parser()))
    for name in named:
        assert f"### agent-gym {name}\n" in page
        assert f"(#agent-gym-{name.replace(' ', '-')})" in page


def every_command_name(parser: argparse.ArgumentParser, name: str = "") -> Iterator[str]:
    deeper = subcommands(parser)
    if not deeper:
        yield name
    for word, sub in deeper.items():
        yield from every_command_name(sub, f"{name} {word}".strip())
