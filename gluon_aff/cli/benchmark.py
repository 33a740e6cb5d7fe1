"""``gluon-aff benchmark``: how fast networks train and infer here, beside each other and beside other libraries."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any, Dict

from ..errors import UsageError
from ..utils.files import write_json
from .arguments import whole

FORMS = ("imperative", "hybrid", "static", "native", "folded", "int8")
AGAINST = ("add", "literal", "torch", "onnxruntime", "openvino")
WARM_UP = 2  # steps that do not count


def benchmark(args: argparse.Namespace) -> int:
    from ..comparison import speed

    if args.render:
        print(speed.markdown(_read(args.render)), end="")
        return 0
    if args.profile:
        return _profile(args)
    if args.suite:
        suite = speed.SUITES[args.suite]()
    else:
        fusions, forms, against = (_words(getattr(args, name)) for name in ("fusions", "forms", "against"))
        for name, words, known in (("--forms", forms, FORMS), ("--against", against, AGAINST)):
            unknown = [word for word in words if word not in known]
            if unknown:
                raise UsageError(f"{name} has {', '.join(unknown)}: choose from {', '.join(known)}")
        inference_only = [form for form in forms if form in ("folded", "int8")]
        if inference_only and args.mode == "train":
            raise UsageError(f"--forms {inference_only[0]} is for inference: give --mode infer")
        options = _options(args)
        suite = speed.single(args.network, args.mode, args.batch_size, args.size, fusions, forms, against, options)
    threads = args.threads or int(os.environ["OMP_NUM_THREADS"])
    cases = [speed.measure(case, threads, args.rounds, WARM_UP, _log, args.against_python) for case in suite.cases]
    document = {
        "command": " ".join(["gluon-aff", *args.argv]),
        "commit": speed.commit(),
        "machine": speed.machine(),
        "threads": threads,
        "rounds": args.rounds,
        "warm_up": WARM_UP,
        "load_at_end": os.getloadavg()[0],
        "ratios": speed.ratios(suite.ratios, cases),
        "cases": cases,
    }
    if args.json:
        write_json(document, args.json)
    print(speed.markdown(document), end="")
    return 0


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _words(text: str) -> list:
    return [word for word in text.split(",") if word]


def _options(args: argparse.Namespace) -> Dict[str, Any]:
    chosen = {"blocks": args.blocks, "channel_times": args.channel_times, "classes": args.classes}
    return {name: value for name, value in chosen.items() if value is not None}


def _read(path: str) -> Dict[str, Any]:
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(document, dict) or "cases" not in document:
            raise ValueError("no cases")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is not what `gluon-aff benchmark --json` wrote: {error}") from None
    return document


def _profile(args: argparse.Namespace) -> int:
    """Milliseconds by operator, in this process."""
    from ..comparison.speed.profiling import profile

    fusion, form = _words(args.fusions)[0], _words(args.forms)[0]
    options = {**_options(args), "fusion": fusion}
    print("\n".join(profile(args.network, options, args.mode, args.batch_size, args.size, form, args.rounds)))
    return 0


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Make it known to the command line."""
    command = commands.add_parser(
        "benchmark",
        help="measure how fast networks train and infer, beside each other and other libraries",
        description="Every contender is a process; steps are interleaved, figures are medians with their spread. Leave "
        "the machine alone meanwhile. See docs/speed.md.",
    )
    command.add_argument("--suite", choices=("reach", "quick"), help="a fixed set of cases, not the options below")
    command.add_argument("--network", default="cifar_resnet", help="of `gluon-aff models` (default: %(default)s)")
    command.add_argument("--mode", choices=("train", "infer"), default="train", help="(default: %(default)s)")
    command.add_argument("--fusions", default="aff", help="separated by commas (default: %(default)s)")
    command.add_argument("--forms", default="native", help=f"of {', '.join(FORMS)} (default: %(default)s)")
    command.add_argument("--against", default="add", help=f"of {', '.join(AGAINST)} (default: %(default)s)")
    command.add_argument(
        "--against-python", metavar="FILE", default=sys.executable, help="the Python that has PyTorch and the others"
    )
    command.add_argument("--batch-size", type=whole(1), default=32, help="(default: %(default)s)")
    command.add_argument("--size", type=whole(1), default=32, help="height and width (default: %(default)s)")
    command.add_argument("--blocks", type=whole(1), help="of a CIFAR network")
    command.add_argument("--channel-times", type=whole(1), help="of a CIFAR network")
    command.add_argument("--classes", type=whole(1))
    command.add_argument("--threads", type=whole(1), help="default: OMP_NUM_THREADS, or the physical cores")
    command.add_argument("--rounds", type=whole(1), default=7, help="that count (default: %(default)s)")
    command.add_argument("--profile", action="store_true", help="time by operator of the first fusion and form instead")
    command.add_argument("--json", metavar="FILE", help="write all figures")
    command.add_argument("--render", metavar="FILE", help="print the tables of an earlier --json, measure nothing")
    command.set_defaults(run=benchmark)
