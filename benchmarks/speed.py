"""How fast networks train and infer here, beside each other and beside what a user would pick instead.

    python benchmarks/speed.py --forms native,static --against add,literal
    python benchmarks/speed.py --suite reach --against-python others/bin/python --json reach.json

Every contender is a process of its own (contender.py), so that libraries do not share thread pools and memory; they
take turns, step by step, so that a drifting machine meets all of them. Figures are medians with their spread. Leave the
machine alone meanwhile. README.md explains the options, RESULTS.md has the figures.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Optional, Sequence, Tuple

import gluon_aff  # noqa: F401  # before MXNet, which it makes importable
from gluon_aff.errors import GluonAFFError, UsageError, last_line
from gluon_aff.models import build_model
from gluon_aff.models.summary import summarize
from gluon_aff.runtime.threads import processor_name
from gluon_aff.training.history import git_commit
from gluon_aff.utils import console
from gluon_aff.utils.arguments import number
from gluon_aff.utils.files import write_json
from gluon_aff.utils.tables import markdown_table

sys.path.insert(0, str(Path(__file__).resolve().parent))
from with_mxnet import ENGINES_OF_OURS, NATIVE, PRODUCT_SIDE, profile  # noqa: E402

HERE = Path(__file__).resolve().parent
FORMS = ("imperative", "hybrid", "static", "native", "folded", "int8", *ENGINES_OF_OURS)
ENGINES = ("torch", "onnxruntime", "openvino")
AGAINST = ("add", "literal", *ENGINES)
WARM_UP = 2  # steps that do not count


@dataclass(frozen=True)
class Contender:
    """A fusion in a form of with_mxnet.py; of another engine the form is "eager", "channels_last" or "compiled"."""

    name: str
    fusion: str
    form: str = "native"
    engine: str = "mxnet"


@dataclass(frozen=True)
class Case:
    """One network at one size, trained ("train") or run ("infer"), by several contenders."""

    name: str
    network: str
    mode: str
    batch: int
    size: int
    contenders: Sequence[Contender]
    options: Dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ratio:
    """A row of the table: speed of the best of ours over the best of others in a case, or memory over memory."""

    label: str
    case: str
    ours: Tuple[str, ...]
    others: Tuple[str, ...]
    goal: Optional[float] = None
    memory: bool = False


# What is held against what

AFF, IAFF = Contender("aff", "aff"), Contender("iaff", "iaff")
OPERATORS, ADD = Contender("aff, operators", "aff", "static"), Contender("add", "add", "static")
LITERAL, FOLDED = Contender("literal", "aff", "literal"), Contender("aff, folded", "aff", "folded")
INT8 = Contender("aff, int8", "aff", "int8")
BY_ENGINES = [Contender(f"aff, {name}", "aff", name) for name in ENGINES_OF_OURS]
TORCH = Contender("torch", "aff", "eager", "torch")
TORCH_LAST = Contender("torch, channels_last", "aff", "channels_last", "torch")
TORCH_COMPILED = Contender("torch, compiled", "aff", "compiled", "torch")
TORCH_ADD = Contender("torch add", "add", "channels_last", "torch")
ONNX = Contender("onnxruntime", "aff", "eager", "onnxruntime")
OPENVINO = Contender("openvino", "aff", "eager", "openvino")

WIDE = {"blocks": 5, "channel_times": 4, "classes": 100}
NARROW = {"blocks": 1, "channel_times": 1, "classes": 100}


def reach():
    """Cases and ratios of RESULTS.md."""
    inferring = (AFF.name, FOLDED.name, *(each.name for each in BY_ENGINES))
    torch = ("torch", "torch, channels_last")
    others = (*torch, "torch, compiled", "onnxruntime", "openvino")
    everything = [AFF, OPERATORS, IAFF, ADD, LITERAL, TORCH, TORCH_LAST, TORCH_ADD]
    inference = [
        AFF,
        OPERATORS,
        FOLDED,
        INT8,
        *BY_ENGINES,
        IAFF,
        ADD,
        TORCH,
        TORCH_LAST,
        TORCH_COMPILED,
        ONNX,
        OPENVINO,
    ]
    cases = [
        Case("train x4", "cifar_resnet", "train", 32, 32, everything, WIDE),
        Case("train x1", "cifar_resnet", "train", 128, 32, everything, NARROW),
        Case("infer x4", "cifar_resnet", "infer", 32, 32, inference, WIDE),
        Case("infer x1", "cifar_resnet", "infer", 128, 32, inference, NARROW),
        Case("train resnet50", "aff_resnet50", "train", 8, 224, [AFF, OPERATORS, ADD]),
        Case("infer resnet50", "aff_resnet50", "infer", 8, 224, [AFF, OPERATORS, FOLDED, INT8, *BY_ENGINES, ADD]),
        Case("train fpn", "aff_fpn_resnet20", "train", 8, 480, [AFF, ADD], {"stem": "tiny"}),  # some 10 GB each
    ]
    ratios = [
        Ratio("train AFF x4 batch 32 / add", "train x4", ("aff",), ("add",), 0.85),
        Ratio("... / PyTorch's best", "train x4", ("aff",), torch, 1.15),
        Ratio("... / literal", "train x4", ("aff",), ("literal",), 1.75),
        Ratio("train AFF x1 b=1 batch 128 / add", "train x1", ("aff",), ("add",), 0.75),
        Ratio("... / PyTorch's best", "train x1", ("aff",), torch, 1.15),
        Ratio("train iAFF x4 / add", "train x4", ("iaff",), ("add",), 0.72),
        Ratio("infer AFF x4 batch 32 / add", "infer x4", ("aff", "aff, folded"), ("add",), 0.85),
        *(
            Ratio(f"{case}: best engine / best of PyTorch, ONNX Runtime, OpenVINO", case, inferring, others, 1.0)
            for case in ("infer x4", "infer x1")
        ),
        *(
            Ratio(f"{case}: native / operators", case, ("aff",), ("aff, operators",), 1.0)
            for case in ("train x4", "train x1", "train resnet50")
        ),
        *(
            Ratio(f"{case}: int8 / float32 in MXNet", case, ("aff, int8",), ("aff", "aff, operators", "aff, folded"))
            for case in ("infer x4", "infer x1", "infer resnet50")
        ),
        Ratio("AFF-ResNet-50, 224, batch 8: train / add", "train resnet50", ("aff",), ("add",), 0.88),
        Ratio("AFF-FPN b=3 tiny, 480, batch 8: train / add", "train fpn", ("aff",), ("add",), 0.92),
        Ratio("peak memory of a training step / literal", "train x4", ("aff",), ("literal",), 0.4, memory=True),
    ]
    return cases, ratios


def quick():
    cases = [
        Case(f"{mode} x1", "cifar_resnet", mode, 16, 32, [AFF, OPERATORS, ADD], NARROW) for mode in ("train", "infer")
    ]
    return cases, [Ratio(f"{case.name} / add", case.name, ("aff",), ("add",)) for case in cases]


SUITES = {"reach": reach, "quick": quick}


def single(args):
    """One case of a user's choice: every fusion in every form, and what they are held against."""
    inference_only = [form for form in args.forms if form in ("folded", "int8", *ENGINES_OF_OURS)]
    if inference_only and args.mode == "train":
        raise UsageError(f"--forms {inference_only[0]} is for inference: give --mode infer")
    contenders = [Contender(f"{fusion}, {form}", fusion, form) for fusion in args.fusions for form in args.forms]
    for other in args.against:
        if other in ENGINES:
            contenders.append(Contender(other, args.fusions[0], "eager", other))
        else:
            contenders.append(ADD if other == "add" else LITERAL)
    name, first = f"{args.mode} {args.network}", contenders[0].name
    case = Case(name, args.network, args.mode, args.batch_size, args.size, contenders, network_options(args))
    return [case], [Ratio(f"{first} / {c.name}", name, (first,), (c.name,)) for c in contenders[1:]]


