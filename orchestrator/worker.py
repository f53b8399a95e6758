"""A worker: the one file where torch meets the store. Runs on the node.

Jobs come as canonical text with keys for what they read; artifacts are published first,
then the result that commits them. One torch thread for each worker.
"""

import json
import os
import platform
import socket
import time
import traceback
from contextlib import suppress
from dataclasses import asdict, fields
from datetime import datetime
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import torch

from orchestrator import __version__
from orchestrator.checkpoints import RunCheckpoints
from orchestrator.deadline import Pulse, TaskStalled, TaskTimeout, deadline
from orchestrator.errors import DamagedFile, DeterminismAlarm, StoreError
from orchestrator.executors.base import Job, Outcome, Pack
from orchestrator.failures import Failure
from orchestrator.preemption import Notice, Preempted
from orchestrator.store import artifacts, layout, repeats, results
from orchestrator.store.clock import now
from orchestrator.store.files import File, publish_all
from orchestrator.store.nearby import nearby
from orchestrator.store.place import locate, remote
from orchestrator.store.sealed import Arrays
from tasks import catalog, measure, resources
from tasks.connectivity import barrier
from tasks.data import Data, load
from tasks.gang import train_on
from tasks.key import decode
from tasks.masks import Kept, Scores
from tasks.networks.build import Weights, initial_weights
from tasks.prune import one_shot_scores, prune
from tasks.rehearse import rehearse
from tasks.spec import GemMiner, Init, Network, OnExamples, Score
from tasks.train import train

Value = dict[str, Any]

Found = tuple[results.Row, list[File]]
"""What a task computed, and files to be published before it counts."""

HOLD_SECONDS = 1.0
"""Since a task began, how long its result may wait for others: what short tasks came to is
committed together, for a disk takes about as long for many files as for one. A worker that
is killed loses no more than that beside the task that it is at."""

AWAY_SECONDS = 2.0
"""How long a task waits whose store is away, times its attempt, before it is tried again."""


def run_pack(
    pack: Pack, *, limited: bool = False, gpus: int = 1, notice: Notice | None = None
) -> list[Outcome]:
    """Run a pack's jobs in order; an outcome for each but those whose needs failed here.

    `limited` keeps the jobs' timeouts, for which this process may have to end itself. With
    more `gpus` than one each training divides its batches among them. Given notice, a
    training stops at a checkpoint, and jobs that had not begun have no outcome.
    """
    torch.set_num_threads(1)
    notice = notice or Notice()
    worker = _Worker(pack, limited, gpus, notice)
    outcomes: list[Outcome] = []
    failed: set[str] = set()

    def note(ended: list[Outcome]) -> None:
        outcomes.extend(ended)
        failed.update(one.key for one in ended if one.failure)

    for job in pack.jobs:
        if notice.reason is not None:
            break
        if worker.is_commit_due(job):
            note(worker.commit())
        if failed.intersection(job.needs):
            failed.add(job.key)
        else:
            note(worker.run(job))
    note(worker.commit())
    return outcomes


def measure_mask(store: Path, key: str) -> tuple[list[results.Row], list[results.Row]]:
    """What is measured of a mask on request: its layers as graphs, and its forms' latencies.

    The latencies are of the network at initialization; they do not depend on its weights.
    """
    from tasks import effective, latency

    row = results.find(store, key)
    if row is None or row["kind"] != "mask":
        raise StoreError(f"{key[:12]} is no finished mask of this store")
    network = decode(json.loads(row["value"])["network"])
    arrays = artifacts.read_mask(store, key)
    kept = {name: torch.from_numpy(array) for name, array in arrays.items()}
    dead = effective.dead_units(kept)
    layers = []
    for layer in measure.layers(network, kept):
        found = graph_quantities(kept[layer.layer])
        layers.append({**asdict(layer), "dead_units": dead[layer.layer], **found})
    weights = initial_weights(network, Init(seed=0))
    return layers, [asdict(one) for one in latency.latencies(network, weights, kept)]


