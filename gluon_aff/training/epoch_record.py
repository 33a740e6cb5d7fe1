"""What is said of an epoch, between the loop, the history, the listeners and the tasks."""

from __future__ import annotations

from typing import List, TypedDict


class EpochRecord(TypedDict, total=False):
    """One epoch's line of a history; of the best one its validation figures, epoch and checkpoint.

    Attributes
    ----------
    epoch : int
        Counts from 0.
    train, train_metric
        The training metric, and what it is called.
    loss : float
        Mean per image.
    lr : float
        Of the last update; ``updates`` counts those of the run.
    images : int
        Trained on, over all ranks.
    val, val_images
        The validation figure, which is to be large, and the images it is of.
    held_out : int
        Where the validation images were held out of the training images, how many.
    time : float
        Seconds of training, validation not counted.
    val_top5, left_out
        Of classifiers: top-5 accuracy, and images that could not be read.
    niou, pixel_accuracy, miou
        Of segmentation; of several classes no niou, but class_iou, a figure for each.
    checkpoint : str
        Of the best epoch: the checkpoint's name.
    """

    epoch: int
    train: float
    train_metric: str
    loss: float
    lr: float
    updates: int
    images: int
    val: float
    val_images: int
    held_out: int
    time: float
    val_top5: float
    left_out: int
    niou: float
    pixel_accuracy: float
    miou: float
    class_iou: List[float]
    checkpoint: str
