"""The page about the kit lists the promises that are checked, neither more nor fewer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.testing import (
    test_corpora,
    test_environments,
    test_policies,
    test_rewards,
    test_tool_backends,
    test_users,
)

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "checks.md").read_text()
TESTED: dict[str, Any] = {
    "A policy": test_policies,
    "A reward": test_rewards,
    "A tool backend": test_tool_backends,
    "A user": test_users,
    "A corpus": test_corpora,
    "An environment": test_environments,
}


@pytest.mark.parametrize("heading", TESTED)
def test_each_promise_of_the_page_is_tested_on_what_breaks_it(heading: str) -> None:
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    listed = re.findall(r"^\| ([^|]+) \|[^|]+\|$", section, re.MULTILINE)[1:]
    assert set(listed) == {promise for promise, _ in TESTED[heading].BROKEN}
    assert len(set(listed)) == len(listed)
