"""Types of a command line's arguments: each reads a text or says in words what is wrong with it; unknown options."""

from __future__ import annotations

import argparse
import math
from argparse import ArgumentTypeError
from typing import Any, Callable, List, Optional

from ..errors import similar

#: The widest and highest that images may be resized to, in pixels: beyond, an option is a slip of the keyboard.
MAX_SIDE = 8192


def number(kind: type, low: float = 0, high: Optional[float] = None, above: bool = False) -> Callable[[str], Any]:
    """A finite number of ``kind``, int or float, of at least ``low`` (or above it) and at most ``high``."""
    if above:
        bounds = f"above {low:g}" + (f" and at most {high:g}" if high else "")
    else:
        bounds = f"of at least {low:g}" if high is None else f"from {low:g} to {high:g}"

    def convert(text: str) -> Any:
        try:
            value = kind(text)
            good = (value > low if above else value >= low) and (high is None or value <= high) and math.isfinite(value)
        except ValueError:
            good = False
        if not good or (kind is int and not text.strip().isdecimal()):
            raise ArgumentTypeError(f"{text!r} is not {'a whole number' if kind is int else 'a number'} {bounds}")
        return value

    return convert


def list_of(kind: Callable[[str], Any]) -> Callable[[str], List[Any]]:
    """Values of one kind with commas between them."""

    def read(text: str) -> List[Any]:
        try:
            return [kind(part) for part in text.split(",") if part]
        except ValueError:
            raise ArgumentTypeError(f"{text!r} is not a list of numbers like 1,2") from None

    return read


def nonempty(text: str) -> str:
    """Any text but an empty one, which would stand for the current directory."""
    if not text.strip():
        raise ArgumentTypeError("it is empty: give a name or a path")
    return text


def label_kind(text: str) -> str:
    """A kind of labels: "super", as the published files call CIFAR-100's 20 superclasses, is "coarse"."""
    return {"super": "coarse"}.get(text, text)


class SuggestingParser(argparse.ArgumentParser):
    """An ArgumentParser that answers an unknown option, command or choice with those it may be a slip of."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            parser = _chosen(self, found)
            name = next((word[2:].split("=")[0] for word in unknown if word.startswith("--")), "")
            shown = [action for action in parser._actions if action.help != argparse.SUPPRESS]
            flags = [flag[2:] for action in shown for flag in action.option_strings if flag.startswith("--")]
            close = [f"--{flag}" for flag in similar(name, flags)[:2]]
            hint = f" (did you mean {' or '.join(close)}?)" if close else ""
            parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return found

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        close = similar(str(value), map(str, action.choices or ()))
        if close and value not in (action.choices or ()):
            raise argparse.ArgumentError(action, f"invalid choice: {value!r} (did you mean {' or '.join(close)}?)")
        super()._check_value(action, value)


def _chosen(parser: argparse.ArgumentParser, found: argparse.Namespace) -> argparse.ArgumentParser:
    """The parser of the subcommand, in the end, that ``found`` chose."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return _chosen(action.choices[getattr(found, action.dest)], found)
    return parser
