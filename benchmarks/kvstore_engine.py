"""What MXNet's safe engine costs on the CPU: images/s of one process with each engine, and of two local workers.

    python benchmarks/kvstore_engine.py

Workers on the CPU need MXNET_ENGINE_TYPE=NaiveEngine, which runs one operator after the other and does not let Python
run ahead. Every process here has OMP_NUM_THREADS=1. Training is that of train_cifar.py without its input: a batch at
hand, the network's forward and backward pass, the sum over the workers, the update.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

ENGINES = ("ThreadedEnginePerDevice", "NaiveEngine")
ROOT = Path(__file__).resolve().parents[1]


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="cifar_aff_resnet20")
    parser.add_argument("--batch-size", type=int, default=32, help="per process")
    parser.add_argument("--seconds", type=float, default=20.0, help="about; after a warm-up of 3 updates")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--train", metavar="FILE", help=argparse.SUPPRESS)  # a process's own part
    return parser.parse_args()


def train(args):
    """Images/s of all workers together, written by the first."""
    import time

    import gluon_aff

    import mxnet as mx  # isort: skip
    from gluon_aff.training import Updater, group

    ranks = group([mx.cpu()])
    mx.random.seed(1)
    net = gluon_aff.create_model(args.model, classes=10)
    net.hybridize(static_alloc=True, static_shape=True)
    loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    x = mx.nd.random.normal(shape=(args.batch_size, 3, 32, 32))
    y = mx.nd.arange(args.batch_size) % 10
    net(x).wait_to_read()
    updater = Updater(net, "nag")

    def update():
        with mx.autograd.record():
            value = loss(net(x), y)
        value.backward()
        (images,) = updater.sum_gradients(ranks, [args.batch_size])
        updater.step(0.01, int(images))
        value.wait_to_read()
        return int(images)

    update()
    began = time.perf_counter()
    for _ in range(2):
        update()
    updates = ranks.broadcast_object(int(2 * args.seconds / (time.perf_counter() - began)) + 1)
    began = time.perf_counter()
    images = sum(update() for _ in range(updates))
    mx.nd.waitall()
    if ranks.rank == 0:
        Path(args.train).write_text(str(images / (time.perf_counter() - began)))


def measure(args, engine, workers, directory):
    result = Path(directory) / f"{engine}-{workers}"
    program = [sys.executable, __file__, "--train", str(result)]
    program += ["--model", args.model, "--batch-size", str(args.batch_size), "--seconds", str(args.seconds)]
    if workers > 1:
        launch = [sys.executable, "-m", "gluon_aff", "launch", "-n", str(workers), "--log-dir", f"{directory}/logs"]
        program = [*launch, "--", *program]
    path = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MXNET_ENGINE_TYPE": engine, "PYTHONPATH": path}
    subprocess.run(program, env=environment, check=True, stdout=sys.stderr, timeout=600 + 10 * args.seconds)
    return float(result.read_text())


def main():
    args = parse_args()
    if args.train:
        return train(args)
    with tempfile.TemporaryDirectory() as directory:
        rows = [
            ("one process, MXNet's default engine", measure(args, ENGINES[0], 1, directory)),
            ("one process, NaiveEngine", measure(args, ENGINES[1], 1, directory)),
            (f"{args.workers} workers, NaiveEngine", measure(args, ENGINES[1], args.workers, directory)),
        ]
    print(f"{args.model}, batch {args.batch_size} per process, OMP_NUM_THREADS=1, {args.seconds:g} s each")
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs")
    print("| | images/s | of the first |")
    print("|---|---|---|")
    for name, rate in rows:
        print(f"| {name} | {rate:.1f} | {rate / rows[0][1]:.2f} |")
    return None


if __name__ == "__main__":
    main()
