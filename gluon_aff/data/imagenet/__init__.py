"""ImageNet and data sets laid out like it, decoded batch by batch."""
