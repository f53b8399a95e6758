"""The training loop, optimizers, precision, evaluation, and training on several devices."""
