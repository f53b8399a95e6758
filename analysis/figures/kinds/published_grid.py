"""Figure of published curves as they were published: a panel a network and dataset."""

import json
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis import reference, style
from analysis.figures import axes, published
from analysis.figures.facts import BaseFacts
from analysis.figures.published import Curve

_NETWORKS = {
    "resnet18": "ResNet-18",
    "wide_resnet18": "ResNet-18 (published\nas Wide ResNet-18)",
}
_DATASETS = {"tinyimagenet": "Tiny ImageNet"}
_DECADES = 3


@dataclass(frozen=True, kw_only=True)
class Facts(BaseFacts):
    """Facts of the figure: curves under the reference's names; `remarked` methods are marked."""

    curves: tuple[Curve, ...]
    remarked: tuple[str, ...]


def select(name: str) -> Facts:
    """Select all curves of a reference.

    Raises
    ------
    PublishedError
        When there is no such reference, or it has no curves.
    """
    curves = published.curves(name)
    known = reference.about(name)
    counts = {p.shown.n for curve in curves for p in curve.points}
    return Facts(
        curves=curves,
        remarked=tuple(known.remarks),
        note=f"Numbers of {known.cited} ({known.source}). Mean of {min(counts)} replicates, band "
        "minimum to maximum. "
        + " ".join([*known.caveats, *(f"* {text}" for text in known.remarks.values())]),
        width=style.WIDTHS["iclr"],
    )


def about(name: str) -> str:
    """Return the provenance as JSON: reference, file, SHA-256 and version of the code."""
    try:
        code = version("tombola")
    except PackageNotFoundError:
        code = "not installed"
    known = reference.about(name)
    return json.dumps(
        {
            "figure": f"reference {name}",
            "source": known.source,
            "file": known.file,
            "sha256": reference.sha256_of(name),
            "code": [code],
        },
        sort_keys=True,
    )


def draw(facts: Facts) -> Figure:
    """Draw a line of panels for each dataset, a column for each network."""
    datasets = sorted(dict.fromkeys(curve.dataset for curve in facts.curves))
    networks = sorted(dict.fromkeys(curve.network for curve in facts.curves), key=_order)
    methods = {curve.method for curve in facts.curves}
    handles = [axes.handle(_look(m, facts)) for m in style.METHODS if m in methods]
    frame = axes.Frame(facts.width, None, facts.note, handles)
    shape = len(datasets), len(networks)
    figure, body, lines = axes.sheet(shape, 1.25, frame, sharex=True, sharey="row")
    for row, dataset in zip(lines, datasets, strict=True):
        for ax, network in zip(row, networks, strict=True):
            for curve in facts.curves:
                if (curve.dataset, curve.network) == (dataset, network):
                    thin = {"linewidth": 0.9, "markersize": 2.0, "markeredgewidth": 0.6}
                    axes.curve(ax, curve.points, _look(curve.method, facts), **thin)
            _compression(ax)
            ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        row[0].set_ylabel(_DATASETS.get(dataset, style.DATASETS.get(dataset, dataset)))
    for ax, network in zip(lines[0], networks, strict=True):
        ax.set_title(_NETWORKS.get(network, style.NETWORKS.get(network, network)), fontsize=8.5)
    body.supxlabel("Compression (prunable weights / weights kept)", fontsize=9)
    body.supylabel("Best-epoch top-1 test accuracy (%)", fontsize=9)
    return figure


# ---------------------------------------------------------------- details


def _look(method: str, facts: Facts) -> style.Look:
    """Return our look of a method; dashed and with a star if the method has a remark."""
    look = style.look(method)
    if method not in facts.remarked:
        return look
    return replace(look, line="--", label=f"{look.label}*")


def _order(network: str) -> tuple[int, str]:
    """Return the sort key of a network: VGG, then ResNet, then Wide ResNet."""
    return [network.startswith(p) for p in ("vgg", "resnet", "wide")].index(True), network


def _compression(ax: Axes) -> None:
    """Set a log axis of density with ticks named by compression."""
    ax.set_xscale("log")
    ax.set_xlim(1.25, 10**-_DECADES / 1.25)
    ax.set_xticks([10.0**-n for n in range(_DECADES + 1)], [f"{10**n}" for n in range(4)])
    ax.set_xticks([], minor=True)
