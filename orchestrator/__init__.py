"""From a sweep file to committed results: plan, schedule, execute."""

from tombola import moved

moved.install()
