"""Checkpoints of a training in the store: what a run goes on from when its worker died.

Advisory: a missing or damaged one costs time, never a result. A run that goes on is the same
run bit for bit, so a checkpoint counts only under the very PyTorch that wrote it.
"""

import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import torch

from orchestrator.executors.base import Job, Report
from orchestrator.node.preemption import Notice, Preempted
from tasks.heartbeat import resting
from tasks.training.train import Checkpoint, Eval
from tombola.errors import DamagedFile
from tombola.store import artifacts, layout


class RunCheckpoints:
    """Keeps one checkpoint of a job's run, at most every `every` seconds and upon notice.

    `resumed_step` is where the run went on from, or None.
    """

    def __init__(
        self, store: Path, job: Job, every: float, notice: Notice, report: Report, first_step: int
    ) -> None:
        self._store, self._job, self._every = store, job, every
        self._notice, self._report = notice, report
        self._step = first_step
        self._kept = time.monotonic()
        self.resumed_step: int | None = None

    def last(self) -> Checkpoint | None:
        """The one in the store, if it is whole and of this very work."""
        path = self._store / layout.checkpoint(self._job.key)
        if not path.exists():
            return None
        try:
            arrays, about = artifacts.read_checkpoint(self._store, self._job.key)
        except DamagedFile:
            path.unlink(missing_ok=True)
            return None
        if about["of"] != self._of():
            return None
        groups: dict[str, dict[str, torch.Tensor]] = {}
        for name, array in arrays.items():
            group, _, rest = name.partition("/")
            groups.setdefault(group, {})[rest] = torch.from_numpy(array.copy())
        optimizer = groups["optimizer"]
        self.resumed_step = self._step = about["step"]
        return Checkpoint(
            step=about["step"],
            weights=groups["weights"],
            optimizer=[optimizer[str(number)] for number in range(len(optimizer))],
            losses=groups["losses"][""],
            evals=[Eval(**one) for one in about["evals"]],
            states={step: groups[f"state {step}"] for step in about["states"]},
        )

    def due(self) -> bool:
        """Whether the last one is old enough, or this worker is to stop.

        A training asks before each iteration but its first one.
        """
        self._step += 1
        self._report(self._job.key, self._step)
        return self._notice.reason is not None or time.monotonic() - self._kept >= self._every

    def keep(self, checkpoint: Checkpoint) -> None:
        """Publish it in place of the one before.

        Raises
        ------
        Preempted
            When this worker is to stop: the run goes on from here, elsewhere or later.
        """
        tensors = {f"weights/{name}": t for name, t in checkpoint.weights.items()}
        tensors |= {f"optimizer/{n}": t for n, t in enumerate(checkpoint.optimizer)}
        tensors["losses/"] = checkpoint.losses
        for step, weights in checkpoint.states.items():
            tensors |= {f"state {step}/{name}": t for name, t in weights.items()}
        about = {
            "of": self._of(),
            "step": checkpoint.step,
            "evals": [asdict(one) for one in checkpoint.evals],
            "states": sorted(checkpoint.states),
        }
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
        with resting(), suppress(OSError):  # a store that is full or away: the training can go on
            artifacts.write_checkpoint(self._store, self._job.key, arrays, about)
        self._kept = time.monotonic()
        if self._notice.reason is not None:
            raise Preempted(f"{self._notice.reason}; goes on from step {checkpoint.step}")

    def _of(self) -> dict[str, object]:
        """What must be the same for the run to go on as if it had not stopped."""
        return {
            "last_step": self._job.last_step,
            "save": list(self._job.save),
            "torch": torch.__version__,
        }
