"""The parser of the command line."""

from __future__ import annotations

import argparse
import re
import sys
from typing import Any, NoReturn

from agent_gym_env.suggestions import did_you_mean

Subparsers = argparse._SubParsersAction  # argparse has no public name for it


class Parser(argparse.ArgumentParser):
    """Parser that names what was probably meant by a mistyped option, command or value."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse unknown options first: one that is missing is often there, but mistyped."""
        given = [*(sys.argv[1:] if args is None else args)]
        known = self._option_string_actions
        for text in given if self._subparsers is None else ():
            name = text.partition("=")[0]
            if name == "--":
                break
            if name.startswith("--") and not any(each.startswith(name) for each in known):
                words = [each.lstrip("-") for each in known]
                self.error(f"there is no option {name}{did_you_mean(name[2:], words)}")
        return super().parse_known_args(given, namespace)

    def error(self, message: str) -> NoReturn:
        """Print a message and exit."""
        choice = re.fullmatch(r".*invalid choice: '(.*)' \(choose from (.*)\)", message, re.DOTALL)
        if choice:
            known = [each.strip("' ") for each in choice[2].split(",")]
            message += did_you_mean(choice[1], known)
        super().error(message)
