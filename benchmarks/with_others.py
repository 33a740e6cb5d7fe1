"""Steps of the same networks in PyTorch, ONNX Runtime and OpenVINO: contenders of speed.py.

The CIFAR ResNet of the paper, written for PyTorch from the paper and from gluon_aff's own blocks: pre-activation blocks
whose sum of branch and shortcut is AFF (Eq. 4 with the weight on the branch, doubled) or addition; the shortcut is
averaged and projected where the channels change. Weights are random; speed does not depend on them. ONNX Runtime and
OpenVINO run what PyTorch exports. Needs the packages of the extra ``against``, and neither MXNet nor gluon_aff.
"""

from __future__ import annotations

import io
import os
import tempfile

import torch
from torch import nn


def branch(channels, r, pool):
    """conv1x1, norm, relu, conv1x1, norm, behind a global pool or not."""
    middle = max(channels // r, 1)
    layers = [nn.AdaptiveAvgPool2d(1)] if pool else []
    layers += [nn.Conv2d(channels, middle, 1), nn.BatchNorm2d(middle), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Conv2d(middle, channels, 1), nn.BatchNorm2d(channels))


class AFF(nn.Module):
    """2 (r + w (x - r)), w = sigmoid(L(x + r) + g(x + r))."""

    def __init__(self, channels, r=4):
        super().__init__()
        self.local, self.context = branch(channels, r, False), branch(channels, r, True)

    def forward(self, x, residual):
        z = x + residual
        return 2 * torch.lerp(residual, x, torch.sigmoid(self.local(z) + self.context(z)))


class Add(nn.Module):
    def __init__(self, channels):
        super().__init__()

    def forward(self, x, residual):
        return x + residual


FUSIONS = {"aff": AFF, "add": Add}


class Block(nn.Module):
    def __init__(self, width, channels, stride, fusion):
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
        )
        pool = [nn.AvgPool2d(stride, stride, ceil_mode=True)] if stride > 1 else []
        projects = width != channels or stride > 1
        self.shortcut = nn.Sequential(*pool, nn.Conv2d(channels, width, 1, bias=False)) if projects else nn.Identity()
        self.fusion = FUSIONS[fusion](width)

    def forward(self, x):
        return self.fusion(self.body(x), self.shortcut(x))


def cifar_resnet(fusion, blocks=3, channel_times=4, classes=100):
    channels = 16 * channel_times
    layers = [nn.BatchNorm2d(3, affine=False), nn.Conv2d(3, channels, 3, 1, 1, bias=False)]
    for width, first in ((16, 1), (32, 2), (64, 2)):
        for number in range(blocks):
            layers.append(Block(width * channel_times, channels, first if number == 0 else 1, fusion))
            channels = width * channel_times
    layers += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(channels, classes))


def build(specification):
    """The step, as contender.py asks for it."""
    if specification["network"] != "cifar_resnet":
        raise SystemExit(f"only cifar_resnet is written for PyTorch, not {specification['network']}")
    options = dict(specification["options"])
    if options["fusion"] not in FUSIONS:
        raise SystemExit(f"only {' and '.join(FUSIONS)} are written for PyTorch, not {options['fusion']}")
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.manual_seed(0)
    net = cifar_resnet(**options)
    x = torch.randn(specification["batch"], 3, specification["size"], specification["size"])
    if specification["engine"] != "torch":
        return exported(net.eval(), x, specification["engine"])
    if specification["form"] == "channels_last":
        net, x = net.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    if specification["mode"] == "train":
        return training(torch.compile(net) if specification["form"] == "compiled" else net, x)
    net.eval()
    if specification["form"] == "compiled":
        net = torch.compile(net)

    def step():
        with torch.inference_mode():
            net(x)

    return step


def training(net, x):
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9, nesterov=True)
    loss, target = nn.CrossEntropyLoss(), torch.zeros(len(x), dtype=torch.long)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss(net(x), target).backward()
        optimizer.step()

    return step


def exported(net, x, engine):
    """Inference of what PyTorch writes as ONNX."""
    file = io.BytesIO()
    torch.onnx.export(net, (x,), file, input_names=["x"], opset_version=17, dynamo=False)
    threads = int(os.environ["OMP_NUM_THREADS"])
    if engine == "onnxruntime":
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(file.getvalue(), settings, providers=["CPUExecutionProvider"])
        feed = {"x": x.numpy()}
        return lambda: session.run(None, feed)
    import openvino

    with tempfile.NamedTemporaryFile(suffix=".onnx") as place:
        place.write(file.getvalue())
        place.flush()
        settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        model = openvino.Core().compile_model(place.name, "CPU", settings)
    feed = x.numpy()
    return lambda: model(feed)
