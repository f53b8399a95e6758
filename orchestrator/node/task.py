"""Compute a task on the node: the one file where torch meets the store.

A job's canonical text is decoded to a typed value (`Run`, `Mask` or a measurement). What it
reads stands in it as a `Ref`: a key, by which the store has the weights or the mask. A task
gives a row, which the worker commits.
"""

from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

import torch

from orchestrator.node.checkpoints import RunCheckpoints
from orchestrator.node.pack import Job, Pack, Report
from orchestrator.node.preemption import Notice
from tasks.data.batches import Data, load
from tasks.heartbeat import paced
from tasks.masks import Kept, Scores
from tasks.measures import layers as measure
from tasks.measures.barrier import barrier
from tasks.networks.build import Weights, initial_weights
from tasks.pruning.prune import one_shot_scores, prune
from tasks.rehearse import rehearse
from tasks.training.distributed import Others, train_on
from tasks.training.train import EVALUATION, train
from tasks.values import catalog
from tasks.values.key import changed, parse
from tasks.values.measurements import Barrier, Graphs, Latency, Measurement
from tasks.values.records import Mask, Run, State
from tasks.values.scores import Score
from tasks.values.training import Init, Network
from tombola.errors import StoreError
from tombola.store import artifacts, layout, repeats, results
from tombola.store.node_cache import NodeCache
from tombola.store.publish import File
from tombola.store.tensors import Arrays

Result = tuple[results.Row, list[File]]
"""The row of a task, and files to publish before the row is committed."""


def measure_mask(store: Path, key: str) -> tuple[list[results.Row], list[results.Row]]:
    """Measure a mask on request: its layers as graphs, and the latencies of its forms.

    The latencies are those of the network at initialization: they do not depend on its weights.

    Raises
    ------
    StoreError
        When the store has no such mask, or one of a network that this version does not know.
    """
    from tasks.measures import effective_sparsity, latency

    row = results.find(store, key)
    if row is None or row["kind"] != "mask":
        raise StoreError(f"{key[:12]} is no finished mask of this store")
    try:
        mask: Mask = parse(row["value"])
        network = mask.network
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
        raise StoreError(f"{key[:12]} is no mask of a network that this version knows") from None
    arrays = artifacts.read_mask(store, key)
    kept = {name: torch.from_numpy(array) for name, array in arrays.items()}
    dead = effective_sparsity.dead_units(kept)
    layers = []
    for layer in measure.layers(network, kept):
        quantities = graph_quantities(kept[layer.layer])
        layers.append({**asdict(layer), "dead_units": dead[layer.layer], **quantities})
    weights = initial_weights(network, Init(seed=0))
    return layers, [asdict(form) for form in latency.latencies(network, weights, kept)]


def graph_quantities(kept: torch.Tensor) -> dict[str, float | None]:
    """Return the Ramanujan quantities of a layer's mask by name; null where undefined."""
    from tasks.measures.ramanujan import Ramanujan, ramanujan

    graph = ramanujan(kept)
    return asdict(graph) if graph else dict.fromkeys(f.name for f in fields(Ramanujan))


class _Scoring(NamedTuple):
    """State that masks of one score share. Such masks differ only in density, scope or ablation.

    Attributes
    ----------
    same : tuple of str
        Keys of the network, the score, the weights and the mask within: equal for them all.
    scores : dict of str to Tensor, or None
        None where the scores depend on the density.
    moments : dict of str to (float, float)
        Mean and standard deviation of the scores by layer.
    """

    same: tuple[str | None, ...]
    network: Network
    score: Score
    weights: Weights | None
    within: Kept | None
    data: Data | None
    scores: Scores | None
    moments: dict[str, tuple[float, float]]


def _total(counts: list[int | None]) -> int | None:
    """Return the sum of the counts; None where a count is unknown."""
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


