"""The parser of every subcommand, and the arguments that several of them take."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any, Dict, List, NoReturn, Optional, Sequence

from ..errors import UsageError
from ..utils.arguments import MAX_SIDE, SuggestingParser, label_kind, nonempty, number
from ..utils.figures import DPI, FORMATS, figure_format
from ..utils.files import json_text, printable, write_json
from ..utils.outputs import Reads, Writes

if TYPE_CHECKING:
    from ..evaluation import TrainedNetwork

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


class CommandParser(SuggestingParser):
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
        formatter = self._get_formatter()
        arguments = [formatter._format_args(action, action.dest.upper()) for action in self._get_positional_actions()]
        return " ".join([self.prog, *required, *others, *arguments])


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
    kind, text = Writes(nonempty, forms=("figure",)), f"a folder for all files, or the sheet's file; ends in {_ENDINGS}"
    group.add_argument("--out", required=True, type=kind, metavar="PLACE", help=text)
    _add_dpi(group)


def _add_dpi(group: argparse._ActionsContainer) -> None:
    add_number(group, "--dpi", low=10, high=1200, default=DPI, help="pixels per inch of a .png (default: %(default)s)")


def add_number(
    group: argparse._ActionsContainer,
    *names: str,
    low: int = 1,
    high: Optional[int] = None,
    metavar: str = "N",
    **more: Any,
) -> None:
    """An option for a whole number of at least ``low``."""
    group.add_argument(*names, type=number(int, low, high), metavar=metavar, **more)


def add_workers(group: argparse._ActionsContainer, most: Optional[int], text: str, low: int = 1) -> None:
    """-j, by default the number of cores or ``most``."""
    default = min(most or 1024, os.cpu_count() or 1)
    add_number(group, "-j", "--workers", low=low, default=default, help=f"threads {text} (default here: %(default)s)")


def add_threshold(group: argparse._ActionsContainer) -> None:
    """--threshold, of segmentation into foreground and background."""
    text = "segmentation: a pixel is foreground where its probability is greater (default: 0.5)"
    group.add_argument("--threshold", type=number(float, 1e-7, 1 - 1e-7), metavar="P", help=text)


def add_json(group: argparse._ActionsContainer) -> None:
    """--json, which `print_report` obeys."""
    kind = Writes(forms=("json",))
    group.add_argument("--json", type=kind, metavar="FILE", help="write JSON as well; '-' prints JSON only")


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


def add_weights(command: argparse.ArgumentParser, name: str = "--weights", more: str = "") -> argparse._ArgumentGroup:
    """Add --weights, or an argument ``name``, and the group that describes the network of a file, which is returned."""
    kind: Dict[str, Any] = {"required": True, "metavar": "ID|FILE|RUN"} if name[0] == "-" else {"metavar": "WEIGHTS"}
    text = f"a catalogue id, a .params file, a training run (its directory or a checkpoint's){more}"
    command.add_argument(name, type=Reads(nonempty), help=text, **kind)
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
    group.add_argument("--dataset", metavar="NAME", help="(default: the data that the weights are for)")
    text = "CIFAR-100; super means coarse (default: the weights', else fine)"
    group.add_argument("--labels", type=label_kind, choices=("fine", "coarse"), help=text)
    size = (
        "ImageNet's crop (default: 224); other images are resized to this (default: as in training, else 32 for "
        "classification and 512 for segmentation)"
    )
    add_number(group, "--input-size", high=MAX_SIDE, help=size)
    text = "ImageNet: the authors' for record files (default for .rec and published weights) or for folders (default)"
    group.add_argument("--normalisation", choices=("records", "folder"), help=text)


def add_engine(group: argparse._ActionsContainer, default: str) -> None:
    """--engine, of a command that runs a network."""
    text = f"what runs the network on the CPU; auto: the fastest that is installed (default: {default})"
    group.add_argument("--engine", choices=("mxnet", "onnxruntime", "openvino", "auto"), help=text)


def add_gpus(group: argparse._ActionsContainer) -> None:
    """--gpus, of a command that uses one device."""
    group.add_argument("--gpus", help="a GPU number; '' for the CPU (default: the first GPU, if any)")


def data_of(args: argparse.Namespace) -> Dict[str, Any]:
    """What the command line says of the images."""
    size = args.input_size
    return {"dataset": args.dataset, "labels": args.labels, "size": size, "normalisation": args.normalisation}


def open_one(args: argparse.Namespace, exported: bool = False) -> TrainedNetwork:
    """Open the network of the weights on one device; ``exported``: an exported one, too."""
    from ..runtime import devices
    from ..tasks.opening import open_network

    contexts = devices.pick(args.gpus)[:1]
    return open_network(args.weights, args.model, model_options(args), contexts, data_of(args), exported=exported)


def add_pictures(group: argparse._ArgumentGroup, count: int, *names: str, more: str = "") -> None:
    """Add --images (and other ``names`` for it) and --count, whose default is ``count``."""
    text, kind = f"files, folders, zips, or a folder inside a zip (set.zip/test/cat){more}", Reads(pictures=True)
    names = (*names, "--images")
    group.add_argument(*names, dest="images", nargs="+", required=True, type=kind, metavar="PLACE", help=text)
    text = "at most N images, spaced evenly over all found (default: %(default)s)"
    add_number(group, "--count", default=count, help=text)
