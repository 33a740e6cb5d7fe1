"""Whole jobs: data, network and training put together. What the training scripts and the command line call."""