class Computing:
    """Computes a pack's tasks on its device. Masks of one score share what they read.

    Where there are `others` (a process group), they divide each training's batches among them.
    """

    def __init__(
        self,
        pack: Pack,
        store: Path,
        nearby: NodeCache | None,
        others: Others | None,
        notice: Notice,
        report: Report,
    ) -> None:
        self._pack, self._store, self._nearby = pack, store, nearby
        self._others, self._notice, self._report = others, notice, report
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self._shared: _Scoring | None = None
        self._measures: dict[type, Callable[[Any], results.Row]] = {
            Barrier: self._interpolate,
            Graphs: self._connect,
            Latency: self._time,
        }

    def compute(self, job: Job) -> Result:
        """Compute a task: its row, and artifacts to publish before the row."""
        match parse(job.value):
            case Run() as run:
                return self._train(job, run)
            case Mask() as mask:
                return self._prune(job, mask)
            case Measurement() as value:
                row = self._measures[type(value)](value)
                return {**self._labels(job), **row}, []
        raise ValueError(f"no task of kind {job.kind}")

    def rehearse(self, job: Job) -> float:
        """Rehearse a run or a mask on fresh weights, without the store; see tasks.rehearse."""
        value: Run | Mask = parse(job.value)
        fresh = Init(seed=0)
        if isinstance(value, Run):
            return rehearse(changed(value, start=fresh, mask=None), self.device)
        of = None if value.of is None else fresh
        return rehearse(changed(value, of=of, within=None), self.device)

    # ------------------------------------------------------------ train

    def _train(self, job: Job, run: Run) -> Result:
        network, dataset, recipe = run.network, run.dataset, run.recipe
        kept = self._kept(run.mask)
        if kept is not None:
            kept = measure.fitted(network, kept)
        start = self._weights(network, run.start)
        every, first = self._pack.checkpoint_seconds, run.first_step
        checkpoints = RunCheckpoints(self._store, job, every, self._notice, self._report, first)
        how: dict[str, Any] = {
            "order_seed": run.order_seed,
            "first_step": first,
            "last_step": job.last_step,
            "save": job.save,
            "checkpoints": checkpoints,
        }
        if self._others is not None:
            given = network, recipe, dataset, start, kept
            trained = train_on(self._others, self.device, *given, **how)
        else:
            trained = train(network, recipe, load(dataset, self.device), start, kept, **how)
        for step, weights in trained.states.items():
            arrays = {name: tensor.cpu().numpy() for name, tensor in weights.items()}
            artifacts.write_state(self._store, job.key, step, arrays, self._nearby)
        steps = job.last_step - first
        row = {
            **self._row(job, network, measure.layers(network, kept)),
            "evals": [asdict(e) for e in trained.evals],
            "evaluation": EVALUATION,
            "first_step": first,
            "last_step": job.last_step,
            "epochs": steps / catalog.steps_per_epoch(dataset, recipe.batch_size),
            "distance": measure.distance(network, start, trained.weights, kept),
            "diverged_at": trained.diverged_at,
            "resumed_step": checkpoints.resumed_step,
            "requested_density": self._requested(run.mask),
        }
        return row, []

    def _requested(self, mask: Mask | None) -> float | None:
        row = results.find(self._store, mask.key) if mask else None
        return row["requested_density"] if row else None

    # ------------------------------------------------------------ prune

    def _prune(self, job: Job, mask: Mask) -> Result:
        shared = self._scoring(mask)
        selection = prune(
            mask.network,
            mask.score,
            shared.weights,
            mask.density,
            data=shared.data,
            scope=mask.scope,
            within=shared.within,
            ablation=mask.ablation,
            keep_dense=mask.keep_dense,
            pattern=mask.pattern,
            rates=mask.rates,
            scores=shared.scores,
        )
        arrays = {name: tensor.cpu().numpy() for name, tensor in selection.kept.items()}
        layers = measure.layers(mask.network, selection.kept)
        rows = self._layers(shared, layers, selection.kept)
        row = {
            **self._row(job, mask.network, layers),
            "layers": rows,
            "effective_kept": _total([row["effective"] for row in rows]),
            "ties": selection.ties,
            "requested_density": mask.density,
        }
        if job.repeat:
            return {**row, repeats.MOVED: self._moved(job.key, arrays)}, []
        return row, [artifacts.mask_file(self._store, job.key, arrays)]

    def _scoring(self, mask: Mask) -> _Scoring:
        """Return what the mask shares with the one before it, or compute it anew.

        Scores that depend on the density are not shared, nor is what goes with them.
        """
        of, within = mask.of, mask.within
        same = (
            mask.network.key,
            mask.score.key,
            of.key if of else None,
            within.key if within else None,
        )
        if self._shared is None or self._shared.same != same or self._shared.scores is None:
            self._shared = self._scored(same, mask)
        return self._shared

    def _scored(self, same: tuple[str | None, ...], mask: Mask) -> _Scoring:
        network, score = mask.network, mask.score
        within = self._kept(mask.within)
        weights = self._weights(network, mask.of) if mask.of else None
        data = load(score.reads, self.device) if score.reads else None
        scores = one_shot_scores(network, score, weights, data=data, within=within)
        moments = {name: measure.moments(tensor) for name, tensor in (scores or {}).items()}
        return _Scoring(same, network, score, weights, within, data, scores, moments)

    def _moved(self, key: str, again: Arrays) -> int | None:
        """Count the weights that either the stored mask keeps or this one, but not both."""
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

    def _interpolate(self, value: Barrier) -> results.Row:
        """Measure the error between two runs. Network, data and arithmetic are the first's."""
        run: Run = self._value(value.one.run, "run")
        first, last = (self._weights(run.network, end) for end in (value.one, value.other))
        data = load(run.dataset, self.device)
        precision = run.recipe.precision
        line = barrier(run.network, first, last, data, value.points, precision)
        rows = []
        for split, errors, height in (
            ("train", line.train_errors, line.train),
            ("test", line.test_errors, line.test),
        ):
            for point, error in enumerate(errors):
                alpha = point / (len(errors) - 1)
                rows.append({"name": "error", "split": split, "alpha": alpha, "value": error})
            rows.append({"name": "barrier", "split": split, "value": height})
        return {"measurements": rows}

    def _connect(self, value: Graphs) -> results.Row:
        """Measure a mask's layers as bipartite graphs."""
        rows = [
            {"name": name, "layer": layer, "value": quantity}
            for layer, kept in paced((self._kept(value.mask) or {}).items())
            for name, quantity in graph_quantities(kept).items()
        ]
        return {"measurements": rows}

    def _time(self, value: Latency) -> results.Row:
        """Measure a network without its pruned units: bytes, and time on this machine."""
        from tasks.measures.latency import latencies

        mask: Mask = self._value(value.mask, "mask")
        kept = self._kept(value.mask) or {}
        drawn = initial_weights(mask.network, Init(seed=0))
        weights = {name: tensor.to(self.device) for name, tensor in drawn.items()}
        timed = latencies(mask.network, weights, kept, batch_size=value.batch_size)
        forms = {form.form: form for form in timed}
        dense, shrunk = forms["dense"], forms["shrunk"]
        sizes = {"bytes": shrunk.bytes, "dense_bytes": dense.bytes}
        return {
            "measurements": [{"name": n, "value": float(size)} for n, size in sizes.items()],
            "latency": shrunk.milliseconds,
            "dense_latency": dense.milliseconds,
        }

    # ------------------------------------------------------------ what jobs read

    def _value(self, reference: Run | Mask, kind: str) -> Any:
        """Read what a reference stands for, as its result has it."""
        row = results.find(self._store, reference.key)
        if row is None:
            raise StoreError(f"{kind} {reference.key[:12]} is gone; launch again")
        return parse(row["value"])

    def _weights(self, network: Network, start: Init | State) -> Weights:
        if isinstance(start, Init):
            weights = initial_weights(network, start)
        else:
            arrays = artifacts.read_state(self._store, start.run.key, start.step, self._nearby)
            weights = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        return {name: tensor.to(self.device) for name, tensor in weights.items()}

    def _kept(self, mask: Mask | None) -> Kept | None:
        if mask is None:
            return None
        arrays = artifacts.read_mask(self._store, mask.key, self._nearby)
        return {name: torch.from_numpy(array).to(self.device) for name, array in arrays.items()}

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
