"""Record what the command lines do, so that a rebuild can be held against the commit that it began with.

    git worktree add /tmp/before COMMIT
    python tests/net/record.py /tmp/before /tmp/net/before --data DIR    # once
    python tests/net/record.py . /tmp/net/now --data DIR                 # after each step
    diff -r /tmp/net/before /tmp/net/now                                 # nothing, or each line explained

Every case leaves one text file: exit code, output without times and places, digests of arrays and pictures. ``--only
WORD`` takes the cases whose name holds it. DIR holds cifar10-jpeg.zip and sirst.zip; without ``--data`` the cases that
need them are left out. Bits depend on the CPU: both records are to be made on one machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

DIGITS = "train_cifar.py --dataset digits --train-images 256 --test-images 64 --num-epochs 3 --batch-size 32"
SHAPES = "train_seg.py --dataset shapes --train-images 24 --test-images 8 --base-size 48 --crop-size 32 --blocks 1"
SHAPES += " --num-epochs 3 --batch-size 8"
PICTURES = "train_imagenet.py --data-dir {data}/cifar10-jpeg.zip --train-images 48"
PICTURES += " --test-images 32 --input-size 32 --num-epochs 3 --batch-size 16 --num-layer 50"
SIRST = "train_seg.py --dataset sirst --data-dir {data}/sirst.zip --recipe acm --train-images 12 --test-images 6"
SIRST += " --base-size 64 --crop-size 48 --blocks 1 --num-epochs 2 --batch-size 4"

# name -> a training command.
RUNS = {
    "digits": DIGITS,
    "digits-iaff-mixup": DIGITS + " --fusion iaff --mixup --label-smoothing --ema 0.9 --mixup-off-epoch 1",
    "digits-parts": DIGITS + " --fusion ms_gau --update-parts 2 --accumulate 2 --clip-gradient 1 --optimizer adam",
    "digits-hold-out": DIGITS + " --hold-out 50 --lr-mode step --lr-decay-epoch 1,2 --step-timing published",
    "shapes": SHAPES,
    "shapes-iaff": SHAPES + " --fusion iaff --authors-fusion --decoder expand --stem tiny --loss bce",
    "shapes-unet": SHAPES + " --model unet --fusion acm --stem tiny",
    "sirst": SIRST,
    "pictures": PICTURES + " --auto_aug --jitter 0.4 --lighting 0.1",
    "pictures-mixup": PICTURES + " --mixup --label-smoothing --last-gamma --fusion iaff",
    "cifar-auto": "train_cifar.py --dataset folder --data-dir {data}/cifar10-jpeg.zip --train-images 96"
    " --test-images 32 --num-epochs 2 --batch-size 32 --auto_aug --mixup",
}
NATIVE = ("digits", "shapes", "pictures")  # once more with the native operator
STOPPED = ("digits-iaff-mixup", "shapes-native", "pictures")  # by SIGTERM and by SIGKILL after an epoch, and resumed

# On finished runs and on nothing at all; {digits}, {shapes}, {pictures} are the runs' folders.
COMMANDS = {
    "models": "models",
    "models-pattern": "models *aff*resnet20*",
    "fusions": "fusions",
    "recipes": "recipes",
    "summary": "summary cifar_iaff_resnet20",
    "summary-fpn": "summary aff_fpn_resnet20",
    "published-list": "published list",
    "published-inspect": "published inspect {digits}/best/model.params",
    "recipe-cifar": "train cifar --recipe paper --model resnext --print-recipe",
    "recipe-imagenet": "train imagenet --recipe release --print-recipe",
    "recipe-seg": "train seg --recipe paper --print-recipe",
    "schedule-cifar": "train cifar --recipe published --dry-run --save-plot-dir {out}/schedule",
    "evaluate-digits": "evaluate --weights {digits} --json {out}/evaluation.json",
    "evaluate-shapes": "evaluate --weights {shapes} --json {out}/evaluation.json",
    "evaluate-pictures": "evaluate --weights {pictures} --json {out}/evaluation.json",
    "evaluate-upstream": "evaluate --weights {digits} --protocol upstream",
    "evaluate-weights": "evaluate --weights {digits}/best/model.params",
    "predict-digits": "predict {digits} {here}/docs/images/digits-curves.png --out {out}/predictions.csv",
    "predict-shapes": "predict {shapes} {here}/docs/images/digits-curves.png --out {out}/masks",
    "export-symbol": "export {digits} --to symbol --fold --out {out}/exported",
    "export-onnx": "export {digits} --to onnx --out {out}/exported",
    "export-onnx-fpn": "export {shapes} --to onnx --with-preprocessing --out {out}/exported",
    "export-int8": "export {digits} --to int8 --out {out}/exported",
    "gradcam": "gradcam --images {here}/docs/images/digits-curves.png --weights {digits} --out {out}/cam.png",
    "attention": "attention --image {here}/docs/images/digits-curves.png --weights {digits} --out {out}/attention.png",
    "plot-history": "plot history {digits} {digits-hold-out} --out {out}/history.png",
    "compare": "compare {digits} --with {digits-hold-out} --plot {out}/compare.png --json {out}/compare.json",
    "compare-published": "compare {digits} --with paper_cifar100_resnet32_AFF_0.8967 --plot {out}/compare.png",
    "ablation-hosts": "ablation --help",
}

# Wrong usage: exit code and the first line of the error.
WRONG = """
nonsense
evaluate
evaluate --weights nowhere
evaluate --weights {digits} --dataset nothing
evaluate --weights {digits} --protocol nothing
evaluate --weights {digits}/train.log
evaluate --weights {digits} --model cifar_aff_resnet8
predict {digits} nowhere.png
predict nowhere {here}/docs/images/digits-curves.png
export {digits} --to nothing
export nowhere
gradcam
gradcam --images nowhere.png --out {out}/x.png --weights {digits}
attention --image {here}/docs/images/digits-curves.png --out {out}/x --weights nowhere
compare nowhere
plot history nowhere
published load nowhere
published inspect nowhere
published inspect {digits}/train.log
published verify nowhere
published path nothing
models nothing*
summary nothing
summary cifar_aff_resnet32 --fusion nothing
train nothing
train cifar --dataset nothing
train cifar --model nothing
train cifar --fusion nothing
train cifar --num-epochs 0
train cifar --lr -1
train cifar --batch-size x
train cifar --lr-decay-epoch 3,2
train cifar --mixup-alpha 0
train cifar --dataset folder
train cifar --dataset folder --data-dir nowhere
train cifar --dataset digits --labels coarse --save-dir {out}/x
train cifar --dataset digits --kernel5 true --save-dir {out}/x
train cifar --dataset digits --sync-bn --save-dir {out}/x
train cifar --dataset digits --save-dir {digits}
train cifar --resume nowhere
train cifar --resume {shapes}
train cifar --resume {digits} --lr 0.5
train cifar --resume {digits} --batch-size 16
train cifar --resume-from nowhere --dataset digits --save-dir {out}/x
train cifar --recipe nothing
train cifar --recipe paper --config {digits}/config.yaml
train cifar --config nowhere
train cifar --print-recipe
train cifar --use-gn
train imagenet --data-dir nowhere
train imagenet --use-gn
train imagenet --temperature 2
train imagenet --teacher nothing --data-dir nowhere
train imagenet --model resnet --num-layer 7
train imagenet --rec-train nowhere
train imagenet --num-gpus x
train seg --dataset nothing
train seg --dataset shapes --crop-size 31 --save-dir {out}/x
train seg --dataset shapes --classes 3
train seg --dataset shapes --category 3
train seg --dataset sirst --data-dir nowhere
train seg --loss nothing
train seg --eval
train seg --predict {out}/masks
train seg --dataset shapes --no-final-test
records make nowhere --out {out}/x.rec
records check nowhere
ablation nothing
launch
native nothing
"""


def say_of(path):
    """A file that a command left, in words that two machines' clocks and folders do not change."""
    if path.suffix == ".png" or path.suffix == ".jpg":
        from PIL import Image

        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGBA"))
        return f"{pixels.shape} {hashlib.sha256(pixels.tobytes()).hexdigest()[:16]}"
    if path.suffix == ".params":
        import gluon_aff  # noqa: F401  makes MXNet importable

        import mxnet as mx  # isort: skip

        arrays = mx.nd.load(str(path))
        pairs = sorted(arrays.items()) if isinstance(arrays, dict) else enumerate(arrays)
        digest = hashlib.sha256()
        for name, array in pairs:
            digest.update(f"{name} {array.shape} {array.dtype}".encode() + array.asnumpy().tobytes())
        return digest.hexdigest()[:16]
    if path.suffix in (".json", ".csv", ".yaml", ".txt", ".md", ".jsonl"):
        return path.read_text(encoding="utf-8")
    return f"{path.stat().st_size > 0}"


