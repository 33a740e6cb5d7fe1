"""What deployment reaches: predict from JPEG files, int8 and other engines, beside the network in float32.

    python benchmarks/deploy_speed.py --model aff_resnet50 --images 96 --batch-size 8 --rounds 5

All forms take turns, so that a change of the machine's load meets each of them; medians and quartiles are printed, and
with --json written. The JPEG files are parts of two photographs that come with scikit-learn, 500x375 pixels as
ImageNet's usually are; weights are random, which no speed depends on. Give OMP_NUM_THREADS as many as physical cores.
The goals on two cores for AFF-ResNet-50: predict at least 0.9 of the network's own rate, int8 at least 3 times float32.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import gluon_aff  # before MXNet, which it makes importable

# isort: split
import mxnet as mx
import numpy as np
from PIL import Image

from gluon_aff import deploy
from gluon_aff.data.picture_files import find_pictures
from gluon_aff.deploy import predict_stream, predictor_of_exported, predictor_of_net
from gluon_aff.deploy.engines import engine_of_net
from gluon_aff.deploy.exporting import sample_pixels
from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.models import model_entry
from gluon_aff.tasks import task_of_network
from gluon_aff.training.history import git_commit


def write_jpegs(folder, count):
    for number, pixels in enumerate(sample_pixels(count, 500)):
        Image.fromarray(pixels[:375]).save(folder / f"{number:04d}.jpg", quality=90)


def fill(net):
    """Statistics like a trained network's, so that int8 has ranges to find."""
    rng = np.random.RandomState(0)
    for name, parameter in net.collect_params().items():
        if name.endswith("running_var"):
            parameter.set_data(mx.nd.array(1 + 0.1 * np.abs(rng.standard_normal(parameter.shape))))


def rate(run, images):
    began = time.perf_counter()
    run()
    return images / (time.perf_counter() - began)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="aff_resnet50")
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", help="write the figures there")
    args = parser.parse_args()

    entry = model_entry(args.model)
    seen = task_of_network(entry).network_input({"dataset": "imagenet"} if entry.input_size > 32 else {}, 1000)
    net = gluon_aff.create_model(args.model)
    fill(net)
    net.hybridize(static_alloc=True, static_shape=True)
    with tempfile.TemporaryDirectory() as place:
        write_jpegs(Path(place), args.images)
        pictures = find_pictures([place]).chosen
        pixels = np.stack([seen.read(picture.content(), picture.where) for picture in pictures[: args.batch_size]])
        x = seen.transform(pixels)
        on_device = mx.nd.array(x)
        batches = -(-args.images // args.batch_size)

        def bare(net):
            def run():
                for _ in range(batches):
                    net(on_device).wait_to_read()

            return run

        def streamed(predictor):
            return lambda: list(predict_stream(predictor, pictures, args.batch_size, args.workers))

        predictor = predictor_of_net(net, seen, False, 1000, args.model)
        runs = {"float32": bare(net), "folded": bare(deploy.fold(net)), "predict float32": streamed(predictor)}
        for form in ("int8", "onnx"):
            out = Path(place) / form
            try:
                deploy.export(net, out, form, input=seen, fold=True)
            except UsageError as error:
                print(f"{form}: {error}")
                continue
            opened = deploy.open_exported(out)
            if form == "onnx":
                runs[form] = lambda opened=opened: [opened.run(x) for _ in range(batches)]
            else:
                opened.net.hybridize(static_alloc=True, static_shape=True)
                runs[form] = bare(opened.net)
            runs[f"predict {form}"] = streamed(predictor_of_exported(opened))
        for name in ("onnxruntime", "openvino"):
            try:
                engine = engine_of_net(net, name, False)
                engine.start(x)  # made, and checked beside MXNet
            except GluonAFFError as error:
                print(f"{name}: {error}")
                continue
            runs[name] = lambda engine=engine: [engine.start(x) for _ in range(batches)]
            runs[f"predict {name}"] = streamed(replace(predictor, start=engine.start))
        found = {name: [] for name in runs}
        for turn in range(1 + args.rounds):
            for name, run in runs.items():
                value = rate(run, batches * args.batch_size if not name.startswith("predict") else args.images)
                if turn:
                    found[name].append(value)

    base = float(np.median(found["float32"]))
    print(
        f"{args.model}, {entry.input_size} pixels, batch {args.batch_size}, threads {os.environ.get('OMP_NUM_THREADS')}"
    )
    figures = {}
    for name, values in found.items():
        low, middle, high = np.percentile(values, [25, 50, 75])
        figures[name] = {"median": middle, "quartiles": [low, high], "all": values}
        print(f"{name:<20} {middle:8.2f} images/s ({low:.2f} to {high:.2f})  {middle / base:5.2f} of float32")
    for form in ("float32", "int8", "onnx", "onnxruntime", "openvino"):
        if form in figures and f"predict {form}" in figures:
            ratio = figures[f"predict {form}"]["median"] / figures[form]["median"]
            print(f"predict from JPEG files reaches {ratio:.2f} of the {form} network's own rate")
    if args.json:
        about = {
            "model": args.model,
            "batch_size": args.batch_size,
            "images": args.images,
            "commit": git_commit(Path(__file__).resolve().parents[1]),
        }
        machine = {
            "machine": platform.platform(),
            "cores": os.cpu_count(),
            "threads": os.environ.get("OMP_NUM_THREADS"),
        }
        Path(args.json).write_text(json.dumps({**about, **machine, "images_per_second": figures}, indent=1))


if __name__ == "__main__":
    main()