def network_options(args):
    chosen = {name: getattr(args, name) for name in ("blocks", "channel_times", "classes")}
    return {name: value for name, value in chosen.items() if value is not None}


# Measuring: contenders as processes that take turns


class Process:
    """A contender that runs."""

    def __init__(self, contender, case, threads, warm_up, others_python):
        specification = {
            **{name: getattr(case, name) for name in ("network", "mode", "batch", "size")},
            **{"options": {**case.options, "fusion": contender.fusion}, "form": contender.form},
            **{"engine": contender.engine, "warm_up": warm_up},
        }
        ours = contender.engine == "mxnet"
        python, builder = (sys.executable, "with_mxnet.py") if ours else (others_python, "with_others.py")
        native = str(int(contender.form in NATIVE))
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [python, str(HERE / "contender.py"), str(HERE / builder), json.dumps(specification)],
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "GLUON_AFF_NATIVE": native},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def reply(self):
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            raise GluonAFFError(last_line(self.errors.read()) or "it ended without a word")
        return json.loads(line)

    def step(self):
        with contextlib.suppress(BrokenPipeError):  # of one that has ended, which has no reply either
            self.process.stdin.write("step\n")
            self.process.stdin.flush()
        return self.reply()

    def end(self):
        self.process.kill()
        with contextlib.suppress(OSError):
            self.process.communicate(timeout=30)
        self.errors.close()


