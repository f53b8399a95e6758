"""Every column the store writes: its type, its unit and what it means, declared once.

Files are written to these schemas and read with them; no type is ever inferred.
"""

import json
from datetime import datetime
from typing import Any

import pyarrow as pa

from tasks.values import measurements, training
from tasks.values.key import added_fields, described_fields

VERSION = "1"


def _field(name: str, kind: pa.DataType, comment: str) -> pa.Field:
    return pa.field(name, kind, metadata={"comment": comment})


def _table(*fields: pa.Field) -> pa.Schema:
    return pa.schema(fields, metadata={"tombola_schema": VERSION})


_KEY = _field("key", pa.string(), "key of the run, mask or measurement (SHA-256 of `value`)")

TASKS = _table(
    _KEY,
    _field("kind", pa.string(), "run (a training trajectory), mask, barrier, graphs or latency"),
    _field("value", pa.string(), "canonical JSON of what was computed"),
    _field("digest", pa.string(), "SHA-256 of what came out: metrics, layers and counts"),
    _field("checksum", pa.string(), "SHA-256 of the whole row, provenance included"),
    _field("requested_density", pa.float64(), "density asked for; null for a dense run"),
    _field("density", pa.float64(), "kept / size, counted on the tensors"),
    _field("size", pa.int64(), "prunable weights (of Conv2d and Linear, no biases)"),
    _field("kept", pa.int64(), "prunable weights kept"),
    _field("parameters", pa.int64(), "all trainable parameters, biases and batch norm included"),
    _field("ties", pa.int64(), "masks: weights that share the score at the threshold"),
    _field("collapsed_layers", pa.int32(), "prunable layers that keep no weight"),
    _field("flops", pa.int64(), "multiply-adds of one dense forward pass of one example"),
    _field("kept_flops", pa.int64(), "multiply-adds that the kept weights take part in"),
    _field("first_step", pa.int32(), "runs: iteration at which training began"),
    _field("last_step", pa.int32(), "runs: iteration at which training ended"),
    _field("epochs", pa.float64(), "runs: passes over the training data"),
    _field("effective_kept", pa.int64(), "masks: kept weights on a path from input to output"),
    _field("distance", pa.float64(), "runs: L2 distance of the kept weights from their start"),
    _field("diverged_at", pa.int32(), "runs: first iteration with a non-finite loss, or null"),
    _field("launch", pa.string(), "launch that computed it"),
    _field("attempt", pa.int32(), "which try succeeded, from 1"),
    _field("resumed_step", pa.int32(), "runs: checkpoint it went on from, or null"),
    _field("pack", pa.string(), "tasks of one worker call share it"),
    _field("pack_size", pa.int32(), "tasks in that call"),
    _field("host", pa.string(), "machine"),
    _field("worker", pa.string(), "host:process"),
    _field("device", pa.string(), "cpu or the accelerator's name"),
    _field("gang", pa.int32(), "runs: GPUs that it was divided among; null: one"),
    _field("threads", pa.int32(), "torch threads"),
    _field("started_at", pa.timestamp("us"), "when the task began, UTC"),
    _field("seconds", pa.float64(), "wall time of the task, s"),
    _field("images_per_second", pa.float64(), "runs: training examples, evaluation included, / s"),
    _field("peak_memory", pa.int64(), "peak memory, bytes: the device's, or the process's on CPU"),
    _field(
        "node_reads", pa.int32(), "weights and masks read from the node's copies (--node-cache)"
    ),
    _field("store_reads", pa.int32(), "weights and masks that it had to read from the store"),
    _field("energy", pa.float64(), "J: the GPU's own counter, or an estimate; of a gang its first"),
    _field("energy_source", pa.string(), "nvml (measured) or estimate (seconds x nominal watts)"),
    _field("latency", pa.float64(), "latency: median forward pass without pruned units, ms"),
    _field("dense_latency", pa.float64(), "latency: the same of the dense network, in turns, ms"),
    _field("tombola", pa.string(), "version of this software"),
    _field("code", pa.string(), "git commit of this software, + if modified, or null"),
    _field("torch", pa.string(), "version of PyTorch"),
    _field("python", pa.string(), "version of Python"),
    _field(
        "evaluation",
        pa.int32(),
        "runs: how losses are added up: 2 in float64; null: in float32, in larger batches",
    ),
)

