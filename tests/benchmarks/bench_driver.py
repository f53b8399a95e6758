"""The driver alone: memory and speed of a launch whose packs return at once."""

import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench_plan import GRIDS
from measuring import machine, report

from orchestrator.node.pack import Arrival, Outcome, Pack, Returned
from orchestrator.planning.planner import Nothing, plan
from orchestrator.running import study
from orchestrator.running.launch import Progress, launch
from tests.support.small import write_sweep
from tombola.store.publish import open_store


class AtOnce:
    """An executor of 512 slots on which tasks take no time and store nothing."""

    slots, widest, draining = 512, 1, False

    def __init__(self) -> None:
        self._packs: list[Pack] = []

    def submit(self, pack: Pack) -> None:
        self._packs.append(pack)

    def wait(self, seconds: float) -> list[Arrival]:
        packs, self._packs = self._packs, []
        return [
            Returned(pack, tuple(Outcome(key, "worker", 0.001) for key in pack.keys), "node")
            for pack in packs
        ]

    def fit(self, memory: float) -> None: ...

    def trainings(self) -> dict[str, int]:
        return {}

    def on_report(self, look: object) -> None:
        pass

    def avoid(self, nodes: frozenset[str]) -> bool:
        return True

    def drain(self) -> None: ...

    def close(self) -> None: ...


def resident() -> float:
    """Return the memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    replicates = int(sys.argv[1]) if len(sys.argv) > 1 else 264
    machine()
    with tempfile.TemporaryDirectory() as folder:
        asked = study.read(write_sweep(Path(folder), replicates=replicates, grids=GRIDS))
        planned = plan(asked.trials, Nothing())
        count, before = len(planned.tasks), resident()
        report("trials; tasks", f"{len(asked.trials):,}; {count:,}")
        report("memory: planned", f"{before:,.0f} MB")
        seen: dict[int, float] = {}

        def watch(progress: Progress) -> None:
            seen.setdefault(len(progress.done) * 10 // count, resident())

        store = open_store(Path(folder) / "store", create=True)
        began = time.process_time()
        done = launch(planned, store, AtOnce(), observe=watch, canary=False).done
        took = time.process_time() - began
    assert len(done) == count
    for tenths, memory in sorted(seen.items()):
        report(f"memory: {tenths * 10} % done", f"{memory:,.0f} MB", f"{memory - before:+,.0f} MB")
    report("the driver alone, CPU time", f"{count / took:,.0f} tasks/s")


if __name__ == "__main__":
    main()
