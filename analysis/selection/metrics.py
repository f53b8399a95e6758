"""Metrics that figures and tables show, with their units."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A column of `trials`, and the column `dense` of the dense run, if there is one.

    `scale` converts the stored unit to the shown one. `takes` says what a sweep needs to have the
    metric. `sign` is −1 if less is better. Tables show `digits` decimals. `most` is a column of
    `trials` with the largest possible value.
    """

    column: str
    label: str
    scale: float = 1.0
    dense: str | None = None
    bounds: tuple[float, float] = (float("-inf"), float("inf"))
    takes: str = "trials that are trained"
    sign: int = 1
    digits: int = 2
    most: str | None = None


_PERCENT = (0.0, 100.0)
_VAL = "`eval: [train, val, test]`"

METRICS = {
    "accuracy": Metric("accuracy", "Test accuracy (%)", 100, "dense_accuracy", _PERCENT),
    "delta": Metric("delta", "Test accuracy − dense (points)", 100),
    "top5": Metric("top5", "Top-5 test accuracy (%)", 100, bounds=_PERCENT),
    "loss": Metric("loss", "Test loss (nats)", sign=-1, digits=3),
    "train_accuracy": Metric("train_accuracy", "Training accuracy (%)", 100, bounds=_PERCENT),
    "val_accuracy": Metric(
        "val_accuracy", "Validation accuracy (%)", 100, bounds=_PERCENT, takes=_VAL
    ),
    "early_stop_step": Metric(
        "early_stop_step",
        "Early-stop iteration",
        bounds=(0.0, float("inf")),
        takes=_VAL,
        sign=-1,
        digits=0,
        most="steps",
    ),
    "early_stop_accuracy": Metric(
        "early_stop_accuracy", "Test accuracy at early stop (%)", 100, None, _PERCENT, _VAL
    ),
    "barrier": Metric(
        "barrier",
        "Error barrier (points)",
        100,
        bounds=(0.0, 100.0),
        takes="grids with `measure: barrier`",
        sign=-1,
    ),
    "effective_density": Metric(
        "effective_density",
        "Effective weights (%)",
        100,
        bounds=_PERCENT,
        takes="masks of networks without recurrent and attention layers",
    ),
    "speedup": Metric("speedup", "Theoretical speed-up (×)", takes="masks"),
}
"""Metric by its name in the option `metric`."""
