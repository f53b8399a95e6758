"""What one task computes: networks, data, scores, masks and training, in PyTorch alone."""
