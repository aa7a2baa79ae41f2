"""Docstrings, comments, messages and pages avoid the phrasings that are hard to read."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
CODE = sorted(
    path
    for folder in ("agent_gym_env", "benchmarks", "examples", "tests")
    for path in (ROOT / folder).rglob("*.py")
    if path != Path(__file__)
)
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "pyproject.toml")),
    *sorted((ROOT / "docs").rglob("*.md")),
]


class Advice(NamedTuple):
    """A phrasing to avoid.

    Attributes:
        pattern: pattern that finds it, in text whose white space is single spaces.
        instead: advice on what to write.
        but: pattern of the expressions that the first pattern finds and that are fine.
    """

    pattern: str
    instead: str
    but: str = r"(?!)"


PHRASES = [
    Advice(
        r"\b(\w+) (is|are|was|were) no (?!one\b)\w+",
        'negate the verb: "is not a …", or state what it is',
        r"(?i)there (is|are|was|were) no |\bno (longer|more than|less than|other than)\b",
    ),
    Advice(r"\bnone at all\b", '"missing", "empty", "unsupported"'),
    Advice(
        r"\b(come|comes|came|coming) to\b(?! (a stop|light)\b)",
        'name the result: "result of", "cost of", "end"',
        r"\b(how close|how near) (it|they) (come|comes|came) to",
    ),
    Advice(r"\blikewise\b", '"also", or name the thing again'),
    Advice(r"\bof (one's|its|their|his|her) own\b", '"its own …", "a separate …", "a new …"'),
    Advice(r"\bat hand\b", '"available", "local"'),
    Advice(r"\banew\b", '"again", "from scratch", or a verb with "re-"'),
    Advice(r"\bdear(er|est)?\b", '"expensive"'),
    Advice(r"\b(lend|lends|lent|lending)\b", '"passes", "shares", "provides"'),
    Advice(
        r"\b(stand|stands|stood|standing)\b",
        '"is", "is written", "denotes", "represents"',
        r"\b(stand|stands|stood|standing)[ -]in\b",
    ),
]
"""Phrasings to avoid anywhere in code and pages."""

OPENINGS = [
    Advice(r"(Give|Gives) ", '"Return …", "Yield …"'),
    Advice(r"(Tell|Tells|Say|Says) ", '"Return whether …", "Return …", or what the thing is'),
    Advice(r"See that ", '"Check that …", "Ensure that …"'),
    Advice(r"Make who ", '"Create the …"'),
    Advice(
        r"(What|Whatever|Who|Whoever|Whether|Which|Where|How) ",
        "a noun phrase that says what the thing is, or a verb that says what the function does",
    ),
]
"""Openings of a docstring to avoid."""

ARGUMENT = Advice(
    r"\*{0,2}\w+: (of|to|that|where|when) ",
    'a full noun phrase: "seed of the draws", not "of the draws"',
)
"""Description of an argument or attribute without a noun."""

EXCEPTIONS = {
    "agent_gym_env/rewards/judge_prompt.py": ["stands"],  # a prompt that recorded verdicts answer
    "tests/corpus/cafes.py": ["dear"],  # the price of a café, and what users say about prices
    "tests/corpus/test_entities.py": ["dear"],
    "tests/encoders/test_candidates.py": ["dear"],
    "tests/encoders/test_conversation.py": ["dear"],
    "tests/tools/test_database.py": ["dear"],
    "tests/tools/test_validation.py": ["dear"],
}
"""Expressions that are data in a file."""


def faults(text: str, advice: Advice) -> Iterator[tuple[int, str]]:
    """Yield the offset and the words of each phrasing to avoid in a text of single spaces."""
    fine = [found.span() for found in re.finditer(advice.but, text)]
    for found in re.finditer(advice.pattern, text, re.IGNORECASE):
        if not any(start < found.end() and found.start() < end for start, end in fine):
            yield found.start(), found[0]


def joined(text: str) -> tuple[str, list[int]]:
    """Join the lines of a text; return it with the line of each character.

    Comment signs, and the quotes between the parts of a string literal, are left out.
    """
    words, lines = [], []
    for number, line in enumerate(text.splitlines(), 1):
        part = re.sub(r"""^\s*(#|>|[rfb]{0,2}"(?!""))?\s*|\s*"?\s*$""", "", line) + " "
        words.append(part)
        lines += [number] * len(part)
    return "".join(words), lines


def in_text(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield the line, the words and the advice for each phrase to avoid."""
    whole, lines = joined(text)
    for advice in PHRASES:
        for offset, words in faults(whole, advice):
            yield lines[offset], words, advice.instead


def docstrings(code: str) -> Iterator[tuple[int, str]]:
    """Yield each docstring with its line: of modules, classes, functions and attributes."""
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield node.lineno, text


def in_docstrings(code: str) -> Iterator[tuple[int, str, str]]:
    """Yield the line, the words and the advice for each opening or description to avoid."""
    for first, text in docstrings(code):
        for advice in OPENINGS:
            if found := re.match(advice.pattern, text):
                yield first, found[0].strip(), advice.instead
        for number, line in enumerate(text.splitlines()):
            if found := re.match(rf" +{ARGUMENT.pattern}", line):
                yield first + number, found[0].strip(), ARGUMENT.instead


def report(path: Path) -> list[str]:
    """Return a line for each phrasing to avoid in a file."""
    text = path.read_text("utf-8")
    name = path.relative_to(ROOT).as_posix()
    found = [*in_text(text), *(in_docstrings(text) if path.suffix == ".py" else ())]
    return [
        f"{name}:{line}: {words!r}; write instead: {instead}"
        for line, words, instead in sorted(found)
        if words.lower() not in EXCEPTIONS.get(name, [])
    ]


@pytest.mark.parametrize("folder", ["agent_gym_env", "benchmarks", "examples", "tests"])
def test_code_is_in_plain_english(folder: str) -> None:
    paths = [path for path in CODE if path.relative_to(ROOT).parts[0] == folder]
    assert paths
    assert [line for path in paths for line in report(path)] == []


def test_pages_are_in_plain_english() -> None:
    assert [line for path in PAGES for line in report(path)] == []


def test_every_exception_is_needed() -> None:
    for name, words in EXCEPTIONS.items():
        found = {found.lower() for _, found, _ in in_text((ROOT / name).read_text("utf-8"))}
        assert found >= {*words}, name


@pytest.mark.parametrize(
    "text",
    [
        "This is no state.",
        "weights that are no\n# numbers",
        "the action is none at all",
        "What it comes to.",
        "Likewise.",
        'raise ValueError(\n    f"a policy of its "\n    "own"\n)',
        "all data at\nhand",
        "read anew",
        "A dear model.",
        "lends it",
        "It stands for a name.",
    ],
)
def test_each_phrase_is_found(text: str) -> None:
    assert len(list(in_text(text))) == 1


def test_a_phrase_over_two_lines_is_found_with_its_first_line() -> None:
    assert [line for line, _, _ in in_text("one\n# all data at\n# hand\n")] == [2]


@pytest.mark.parametrize(
    "text",
    [
        "Give the action.",
        "Tells whether it is done.",
        "Says its name.",
        "See that it is done.",
        "Make who plays.",
        "What a job returns.",
        "Whether it is done.",
        "Draw.\n\n    Args:\n        seed: of the draws.\n    ",
    ],
)
def test_each_docstring_is_found(text: str) -> None:
    code = f'def f():\n    """{text}"""\n'
    assert len(list(in_docstrings(code))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "There is no state.",
        "it is no longer than the recorded one",
        "a server that stands in for a provider",
        "standalone; understand",
        "how close it comes to SGD",
    ],
)
def test_ordinary_phrases_are_fine(text: str) -> None:
    assert list(in_text(text)) == []
