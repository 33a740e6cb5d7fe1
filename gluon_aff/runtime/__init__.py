"""What makes MXNet 1.9.1 importable and quick, and which devices it can use."""