EVALS = _table(
    _field("run_key", pa.string(), "run evaluated"),
    _field("step", pa.int32(), "iterations trained"),
    _field("split", pa.string(), "train, val or test"),
    _field("loss", pa.float64(), "mean cross-entropy, nats"),
    _field("accuracy", pa.float64(), "top-1, fraction of examples"),
    _field("top5", pa.float64(), "fraction of examples whose class is among the best five"),
)

LAYERS = _table(
    _field("mask_key", pa.string(), "mask measured"),
    _field("position", pa.int32(), "order of the layer from the input, from 0"),
    _field("layer", pa.string(), "name of the weight tensor"),
    _field("size", pa.int64(), "weights"),
    _field("kept", pa.int64(), "weights kept"),
    _field("density", pa.float64(), "kept / size"),
    _field("flops", pa.int64(), "multiply-adds of one dense forward pass of one example"),
    _field("effective", pa.int64(), "kept weights on a path of kept weights from input to output"),
    _field("score_mean", pa.float64(), "mean score of the weights; null where there is none"),
    _field("score_std", pa.float64(), "standard deviation of the scores (ddof 0)"),
)

MEASUREMENTS = _table(
    _field("measurement_key", pa.string(), "barrier, graphs or latency measured"),
    _field(
        "name",
        pa.string(),
        "barrier: error on the way, and the barrier (largest error - mean of the ends); "
        "graphs: delta_regular, delta_spectral, imdb, imdb_normalised, random_bound of a layer; "
        "latency: bytes (float32, without pruned units) and dense_bytes; its times are in tasks",
    ),
    _field("split", pa.string(), "barrier: train or test"),
    _field("alpha", pa.float64(), "barrier: share of the way from the one network to the other"),
    _field("layer", pa.string(), "graphs: name of the weight tensor"),
    _field("value", pa.float64(), "what was measured; null where it is not defined"),
)

_ORIGIN = {
    "launch": (pa.string(), "launch"),
    "worker": (pa.string(), "host:process"),
    "device": (pa.string(), "cpu or the accelerator's name"),
    "torch": (pa.string(), "version of PyTorch"),
    "code": (pa.string(), "git commit of this software"),
    "started_at": (pa.timestamp("us"), "when it began, UTC"),
}
"""Columns of TASKS that say of each of two results where it was computed."""

ORIGIN = tuple(_ORIGIN)

REPEATS = _table(
    _field("key", pa.string(), "run, mask or measurement that was done once more on purpose"),
    _field("kind", pa.string(), "run, mask, barrier, graphs or latency"),
    _field(
        "field",
        pa.string(),
        "what is compared: loss, kept, …; moved: weights that only one mask keeps",
    ),
    _field("place", pa.string(), "where: step and split, or layer; empty where it is of the whole"),
    _field("first", pa.float64(), "the value of the result that counts"),
    _field("second", pa.float64(), "the value when it was done once more"),
    _field("difference", pa.float64(), "second - first; 0 where both are equal"),
    *(
        _field(f"{which}_{name}", kind, f"the {which} result: {comment}")
        for which in ("first", "second")
        for name, (kind, comment) in _ORIGIN.items()
    ),
)

PARTS = {"evals": EVALS, "layers": LAYERS, "measurements": MEASUREMENTS}
"""Lists in a result. In a segment each is a file; without measurements that file is absent."""

ADDED = frozenset(
    {
        *("measurements", "resumed_step"),
        *("top5", "effective_kept", "distance", "images_per_second", "peak_memory"),
        *("energy", "energy_source", "effective", "score_mean", "score_std"),
        *("latency", "dense_latency", "node_reads", "store_reads", "gang"),
        *("width", "validation", "keep_dense", "layer_rates", "found_on", "tags"),  # of trials
        *(added_fields(training.Recipe) & described_fields(training.Recipe).keys()),
        *("barrier_key", "graphs_key", "latency_key", "init_linear"),
        "network_options",
        "evaluation",
        *("split", "alpha", "layer"),  # of measurements, each of which says only what it has
    }
)
"""Columns that version 1's first files lack: left out of digests while they are null. A file that
lacks another one is damaged."""


