"""How long commands take to answer: user CPU seconds, which other work on the machine hardly changes.

``python benchmarks/startup_time.py --repeats 9`` prints a row for each command; ``--clone DIR`` measures another clone
with this interpreter's packages.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = [
    "gluon-aff --help",
    "gluon-aff models",
    "gluon-aff models --help",
    "gluon-aff evaluate --help",
    "gluon-aff gradcam --help",
    "gluon-aff published list",
    "gluon-aff fusions",
    "gluon-aff summary cifar_aff_resnet8",
    "train_cifar.py --help",
    "train_imagenet.py --help",
    "train_seg.py --help",
    "python -c 'import gluon_aff'",
]


def seconds(words: list, clone: Path) -> float:
    """User CPU seconds of one call."""
    environment = {**os.environ, "PYTHONPATH": str(clone), "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


def words_of(command: str, clone: Path) -> list:
    program, *rest = command.split(" ", 1)
    arguments = rest[0].split() if rest else []
    if program == "gluon-aff":
        return [sys.executable, "-m", "gluon_aff", *arguments]
    if program == "python":
        return [sys.executable, "-c", "import gluon_aff"]
    return [sys.executable, str(clone / program), *arguments]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9, help="calls of each command (%(default)s)")
    parser.add_argument("--clone", type=Path, default=ROOT, help="the clone to measure (default: this one)")
    args = parser.parse_args()
    for command in COMMANDS:
        times = [seconds(words_of(command, args.clone), args.clone) for _ in range(args.repeats)]
        print(f"| `{command}` | {statistics.median(times):.2f} |", flush=True)


if __name__ == "__main__":
    main()