def measure(case, threads, rounds, warm_up=WARM_UP, log=lambda line: None, others_python=sys.executable):
    """Seconds of every contender's step in ``rounds`` rounds, and of a large product for comparison.

    ``others_python`` is the Python that has the other libraries: GluonCV refuses to be imported beside PyTorch 2.
    "results" is name -> median and spread (seconds), images/s, GFLOP/s, share of the product's, and the memory in MiB
    that steps took at most; "failed" is name -> why.
    """
    running, failed, seconds, peaks = {}, {}, {}, {}

    def drop(name, error):
        failed[name] = str(error)
        log(f"{case.name}: {name} cannot run: {error}")
        running.pop(name).end()
        seconds.pop(name, None)

    try:
        for contender in [*case.contenders, Contender("product", "-", "product")]:
            log(f"{case.name}: starting {contender.name}")
            running[contender.name] = process = Process(contender, case, threads, warm_up, others_python)
            try:
                process.reply()
            except GluonAFFError as error:
                drop(contender.name, error)
        for number in range(rounds):
            log(f"{case.name}: round {number + 1} of {rounds}")
            for name, process in list(running.items()):
                try:
                    answer = process.step()
                except GluonAFFError as error:
                    drop(name, error)
                    continue
                seconds.setdefault(name, []).append(answer["seconds"])
                peaks[name] = answer["peak_mib"]
    finally:
        for process in running.values():
            process.end()
    return {
        **{name: getattr(case, name) for name in ("name", "network", "mode", "batch", "size", "options")},
        "threads": threads,
        "rounds": rounds,
        "results": results(case, seconds, peaks),
        "failed": failed,
    }


def results(case, seconds, peaks):
    product = 2 * PRODUCT_SIDE**3 / statistics.median(seconds["product"]) / 1e9 if "product" in seconds else None
    found = {}
    for contender in case.contenders:
        times = seconds.get(contender.name)
        if not times:
            continue
        median = statistics.median(times)
        net = build_model(case.network, **{**case.options, "fusion": contender.fusion})
        macs = summarize(net, (1, 3, case.size, case.size)).macs
        rate = macs * 2 * (3 if case.mode == "train" else 1) * case.batch / median / 1e9
        found[contender.name] = {
            "median": median,
            "spread": [min(times), max(times)],
            "seconds": times,
            "images_per_second": case.batch / median,
            "gflops": rate,
            "of_product": rate / product if product else None,
            "peak_mib": peaks[contender.name],
        }
    if product:
        found["product"] = {"gflops": product, "seconds": seconds["product"]}
    return found


def machine():
    """The processor's name and cores, for the report."""
    return {"processor": processor_name(), "cores": str(os.cpu_count())}


# The report


def ratios_of(wanted, cases):
    """One record a row: label, ratio, of what, to what, and the goal; no ratio where something is missing."""
    by_name = {case["name"]: case["results"] for case in cases}
    rows = []
    for ratio in wanted:
        measured = by_name.get(ratio.case, {})
        key, better = ("peak_mib", min) if ratio.memory else ("images_per_second", max)
        ours, others = (
            [(measured[name][key], name) for name in names if name in measured] for names in (ratio.ours, ratio.others)
        )
        value, of, to = None, None, None
        if ours and others:
            (mine, of), (theirs, to) = better(ours), better(others)
            value = mine / theirs
        rows.append({"label": ratio.label, "ratio": value, "of": of, "to": to, "goal": ratio.goal})
    return rows


def markdown(document):
    """The report of a measurement: machine, ratios, a table a case."""
    lines = [
        f"`{document['command']}`, commit {document['commit']}, {document['machine']['processor']}, "
        f"{document['threads']} thread(s), medians of {document['rounds']} interleaved rounds after "
        f"{document['warm_up']} that do not count.",
        "",
    ]
    rows = [
        (row["label"], figure(row["ratio"]), row["of"] or "-", row["to"] or "-", figure(row["goal"], "g"))
        for row in document["ratios"]
    ]
    lines += [*markdown_table(("ratio", "measured", "of", "to", "goal"), rows), ""]
    for case in document["cases"]:
        lines += [f"### {case['name']}: {case['network']}, batch {case['batch']}, {case['size']} pixels", ""]
        speeds = []
        for name, result in case["results"].items():
            if name == "product":
                continue
            low, high = (1000 * seconds for seconds in result["spread"])
            cells = (f"{result['images_per_second']:.1f}", f"{1000 * result['median']:.1f}", f"{low:.1f} - {high:.1f}")
            work = (f"{result['gflops']:.0f}", figure(result["of_product"]), f"{result['peak_mib']:.0f}")
            speeds.append((name, *cells, *work))
        header = ("contender", "images/s", "ms", "least - most", "GFLOP/s", "of a product's", "peak MiB")
        lines += [*markdown_table(header, speeds), ""]
        product = case["results"].get("product")
        if product:
            lines += [f"A large oneDNN product reached {product['gflops']:.0f} GFLOP/s in the same run.", ""]
        lines += [f"Not measured: {name}: {why}." for name, why in case["failed"].items()]
    return "\n".join(lines).rstrip() + "\n"


