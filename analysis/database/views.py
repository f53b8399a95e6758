"""Tables for queries: their SQL, and what their columns mean.

The schema `stored` has the rows as they were read: `asked` (trials of every revision),
`registered` (revisions), `options` and `tags` (the user's fields, see user_columns.py).
"""

from tombola.store import schema

TABLES = ("trials", "evals", "layers", "measurements", "tasks", "attempts", "repeats", "sweeps")

ANSWERS = """
WITH metrics AS (
    SELECT run_key, arg_max(accuracy, step) FILTER (split = 'test') AS accuracy,
           arg_max(loss, step) FILTER (split = 'test') AS loss,
           arg_max(accuracy, step) FILTER (split = 'train') AS train_accuracy,
           arg_max(loss, step) FILTER (split = 'train') AS train_loss,
           arg_max(top5, step) FILTER (split = 'test') AS top5,
           arg_max(accuracy, step) FILTER (split = 'val') AS val_accuracy,
           arg_max(loss, step) FILTER (split = 'val') AS val_loss,
           arg_max(step, accuracy) FILTER (split = 'val') AS best_val_step,
           arg_min(step, loss) FILTER (split = 'val') AS early_stop_step,
           max(accuracy) FILTER (split = 'test') AS best_accuracy
    FROM evals GROUP BY run_key),
held_out AS (
    SELECT run_key, best_val_step, early_stop_step FROM metrics
    WHERE coalesce(best_val_step, early_stop_step) IS NOT NULL),
chosen AS (
    SELECT run_key, any_value(accuracy) FILTER (step = best_val_step) AS best_val_accuracy,
           any_value(accuracy) FILTER (step = early_stop_step) AS early_stop_accuracy
    FROM held_out JOIN evals USING (run_key) WHERE split = 'test' GROUP BY run_key)
SELECT * FROM metrics LEFT JOIN chosen USING (run_key)
"""
"""Metrics of each run, from its evaluations."""

FALLEN = """
SELECT DISTINCT key FROM attempts WHERE event IN ('failed', 'blocked')
"""
"""Tasks that ever failed or were blocked: few rows, from one column."""

TROUBLED = """
SELECT key, arg_max(event, noted_at) AS event FROM attempts
WHERE key IN (FROM stored.fallen)
GROUP BY key HAVING arg_max(event, noted_at) IN ('failed', 'blocked')
"""
"""Tasks whose last event is `failed` or `blocked`."""


def _answered(**joined: str) -> str:
    """Return the condition that a trial is done; `joined`: conditions by key."""
    return " AND ".join(
        f"(asked.{key} IS NULL OR {joined.get(key, f'asked.{key} IN (SELECT key FROM tasks)')})"
        for key in schema.ANSWERS
    )


def _status(answered: str) -> str:
    def troubled(event: str) -> str:
        keys = f"IN (SELECT key FROM stored.troubled WHERE event = '{event}')"
        return " OR ".join(f"asked.{key} {keys}" for key in schema.ANSWERS)

    return f"""
       CASE WHEN {answered} THEN 'done'
            WHEN {troubled("failed")} THEN 'failed'
            WHEN {troubled("blocked")} THEN 'blocked'
            ELSE 'pending' END AS status"""


COUNTED = f"SELECT asked.sweep, {_status(_answered())} FROM stored.asked WHERE asked.current"
"""Trials with their status only, for counting."""

TRIALS = f"""
WITH barriers AS (
    SELECT measurement_key, any_value(value) FILTER (split = 'test') AS barrier,
           any_value(value) FILTER (split = 'train') AS train_barrier
    FROM measurements WHERE name = 'barrier' GROUP BY measurement_key),
graphs AS (
    SELECT measurement_key, avg(value) FILTER (name = 'imdb') AS imdb
    FROM measurements GROUP BY measurement_key),
sizes AS (
    SELECT measurement_key, any_value(value) FILTER (name = 'bytes')::BIGINT AS bytes,
           any_value(value) FILTER (name = 'dense_bytes')::BIGINT AS dense_bytes
    FROM measurements WHERE name IN ('bytes', 'dense_bytes') GROUP BY measurement_key),
latencies AS (
    SELECT key AS latency_key, latency, dense_latency, device AS latency_device,
           (value->>'$.batch_size')::INT AS latency_batch_size, bytes, dense_bytes
    FROM tasks JOIN sizes ON measurement_key = key WHERE kind = 'latency')
SELECT {", ".join(f"asked.{name}" for name in schema.TRIALS.names)},
       {_status(_answered(run_key="run.key IS NOT NULL", mask_key="mask.key IS NOT NULL"))},
       round(1 - asked.requested_density, 12) AS sparsity,
       1 / asked.requested_density AS compression,
       coalesce(run.density, mask.density) AS density,
       answers.accuracy, answers.loss, answers.train_accuracy, answers.train_loss, answers.top5,
       answers.val_accuracy, answers.val_loss, answers.best_accuracy,
       answers.best_val_accuracy, answers.early_stop_step,
       answers.early_stop_accuracy, dense.accuracy AS dense_accuracy,
       dense.best_accuracy AS dense_best_accuracy,
       dense.best_val_accuracy AS dense_best_val_accuracy,
       answers.accuracy - dense.accuracy AS delta,
       CASE WHEN run.key IS NOT NULL THEN run.diverged_at IS NOT NULL END AS diverged,
       coalesce(run.collapsed_layers, mask.collapsed_layers) AS collapsed_layers,
       coalesce(run.kept_flops, mask.kept_flops) AS kept_flops,
       coalesce(run.flops, mask.flops) AS flops,
       coalesce(run.flops, mask.flops) / coalesce(run.kept_flops, mask.kept_flops) AS speedup,
       mask.effective_kept / mask.size AS effective_density, run.distance, run.seconds,
       barriers.barrier, barriers.train_barrier, graphs.imdb,
       latencies.* EXCLUDE (latency_key),
       own_options.* EXCLUDE (text), own_network_options.* EXCLUDE (text),
       own_tags.* EXCLUDE (text)
FROM stored.asked
LEFT JOIN stored.options own_options ON own_options.text = asked.options
LEFT JOIN stored.network_options own_network_options
    ON own_network_options.text = asked.network_options
LEFT JOIN stored.tags own_tags ON own_tags.text = asked.tags
LEFT JOIN tasks run ON run.key = asked.run_key
LEFT JOIN tasks mask ON mask.key = asked.mask_key
LEFT JOIN stored.answers answers ON answers.run_key = asked.run_key
LEFT JOIN barriers ON barriers.measurement_key = asked.barrier_key
LEFT JOIN graphs ON graphs.measurement_key = asked.graphs_key
LEFT JOIN latencies ON latencies.latency_key = asked.latency_key
LEFT JOIN stored.answers dense ON dense.run_key = asked.dense_key
WHERE asked.current
"""
"""Trials with their results: a table, because queries read it more often than it is made."""