def _nested(table: pa.Schema) -> pa.DataType:
    """A table's rows as a list inside the task's one row, without the task's key."""
    return pa.list_(pa.struct([field for field in table if not field.name.endswith("_key")]))


LIVE = pa.schema(
    [
        *TASKS,
        _field("evals", _nested(EVALS), "runs: metrics by step and split"),
        _field("layers", _nested(LAYERS), "masks: what each layer keeps"),
        _field("measurements", _nested(MEASUREMENTS), "what was measured on request"),
    ],
    metadata=TASKS.metadata,
)

FOLDED = _table(_KEY, _field("row", pa.string(), "the row of LIVE that is not null, JSON"))
"""A live result's file. Opening a file costs by its columns: two are read 15 times as fast as the
60 leaves of LIVE, which older files have instead; both are read."""


def fold(row: dict[str, Any]) -> dict[str, str]:
    """A row of LIVE as one of FOLDED."""
    known = {name: row[name] for name in LIVE.names if row.get(name) is not None}
    return {"key": row["key"], "row": json.dumps(known, default=datetime.isoformat)}


def unfold(text: str) -> dict[str, Any]:
    """The row of LIVE in the `row` of FOLDED, nulls and all.

    Raises
    ------
    ValueError
        When it is no such row.
    """
    try:
        row: dict[str, Any] = json.loads(text)
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None
    _check(row, _KINDS)
    if lacking := [name for name in ESSENTIAL if row.get(name) is None]:
        raise ValueError(f"its row has no {lacking[0]}")
    if started := row.get("started_at"):
        row["started_at"] = datetime.fromisoformat(started)
    for table, blank in _BLANK_ITEMS.items():
        if (items := row.get(table)) is not None:
            for item in items:
                _check(item, _KINDS_OF[table])
            row[table] = [blank | item for item in items]
    return _BLANK | row


ESSENTIAL = ("key", "kind", "value", "digest", "checksum")
"""Columns of TASKS that no result is without."""


def _check(row: object, kinds: dict[str, tuple[type, ...]]) -> None:
    """Raise a ValueError unless each field of a JSON object is declared, and of its type."""
    if not isinstance(row, dict):
        raise ValueError("its row is no object")
    for name, value in row.items():
        expected = kinds.get(name)
        if expected is None:
            raise ValueError(f"its row has an unknown field {ascii(name)[:60]}")
        if type(value) not in expected:
            raise ValueError(f"{name} in its row is a {type(value).__name__}")
        if type(value) is int and not -(2**63) <= value < 2**63:
            raise ValueError(f"{name} in its row is out of range")


def _json_kinds(kind: pa.DataType) -> tuple[type, ...]:
    """Python's types of what JSON holds of an Arrow type."""
    nothing = type(None)
    if pa.types.is_integer(kind):
        return (int, nothing)
    if pa.types.is_floating(kind):
        return (float, int, nothing)
    return (list, nothing) if pa.types.is_list(kind) else (str, nothing)


_KINDS = {field.name: _json_kinds(field.type) for field in LIVE}
_KINDS_OF = {
    table: {field.name: _json_kinds(field.type) for field in LIVE.field(table).type.value_type}
    for table in PARTS
}


_BLANK: dict[str, Any] = dict.fromkeys(LIVE.names)
_BLANK_ITEMS: dict[str, dict[str, Any]] = {
    table: dict.fromkeys(field.name for field in LIVE.field(table).type.value_type)
    for table in PARTS
}

_ARROW: dict[Any, pa.DataType] = {int: pa.int32(), float: pa.float64(), bool: pa.bool_()}

_RECIPE = {
    name: _field(name, _ARROW.get(hint, pa.string()), about.meaning)
    for name, (hint, about) in described_fields(training.Recipe).items()
}
"""Columns of a recipe by its fields (tasks/values/training.py)."""

