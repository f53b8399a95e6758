"""What one task computes: networks, data, scores, masks and training, in PyTorch alone."""

from tombola import moved

moved.install()
