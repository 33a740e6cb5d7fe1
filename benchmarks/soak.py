"""Does a long run grow? Memory, open descriptors and threads of training and of the loaders, sampled over time.

    python benchmarks/soak.py --parts cifar=20,folder=10,records=10,seg=20 --images IMAGENET --json soak.json

Each part is a process of its own that is sampled from outside through /proc, and stopped by Ctrl-C when its minutes
are over: ``cifar`` trains a small network with train_cifar.py on scikit-learn's digits; ``folder`` and ``records`` read
ImageNet's training batches epoch after epoch, with AutoAugment; ``seg`` trains a small FPN with train_seg.py, on SIRST
where ``--pairs`` gives it. The first fifth of the samples is left out of the slopes: MXNet's pools fill meanwhile.

A slope is that of the least squares line. Samples that follow each other are alike, so its standard error comes from
the means of 20 equal stretches of time, not from single samples.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
WARM_UP, STRETCHES = 0.2, 20
PARTS = ("cifar", "folder", "records", "seg")


def parts(text):
    chosen = {}
    for item in text.split(","):
        name, _, minutes = item.partition("=")
        if name not in PARTS:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(PARTS)}")
        chosen[name] = float(minutes)
    return chosen


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=parts, default=parts("cifar=20,folder=10,records=10,seg=20"), help="minutes")
    parser.add_argument("--images", type=Path, help="ImageNet's: class folders or a zip (default: noise)")
    parser.add_argument("--pairs", type=Path, help="SIRST (default: drawn shapes)")
    parser.add_argument("--every", type=float, default=2.0, metavar="SECONDS", help="between two samples")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all samples and slopes")
    parser.add_argument("--read", nargs=2, metavar=("PLACE", "FILE"), help=argparse.SUPPRESS)  # a reader's own part
    return parser.parse_args(argv)


def read_until_stopped(place, counted):
    """Go through a loader's batches until SIGINT, then write the numbers of epochs and batches."""
    from gluon_aff.data import ImageNetTrainLoader, ImageNetTransform, autoaugment_policy, open_imagenet
    from gluon_aff.data.imagenet_batches import normalisation

    stopped = []
    signal.signal(signal.SIGINT, lambda number, frame: stopped.append(number))
    transform = ImageNetTransform(96, autoaugment=autoaugment_policy("imagenet"))
    source = open_imagenet(Path(place), (), split="train")
    loader = ImageNetTrainLoader(source, 16, transform, normalisation("records"), workers=2, max_bad=None)
    batches = 0
    for epoch in itertools.count():
        for _ in loader.batches(epoch):
            batches += 1
            if stopped:
                Path(counted).write_text(json.dumps({"epochs": epoch, "batches": batches}))
                return


def prepare(name, args, scratch):
    """The command of a part, and what counts its work afterwards."""
    run, counted = scratch / name, scratch / f"{name}.json"
    if name in ("folder", "records"):
        place = scratch / ("images" if name == "folder" else "train.rec")
        command = [sys.executable, __file__, "--read", str(place), str(counted)]
        return command, lambda: json.loads(counted.read_text())
    endless = ["--num-epochs", "1000000", "--lr-mode", "constant", "--gpus", "", "--save-dir", str(run)]
    if name == "cifar":
        data = ["--dataset", "digits", "--blocks", "1", "--channel-times", "1", "--batch-size", "64"]
    else:
        data = ["--dataset", "sirst", "--data-dir", str(args.pairs)] if args.pairs else ["--dataset", "shapes"]
        data += ["--tiny", "--blocks", "1", "--base-size", "72", "--crop-size", "64", "--batch-size", "16"]
    command = [sys.executable, str(ROOT / f"train_{name}.py"), *data, *endless]
    return command, lambda: {"epochs": (run / "history.jsonl").read_text().count('"epoch"')}


