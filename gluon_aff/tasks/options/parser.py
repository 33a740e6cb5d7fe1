"""Command lines whose options may also come from a recipe or a configuration file."""

from __future__ import annotations

import argparse
import enum
from difflib import get_close_matches
from typing import Any, Callable, Dict, List, NoReturn, Optional, Sequence, Set

from ...errors import UsageError

_UNSET = object()


class Role(enum.Enum):
    """What an option is to a run; every option says so where it is added.

    IDENTITY: figures depend on it, so a resumed run keeps it. FREE: it may differ on resume, as no figure depends on
    it. PLACE: where the run writes; free, and not taken over from another run's configuration. COMMAND: what to do
    now; never part of a configuration.
    """

    IDENTITY = "identity"
    FREE = "free"
    PLACE = "place"
    COMMAND = "command"


class OptionGroup(argparse._ArgumentGroup):
    """A titled group of options that takes each option's role."""

    def add_argument(
        self, *flags: str, role: Role = Role.IDENTITY, before: Any = _UNSET, **settings: Any
    ) -> argparse.Action:
        """``before``: what runs had that are older than the option, where that is not its default."""
        action = _with_role(super().add_argument(*flags, **settings), role)
        action.before = before  # type: ignore[attr-defined]
        return action


class OptionParser(argparse.ArgumentParser):
    """An ArgumentParser that raises UsageError instead of leaving the program, and can tell what was given.

    Options are spelled out in full: what an abbreviation means would change with the next new option.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, **kwargs)

    def add_argument(self, *flags: str, role: Role = Role.IDENTITY, **settings: Any) -> argparse.Action:
        return _with_role(super().add_argument(*flags, **settings), role)

    def add_argument_group(self, *arguments: Any, **settings: Any) -> OptionGroup:
        group = OptionGroup(self, *arguments, **settings)
        self._action_groups.append(group)
        return group

    def names(self, *roles: Role) -> Set[str]:
        """The options of these roles. Of several flags for one option the first decides."""
        first: Dict[str, argparse.Action] = {}
        for action in self._actions:
            first.setdefault(action.dest, action)
        return {name for name, action in first.items() if getattr(action, "role", None) in roles}

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see --help)")

    def alias(self, flag: str, *others: str) -> None:
        """Let an option be known by other names, too."""
        action = self._option_string_actions[flag]
        for other in others:
            if other in self._option_string_actions:
                raise ValueError(f"{other} is an option already")
            self._option_string_actions[other] = action
            action.option_strings = [*action.option_strings, other]

    def revise(self, flag: str, **settings: Any) -> None:
        """Give an option of a shared group another default, help or the like, as a script needs it."""
        for name, value in settings.items():
            setattr(self._option_string_actions[flag], name, value)

    def refuse(self, reasons: Dict[str, str]) -> None:
        """Answer flags that others' scripts have and this one has not with the reason; kept out of the help."""
        for flag, reason in reasons.items():
            self.add_argument(
                flag, nargs="*", action=_Refused, dest=argparse.SUPPRESS, const=reason, help=argparse.SUPPRESS
            )

    def defaults(self) -> Dict[str, Any]:
        return vars(self.parse_args([]))

    def before(self) -> Dict[str, Any]:
        """What the configuration of a run means that is older than some of the options."""
        known = {action.dest: getattr(action, "before", _UNSET) for action in self._actions}
        return {name: value for name, value in known.items() if value is not _UNSET}

    def given(self, argv: Optional[Sequence[str]]) -> Dict[str, Any]:
        """The options that stand on the command line, and only those."""
        namespace = argparse.Namespace(**dict.fromkeys(self.defaults(), _UNSET))
        parsed = vars(self.parse_args(argv, namespace))
        return {name: value for name, value in parsed.items() if value is not _UNSET}

    def checked(self, values: Any, source: str) -> Dict[str, Any]:
        """Values from a file, held to the same types and choices as the command line's.

        Raises UsageError naming ``source`` and the option.
        """
        if not isinstance(values, dict):
            raise UsageError(f"{source} is not a list of 'option: value' lines")
        # the first of several flags for one option has its type and choices
        actions = {action.dest: action for action in reversed(self._actions) if action.dest != "help"}
        unknown = [name for name in values if name not in actions]
        if unknown:
            close = get_close_matches(str(unknown[0]), actions)
            hint = f"; did you mean {', '.join(close)}?" if close else ""
            raise UsageError(f"{source}: {unknown[0]!r} is not an option{hint}")
        return {name: self._checked(actions[name], value, f"{source}: {name}") for name, value in values.items()}

    def _checked(self, action: argparse.Action, value: Any, where: str) -> Any:
        if value is None and action.default is None:
            return None
        if isinstance(action, Switch):
            if not isinstance(value, bool):
                raise UsageError(f"{where} is {value!r}: expected true or false")
            return value
        text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        try:
            result = self._get_value(action, text)
            self._check_value(action, result)
        except argparse.ArgumentError as error:
            raise UsageError(f"{where}: {error.message}") from None
        return result


def _with_role(action: argparse.Action, role: Role) -> argparse.Action:
    action.role = role  # type: ignore[attr-defined]
    return action


class _Refused(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: Optional[str] = None,
    ) -> None:
        raise UsageError(f"{option_string}: {self.const}")


class Switch(argparse.Action):
    """A flag with an opposite: ``--mixup`` and ``--no-mixup``; the last one given counts."""

    def __init__(self, option_strings: List[str], dest: str, off: Sequence[str] = (), **kwargs: Any) -> None:
        kwargs.setdefault("default", False)
        super().__init__([*option_strings, *off], dest, nargs=0, **kwargs)
        self.off = off

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: Optional[str] = None,
    ) -> None:
        setattr(namespace, self.dest, option_string not in self.off)


def number(kind: type, low: float = 0, high: Optional[float] = None, above: bool = False) -> Callable[[str], Any]:
    """An argparse type: a finite number of ``kind`` of at least ``low`` (or above it) and at most ``high``."""

    def convert(text: str) -> Any:
        try:
            value = kind(text)
            good = (value > low if above else value >= low) and (high is None or value <= high) and value - value == 0
        except ValueError:
            good = False
        if not good:
            limits = f"{'above' if above else 'at least'} {low:g}" + (f" and at most {high:g}" if high else "")
            what = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{text!r} is not {what} {limits}")
        return value

    return convert


def epochs(text: str) -> List[int]:
    """An argparse type: '300,450' as increasing epoch numbers; '' as none."""
    words = [word.strip() for word in text.strip("[]").split(",") if word.strip()]
    if not all(word.isdigit() for word in words):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of epochs such as 300,450")
    return sorted(int(word) for word in words)
