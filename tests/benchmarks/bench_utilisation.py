"""Tasks of one second: how much of two workers' time is work, from the first to the last.

The second is slept, so that a noisy machine does not blur the figure. Nothing is known of the
tasks' costs beforehand in the first sweep; the second knows them from the first.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from measuring import machine, report

from analysis.database import connection

ROOT = Path(__file__).parents[2]
SLOTS = 2
SCORE = """
import time


def sleepy(module, weights, kept, batches, seed):
    time.sleep(1)
    return {"1.weight": weights["1.weight"].abs()}
"""
NETWORK = """
from torch import nn


def one(network):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, network.classes))
"""
SWEEP = """
name: {name}
dataset: digits
network: small:one
replicates: [{seeds}]
recipe: {{steps: 1, batch_size: 64, lr: 0.1}}
grids: [{{method: small:sleepy, density: 0.5, train: false}}]
"""
BUSY = """
SELECT sum(seconds) / ($slots * (max(epoch(started_at) + seconds) - min(epoch(started_at))))
FROM tasks WHERE launch = (SELECT max(launch) FROM tasks)
"""


def main() -> None:
    machine()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "small.py").write_text(NETWORK + SCORE)
        os.environ["PYTHONPATH"] = f"{ROOT}:{folder}"
        for number, known in enumerate(("unknown", "known")):
            seeds = ", ".join(map(str, range(200 * number, 200 * number + 200)))
            (folder / f"{known}.yaml").write_text(SWEEP.format(name=known, seeds=seeds))
            busy = utilisation(folder, known)
            report(f"200 tasks of a second, {known} beforehand", f"{busy:.1%}", ">= 97 %")


def utilisation(folder: Path, sweep: str) -> float:
    command = [sys.executable, "-m", "tombola.cli", "run", f"{sweep}.yaml"]
    subprocess.run(
        [*command, "--no-canary", "--num-cpus", str(SLOTS)],
        check=True,
        cwd=folder,
        stdout=subprocess.DEVNULL,
    )
    [[busy]] = connection.connect(folder / "store").execute(BUSY, {"slots": SLOTS}).fetchall()
    return float(busy)


if __name__ == "__main__":
    main()
