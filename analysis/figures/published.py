"""Published curves, and those of them that one's own can be laid beside."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from analysis import reference
from analysis.errors import PublishedError
from analysis.selection import summary
from analysis.selection.selection import grouped, of
from analysis.selection.series import Panel, Point
from analysis.style import Dashes

LINE: Dashes = (0, (1, 1.4))
"""How published curves are drawn where they are beside one's own."""


@dataclass(frozen=True)
class Curve:
    """A method as it was published, densest point first: means and extremes, per cent.

    Its names are the reference's own, or ours once `translated`.
    """

    reference: str
    dataset: str
    network: str
    method: str
    points: tuple[Point, ...]

    @property
    def cited(self) -> str:
        """Who published it: authors and year."""
        return reference.about(self.reference).cited


def curves(name: str) -> tuple[Curve, ...]:
    """The curves of a reference, under its own names, in its order.

    Raises
    ------
    PublishedError
        When it has none.
    """
    if not reference.about(name).has_curves:
        raise PublishedError(
            f"{name} has no curves; those with curves: {', '.join(reference.drawable())}"
        )
    groups = grouped(
        reference.load(name).to_pylist(),
        lambda row: of(row, ("dataset", "architecture", "method")),
    )
    found = []
    for (dataset, network, method), rows in groups.items():
        by_compression = grouped(rows, lambda row: row["log10_compression"])
        points = tuple(
            Point(
                10**-exponent,
                summary([row["test_accuracy_percent"] for row in members], "minmax"),
            )
            for exponent, members in sorted(by_compression.items())
        )
        found.append(Curve(name, dataset, network, method, points))
    return tuple(found)


def translated(name: str) -> tuple[Curve, ...]:
    """Its curves under our names; networks that we do not have (or have twice) are left out."""
    known = reference.about(name)
    named = [(one, known.ours(one.dataset, one.network)) for one in curves(name)]
    return tuple(replace(one, dataset=ours[0], network=ours[1]) for one, ours in named if ours)


def beside(names: Iterable[str], panels: Sequence[Panel]) -> tuple[Curve, ...]:
    """Published curves of the problems and methods that panels show, as far as they reach."""
    wanted = [
        (panel, {one.method for one in panel.series if one.ablation == "none"}) for panel in panels
    ]
    found = []
    for curve in (one for name in names for one in translated(name)):
        for panel, methods in wanted:
            same = (panel.dataset, panel.network) == (curve.dataset, curve.network)
            if same and curve.method in methods:
                points = tuple(p for p in curve.points if p.density >= _lowest(panel))
                found.append(replace(curve, points=points))
    return tuple(dict.fromkeys(found))


def footnote(names: Iterable[str], shown: Sequence[Curve]) -> str:
    """What must be said of the published numbers of these names, of which so much is shown."""
    said = []
    for name in dict.fromkeys(names):
        known = reference.about(name)
        methods = {one.method for one in shown if one.reference == name}
        if not methods:
            said.append(f" {known.cited} published none of these curves.")
            continue
        remarks = [text for method, text in known.remarks.items() if method in methods]
        text = " ".join([*known.caveats[:1], *remarks])
        said.append(f" Published ({known.cited}): {text[0].lower()}{text[1:]}")
    return "".join(said)


# ---------------------------------------------------------------- details


def _lowest(panel: Panel) -> float:
    """The sparsest density of a panel, less what rounding may have taken."""
    return min(p.density for one in panel.series for p in one.points) * 0.99
