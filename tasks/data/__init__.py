"""Datasets: their files, checks, batches and augmentation."""
