"""Checkpoints of trainings in the store, from which a run resumes after its worker died.

A checkpoint is advisory: if it is missing or damaged, only time is lost. A resumed run has the
same bits as an undisturbed one. So a checkpoint is used only by the version of PyTorch that
wrote it.
"""

import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import torch

from orchestrator.node.pack import Job, Report
from orchestrator.node.preemption import Notice, Preempted
from tasks.heartbeat import resting
from tasks.training.train import Checkpoint, Eval
from tombola.errors import DamagedFile
from tombola.store import artifacts, layout


class RunCheckpoints:
    """Stores one checkpoint of a job's run, every `every` seconds and upon notice.

    `resumed_step` is the step from which the run resumed, or None.
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
        """Return the checkpoint in the store, if it is whole and of the same work."""
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
            evals=[Eval(**item) for item in about["evals"]],
            states={step: groups[f"state {step}"] for step in about["states"]},
        )

    def due(self) -> bool:
        """Return whether a checkpoint is due: it is old, or this worker has notice to stop.

        A training calls this before each iteration except its first one.
        """
        self._step += 1
        self._report(self._job.key, self._step)
        return self._notice.reason is not None or time.monotonic() - self._kept >= self._every

    def keep(self, checkpoint: Checkpoint) -> None:
        """Publish a checkpoint, which replaces the one before.

        Raises
        ------
        Preempted
            When this worker has notice to stop. The run resumes from here, elsewhere or later.
        """
        tensors = {f"weights/{name}": t for name, t in checkpoint.weights.items()}
        tensors |= {f"optimizer/{n}": t for n, t in enumerate(checkpoint.optimizer)}
        tensors["losses/"] = checkpoint.losses
        for step, weights in checkpoint.states.items():
            tensors |= {f"state {step}/{name}": t for name, t in weights.items()}
        about = {
            "of": self._of(),
            "step": checkpoint.step,
            "evals": [asdict(item) for item in checkpoint.evals],
            "states": sorted(checkpoint.states),
        }
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
        with resting(), suppress(OSError):  # a full or unreachable store does not stop the training
            artifacts.write_checkpoint(self._store, self._job.key, arrays, about)
        self._kept = time.monotonic()
        if self._notice.reason is not None:
            raise Preempted(f"{self._notice.reason}; continues from step {checkpoint.step}")

    def _of(self) -> dict[str, object]:
        """Return what must be equal for the run to resume with the same bits."""
        return {
            "last_step": self._job.last_step,
            "save": list(self._job.save),
            "torch": torch.__version__,
        }