def prepare_images(args, scratch):
    """A folder and a record file of the same images."""
    from imagenet_feed import made_up_images, some_images, write_folder

    from gluon_aff.data import open_imagenet
    from gluon_aff.data.records import pack

    contents = some_images(args.images, 250) if args.images else made_up_images(64)
    write_folder(scratch / "images", contents)
    source = open_imagenet(scratch / "images", (), split="train")
    pack(source, scratch / "train.rec")
    return len(source)


def sample(pid):
    """(resident memory in MB, open descriptors, threads) of a process."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    memory = int(status["VmRSS"].split()[0]) / 1024
    return memory, len(os.listdir(f"/proc/{pid}/fd")), int(status["Threads"])


def watch(command, seconds, every, log):
    """Samples (seconds, MB, descriptors, threads) of a process while it runs, and its exit code after Ctrl-C."""
    samples, begin = [], time.monotonic()
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    try:
        while time.monotonic() - begin < seconds and process.poll() is None:
            samples.append((time.monotonic() - begin, *sample(process.pid)))
            time.sleep(every)
        if process.poll() is not None:
            raise SystemExit(f"ended early with {process.returncode}:\n{Path(log).read_text()[-2000:]}")
        process.send_signal(signal.SIGINT)
        return samples, process.wait(timeout=120)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def slope(seconds, values):
    """(per hour, standard error) of the line through the means of STRETCHES equal stretches."""
    pieces = np.array_split(np.arange(len(seconds)), STRETCHES)
    t = np.array([np.mean(seconds[piece]) for piece in pieces]) / 3600
    y = np.array([np.mean(values[piece]) for piece in pieces])
    centred = t - t.mean()
    rise = float(centred @ y / (centred @ centred))
    rest = y - y.mean() - rise * centred
    return rise, float(np.sqrt(rest @ rest / (len(t) - 2) / (centred @ centred)))


def summary(samples):
    kept = np.array(samples)[int(len(samples) * WARM_UP) :]
    seconds, memory, descriptors, threads = kept.T
    rise, error = slope(seconds, memory)
    half = len(kept) // 2
    return {
        "samples": len(samples),
        "kept": len(kept),
        "MB": [float(memory[0]), float(memory[-1]), float(memory.max())],
        "MB per hour": [rise, error],
        "MB per hour, second half": list(slope(seconds[half:], memory[half:])),
        "descriptors": [int(descriptors.min()), int(descriptors.max())],
        "descriptors per hour": list(slope(seconds, descriptors)),
        "threads": [int(threads.min()), int(threads.max())],
        "threads per hour": list(slope(seconds, threads)),
    }


def commit():
    found = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return found.stdout.strip() or "no commit"


def main():
    args = parse_args()
    if args.read:
        return read_until_stopped(*args.read)
    document = {
        "command": " ".join(["python", *sys.argv]),
        "commit": commit(),
        "machine": f"Python {platform.python_version()}, {os.cpu_count()} CPUs, "
        f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS')}",
        "parts": {},
    }
    print(f"commit {document['commit']}, {document['machine']}")
    print("| part | minutes | work | samples | MB: first, last, most | MB per hour | its second half | fds | threads |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if {"folder", "records"} & set(args.parts):
            document["images"] = prepare_images(args, scratch)
        for name, minutes in args.parts.items():
            command, count = prepare(name, args, scratch)
            samples, code = watch(command, minutes * 60, args.every, scratch / f"{name}.log")
            found = {"minutes": minutes, "exit code": code, "work": count(), **summary(samples)}
            document["parts"][name] = {**found, "values": samples}
            if args.json:
                args.json.write_text(json.dumps(document) + "\n")
            work = ", ".join(f"{number} {what}" for what, number in found["work"].items())
            memory = ", ".join(f"{value:.1f}" for value in found["MB"])
            slopes = ["{:+.2f} ± {:.2f}".format(*found[key]) for key in ("MB per hour", "MB per hour, second half")]
            ranges = ["{}-{}".format(*found[key]) for key in ("descriptors", "threads")]
            cells = [name, f"{minutes:g}", work, f"{found['kept']} of {found['samples']}", memory, *slopes, *ranges]
            print(f"| {' | '.join(cells)} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
