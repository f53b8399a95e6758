"""Scores of weights, and masks made from them: methods and sparsity patterns."""
