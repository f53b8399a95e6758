"""Published curves, and those with the problems and methods of a figure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from analysis import reference
from analysis.selection.selection import grouped, of
from analysis.selection.series import Panel, Point
from analysis.stats import summary
from analysis.style import Dashes
from tombola.errors import PublishedError

LINE: Dashes = (0, (1, 1.4))
"""Line of published curves beside computed ones."""


@dataclass(frozen=True)
class Curve:
    """Published curve of a method, densest point first: means and extremes, per cent.

    Names are those of the reference, or ours after `translated`.
    """

    reference: str
    dataset: str
    network: str
    method: str
    points: tuple[Point, ...]

    @property
    def cited(self) -> str:
        """Authors and year."""
        return reference.about(self.reference).cited


def curves(name: str) -> tuple[Curve, ...]:
    """Return the curves of a reference, under its own names, in its order.

    Raises
    ------
    PublishedError
        When the reference has no curves.
    """
    if not reference.about(name).has_curves:
        raise PublishedError(
            f"{name} has no curves; those with curves: {', '.join(reference.drawable())}"
        )
    groups = grouped(
        reference.load(name).to_pylist(),
        lambda row: of(row, ("dataset", "architecture", "method")),
    )
    tidy = []
    for (dataset, network, method), rows in groups.items():
        by_compression = grouped(rows, lambda row: row["log10_compression"])
        points = tuple(
            Point(
                10**-exponent,
                summary([row["test_accuracy_percent"] for row in members], "minmax"),
            )
            for exponent, members in sorted(by_compression.items())
        )
        tidy.append(Curve(name, dataset, network, method, points))
    return tuple(tidy)


def translated(name: str) -> tuple[Curve, ...]:
    """Return the curves of a reference under our names, without networks that we lack."""
    known = reference.about(name)
    named = [(curve, known.ours(curve.dataset, curve.network)) for curve in curves(name)]
    return tuple(replace(curve, dataset=ours[0], network=ours[1]) for curve, ours in named if ours)


def beside(names: Iterable[str], panels: Sequence[Panel]) -> tuple[Curve, ...]:
    """Return published curves of the panels' problems and methods, within their densities."""
    wanted = [
        (panel, {own.method for own in panel.series if own.ablation == "none"}) for panel in panels
    ]
    matches = []
    for curve in (curve for name in names for curve in translated(name)):
        for panel, methods in wanted:
            same = (panel.dataset, panel.network) == (curve.dataset, curve.network)
            if same and curve.method in methods:
                points = tuple(p for p in curve.points if p.density >= _lowest(panel))
                matches.append(replace(curve, points=points))
    return tuple(dict.fromkeys(matches))


def footnote(names: Iterable[str], shown: Sequence[Curve]) -> str:
    """Return the footnote on published numbers: sources, caveats and remarks on shown methods."""
    sentences = []
    for name in dict.fromkeys(names):
        known = reference.about(name)
        methods = {curve.method for curve in shown if curve.reference == name}
        if not methods:
            sentences.append(f" {known.cited} published none of these curves.")
            continue
        remarks = [text for method, text in known.remarks.items() if method in methods]
        text = " ".join([*known.caveats[:1], *remarks])
        sentences.append(f" Published ({known.cited}): {text[0].lower()}{text[1:]}")
    return "".join(sentences)


# ---------------------------------------------------------------- details


def _lowest(panel: Panel) -> float:
    """Return the sparsest density of a panel, with room for rounding."""
    return min(p.density for curve in panel.series for p in curve.points) * 0.99
