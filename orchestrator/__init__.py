"""The way from a sweep file to committed results: plan, schedule, run."""

from tombola import moved

moved.install()