def figure(value, form=".2f"):
    return "-" if value is None else f"{value:{form}}"


def read(path):
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(document, dict) or "cases" not in document:
            raise ValueError("no cases")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is not what --json wrote: {error}") from None
    return document


# The command line


def words_of(known=None):
    """An argparse type: words with commas between them, all of those ``known``."""

    def read_words(text):
        words = [word for word in text.split(",") if word]
        unknown = [word for word in words if known and word not in known]
        if unknown or not words:
            raise argparse.ArgumentTypeError(f"{text!r} has {', '.join(unknown) or 'nothing'}: choose from {known}")
        return words

    return read_words


def parse_args(argv):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--suite", choices=sorted(SUITES), help="a fixed set of cases, not the options below")
    parser.add_argument("--cases", type=words_of(), help="of the suite, by their names (default: all)")
    parser.add_argument("--network", default="cifar_resnet", help="of `gluon-aff models` (default: %(default)s)")
    parser.add_argument("--mode", choices=("train", "infer"), default="train", help="(default: %(default)s)")
    parser.add_argument("--fusions", type=words_of(), default=["aff"], help="separated by commas (default: aff)")
    parser.add_argument("--forms", type=words_of(FORMS), default=["native"], help=f"of {', '.join(FORMS)}")
    parser.add_argument("--against", type=words_of(AGAINST), default=["add"], help=f"of {', '.join(AGAINST)}")
    parser.add_argument("--against-python", metavar="FILE", default=sys.executable, help="the Python that has PyTorch")
    parser.add_argument("--batch-size", type=number(int, 1), default=32, help="(default: %(default)s)")
    parser.add_argument("--size", type=number(int, 1), default=32, help="height and width (default: %(default)s)")
    for name in ("--blocks", "--channel-times", "--classes"):
        parser.add_argument(name, type=number(int, 1), help="of the network")
    parser.add_argument("--threads", type=number(int, 1), help="default: OMP_NUM_THREADS, or the physical cores")
    parser.add_argument("--rounds", type=number(int, 1), default=7, help="that count (default: %(default)s)")
    parser.add_argument("--profile", action="store_true", help="time by operator of the first fusion and form instead")
    parser.add_argument("--json", metavar="FILE", help="write all figures")
    parser.add_argument("--render", metavar="FILE", help="print the tables of an earlier --json, measure nothing")
    return parser.parse_args(argv)


def log(line):
    print(line, file=sys.stderr, flush=True)


def main(argv=None):
    args = parse_args(argv)
    if args.render:
        print(markdown(read(args.render)), end="")
        return
    if args.profile:
        specification = {"network": args.network, "mode": args.mode, "batch": args.batch_size, "size": args.size}
        options = {**network_options(args), "fusion": args.fusions[0]}
        print("\n".join(profile({**specification, "options": options, "form": args.forms[0]}, args.rounds)))
        return
    chosen, wanted = SUITES[args.suite]() if args.suite else single(args)
    if args.cases:
        chosen = [case for case in chosen if case.name in args.cases]
        wanted = [ratio for ratio in wanted if ratio.case in args.cases]
    threads = args.threads or int(os.environ["OMP_NUM_THREADS"])  # which gluon_aff sets where the user has not
    cases = [measure(case, threads, args.rounds, WARM_UP, log, args.against_python) for case in chosen]
    document = {
        "command": " ".join(["python benchmarks/speed.py", *(sys.argv[1:] if argv is None else argv)]),
        "commit": git_commit(HERE.parent),
        "machine": machine(),
        "threads": threads,
        "rounds": args.rounds,
        "warm_up": WARM_UP,
        "load_at_end": os.getloadavg()[0],
        "ratios": ratios_of(wanted, cases),
        "cases": cases,
    }
    if args.json:
        write_json(document, args.json)
    print(markdown(document), end="")


if __name__ == "__main__":
    console.run_program(main)
