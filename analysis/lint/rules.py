"""The rules of the reporting checklist: from a sweep's rows to an answer and its evidence."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from analysis.lint.evidence import PAIR, Evidence, Row
from analysis.selection.selection import grouped, of
from tasks.values.key import described_fields
from tasks.values.training import Recipe
from tombola.store.settings import RECIPE, SETTING, varying

Answer = Literal["yes", "partly", "no", "not answered"]

PAIRS, POINTS, EXTREME, REPLICATES = 3, 5, 32, 3
"""What is asked for: dataset × network pairs, points of a curve, its largest compression
(the end of the range that the paper proposes), and replicates of a point."""


_RECIPE = tuple(described_fields(Recipe))
_Verdict = tuple[Answer, str]
_NOTHING: _Verdict = ("not answered", "No trial is done yet that could tell.")


def _pairs(found: Evidence) -> _Verdict:
    pairs = sorted({f"{row['network']} on {row['dataset']}" for row in found.pruned})
    if not pairs:
        return _NOTHING
    answer: Answer = "yes" if len(pairs) >= PAIRS else "partly" if len(pairs) > 1 else "no"
    return answer, f"{_count(len(pairs), 'pair')}: {_listed(pairs)}."


def _points(found: Evidence) -> _Verdict:
    sparse = [row for row in found.pruned if row["requested_density"] < 1]
    curves = [{row["requested_density"] for row in rows} for rows in _curves(sparse)]
    if not curves:
        return _NOTHING
    fewest = min(map(len, curves))
    reached = [1 / min(curve) for curve in curves]
    extreme = sum(most >= EXTREME for most in reached)
    said = (
        f"At least {_count(fewest, 'point')} on each of {_count(len(curves), 'curve')}; "
        f"{extreme} of them reach {EXTREME}× compression (the farthest {max(reached):,.3g}×)."
    )
    enough = fewest >= POINTS, extreme == len(curves)
    return "yes" if all(enough) else "partly" if any(enough) or extreme else "no", said


def _sizes(found: Evidence) -> _Verdict:
    told = _having(found.pruned, "density", "flops", "kept_flops")
    return _share(len(told), len(found.pruned), "pruned trials store both, counted on their masks")


def _tops(found: Evidence) -> _Verdict:
    told = _having(found.trained, "accuracy", "top5")
    return _share(len(told), len(found.trained), "trained trials have both on the test set")


def _change(found: Evidence) -> _Verdict:
    told = _having(found.trained, "accuracy", "delta")
    return _share(
        len(told),
        len(found.trained),
        "trained trials have a dense run of the same replicate and recipe to be compared with",
    )


def _random_baseline(found: Evidence) -> _Verdict:
    kinds = {
        "random over the whole network": lambda row: row["method"] == "random",
        "random with a method's layer densities (shuffled)": lambda row: (
            row["ablation"] == "shuffle" and row["method"] != "random"
        ),
    }
    return _baselines(found.pruned, kinds)


def _magnitude_baseline(found: Evidence) -> _Verdict:
    kinds = {
        "magnitude with one threshold": lambda row: _is_magnitude(row) and row["scope"] == "global",
        "magnitude layer by layer": lambda row: _is_magnitude(row) and row["scope"] == "layerwise",
    }
    return _baselines(found.pruned, kinds)


def _replicates(found: Evidence) -> _Verdict:
    counts = _replicate_counts(found.pruned)
    if not counts:
        return _NOTHING
    low, high = min(counts), max(counts)
    said = f"n = {low}" if low == high else f"n = {low} to {high}"
    answer: Answer = "yes" if low >= REPLICATES else "partly" if high > 1 else "no"
    return answer, f"{said} at {_count(len(counts), 'point')}."


def _spread(found: Evidence) -> _Verdict:
    counts = _replicate_counts(_having(found.trained, "accuracy"))
    shown = sum(n > 1 for n in counts)
    return _share(shown, len(counts), "points have the replicates for a standard deviation")


def _validation(found: Evidence) -> _Verdict:
    told = _having(found.trained, "val_accuracy")
    if found.trained and not told:
        return "no", "Nothing was held out (`eval: [train, val, test]`): use no step but the last."
    rows = [{**row, "apart": None} for row in found.trained]
    chosen = {m: c & set(RECIPE) for m, c in varying(rows).items() if c & set(RECIPE)}
    if chosen and len(told) == len(found.trained):
        words = "; ".join(f"{m} by {_listed(sorted(columns))}" for m, columns in chosen.items())
        return "partly", (
            f"Trials of one method differ ({words}), and tables and figures show test accuracy: "
            "choose among them by val_accuracy."
        )
    return _share(len(told), len(found.trained), "trained trials were evaluated on held-out data")


def _same_recipe(found: Evidence) -> _Verdict:
    if not found.trained:
        return _NOTHING
    apart = []
    for pair, rows in grouped(found.trained, lambda row: of(row, PAIR)).items():
        used = {
            method: {of(row, _RECIPE) for row in members}
            for method, members in grouped(rows, lambda row: row["method"]).items()
        }
        if len({frozenset(recipes) for recipes in used.values()}) > 1:
            apart.append(f"{pair[1]} on {pair[0]}")
    if apart:
        return "no", f"Methods are trained by different recipes in {_listed(apart)}."
    finetuned = {row["finetune"] for row in found.trained} - {None}
    if len(finetuned) > 1:
        return "partly", f"Training is the same, fine-tuning is not: {_listed(sorted(finetuned))}."
    return "yes", "All methods of a network and dataset are trained by the same recipes."


def _same_start(found: Evidence) -> _Verdict:
    kept = [row for row in found.trained if row["ablation"] != "reinit"]
    if not kept:
        return _NOTHING
    starts = grouped(kept, lambda row: of(row, (*PAIR, "width", "replicate")))
    apart = sum(len({row["init_seed"] for row in rows}) > 1 for rows in starts.values())
    said = "methods of a replicate begin from the same initial weights"
    return _share(len(starts) - apart, len(starts), f"replicates: all {said}")


def _stated(found: Evidence) -> _Verdict:
    if not found.code:
        return _NOTHING
    commits = sorted({str(row["code"] or "no commit") for row in found.code})
    torch = sorted({f"torch {row['torch']}" for row in found.code if row["torch"]})
    devices = sorted({str(row["device"]) for row in found.code if row["device"]})
    clean = not any(commit == "no commit" or commit.endswith("+") for commit in commits)
    said = f"Code {_listed(commits)}; {_listed([*torch, *devices])}; every hyperparameter stored."
    return "yes" if clean and torch and devices else "partly", said


def _all_done(found: Evidence) -> _Verdict:
    return _share(len(found.done), len(found.trials), "trials are done")


def _none_diverged(found: Evidence) -> _Verdict:
    if not found.trained:
        return _NOTHING
    diverged = sum(bool(row["diverged"]) for row in found.trained)
    said = f"{diverged:,} of {_count(len(found.trained), 'trained trial')} diverged."
    return ("partly" if diverged else "yes"), said


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
"""The checklist, in its order."""


# ---------------------------------------------------------------- details


def _curves(rows: Iterable[Row]) -> list[list[Row]]:
    key = (*PAIR, "method", "ablation", *SETTING)
    return list(grouped(rows, lambda row: of(row, key)).values())


def _replicate_counts(rows: Iterable[Row]) -> list[int]:
    """Of each point of each curve."""
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
    """Whether each kind is there for every network and dataset."""
    if not pruned:
        return _NOTHING
    pairs = grouped(pruned, lambda row: of(row, PAIR)).values()
    found = {kind: sum(any(map(is_one, rows)) for rows in pairs) for kind, is_one in kinds.items()}
    said = "; ".join(
        f"{kind}: {'yes' if n == len(pairs) else f'in {n} of {len(pairs)} pairs' if n else 'no'}"
        for kind, n in found.items()
    )
    whole = all(n == len(pairs) for n in found.values())
    return "yes" if whole else "partly" if any(found.values()) else "no", _sentence(said)


def _is_magnitude(row: Row) -> bool:
    return str(row["method"]) in ("magnitude", "magnitude_after_training")


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _listed(names: Sequence[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
