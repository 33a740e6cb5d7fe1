"""The parser of every subcommand, and the arguments that several of them take."""

from __future__ import annotations

import argparse
from typing import Any, Dict, List, NoReturn, Optional, Sequence

from ..errors import UsageError
from ..utils.arguments import MAX_SIDE, nonempty, number
from ..utils.figures import DPI, FORMATS, figure_format
from ..utils.files import json_text, printable, write_json
from ..utils.outputs import Reads, Writes

_ENDINGS = ", ".join(f".{form}" for form in FORMATS)
_MODEL_OPTIONS: Dict[str, Dict[str, Any]] = {
    "fusion": {"help": "any strategy, by the field's or the authors' name"},
    "r": {"type": int, "help": "bottleneck ratio of the fusion; 0 for no bottleneck"},
    "classes": {"type": int, "help": "outputs"},
    "blocks": {"type": int, "help": "CIFAR networks and FPNs: blocks in each stage"},
    "channel_times": {"type": int, "help": "CIFAR networks and FPNs: widening of the channels 16, 16, 32, 64"},
    "start_layer": {"type": int, "help": "first stage that uses the fusion"},
    "deep_stem": {"action": "store_const", "const": True, "help": "three 3x3 convolutions for the first one"},
    "stem": {"choices": ("std", "tiny"), "help": "FPNs: stride of the stem, 4 or 1"},
    "decoder": {"choices": ("reduce", "expand"), "help": "FPNs: the decoder narrows towards the output, or stays wide"},
}


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


def figure_file(text: str) -> str:
    """An argparse type: a file whose ending names a format that figures can be written in."""
    try:
        figure_format(nonempty(text))
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def add_figure(command: argparse.ArgumentParser, flag: str, text: str, default: Optional[str] = None) -> None:
    """``flag`` for a figure's file, with ``text`` as help, and --dpi."""
    kind = Writes(figure_file, forms=("figure",))
    command.add_argument(flag, type=kind, default=default, metavar="FILE", help=f"{text}; ends in {_ENDINGS}")
    _add_dpi(command)


def add_figures(group: argparse._ActionsContainer) -> None:
    """--out for a folder of figures and more, or for one figure's file, and --dpi."""
    group.add_argument(
        "--out",
        required=True,
        type=Writes(nonempty, forms=("figure",)),
        metavar="PLACE",
        help=f"a folder for all files; or a file for the sheet alone, which ends in {_ENDINGS}",
    )
    _add_dpi(group)


def _add_dpi(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--dpi",
        type=number(int, 10, 1200),
        default=DPI,
        metavar="N",
        help="pixels per inch of a .png (default: %(default)s)",
    )


def add_json(group: argparse._ActionsContainer) -> None:
    """--json, which `print_report` obeys."""
    group.add_argument(
        "--json", type=Writes(forms=("json",)), metavar="FILE", help="write JSON as well; '-' prints JSON only"
    )


def print_report(lines: Sequence[str], document: object, place: Optional[str]) -> None:
    """Print ``lines`` and write ``document`` to ``place``, if any; with "-" print the document alone."""
    if place == "-":
        print(json_text(document), end="")
        return
    print("\n".join(lines))
    if place:
        write_json(document, place)


def names_of(text: str, count: int, what: str) -> List[str]:
    """The names that --names lists, one for each of ``count`` things; none where it is empty.

    Raises UsageError for another number of names.
    """
    names = [printable(name.strip()) for name in text.split(",")] if text else []
    if names and len(names) != count:
        raise UsageError(f"--names {text}: expected a name for each of the {count} {what}")
    return names


def add_weights(command: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add --weights and the group that describes the network of a file; returns that group."""
    command.add_argument(
        "--weights",
        required=True,
        type=Reads(nonempty),
        metavar="ID|FILE|RUN",
        help="a catalogue id, a .params file, or a training run (its directory or a checkpoint's)",
    )
    return _add_network(command)


def add_weights_argument(command: argparse.ArgumentParser, exported: bool = False) -> None:
    """`add_weights` with an argument for --weights; ``exported``: of an exported network, too."""
    more = ", or an exported network's folder" if exported else ""
    command.add_argument(
        "weights",
        type=Reads(nonempty),
        metavar="WEIGHTS",
        help=f"a catalogue id, a .params file, a training run (its directory or a checkpoint's){more}",
    )
    _add_network(command)


def _add_network(command: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    group = command.add_argument_group("network", "of a file; without --model the file is recognised")
    group.add_argument("--model", help="a name of `gluon-aff models`, or a classifier of GluonCV's model zoo")
    add_model_options(group)
    return group


def add_model_options(group: argparse._ActionsContainer) -> None:
    """Add the options of a network beside its name; `model_options` reads them back."""
    for name, settings in _MODEL_OPTIONS.items():
        group.add_argument(f"--{name.replace('_', '-')}", **settings)


def model_options(args: argparse.Namespace) -> Dict[str, Any]:
    """The options of `add_model_options` by their names in ``create_model``; None where one was not given."""
    return {name: getattr(args, name) for name in _MODEL_OPTIONS}


def add_viewer(command: argparse.ArgumentParser) -> None:
    """`add_weights`, and how images are preprocessed for the network (`data_of` reads it back)."""
    group = add_weights(command)
    add_preprocessing(group)
    add_gpus(group)


def add_preprocessing(group: argparse._ActionsContainer) -> None:
    """How images are preprocessed for a network; `data_of` reads it back."""
    group.add_argument(
        "--dataset",
        metavar="NAME",
        help="what the network was trained on (default: what the weights tell)",
    )
    group.add_argument("--labels", choices=("fine", "coarse"), help="of CIFAR-100")
    group.add_argument(
        "--input-size",
        type=number(int, 1, MAX_SIDE),
        metavar="N",
        help="ImageNet's crop (default: 224); other images are resized to this (default: as in training, else 32 for "
        "classification and 512 for segmentation)",
    )
    group.add_argument(
        "--normalisation",
        choices=("records", "folder"),
        help="ImageNet: the authors' for record files (default for published weights) or for folders (default)",
    )


def add_gpus(group: argparse._ActionsContainer) -> None:
    """--gpus, of a command that uses one device."""
    group.add_argument("--gpus", help="a GPU number; '' for the CPU (default: the first GPU, if any)")


def data_of(args: argparse.Namespace) -> Dict[str, Any]:
    """What the command line says of the images."""
    size = args.input_size
    return {"dataset": args.dataset, "labels": args.labels, "size": size, "normalisation": args.normalisation}


def add_pictures(group: argparse._ArgumentGroup, count: int, *names: str, more: str = "") -> None:
    """Add --images (and other ``names`` for it) and --count, whose default is ``count``."""
    group.add_argument(
        *names,
        "--images",
        dest="images",
        nargs="+",
        required=True,
        type=Reads(pictures=True),
        metavar="PLACE",
        help=f"files, folders, zips, or a folder inside a zip (set.zip/test/cat){more}",
    )
    group.add_argument(
        "--count",
        type=number(int, 1),
        default=count,
        metavar="N",
        help="at most N images, spaced evenly over all found (default: %(default)s)",
    )
