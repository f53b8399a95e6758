"""Large, trustworthy sweeps of neural-network pruning experiments."""

__version__ = "0.1.0"
