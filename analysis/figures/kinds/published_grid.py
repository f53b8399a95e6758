"""Published curves drawn again as they were published: a panel for each network and dataset."""

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
    """What is drawn: curves under the reference's own names; methods with remarks are marked."""

    curves: tuple[Curve, ...]
    remarked: tuple[str, ...]


def select(name: str) -> Facts:
    """All curves of a reference.

    Raises
    ------
    PublishedError
        When there is no such reference, or it has no curves.
    """
    curves = published.curves(name)
    known = reference.about(name)
    counts = {p.shown.n for one in curves for p in one.points}
    return Facts(
        curves=curves,
        remarked=tuple(known.remarks),
        note=f"Numbers of {known.cited} ({known.source}). Mean of {min(counts)} replicates, band "
        "minimum to maximum. "
        + " ".join([*known.caveats, *(f"* {text}" for text in known.remarks.values())]),
        width=style.WIDTHS["iclr"],
    )


def about(name: str) -> str:
    """JSON: the reference, its file with its SHA-256, and the version of the code."""
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
    """A line of panels for each dataset, a column for each network."""
    datasets = sorted(dict.fromkeys(one.dataset for one in facts.curves))
    networks = sorted(dict.fromkeys(one.network for one in facts.curves), key=_order)
    there = {one.method for one in facts.curves}
    handles = [axes.handle(_look(m, facts)) for m in style.METHODS if m in there]
    frame = axes.Frame(facts.width, None, facts.note, handles)
    shape = len(datasets), len(networks)
    figure, body, lines = axes.sheet(shape, 1.25, frame, sharex=True, sharey="row")
    for row, dataset in zip(lines, datasets, strict=True):
        for ax, network in zip(row, networks, strict=True):
            for one in facts.curves:
                if (one.dataset, one.network) == (dataset, network):
                    thin = {"linewidth": 0.9, "markersize": 2.0, "markeredgewidth": 0.6}
                    axes.curve(ax, one.points, _look(one.method, facts), **thin)
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
    """Ours; dashed and starred where the numbers cannot be shown without a remark."""
    look = style.look(method)
    if method not in facts.remarked:
        return look
    return replace(look, line="--", label=f"{look.label}*")


def _order(network: str) -> tuple[int, str]:
    """Plain networks first, then residual, then the one that was named wide."""
    return [network.startswith(p) for p in ("vgg", "resnet", "wide")].index(True), network


def _compression(ax: Axes) -> None:
    """Densities on a log axis, called by the compression that they are."""
    ax.set_xscale("log")
    ax.set_xlim(1.25, 10**-_DECADES / 1.25)
    ax.set_xticks([10.0**-n for n in range(_DECADES + 1)], [f"{10**n}" for n in range(4)])
    ax.set_xticks([], minor=True)