_TRIALS = (
    _field("sweep", pa.string(), "name of the sweep"),
    _field("trial", pa.int32(), "number of the trial in its sweep, from 0"),
    _field("grid", pa.int32(), "grid of the sweep file it comes from, from 0; null for dense"),
    _field("dataset", pa.string(), "dataset"),
    _field(
        "network", pa.string(), "architecture, with its width where that is not 1, and its options"
    ),
    _field("method", pa.string(), "pruning method, or dense"),
    _field("ablation", pa.string(), "none, reinit, shuffle or invert"),
    _field("replicate", pa.int32(), "seed that the trial's other seeds are set from"),
    _field("level", pa.int32(), "n where density is (1 - fraction)^n, else null"),
    _field("requested_density", pa.float64(), "fraction of prunable weights to keep"),
    _field("prune_step", pa.int32(), "iteration whose weights are scored; null for dense"),
    _field("rewind_step", pa.int32(), "iteration whose weights training goes on from, if any"),
    _field("options", pa.string(), "the method's own options, JSON; each is a column option_…"),
    _field("scope", pa.string(), "global or layerwise threshold; null for dense"),
    _RECIPE["steps"],
    _RECIPE["batch_size"],
    _RECIPE["lr"],
    _RECIPE["momentum"],
    _RECIPE["nesterov"],
    _RECIPE["weight_decay"],
    _RECIPE["schedule"],
    _RECIPE["warmup"],
    _field("finetune", pa.string(), "recipe after pruning a trained network; null if unused"),
    _field("prune_fraction", pa.float64(), "IMP: fraction of survivors pruned at each level"),
    _field("init_weights", pa.string(), "distribution of the initial weights"),
    _field("init_batch_norm", pa.string(), "initial scale of batch norm: ones or uniform"),
    _field("init_seed", pa.int64(), "seed of the initial weights it trains from"),
    _field("order_seed", pa.int64(), "seed of the data order"),
    _field("score_seed", pa.int64(), "seed of the scoring examples or random scores"),
    _field("shuffle_seed", pa.int64(), "seed of the shuffled mask, if shuffled"),
    _field("width", pa.float64(), "multiplier of the network's channels"),
    _field("validation", pa.int32(), "training examples held out"),
    _RECIPE["optimizer"],
    _RECIPE["augment"],
    _RECIPE["label_smoothing"],
    _RECIPE["ghosts"],
    _field("keep_dense", pa.string(), "layers that are not pruned, if any"),
    _RECIPE["rescale_steps"],
    _field("layer_rates", pa.string(), "layers pruned at another rate than prune_fraction, if any"),
    _field("found_on", pa.string(), "dataset that the mask was found on, if another"),
    _field("run_key", pa.string(), "run that answers the trial; null if only its mask is asked"),
    _field("mask_key", pa.string(), "its mask; null for dense"),
    _field("dense_key", pa.string(), "dense run of the same replicate and recipe"),
    *(
        _field(f"{kind}_key", pa.string(), cls.column)
        for kind, cls in measurements.MEASUREMENTS.items()
    ),
    _field("tags", pa.string(), "tags of the sweep file, JSON; each is a column tag_… besides"),
    _field("init_linear", pa.string(), "distribution of linear layers' weights, if another"),
    _RECIPE["precision"],
    _field(
        "network_options",
        pa.string(),
        "options of a network of one's own, JSON; each is a column network_option_…",
    ),
)

TRIALS = _table(
    *_TRIALS,
    # A later field of a recipe is a column at the end.
    *(column for name, column in _RECIPE.items() if name not in {field.name for field in _TRIALS}),
)

ANSWERS = ("run_key", "mask_key", *(f"{kind}_key" for kind in measurements.MEASUREMENTS))
"""Columns of TRIALS whose keys answer the trial: it is done when all that are not null are."""

SWEEP_METADATA = ("name", "revision", "registered_at", "definition", "figures")
"""Parquet key-value metadata of a sweep's file: text, ISO time, and two JSON documents."""

ATTEMPTS = _table(
    _field("launch", pa.string(), "launch"),
    _field("noted_at", pa.timestamp("us"), "when the driver noted it, UTC"),
    _field("event", pa.string(), "dispatched, finished, failed, retried, blocked, cancelled"),
    _field("key", pa.string(), "run or mask"),
    _field("kind", pa.string(), "run or mask"),
    _field("attempt", pa.int32(), "which try, from 1"),
    _field("pack", pa.string(), "tasks of one worker call share it"),
    _field("worker", pa.string(), "host:process, once known"),
    _field("seconds", pa.float64(), "wall time, s"),
    _field("failure", pa.string(), "class of failure"),
    _field("message", pa.string(), "one line"),
    _field("traceback", pa.string(), "of the worker, if it raised"),
)
