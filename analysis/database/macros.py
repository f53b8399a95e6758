"""SQL macros that a query can call: their SQL, and what they mean."""

from tombola import rounding
from tombola.store import schema, settings

_STANDS_ON = f"""TABLE
WITH RECURSIVE needs AS MATERIALIZED (
    SELECT key, value->>'$.mask' AS need, NULL::INT AS step FROM tasks
    UNION ALL SELECT key, value->>'$.within', NULL FROM tasks
    UNION ALL SELECT key, value->>'$.start.run', (value->>'$.start.step')::INT FROM tasks
    UNION ALL SELECT key, value->>'$.of.run', (value->>'$.of.step')::INT FROM tasks
    UNION ALL SELECT key, value->>'$.one.run', (value->>'$.one.step')::INT FROM tasks
    UNION ALL SELECT key, value->>'$.other.run', (value->>'$.other.step')::INT FROM tasks),
asked AS (
    SELECT trial, unnest([{", ".join(schema.ANSWERS)}]) AS root
    FROM trials WHERE trials.sweep = sweep),
behind AS (
    SELECT DISTINCT root, root AS key, NULL::INT AS step FROM asked WHERE root IS NOT NULL
    UNION SELECT behind.root, need, needs.step FROM behind JOIN needs USING (key)
    WHERE need IS NOT NULL),
alone AS (
    SELECT trial, key, CASE WHEN count(*) = count(step) THEN max(step) END AS step
    FROM asked JOIN behind USING (root) GROUP BY ALL)
SELECT trial, key, kind,
       CASE WHEN kind = 'run' THEN coalesce(step, last_step) - first_step
            ELSE coalesce((value->>'$.score.steps')::INT, 0) END AS iterations,
       seconds * coalesce(gang, 1)
               * CASE WHEN step IS NULL OR coalesce(last_step - first_step, 0) < 1 THEN 1
                      ELSE (step - first_step) / (last_step - first_step) END AS seconds,
       tasks.seconds * coalesce(gang, 1) AS spent
FROM alone JOIN tasks USING (key)
"""

_LEDGER = """TABLE
WITH behind AS (FROM stands_on(sweep)),
shared AS (SELECT key, count(*) AS trials FROM behind GROUP BY key)
SELECT method, trials.requested_density AS density, tasks.device,
       count(DISTINCT behind.trial) AS trials,
       sum(behind.spent / shared.trials ORDER BY behind.trial, key) / 3600 AS hours,
       sum(behind.seconds ORDER BY behind.trial, key) / 3600 AS alone_hours,
       alone_hours - hours AS saved_hours
FROM behind JOIN shared USING (key) JOIN tasks USING (key)
JOIN trials ON trials.sweep = sweep AND trials.trial = behind.trial
GROUP BY ALL ORDER BY method, density DESC, device
"""

_LEDGER_BY = """TABLE
WITH drawn_ AS (
    SELECT DISTINCT part_.part, trial
    FROM (SELECT unnest(parts, recursive := true)) part_
    JOIN trials ON coalesce(run_key, mask_key) = part_.key WHERE trials.sweep = sweep),
each_ AS (
    SELECT part, trial, key, seconds FROM drawn_ JOIN (FROM stands_on(sweep)) USING (trial)),
whole_ AS (
    SELECT part, trial, key, seconds FROM each_
    UNION ALL SELECT DISTINCT NULL, trial, key, seconds FROM each_),
parts_ AS (
    SELECT part, key, max(seconds) AS seconds, sum(seconds ORDER BY trial) AS apart
    FROM whole_ GROUP BY ALL),
counted_ AS (SELECT part, count(*) AS trials FROM drawn_ GROUP BY ALL
             UNION ALL SELECT NULL, count(DISTINCT trial) FROM drawn_)
SELECT parts_.part, any_value(trials) AS trials, count(*) AS tasks,
       sum(seconds ORDER BY key) / 3600 AS hours,
       sum(CASE WHEN users = 1 THEN seconds ELSE 0 END ORDER BY key) / 3600 AS own_hours,
       sum(apart ORDER BY key) / 3600 AS alone_hours, alone_hours - hours AS saved_hours
FROM parts_ JOIN (SELECT key, count(DISTINCT part) AS users FROM each_ GROUP BY key) USING (key)
JOIN counted_ ON counted_.part IS NOT DISTINCT FROM parts_.part
GROUP BY parts_.part ORDER BY parts_.part NULLS LAST
"""

# The aliases end in _: DuckDB inserts arguments into the text of a macro, where names could clash.
# `unnest` keeps the two masks of a row together. Without it, DuckDB reorders the joins and counts
# the bits of every pair of masks in the store first.
_OVERLAP = """TABLE
WITH each AS (
    SELECT one_.position, one_.layer, one_.size, one_.kept AS kept_a, two_.kept AS kept_b,
           kept_by_both(pair_.a, pair_.b, one_.layer) AS shared,
           one_.kept * two_.kept / one_.size AS drawn
    FROM (SELECT unnest([{a: mask_a, b: mask_b}], recursive := true)) pair_
    JOIN layers one_ ON one_.mask_key = pair_.a
    JOIN layers two_ ON two_.mask_key = pair_.b AND two_.layer = one_.layer
                    AND two_.size = one_.size),
parts AS (
    SELECT position, layer, size, kept_a, kept_b, shared, drawn FROM each
    UNION ALL SELECT NULL, NULL, sum(size)::BIGINT, sum(kept_a)::BIGINT, sum(kept_b)::BIGINT,
              CASE WHEN count(shared) = count(*) THEN sum(shared)::BIGINT END,
              sum(drawn ORDER BY position) FROM each)
SELECT layer, size, kept_a, kept_b, shared AS kept_by_both,
       shared / nullif(kept_a + kept_b - shared, 0) AS jaccard,
       drawn / nullif(kept_a + kept_b - drawn, 0) AS chance
FROM parts WHERE size > 0 ORDER BY position NULLS LAST
"""

