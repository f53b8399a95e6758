"""Rules of the reporting checklist: functions from a sweep's rows to (answer, evidence)."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from analysis.database.rows import Row
from analysis.lint.evidence import PAIR, Evidence
from analysis.selection.selection import grouped, of
from tasks.values.key import described_fields
from tasks.values.training import Recipe
from tombola.store.settings import RECIPE, SETTING, varying

Answer = Literal["yes", "partly", "no", "not answered"]

PAIRS, POINTS, EXTREME, REPLICATES = 3, 5, 32, 3
"""Requirements: dataset × network pairs, points of a curve, its largest compression (the end of
the range in the paper), and replicates of a point."""


_RECIPE = tuple(described_fields(Recipe))
_Verdict = tuple[Answer, str]
_NOTHING: _Verdict = ("not answered", "No trial is done yet that could tell.")


def _pairs(evidence: Evidence) -> _Verdict:
    pairs = sorted({f"{row['network']} on {row['dataset']}" for row in evidence.pruned})
    if not pairs:
        return _NOTHING
    answer: Answer = "yes" if len(pairs) >= PAIRS else "partly" if len(pairs) > 1 else "no"
    return answer, f"{_count(len(pairs), 'pair')}: {_listed(pairs)}."


def _points(evidence: Evidence) -> _Verdict:
    sparse = [row for row in evidence.pruned if row["requested_density"] < 1]
    curves = [{row["requested_density"] for row in rows} for rows in _curves(sparse)]
    if not curves:
        return _NOTHING
    fewest = min(map(len, curves))
    reached = [1 / min(curve) for curve in curves]
    extreme = sum(most >= EXTREME for most in reached)
    text = (
        f"At least {_count(fewest, 'point')} on each of {_count(len(curves), 'curve')}; "
        f"{extreme} of them reach {EXTREME}× compression (the farthest {max(reached):,.3g}×)."
    )
    enough = fewest >= POINTS, extreme == len(curves)
    return "yes" if all(enough) else "partly" if any(enough) or extreme else "no", text


def _sizes(evidence: Evidence) -> _Verdict:
    rows = _having(evidence.pruned, "density", "flops", "kept_flops")
    return _share(
        len(rows), len(evidence.pruned), "pruned trials store both, counted on their masks"
    )


def _tops(evidence: Evidence) -> _Verdict:
    rows = _having(evidence.trained, "accuracy", "top5")
    return _share(len(rows), len(evidence.trained), "trained trials have both on the test set")


def _change(evidence: Evidence) -> _Verdict:
    rows = _having(evidence.trained, "accuracy", "delta")
    return _share(
        len(rows),
        len(evidence.trained),
        "trained trials have a dense run of the same replicate and recipe to be compared with",
    )


def _random_baseline(evidence: Evidence) -> _Verdict:
    kinds = {
        "random over the whole network": lambda row: row["method"] == "random",
        "random with a method's layer densities (shuffled)": lambda row: (
            row["ablation"] == "shuffle" and row["method"] != "random"
        ),
    }
    return _baselines(evidence.pruned, kinds)


def _magnitude_baseline(evidence: Evidence) -> _Verdict:
    kinds = {
        "magnitude with one threshold": lambda row: _is_magnitude(row) and row["scope"] == "global",
        "magnitude layer by layer": lambda row: _is_magnitude(row) and row["scope"] == "layerwise",
    }
    return _baselines(evidence.pruned, kinds)


def _replicates(evidence: Evidence) -> _Verdict:
    counts = _replicate_counts(evidence.pruned)
    if not counts:
        return _NOTHING
    low, high = min(counts), max(counts)
    text = f"n = {low}" if low == high else f"n = {low} to {high}"
    answer: Answer = "yes" if low >= REPLICATES else "partly" if high > 1 else "no"
    return answer, f"{text} at {_count(len(counts), 'point')}."


def _spread(evidence: Evidence) -> _Verdict:
    counts = _replicate_counts(_having(evidence.trained, "accuracy"))
    shown = sum(n > 1 for n in counts)
    return _share(shown, len(counts), "points have the replicates for a standard deviation")


def _validation(evidence: Evidence) -> _Verdict:
    held_out = _having(evidence.trained, "val_accuracy")
    if evidence.trained and not held_out:
        return "no", "Nothing was held out (`eval: [train, val, test]`): use no step but the last."
    rows = [{**row, "apart": None} for row in evidence.trained]
    chosen = {m: c & set(RECIPE) for m, c in varying(rows).items() if c & set(RECIPE)}
    if chosen and len(held_out) == len(evidence.trained):
        words = "; ".join(f"{m} by {_listed(sorted(columns))}" for m, columns in chosen.items())
        return "partly", (
            f"Trials of one method differ ({words}), and tables and figures show test accuracy: "
            "choose among them by val_accuracy."
        )
    return _share(
        len(held_out), len(evidence.trained), "trained trials were evaluated on held-out data"
    )


def _same_recipe(evidence: Evidence) -> _Verdict:
    if not evidence.trained:
        return _NOTHING
    apart = []
    for pair, rows in grouped(evidence.trained, lambda row: of(row, PAIR)).items():
        used = {
            method: {of(row, _RECIPE) for row in members}
            for method, members in grouped(rows, lambda row: row["method"]).items()
        }
        if len({frozenset(recipes) for recipes in used.values()}) > 1:
            apart.append(f"{pair[1]} on {pair[0]}")
    if apart:
        return "no", f"Methods are trained by different recipes in {_listed(apart)}."
    finetuned = {row["finetune"] for row in evidence.trained} - {None}
    if len(finetuned) > 1:
        return "partly", f"Training is the same, fine-tuning is not: {_listed(sorted(finetuned))}."
    return "yes", "All methods of a network and dataset are trained by the same recipes."


def _same_start(evidence: Evidence) -> _Verdict:
    kept = [row for row in evidence.trained if row["ablation"] != "reinit"]
    if not kept:
        return _NOTHING
    starts = grouped(kept, lambda row: of(row, (*PAIR, "width", "replicate")))
    apart = sum(len({row["init_seed"] for row in rows}) > 1 for rows in starts.values())
    text = "methods of a replicate begin from the same initial weights"
    return _share(len(starts) - apart, len(starts), f"replicates: all {text}")


def _stated(evidence: Evidence) -> _Verdict:
    if not evidence.code:
        return _NOTHING
    commits = sorted({str(row["code"] or "no commit") for row in evidence.code})
    torch = sorted({f"torch {row['torch']}" for row in evidence.code if row["torch"]})
    devices = sorted({str(row["device"]) for row in evidence.code if row["device"]})
    clean = not any(commit == "no commit" or commit.endswith("+") for commit in commits)
    text = f"Code {_listed(commits)}; {_listed([*torch, *devices])}; every hyperparameter stored."
    return "yes" if clean and torch and devices else "partly", text


def _all_done(evidence: Evidence) -> _Verdict:
    return _share(len(evidence.done), len(evidence.trials), "trials are done")


def _none_diverged(evidence: Evidence) -> _Verdict:
    if not evidence.trained:
        return _NOTHING
    diverged = sum(bool(row["diverged"]) for row in evidence.trained)
    text = f"{diverged:,} of {_count(len(evidence.trained), 'trained trial')} diverged."
    return ("partly" if diverged else "yes"), text


RULES: dict[str, Callable[[Evidence], _Verdict]] = {
    f"at least {PAIRS} pairs of dataset and network": _pairs,
    f"at least {POINTS} operating points, one extreme": _points,
    "compression and theoretical speed-up": _sizes,
    "top-1 and top-5 accuracy": _tops,
    "dense baseline, and the change to it": _change,
    "random baselines": _random_baseline,
    "magnitude baselines": _magnitude_baseline,
    f"at least {REPLICATES} replicates": _replicates,
    "spread can be shown": _spread,
    "choices made on validation data": _validation,
    "same recipe for all methods": _same_recipe,
    "same initial weights for all methods": _same_start,
    "code, software and hardware stated": _stated,
    "all trials done": _all_done,
    "no run diverged": _none_diverged,
}
"""Rules by the text of their point, in order."""


# ---------------------------------------------------------------- details


def _curves(rows: Iterable[Row]) -> list[list[Row]]:
    key = (*PAIR, "method", "ablation", *SETTING)
    return list(grouped(rows, lambda row: of(row, key)).values())


def _replicate_counts(rows: Iterable[Row]) -> list[int]:
    """Return the number of replicates of each point of each curve."""
    points = (grouped(curve, lambda row: row["requested_density"]) for curve in _curves(rows))
    return [len({row["replicate"] for row in rows}) for by in points for rows in by.values()]


def _having(rows: Iterable[Row], *columns: str) -> list[Row]:
    return [row for row in rows if all(row[column] is not None for column in columns)]


def _share(some: int, total: int, what: str) -> _Verdict:
    if not total:
        return _NOTHING
    answer: Answer = "yes" if some == total else "partly" if some else "no"
    return answer, f"{some:,} of {total:,} {what}."


def _baselines(pruned: Sequence[Row], kinds: dict[str, Callable[[Row], bool]]) -> _Verdict:
    """Return whether every network and dataset has each kind of baseline."""
    if not pruned:
        return _NOTHING
    pairs = grouped(pruned, lambda row: of(row, PAIR)).values()
    counts = {kind: sum(any(map(test, rows)) for rows in pairs) for kind, test in kinds.items()}
    text = "; ".join(
        f"{kind}: {'yes' if n == len(pairs) else f'in {n} of {len(pairs)} pairs' if n else 'no'}"
        for kind, n in counts.items()
    )
    whole = all(n == len(pairs) for n in counts.values())
    return "yes" if whole else "partly" if any(counts.values()) else "no", _sentence(text)


def _is_magnitude(row: Row) -> bool:
    return str(row["method"]) in ("magnitude", "magnitude_after_training")


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _listed(names: Sequence[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
