"""Waiting times of a user: help, a plan, and a launch with nothing to do."""

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from measuring import machine, report, timed

from tests.support.small import command, write_sweep


def main() -> None:
    machine()
    bare, _ = timed(lambda: subprocess.run([sys.executable, "-c", ""], check=True), repeat=5)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_sweep(folder)
        shown, _ = timed(lambda: command("--help", cwd=folder), repeat=5)
        planned, _ = timed(lambda: command("plan", "tiny.yaml", cwd=folder), repeat=3)
        inline, _ = timed(lambda: command("run", "tiny.yaml", "--executor", "inline", cwd=folder))
        again, _ = timed(lambda: command("run", "tiny.yaml", cwd=folder), repeat=3)
    report("python -c ''", f"{bare:.2f} s")
    report("tombola --help", f"{shown:.2f} s", "<= 0.4 s")
    report("tombola plan, 13 trials", f"{planned:.2f} s")
    report("tombola run, 13 trials, inline", f"{inline:.2f} s")
    report("tombola run, nothing to do", f"{again:.2f} s", "<= 3 s")


if __name__ == "__main__":
    main()
