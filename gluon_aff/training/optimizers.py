"""The optimizers that runs may have, by MXNet's names."""

WITH_MOMENTUM = ("nag", "sgd")
OPTIMIZERS = (*WITH_MOMENTUM, "adam", "adagrad")
