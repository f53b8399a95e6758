"""From a sweep file to committed results: plan, schedule, execute."""

__version__ = "0.1.0"