class Recorder:
    def __init__(self, checkout, out, data, only):
        self.checkout, self.out, self.data, self.only = Path(checkout).resolve(), Path(out), data, only
        self.work = self.out.parent / f"{self.out.name}-work"
        if only is None:
            shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True, exist_ok=True)
        self.out.mkdir(parents=True, exist_ok=True)
        self.places = {"here": str(self.checkout), "data": str(data or "")}
        names = [*RUNS, *(f"{name}-native" for name in NATIVE)]
        self.places.update({name: f"{name}/straight" for name in names})  # relative, as plots hold names

    def environment(self, native):
        return {
            **os.environ,
            "PYTHONPATH": str(self.checkout),
            "OMP_NUM_THREADS": "1",
            "GLUON_AFF_NATIVE": str(int(native)),
            "COLUMNS": "100",
        }

    def command(self, line, out=""):
        values = {**self.places, "out": out}
        words = [re.sub(r"\{([\w-]+)\}", lambda found: values[found.group(1)], word) for word in line.split()]
        script = words[0].startswith("train_")
        return [
            sys.executable,
            *([str(self.checkout / words[0]), *words[1:]] if script else ["-m", "gluon_aff", *words]),
        ]

    def run(self, line, out="", native=False):
        return subprocess.run(
            self.command(line, out),
            cwd=self.work,
            env=self.environment(native),
            capture_output=True,
            text=True,
            timeout=900,
            stdin=subprocess.DEVNULL,
        )

    def plain(self, text):
        """Text without what differs between two calls: places, times, commits, rates, digests of builds."""
        for place in sorted({str(self.work), str(self.out.resolve()), str(self.checkout), str(self.data)}, key=len):
            text = text.replace(place, "PLACE")
        text = re.sub(r"(time|seconds|speed|pace|time cost)(\"?[:=]) ?[\d.]+", r"\1\2 T", text)
        text = re.sub(r"pace: .*", "pace", text)
        text = re.sub(r"\b[0-9a-f]{40,64}\b", "DIGEST", text)
        text = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?\S*", "DATE", text)
        text = re.sub(r"\"(commit|command|date|machine|threads)\": (\[[^]]*\]|\"[^\"]*\"|null)", r'"\1": X', text)
        text = re.sub(r"[\d.,]+ images/s\b.*", "RATE", text)
        text = re.sub(r'("images_per_second"|"before"|"after"): [\d.]+', r"\1: RATE", text)
        text = re.sub(r"^\[[\d:]+\] \.\./src/.*\n|^building the native operator.*\n", "", text, flags=re.MULTILINE)
        return re.sub(r"speed: \d+ samples/sec", "speed", text)

    def keep(self, name, text):
        (self.out / f"{name}.txt").write_text(self.plain(text).rstrip() + "\n", encoding="utf-8")

    def wanted(self, name, line=""):
        return (self.only is None or self.only in name) and (self.data or "{data}" not in line)

    def interrupted(self, line, run, how, native):
        """Begin the run, end it once an epoch is written, and resume it."""
        process = subprocess.Popen(
            self.command(f"{line} --save-dir {run}"),
            cwd=self.work,
            env=self.environment(native),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        history, until = run / "history.jsonl", time.monotonic() + 600
        while process.poll() is None and time.monotonic() < until:
            if history.is_file() and '"record": "epoch"' in history.read_text(encoding="utf-8"):
                process.send_signal(how)
                break
            time.sleep(0.05)
        code = process.wait(timeout=120)
        return code, self.run(f"{line.split()[0]} --resume {run}", native=native)

    def state_of(self, run):
        """Epochs and arrays of a run."""
        lines = (run / "history.jsonl").read_text(encoding="utf-8").splitlines()
        epochs = [line for line in lines if '"record": "epoch"' in line]
        newest = sorted((run / "checkpoints").iterdir())[-1]
        files = [f"{path.name} {say_of(path)}" for path in sorted(newest.glob("*.params"))]
        state = json.loads((newest / "state.json").read_text(encoding="utf-8"))
        best = (state.get("state") or state).get("best")
        left = {"best": best, **{k: v for k, v in state.items() if k in ("options", "data", "task", "parameters")}}
        more = [f"{name}: {say_of(run / name)}" for name in ("final-test.json",) if (run / name).is_file()]
        return "\n".join([newest.name, *files, *epochs, json.dumps(left, sort_keys=True), *more])

    def runs(self):
        cases = [(name, line, False) for name, line in RUNS.items()]
        cases += [(f"{name}-native", RUNS[name], True) for name in NATIVE]
        for name, line, native in cases:
            if not self.wanted(f"run-{name}", line):
                continue
            folder = self.work / name
            straight = folder / "straight"
            done = self.run(f"{line} --save-dir {name}/straight", native=native)
            self.keep(f"run-{name}", f"exit {done.returncode}\n{done.stdout}\n{done.stderr}")
            print(name, done.returncode, flush=True)
            if done.returncode:
                continue
            state = self.plain(self.state_of(straight))
            self.keep(f"run-{name}-state", state)
            self.keep(f"run-{name}-config", say_of(straight / "config.yaml"))
            for how in (signal.SIGTERM, signal.SIGKILL) if name in STOPPED else ():
                run = folder / how.name
                code, resumed = self.interrupted(line, run, how, native)
                same = self.plain(self.state_of(run)).replace(how.name, "straight") == state
                self.keep(f"run-{name}-{how.name}", f"exit {code}, resumed {resumed.returncode}, as straight: {same}")

    def commands(self):
        for name, line in COMMANDS.items():
            if not self.wanted(f"command-{name}", line):
                continue
            out = self.work / f"out-{name}"
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            done = self.run(line, str(out))
            left = [f"--- {path.relative_to(out)}\n{say_of(path)}" for path in sorted(out.rglob("*")) if path.is_file()]
            self.keep(f"command-{name}", "\n".join([f"exit {done.returncode}", done.stdout, done.stderr, *left]))
            print(name, done.returncode, flush=True)

    def wrong(self):
        for number, line in enumerate(WRONG.strip().splitlines()):
            if self.wanted("wrong"):
                out = self.work / f"wrong-{number}"
                out.mkdir(exist_ok=True)
                done = self.run(line, str(out))
                errors = [text for text in done.stderr.splitlines() if text.startswith("error") or "rror:" in text]
                first = (errors or done.stderr.splitlines() or [""])[0]
                words = re.sub(r"\W+", "-", line.replace("{", "").replace("}", ""))[:80].strip("-")
                self.keep(f"wrong-{words}", f"{line}\nexit {done.returncode}\n{first}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", help="root of a clone")
    parser.add_argument("out", help="folder for the record")
    parser.add_argument("--data", type=Path, help="folder with cifar10-jpeg.zip and sirst.zip")
    parser.add_argument("--only", metavar="WORD", help="cases whose name holds it, among those that were run before")
    args = parser.parse_args()
    recorder = Recorder(args.checkout, args.out, args.data and args.data.resolve(), args.only)
    recorder.runs()
    recorder.commands()
    recorder.wrong()


if __name__ == "__main__":
    main()
