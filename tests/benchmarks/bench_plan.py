"""Planning: ten thousand trials from file to scheduler, and a million trials."""

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from measuring import machine, report, timed

from orchestrator.planning.cost import Costs, estimate
from orchestrator.planning.planner import Nothing, Plan, alone, plan
from orchestrator.running import study
from orchestrator.scheduling.graph import Graph, Node
from orchestrator.scheduling.scheduler import Ended, Finished, Scheduler, Start
from tests.support.small import write_sweep

GRIDS = [
    {
        "method": ["random", "magnitude", "snip", "grasp", "synflow"],
        "levels": "1..20",
        "ablation": ["none", "shuffle", "reinit"],
    },
    {"method": "imp", "levels": "1..20", "rewind_step": [0, 3], "ablation": ["none", "reinit"]},
]


def schedule(planned: Plan) -> int:
    costs = Costs()
    nodes = [Node(t.key, costs.seconds(t), t.needs) for t in planned.tasks.values()]
    scheduler = Scheduler(Graph(nodes), slots=64)
    flying = [c for c in scheduler.handle() if isinstance(c, Start)]
    done = 0
    while flying:
        pack = flying.pop(0)
        done += len(pack.keys)
        events = [*(Finished(key) for key in pack.keys), Ended(pack.keys)]
        flying += [c for c in scheduler.handle(*events) if isinstance(c, Start)]
    return done


def whole(folder: Path, replicates: int) -> tuple[float, float]:
    """Return CPU seconds and GiB of the command `tombola plan`, start and end included."""
    path = write_sweep(folder, replicates=replicates, grids=GRIDS)
    words = [sys.executable, "-m", "tombola.cli", "plan", path.name, "--store", "none"]
    here = str(Path(__file__).parents[2])
    subprocess.run(
        words, cwd=folder, env={**os.environ, "PYTHONPATH": here}, capture_output=True, check=True
    )
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20


def main() -> None:
    machine()
    with tempfile.TemporaryDirectory() as folder:
        path = write_sweep(Path(folder), replicates=27, grids=GRIDS)
        read, asked = timed(lambda: study.read(path))
        planning, planned = timed(lambda: plan(asked.trials, Nothing()))
        lonely, steps = timed(lambda: sum(n for _, n in alone(asked.trials)))
        summing, _ = timed(lambda: estimate(planned, Costs()))
        scheduling, done = timed(lambda: schedule(planned))
        seconds, memory = whole(Path(folder), 2640)
    assert done == len(planned.tasks)
    count = len(asked.trials)
    report("trials", f"{count:,}")
    report("sweep file to trials", f"{read:.2f} s")
    report("trials to tasks", f"{planning:.2f} s")
    report("what a script would train", f"{lonely:.2f} s")
    report("what the tasks come to", f"{summing:.2f} s")
    total = (read + planning + lonely + summing) * 10_000 / count
    report("plan of 10,000 trials", f"{total:.2f} s", "<= 5 s")
    report("tasks", f"{done:,}")
    report("scheduling", f"{done / scheduling:,.0f} tasks/s")
    report("trained, of what a script trains", f"{planned.trained.steps / steps:.1%}")
    report("`tombola plan` of 1,005,840 trials, CPU time", f"{seconds:.1f} s", "<= 20 s")
    report("its memory", f"{memory:.2f} GiB", "<= 3 GiB")


if __name__ == "__main__":
    main()
