"""The one place that knows how to make MXNet 1.9.1 importable."""


def load():
    import mxnet  # noqa: F401