def graph_quantities(kept: torch.Tensor) -> dict[str, float | None]:
    """Ramanujan quantities of a layer's mask by name; null where they say nothing."""
    from tasks.ramanujan import Ramanujan, ramanujan

    graph = ramanujan(kept)
    return asdict(graph) if graph else dict.fromkeys(f.name for f in fields(Ramanujan))


class _Scoring(NamedTuple):
    """What masks of one score share, by what they are `named`; they differ in density or scope."""

    named: str
    network: Network
    score: Score
    weights: Weights | None
    within: Kept | None
    data: Data | None
    scores: Scores | None
    moments: dict[str, tuple[float, float]]


class _Computed(NamedTuple):
    """A task's result, not committed yet, and artifacts to be published before it.

    It was begun at so many seconds of time.perf_counter.
    """

    job: Job
    row: results.Row
    artifacts: list[File]
    began: float


class _Worker:
    """One call's work: the pack, what its masks share, and what waits to be committed."""

    def __init__(self, pack: Pack, limited: bool, gpus: int, notice: Notice) -> None:
        self._pack, self._limited, self._gpus, self._notice = pack, limited, gpus, notice
        self._store = locate(pack.store, patient=True)
        self._nearby = nearby(pack.launch, pack.node_cache)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._pulse = Pulse(inf, inf)
        self._shared: _Scoring | None = None
        self._computed: list[_Computed] = []
        self._verbs = {
            "run": self._train,
            "mask": self._prune,
            "barrier": self._interpolate,
            "graphs": self._connect,
            "latency": self._time,
        }

    def run(self, job: Job) -> list[Outcome]:
        """Compute one job; its outcome, unless that is still to be committed (see `commit`)."""
        began, clock = now(), time.perf_counter()
        meter = resources.Meter(self._device)
        try:
            value = json.loads(job.value)
            if job.kind == "rehearsal":
                return [self._rehearse(job, clock)]
            limits = job.timeout if self._limited else None, self._pack.stall_seconds
            with deadline(*limits) as self._pulse:
                found, files = self._verbs[job.kind](job, value)
            seconds = time.perf_counter() - clock
            row = {**found, **self._provenance(job, began, seconds), **meter.read(seconds)}
            if job.kind == "run":
                row["images_per_second"] = self._images(row, value) / seconds
        except Exception as error:
            return self._fallen(error, [(job, time.perf_counter() - clock)])
        self._computed.append(_Computed(job, row, files, clock))
        return []

    def is_commit_due(self, job: Job) -> bool:
        """Whether what is computed must not wait until this job is, too."""
        if not self._computed:
            return False
        if time.perf_counter() - self._computed[0].began > HOLD_SECONDS:
            return True
        return bool(job.needs) and any(one.job.key in job.needs for one in self._computed)

    def commit(self) -> list[Outcome]:
        """Publish together what was computed, each task's artifacts before its result."""
        computed, self._computed = self._computed, []
        outcomes: list[Outcome] = []
        ready: list[tuple[Job, float]] = []
        files: list[File] = []
        written: list[File] = []
        for job, row, before, _ in computed:
            try:
                files += [*before, *self._committing(job, row)]
                written += before
                ready.append((job, row["seconds"]))
            except Exception as error:
                outcomes += self._fallen(error, [(job, row["seconds"])])
        try:
            publish_all(files)
            if self._nearby is not None:
                for file in written:
                    self._nearby.keep(*file)
            for job, _ in ready:
                if job.kind == "run":
                    (self._store / layout.checkpoint(job.key)).unlink(missing_ok=True)
        except Exception as error:
            return outcomes + self._fallen(error, ready)
        return outcomes + [Outcome(job.key, self._name, seconds) for job, seconds in ready]

    def _fallen(self, error: Exception, jobs: list[tuple[Job, float]]) -> list[Outcome]:
        """Outcomes of jobs, and how long they took, that came to nothing for one error."""
        if isinstance(error, DamagedFile):
            with suppress(OSError):
                error.path.unlink(missing_ok=True)  # it is computed again; see study.run
        failure = _failure(error)
        if failure is Failure.STORE and remote(self._store):
            time.sleep(AWAY_SECONDS * jobs[0][0].attempt)  # at once, all tries would be lost
        said = self._message(error), "".join(traceback.format_exception(error))
        return [Outcome(job.key, self._name, seconds, failure, *said) for job, seconds in jobs]

    def _message(self, error: Exception) -> str:
        """One line, the same for all that failed alike; the traceback tells where."""
        if isinstance(error, OSError) and error.strerror and not isinstance(error, TaskTimeout):
            return f"store {self._store}: {error.strerror}"
        return (str(error).splitlines() or [type(error).__name__])[0]

    def _rehearse(self, job: Job, clock: float) -> Outcome:
        """Go through the motions; inputs that come from the store are made up."""
        value = json.loads(job.value)
        made_up = {"start", "mask", "of", "within"}
        fields = {n: v for n, v in value.items() if n not in made_up}
        named = "start" if value["kind"] == "run" else "of"
        drawn = value["kind"] == "mask" and value["of"] is None
        fresh = {named: None if drawn else {"kind": "init", "version": 1, "seed": 0}}
        with deadline(job.timeout if self._limited else None):
            memory = rehearse(decode({**fields, **fresh}), self._device)
        return Outcome(job.key, self._name, time.perf_counter() - clock, memory=memory)

    def _committing(self, job: Job, row: results.Row) -> list[File]:
        """The file that commits a result, where it is the first one, and of a whole run."""
        if job.repeat:
            repeats.record(self._store, row)
        elif job.kind == "run" and row["last_step"] != json.loads(job.value)["recipe"]["steps"]:
            results.agree(self._store, row)
        else:
            return results.committing(self._store, row)
        return []

    # ------------------------------------------------------------ train

    def _train(self, job: Job, value: Value) -> Found:
        network, dataset = decode(value["network"]), decode(value["dataset"])
        recipe = decode(value["recipe"])
        kept = self._kept(value["mask"])
        if kept is not None:
            kept = measure.fitted(network, kept)
        start = self._weights(network, value["start"])
        kept_on_the_way = RunCheckpoints(
            self._store, job, self._pack.checkpoint_seconds, self._notice, self._pulse
        )
        how = {
            "order_seed": value["order_seed"],
            "first_step": value["first_step"],
            "last_step": job.last_step,
            "save": job.save,
            "checkpoints": kept_on_the_way,
        }
        if self._device == "cuda" and self._gpus > 1:
            devices = [f"cuda:{n}" for n in range(self._gpus)]
            trained = train_on(devices, network, recipe, dataset, start, kept, **how)
        else:
            trained = train(network, recipe, load(dataset, self._device), start, kept, **how)
        self._pulse.rest()
        for step, weights in trained.states.items():
            arrays = {name: tensor.cpu().numpy() for name, tensor in weights.items()}
            artifacts.write_state(self._store, job.key, step, arrays, self._nearby)
        steps = job.last_step - value["first_step"]
        row = {
            **self._row(job, network, measure.layers(network, kept)),
            "evals": [asdict(e) for e in trained.evals],
            "first_step": value["first_step"],
            "last_step": job.last_step,
            "epochs": steps / catalog.steps_per_epoch(dataset, recipe.batch_size),
            "distance": measure.distance(network, start, trained.weights, kept),
            "diverged_at": trained.diverged_at,
            "resumed_step": kept_on_the_way.resumed_step,
            "requested_density": self._requested(value["mask"]),
        }
        return row, []

    def _requested(self, mask_key: str | None) -> float | None:
        row = results.find(self._store, mask_key) if mask_key else None
        return row["requested_density"] if row else None

    # ------------------------------------------------------------ prune

    def _prune(self, job: Job, value: Value) -> Found:
        shared = self._scoring(value)
        found = prune(
            shared.network,
            shared.score,
            shared.weights,
            value["density"],
            data=shared.data,
            scope=value["scope"],
            within=shared.within,
            ablation=decode(value["ablation"]),
            keep_dense=tuple(value.get("keep_dense", ())),
            pattern=decode(value.get("pattern")),
            rates=decode(value.get("rates", [])),
            scores=shared.scores,
        )
        arrays = {name: tensor.cpu().numpy() for name, tensor in found.kept.items()}
        layers = measure.layers(shared.network, found.kept)
        rows = self._layers(shared, layers, found.kept)
        row = {
            **self._row(job, shared.network, layers),
            "layers": rows,
            "effective_kept": sum(row["effective"] for row in rows),
            "ties": found.ties,
            "requested_density": value["density"],
        }
        if job.repeat:
            return {**row, repeats.MOVED: self._moved(job.key, arrays)}, []
        return row, [artifacts.mask_file(self._store, job.key, arrays)]

    def _scoring(self, value: Value) -> _Scoring:
        """What the mask has in common with others, of which it may be the first of this pack.

        Scores that depend on the density are not shared, and nothing is of what they change.
        """
        named = json.dumps([value[name] for name in ("network", "score", "of", "within")])
        if self._shared is None or self._shared.named != named or self._shared.scores is None:
            self._shared = self._scored(named, value)
        return self._shared

    def _scored(self, named: str, value: Value) -> _Scoring:
        network, score = decode(value["network"]), decode(value["score"])
        of, within = value["of"], self._kept(value["within"])
        weights = self._weights(network, of) if of else None
        data = None
        if isinstance(score, OnExamples):
            data = load(score.examples.dataset, self._device)
        elif isinstance(score, GemMiner):
            data = load(score.dataset, self._device)
        scores = one_shot_scores(network, score, weights, data=data, within=within)
        moments = {name: measure.moments(one) for name, one in (scores or {}).items()}
        return _Scoring(named, network, score, weights, within, data, scores, moments)

    def _moved(self, key: str, again: Arrays) -> int | None:
        """Weights that only one of the stored mask and this one keeps."""
        if not (self._store / layout.mask(key)).exists():
            return None
        stored = artifacts.read_mask(self._store, key)
        return sum(int((stored[name] != again[name]).sum()) for name in stored)

    def _layers(
        self, shared: _Scoring, layers: list[measure.Layer], kept: Kept
    ) -> list[results.Row]:
        effective = measure.effective_kept(shared.network, kept)
        rows = [dict(vars(layer)) for layer in layers]
        for row in rows:
            row["density"] = row["kept"] / row["size"]
            row["effective"] = effective[row["layer"]]
            if shared.scores is not None:
                row["score_mean"], row["score_std"] = shared.moments[row["layer"]]
        return rows

    # ------------------------------------------------------------ measure

    def _interpolate(self, job: Job, value: Value) -> Found:
        """The error on the way between two runs: theirs is the network, the data and the mask."""
        row = results.find(self._store, value["one"]["run"])
        if row is None:
            raise StoreError(f"run {value['one']['run'][:12]} is gone; launch again")
        run = json.loads(row["value"])
        network, dataset = decode(run["network"]), decode(run["dataset"])
        ends = [self._weights(network, value[end]) for end in ("one", "other")]
        data = load(dataset, self._device)
        found = barrier(network, ends[0], ends[1], data, value["points"])
        rows = []
        for split, errors, height in (
            ("train", found.train_errors, found.train),
            ("test", found.test_errors, found.test),
        ):
            for point, error in enumerate(errors):
                alpha = point / (len(errors) - 1)
                rows.append({"name": "error", "split": split, "alpha": alpha, "value": error})
            rows.append({"name": "barrier", "split": split, "value": height})
        return {**self._labels(job), "measurements": rows}, []

    def _connect(self, job: Job, value: Value) -> Found:
        rows = [
            {"name": name, "layer": layer, "value": quantity}
            for layer, kept in (self._kept(value["mask"]) or {}).items()
            for name, quantity in graph_quantities(kept).items()
        ]
        return {**self._labels(job), "measurements": rows}, []

    def _time(self, job: Job, value: Value) -> Found:
        """What the network takes without its pruned units: bytes, and time on this machine."""
        from tasks.latency import latencies

        row = results.find(self._store, value["mask"])
        if row is None:
            raise StoreError(f"mask {value['mask'][:12]} is gone; launch again")
        network = decode(json.loads(row["value"])["network"])
        kept = self._kept(value["mask"]) or {}
        drawn = initial_weights(network, Init(seed=0))
        weights = {name: tensor.to(self._device) for name, tensor in drawn.items()}
        timed = latencies(network, weights, kept, batch_size=value["batch_size"])
        forms = {one.form: one for one in timed}
        dense, shrunk = forms["dense"], forms["shrunk"]
        sizes = {"bytes": shrunk.bytes, "dense_bytes": dense.bytes}
        row = {
            **self._labels(job),
            "measurements": [{"name": n, "value": float(size)} for n, size in sizes.items()],
            "latency": shrunk.milliseconds,
            "dense_latency": dense.milliseconds,
        }
        return row, []

    # ------------------------------------------------------------ what jobs read

    def _weights(self, network: Network, start: Value) -> Weights:
        if start["kind"] == "state":
            named = start["run"], start["step"]
            arrays = artifacts.read_state(self._store, *named, self._nearby)
            weights = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        else:
            init: Init = decode(start)
            weights = initial_weights(network, init)
        return {name: tensor.to(self._device) for name, tensor in weights.items()}

    def _kept(self, mask_key: str | None) -> Kept | None:
        if mask_key is None:
            return None
        arrays = artifacts.read_mask(self._store, mask_key, self._nearby)
        return {name: torch.from_numpy(array).to(self._device) for name, array in arrays.items()}

    # ------------------------------------------------------------ what is recorded

    def _row(self, job: Job, network: Network, layers: list[measure.Layer]) -> results.Row:
        size = sum(layer.size for layer in layers)
        remaining = sum(layer.kept for layer in layers)
        return {
            **self._labels(job),
            "size": size,
            "kept": remaining,
            "density": remaining / size,
            "parameters": measure.parameters(network),
            "collapsed_layers": sum(not layer.kept for layer in layers),
            "flops": sum(layer.flops for layer in layers),
            "kept_flops": sum(layer.flops * layer.kept // layer.size for layer in layers),
        }

    def _labels(self, job: Job) -> results.Row:
        return {"key": job.key, "kind": job.kind, "value": job.value}

    def _images(self, row: results.Row, value: Value) -> int:
        began = row["first_step"] if row["resumed_step"] is None else row["resumed_step"]
        images: int = (row["last_step"] - began) * value["recipe"]["batch_size"]
        return images

    def _provenance(self, job: Job, began: datetime, seconds: float) -> results.Row:
        on_gpu = self._device == "cuda"
        return {
            "launch": self._pack.launch,
            "attempt": job.attempt,
            "pack": self._pack.identity,
            "pack_size": len(self._pack.jobs),
            "host": socket.gethostname(),
            "worker": self._name,
            "device": torch.cuda.get_device_name() if on_gpu else "cpu",
            "threads": torch.get_num_threads(),
            "started_at": began,
            "seconds": seconds,
            "tombola": __version__,
            "code": self._pack.code,
            "torch": torch.__version__,
            "python": platform.python_version(),
        }


def _failure(error: Exception) -> Failure:
    match error:
        case DeterminismAlarm():
            return Failure.DETERMINISM_ALARM
        case DamagedFile():
            return Failure.DAMAGED_FILE
        case Preempted():
            return Failure.PREEMPTED
        case TaskStalled():
            return Failure.STALLED
        case TaskTimeout():
            return Failure.TIMEOUT
        case torch.cuda.OutOfMemoryError() | MemoryError():
            return Failure.OUT_OF_MEMORY
        case OSError():
            return Failure.STORE
        case _:
            return Failure.RAISED
