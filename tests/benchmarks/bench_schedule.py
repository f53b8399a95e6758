"""The schedule of the whole ResNet-20 study of Missing the Mark, simulated on 1 to 512 GPUs."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from measuring import machine, report, timed

from orchestrator.planning.cost import Costs, graph
from orchestrator.planning.planner import Nothing, plan
from orchestrator.running import study
from orchestrator.scheduling.simulate import simulate

SWEEPS_FOLDER = Path(__file__).parents[2] / "sweeps"
SWEEPS = (
    "missing_the_mark_resnet20_cifar10",
    "missing_the_mark_early_resnet20_cifar10",
    "lottery_ticket_resnet20",
)
GPUS = (1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512)


def main() -> None:
    machine()
    trials = [
        trial for name in SWEEPS for trial in study.read(SWEEPS_FOLDER / f"{name}.yaml").trials
    ]
    made = graph(plan(trials, Nothing()), Costs(device="gpu"))
    report("trials; tasks", f"{len(trials):,}; {len(made.nodes):,}")
    worst = 0.0
    for gpus in GPUS:
        seconds, found = timed(lambda gpus=gpus: simulate(made, gpus))
        worst = max(worst, found.beyond_bound)
        said = f"{found.makespan / 3600:,.1f} h, {found.beyond_bound:.1%} above the bound"
        report(f"{gpus} GPUs (simulated in {seconds:.1f} s)", said)
    report("the furthest above max(work / N, critical path)", f"{worst:.1%}", "<= 5 %")


if __name__ == "__main__":
    main()
