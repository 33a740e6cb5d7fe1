"""Small images held in memory: CIFAR, digits, folders."""
