#!/usr/bin/env python
"""A plain Gluon training loop with a network of this package, for who wants no more of it than that.

python examples/train_plain.py --model cifar_iaff_resnet8 --epochs 5

It trains on the handwritten digits that come with scikit-learn, in less than a minute on one core. train_cifar.py does
more: schedules, mixup, checkpoints to resume from, several devices, a log that other commands read.
"""

import argparse
import sys
import time

import gluon_aff  # before MXNet, which it makes importable

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

from gluon_aff.data import load_image_set

MEAN, STD = 0.5, 0.25  # of pixels from 0 to 1


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="cifar_aff_resnet8", help="see `gluon-aff models 'cifar_*'` (%(default)s)")
    parser.add_argument("--epochs", type=int, default=5, help="passes over the training images (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=32, help="(%(default)s)")
    parser.add_argument("--lr", type=float, default=0.1, help="learning rate, which falls to 0 (%(default)s)")
    parser.add_argument("--images", type=int, help="use this many training images (default: all 1,438)")
    parser.add_argument("--gpu", action="store_true", help="train on the first GPU")
    parser.add_argument("--out", default="digits.params", help="file of the weights (%(default)s)")
    return parser.parse_args()


def load(split, batch_size, count=None):
    """Return the number of a split's images, the number of its classes, and a DataLoader of its batches."""
    found = load_image_set("digits", split, resize=16)  # images uint8 (N, 16, 16, 3), labels int64 (N,)
    images = (found.images[:count].astype(np.float32) / 255 - MEAN) / STD
    images = mx.nd.array(images.transpose(0, 3, 1, 2))  # Gluon's layout, (N, C, H, W)
    data = gluon.data.ArrayDataset(images, mx.nd.array(found.labels[:count]))
    training = split == "train"  # BatchNorm wants no batch of a few: a last one that is not full is left out
    batch_size = min(batch_size, len(data))
    loader = gluon.data.DataLoader(data, batch_size, shuffle=training, last_batch="discard" if training else "keep")
    return len(data), len(found.classes), loader


def accuracy(net, loader, device):
    metric = mx.metric.Accuracy()
    for images, labels in loader:
        metric.update([labels], [net(images.as_in_context(device))])
    return metric.get()[1]


def main():
    args = parse_args()
    device = mx.gpu(0) if args.gpu else mx.cpu()
    mx.random.seed(0)
    np.random.seed(0)  # of the DataLoader's shuffling

    count, classes, train_loader = load("train", args.batch_size, args.images)
    test_count, _, test_loader = load("test", 100)
    print(f"{count} training and {test_count} test images of {classes} classes")

    net = gluon_aff.create_model(args.model, classes=classes, channel_times=1, ctx=device)  # initialised
    net.hybridize(static_alloc=True, static_shape=True)
    loss_of = gluon.loss.SoftmaxCrossEntropyLoss()
    updates = args.epochs * len(train_loader)
    schedule = mx.lr_scheduler.CosineScheduler(updates, base_lr=args.lr, final_lr=0)
    settings = {"learning_rate": args.lr, "momentum": 0.9, "wd": 1e-4, "lr_scheduler": schedule}
    trainer = gluon.Trainer(net.collect_params(), "nag", settings)

    for epoch in range(args.epochs):
        start, right, total = time.time(), mx.metric.Accuracy(), 0.0
        for images, labels in train_loader:
            images, labels = images.as_in_context(device), labels.as_in_context(device)
            images.attach_grad()  # else MXNet does not update the running statistics of the norm on the input
            with autograd.record():
                outputs = net(images)
                loss = loss_of(outputs, labels)
            loss.backward()
            trainer.step(len(images))  # divides the summed gradients by the number of images
            right.update([labels], [outputs])
            total += loss.mean().asscalar()
        mx.nd.waitall()  # a compiled backward pass may still be writing running statistics
        print(
            f"epoch {epoch}: loss {total / len(train_loader):.4f}, training accuracy {right.get()[1]:.4f}, "
            f"test accuracy {accuracy(net, test_loader, device):.4f}, {time.time() - start:.1f} s"
        )

    net.save_parameters(args.out)
    print(f"written: {args.out}; gluon_aff.create_model({args.model!r}, pretrained={args.out!r}, channel_times=1)")


if __name__ == "__main__":
    try:
        main()
    except gluon_aff.errors.GluonAFFError as error:  # an unknown network and the like
        sys.exit(f"error: {error}")