SWEEPS = f"""
CREATE VIEW sweeps AS
WITH answered AS (
    SELECT sweep, revision, count(*) AS done FROM stored.asked WHERE {_answered()} GROUP BY ALL)
SELECT r.sweep, r.revision, r.registered_at, r.current, r.trials,
       coalesce(answered.done, 0) AS done, r.definition, r.figures
FROM stored.registered r LEFT JOIN answered USING (sweep, revision)
"""

_DERIVED = {
    "trials": {
        "status": "done, failed, blocked (what it needs failed) or pending",
        "sparsity": "1 - requested_density",
        "compression": "1 / requested_density",
        "density": "weights kept / prunable weights, counted on the tensors; 1 for dense",
        "accuracy": "top-1 on test at the last step, fraction",
        "loss": "cross-entropy on test at the last step, nats",
        "train_accuracy": "top-1 on train at the last step, fraction",
        "train_loss": "cross-entropy on train at the last step, nats",
        "top5": "top-5 on test at the last step, fraction",
        "val_accuracy": "top-1 on the held-out part of train at the last step, fraction",
        "val_loss": "cross-entropy on it at the last step, nats",
        "best_val_accuracy": "top-1 on test at the step of the best val_accuracy, fraction",
        "early_stop_step": "iteration of the least val_loss (the lottery ticket papers' measure)",
        "early_stop_accuracy": "top-1 on test at that iteration, fraction",
        "best_accuracy": "best top-1 on test over all steps: peeks at the test set",
        "dense_accuracy": "accuracy of the dense run of the same replicate and recipe",
        "dense_best_accuracy": "best_accuracy of that dense run",
        "dense_best_val_accuracy": "best_val_accuracy of that dense run",
        "delta": "accuracy - dense_accuracy",
        "diverged": "whether the loss stopped being finite",
        "collapsed_layers": "prunable layers that keep no weight",
        "kept_flops": "multiply-adds of one example that the kept weights take part in",
        "flops": "multiply-adds of one example, dense",
        "speedup": "flops / kept_flops: what a device that skips every pruned weight would gain",
        "effective_density": "density of the weights on a path from input to output",
        "distance": "L2 distance of the kept weights from those training began with",
        "seconds": "wall time of the run, s",
        "barrier": "largest test error on the line to the same run in another data order, "
        "less the mean of the ends; below 0.02 is linearly connected",
        "train_barrier": "the same on train",
        "imdb": "IMDB (a Ramanujan quantity), mean over the mask's layers",
        "latency": "median forward pass of latency_batch_size images without the units that keep "
        "no incoming weight, ms; of one machine, so compare it with dense_latency",
        "dense_latency": "the same of the dense network, timed in turns with it, ms",
        "latency_device": "where both were timed: cpu (one thread) or the accelerator's name",
        "latency_batch_size": "images in the pass that is timed",
        "bytes": "float32 bytes of the network without those units",
        "dense_bytes": "float32 bytes of the dense network",
    },
    "sweeps": {
        "sweep": "name of the sweep",
        "revision": "hash of the trials it asks for",
        "registered_at": "when it was last launched so, UTC",
        "current": "whether `trials` shows this revision: the latest of its sweep",
        "trials": "trials it asks for",
        "done": "of which answered",
        "definition": "the sweep file, JSON",
        "figures": "figures it asks for, JSON",
    },
}

_DECLARED = {
    "trials": schema.TRIALS,
    "evals": schema.EVALS,
    "layers": schema.LAYERS,
    "measurements": schema.MEASUREMENTS,
    "tasks": schema.TASKS,
    "attempts": schema.ATTEMPTS,
    "repeats": schema.REPEATS,
}


def comments() -> dict[tuple[str, str], str]:
    """Return what each (table, column) means."""
    declared = {
        (table, field.name): field.metadata[b"comment"].decode()
        for table, columns in _DECLARED.items()
        for field in columns
    }
    derived = {(t, c): text for t, columns in _DERIVED.items() for c, text in columns.items()}
    return declared | derived
