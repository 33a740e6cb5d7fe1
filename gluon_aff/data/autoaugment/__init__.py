"""AutoAugment: policies, operations and their tables."""
