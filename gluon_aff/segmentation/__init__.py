"""What is made of a segmentation's logits: figures, report, pictures. NumPy only, nothing of networks or training."""