MACROS = {
    "weights_remaining(density)": (
        "round(100 * density, 9)",
        "a density in per cent, as the pruning papers print it",
    ),
    "rounded(value, digits)": (
        rounding.SQL,
        "a number as tables and reports show it: half away from zero, of the decimal number",
    ),
    "settings(sweep)": (
        settings.MACRO,
        "what sets each trial of a sweep apart from others of its method, in words (`setting`, "
        "empty where nothing does): each column that configures trials and differs, and where two "
        "runs differ in no column, their grid and order (`apart`). Average over replicates of one "
        "setting, never over several",
    ),
    "matching(sweep, tolerance)": (
        """TABLE
        SELECT network, dataset, method, setting, ablation, replicate,
               min(trials.density) FILTER (accuracy >= dense_accuracy - tolerance - 1e-9)
                   AS density,
               arg_min(accuracy, trials.density)
                   FILTER (accuracy >= dense_accuracy - tolerance - 1e-9) AS accuracy,
               max(dense_accuracy) AS dense_accuracy, count(*) AS trials
        FROM trials JOIN (FROM settings(sweep)) USING (trial)
        WHERE trials.sweep = sweep AND method <> 'dense' AND accuracy IS NOT NULL
        GROUP BY ALL ORDER BY ALL""",
        "the least density at which each replicate of a method in one setting is within "
        "`tolerance` (a fraction) of its dense run's accuracy, denser ones need not be; null "
        "where none is",
    ),
    "paired(sweep, method_a, method_b)": (
        """TABLE
        WITH each_ AS (
            SELECT network, dataset, requested_density AS density, ablation, replicate, method,
                   setting, dense_key, avg(accuracy) AS accuracy, count(*) AS trials
            FROM trials JOIN (FROM settings(sweep)) USING (trial)
            WHERE trials.sweep = sweep AND method IN (method_a, method_b)
              AND accuracy IS NOT NULL
            GROUP BY ALL)
        SELECT network, dataset, density, ablation, replicate,
               one_.setting AS setting_a, two_.setting AS setting_b,
               one_.accuracy AS accuracy_a, two_.accuracy AS accuracy_b,
               accuracy_a - accuracy_b AS difference,
               one_.trials AS trials_a, two_.trials AS trials_b
        FROM each_ one_
        JOIN each_ two_ USING (network, dataset, density, ablation, replicate, dense_key)
        WHERE one_.method = method_a AND two_.method = method_b ORDER BY ALL""",
        "accuracies of two methods at the same network, dataset, density, ablation and replicate, "
        "trained alike (one dense run stands beside both): each setting of the one with each of "
        "the other, of which trials_a and trials_b trials ask for the same run",
    ),
    "stands_on(sweep)": (
        _STANDS_ON,
        "what each trial of a sweep stands on, its own run and mask included: the tasks by key, "
        "with the iterations and seconds that the trial alone would take of each (a run whose "
        "weights at step k are needed counts up to k; learning a mask counts as iterations) and "
        "the seconds `spent` on all of it; of a gang those of all its GPUs together",
    ),
    "ledger(sweep)": (
        _LEDGER,
        "cost by method and density, in hours of a device: `hours` were spent, a shared task in "
        "equal parts on the trials that stand on it, so that they add up to the total; "
        "`alone_hours` is what each trial alone, with all that it stands on, would have taken",
    ),
    "ledger_by(sweep, parts)": (
        _LEDGER_BY,
        "cost of parts of a sweep, and (part null) of all of them together, in hours: `parts` is "
        "a list of {part, key}, the trials of each by run_key, or mask_key where nothing is "
        "trained. `hours` for equal work done once, `own_hours` of it for no other part, "
        "`alone_hours` for each trial alone; `tombola figures --cost` asks it of figures",
    ),
}
"""Macros of every connection and of results.duckdb: signature → (SQL, meaning)."""

ON_MASKS = {
    "overlap(mask_a, mask_b)": (
        _OVERLAP,
        "two masks of one network, by layer and (layer null) in all: weights that both keep, "
        "their share of those that either keeps (Jaccard), and that share by chance at the same "
        "densities of layers; null where `gc` freed a mask. Not in results.duckdb",
    )
}
"""Macros that need `kept_by_both` (mask_overlap.py): only connections to a store have them."""


def statements(known: dict[str, tuple[str, str]] = MACROS) -> list[str]:
    """Return the statements that create macros."""
    return [f"CREATE MACRO {signature} AS {sql}" for signature, (sql, _) in known.items()]
