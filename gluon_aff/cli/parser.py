"""The parser of every subcommand: a wrong command line is answered in two lines."""

from __future__ import annotations

import argparse
from typing import NoReturn


class CommandParser(argparse.ArgumentParser):
    """An ArgumentParser whose errors show what is required instead of every option there is."""

    def error(self, message: str) -> NoReturn:
        """Leave with exit code 2."""
        self.exit(2, f"usage: {self.short_usage()}\nerror: {message}; {self.prog} --help lists the options\n")

    def short_usage(self) -> str:
        """The program with its arguments and required options on one line."""
        if self.usage:
            return self.usage.split("\n")[0]
        options = [action for action in self._get_optional_actions() if action.dest != "help"]
        required = [f"{a.option_strings[0]} {a.metavar or a.dest.upper()}" for a in options if a.required]
        others = ["[OPTIONS]"] if len(options) > len(required) else []
        arguments = [self._argument(action) for action in self._get_positional_actions()]
        return " ".join([self.prog, *required, *others, *arguments])

    @staticmethod
    def _argument(action: argparse.Action) -> str:
        name = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
        patterns = {"?": f"[{name}]", "*": f"[{name} ...]", "+": f"{name} [{name} ...]"}
        return patterns.get(str(action.nargs), name)
