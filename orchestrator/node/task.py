"""What each task computes: the one file where torch meets the store. Runs on the node.

Values come as parsed canonical text with keys for what they read. What comes back is a row, to
be committed by the worker.
"""

import json
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
from tasks.values.key import decode
from tasks.values.records import GemMiner, Init, Network, OnExamples, Score
from tombola.errors import StoreError
from tombola.store import artifacts, layout, repeats, results
from tombola.store.node_cache import NodeCache
from tombola.store.publish import File
from tombola.store.tensors import Arrays

Value = dict[str, Any]

Found = tuple[results.Row, list[File]]
"""What a task computed, and files to be published before it counts."""


def measure_mask(store: Path, key: str) -> tuple[list[results.Row], list[results.Row]]:
    """What is measured of a mask on request: its layers as graphs, and its forms' latencies.

    The latencies are of the network at initialization; they do not depend on its weights.
    """
    from tasks.measures import effective_sparsity, latency

    row = results.find(store, key)
    if row is None or row["kind"] != "mask":
        raise StoreError(f"{key[:12]} is no finished mask of this store")
    try:
        network = decode(json.loads(row["value"])["network"])
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
        raise StoreError(f"{key[:12]} is no mask of a network that this version knows") from None
    arrays = artifacts.read_mask(store, key)
    kept = {name: torch.from_numpy(array) for name, array in arrays.items()}
    dead = effective_sparsity.dead_units(kept)
    layers = []
    for layer in measure.layers(network, kept):
        found = graph_quantities(kept[layer.layer])
        layers.append({**asdict(layer), "dead_units": dead[layer.layer], **found})
    weights = initial_weights(network, Init(seed=0))
    return layers, [asdict(one) for one in latency.latencies(network, weights, kept)]


def graph_quantities(kept: torch.Tensor) -> dict[str, float | None]:
    """Ramanujan quantities of a layer's mask by name; null where they say nothing."""
    from tasks.measures.ramanujan import Ramanujan, ramanujan

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


def _total(counts: list[int | None]) -> int | None:
    """Their sum; None where one is not known."""
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


class Computing:
    """Computes a pack's tasks on its device; masks of one score share what they read.

    Where there are `others` each training divides its batches among them.
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
        self._verbs = {
            "run": self._train,
            "mask": self._prune,
            "barrier": self._interpolate,
            "graphs": self._connect,
            "latency": self._time,
        }

    def compute(self, job: Job) -> Found:
        """A task's result, and artifacts to be published before it."""
        return self._verbs[job.kind](job, json.loads(job.value))

    def rehearse(self, job: Job) -> float:
        """Go through the motions, inputs from the store made up; see tasks.rehearse."""
        value = json.loads(job.value)
        made_up = {"start", "mask", "of", "within"}
        given = {n: v for n, v in value.items() if n not in made_up}
        named = "start" if value["kind"] == "run" else "of"
        drawn = value["kind"] == "mask" and value["of"] is None
        fresh = {named: None if drawn else {"kind": "init", "version": 1, "seed": 0}}
        return rehearse(decode({**given, **fresh}), self.device)

    # ------------------------------------------------------------ train

    def _train(self, job: Job, value: Value) -> Found:
        network, dataset = decode(value["network"]), decode(value["dataset"])
        recipe = decode(value["recipe"])
        kept = self._kept(value["mask"])
        if kept is not None:
            kept = measure.fitted(network, kept)
        start = self._weights(network, value["start"])
        every = self._pack.checkpoint_seconds
        first = value["first_step"]
        kept_on_the_way = RunCheckpoints(self._store, job, every, self._notice, self._report, first)
        how = {
            "order_seed": value["order_seed"],
            "first_step": value["first_step"],
            "last_step": job.last_step,
            "save": job.save,
            "checkpoints": kept_on_the_way,
        }
        if self._others is not None:
            given = network, recipe, dataset, start, kept
            trained = train_on(self._others, self.device, *given, **how)
        else:
            trained = train(network, recipe, load(dataset, self.device), start, kept, **how)
        for step, weights in trained.states.items():
            arrays = {name: tensor.cpu().numpy() for name, tensor in weights.items()}
            artifacts.write_state(self._store, job.key, step, arrays, self._nearby)
        steps = job.last_step - value["first_step"]
        row = {
            **self._row(job, network, measure.layers(network, kept)),
            "evals": [asdict(e) for e in trained.evals],
            "evaluation": EVALUATION,
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
            "effective_kept": _total([row["effective"] for row in rows]),
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
            data = load(score.examples.dataset, self.device)
        elif isinstance(score, GemMiner):
            data = load(score.dataset, self.device)
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
        data = load(dataset, self.device)
        precision = run["recipe"].get("precision", "float32")
        found = barrier(network, ends[0], ends[1], data, value["points"], precision)
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
            for layer, kept in paced((self._kept(value["mask"]) or {}).items())
            for name, quantity in graph_quantities(kept).items()
        ]
        return {**self._labels(job), "measurements": rows}, []

    def _time(self, job: Job, value: Value) -> Found:
        """What the network takes without its pruned units: bytes, and time on this machine."""
        from tasks.measures.latency import latencies

        row = results.find(self._store, value["mask"])
        if row is None:
            raise StoreError(f"mask {value['mask'][:12]} is gone; launch again")
        network = decode(json.loads(row["value"])["network"])
        kept = self._kept(value["mask"]) or {}
        drawn = initial_weights(network, Init(seed=0))
        weights = {name: tensor.to(self.device) for name, tensor in drawn.items()}
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
        return {name: tensor.to(self.device) for name, tensor in weights.items()}

    def _kept(self, mask_key: str | None) -> Kept | None:
        if mask_key is None:
            return None
        arrays = artifacts.read_mask(self._store, mask_key, self._nearby)
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
