"""Scores, masks and sparsity patterns."""
