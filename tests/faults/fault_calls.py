"""Wrong calls, made from the parsers themselves: every option of every command and of every task."""

import argparse
from typing import NamedTuple

from gluon_aff.cli.main import build_parser
from gluon_aff.tasks import get_task, list_tasks

#: Values for any option. What a parser accepts of these may be run, under a clock.
VALUES = {
    "empty": "",
    "wrong type": "zzz",
    "negative": "-1",
    "zero": "0",
    "huge": "9" * 24,
    "no number": "nan",
    "infinite": "1e999",
    "fraction": "0.5",
    "long": "n" * 300,
    "non-ASCII": "données/é",
    "undecodable": "\udcff",
    "not there": "nowhere/at/all",
    "a folder": "folder",
    "a file of text": "notes.txt",
    "an empty file": "empty",
    "below a file": "notes.txt/below",
    "not writable": "/proc/nothing/here",
}
#: Options of tasks that would fetch something from elsewhere.
FETCHING = {"download"}
#: Actions without a value.
_FLAGS = (argparse._StoreTrueAction, argparse._StoreConstAction, argparse._HelpAction, argparse._VersionAction)


class Call(NamedTuple):
    """``fails``: whether the parser itself must refuse it."""

    argv: tuple
    kind: str
    option: str
    fails: bool


def commands(parser, words=()):
    """(words, parser) of every subcommand."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield words, parser
    for action in below:
        for name, child in action.choices.items():
            yield from commands(child, (*words, name))


def everything(complete):
    """Every wrong call. ``complete``: from words of a command to the arguments that make it a right one."""
    for words, parser in commands(build_parser()):
        if words != ("train",):
            yield from wrong(words, parser, complete(words))
    for task in list_tasks():
        words = ("train", task)
        yield from wrong(words, get_task(task).parser(), complete(words))


def refuses(parser, action, value):
    """Whether the action's own type or choices refuse the value."""
    try:
        found = parser._get_value(action, value)
        parser._check_value(action, found)
    except Exception:
        return True
    return False


#: Commands that take any number of words, or a command line of another program.
_OPEN_ENDED = ("gradcam", "attention", "plot", "launch", "ablation")


def wrong(words, parser, rest):
    """The wrong calls of one command."""
    end = rest.index("--") if "--" in rest else len(rest)

    def with_option(*option):
        return (*words, *rest[:end], *option, *rest[end:])

    yield Call(with_option("--no-such-option"), "unknown option", "--no-such-option", True)
    yield Call((*words, *rest, *["surplus"] * 3), "surplus", "surplus", words[0] not in _OPEN_ENDED)
    if any(action.required and action.nargs != "*" for action in parser._actions):
        yield Call(words, "nothing given", "", True)
    for action in parser._actions:
        flag = action.option_strings[-1] if action.option_strings else ""
        if action.dest in FETCHING or not flag or action.nargs == argparse.REMAINDER:
            continue
        if isinstance(action, _FLAGS) or action.nargs == 0:
            if flag.startswith("--"):
                yield Call(with_option(f"{flag}=1"), "value for a flag", flag, True)
            continue
        if action.nargs is None:
            yield Call((*words, *rest[:end], flag), "missing", flag, True)
        for kind, value in VALUES.items():
            word = f"{flag}={value}" if flag.startswith("--") else f"{flag}{value}"
            yield Call(with_option(word), kind, flag, refuses(parser, action, value))
