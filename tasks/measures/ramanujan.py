"""Ramanujan scores: how well the mask of a layer connects, as a bipartite graph.

Hoang, Liu, Marculescu and Wang 2023, "Revisiting Pruning at Initialization through the Lens
of Ramanujan Graph" (ICLR). The left nodes are the inputs of a layer, for a convolution each
(channel, row, column) of its kernel. The right nodes are its output units. Each kept weight is
an edge.

The eigenvalues of a bipartite graph's adjacency matrix are plus and minus the singular values
of its biadjacency matrix (left, right), and zeros. The largest eigenvalue is therefore the
first singular value. The largest nontrivial eigenvalue, third in absolute value, is the second
singular value.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

LEAST_DEGREE = 3
"""Least mean degree for which Ramanujan graphs are defined, and least size of a subgraph."""


@dataclass(frozen=True)
class Ramanujan:
    """Scores of one layer's graph, without units; a larger score is a better expander.

    delta_regular   Δr = √(d_l − 1) + √(d_r − 1) − μ̂, where d are the mean degrees of the two
                    sides; the graph is Ramanujan if Δr is not negative
    delta_spectral  Δs = 2 √(μ₀ − 1) − μ̂
    imdb            iterative mean difference of bound: mean Δr of the left-regular subgraphs
    imdb_normalised mean of Δr divided by its bound √(d_l − 1) + √(d_r − 1), over the same
    random_bound    normalised random coefficient (NaRC); a random graph has at most 0

    μ₀ and μ̂ are the largest and the largest nontrivial eigenvalue. The two IMDB scores are
    None if no subgraph is large enough.
    """

    delta_regular: float
    delta_spectral: float
    imdb: float | None
    imdb_normalised: float | None
    random_bound: float


@dataclass(frozen=True)
class _Graph:
    """Sizes and eigenvalues of a biadjacency matrix without nodes of degree 0."""

    left: int
    right: int
    edges: int
    largest: float
    nontrivial: float

    @property
    def bound(self) -> float:
        return sqrt(self.edges / self.left - 1) + sqrt(self.edges / self.right - 1)


def ramanujan(kept: Tensor) -> Ramanujan | None:
    """Score a bool mask (outputs, inputs) or (outputs, channels, height, width).

    Nodes without an edge are ignored. The result is None if the mean degree of a side is below
    3, where the bounds are not defined. Singular values are computed in float64, exact to about
    1e-13 × μ₀.
    """
    biadjacency = kept.flatten(1).T.double()
    graph = _graph(biadjacency)
    if graph is None:
        return None
    parts = [part for part in map(_graph, _left_regular(biadjacency)) if part is not None]
    gaps = [part.bound - part.nontrivial for part in parts]
    shares = [gap / part.bound for gap, part in zip(gaps, parts, strict=True)]
    return Ramanujan(
        delta_regular=graph.bound - graph.nontrivial,
        delta_spectral=2 * sqrt(graph.largest - 1) - graph.nontrivial,
        imdb=sum(gaps) / len(gaps) if gaps else None,
        imdb_normalised=sum(shares) / len(shares) if shares else None,
        random_bound=_random_bound(graph, *biadjacency.shape),
    )


def _graph(biadjacency: Tensor) -> _Graph | None:
    """Summarise a graph; None if a side's nodes with edges have a mean degree below 3."""
    live = biadjacency[biadjacency.any(dim=1)][:, biadjacency.any(dim=0)]
    left, right = live.shape
    edges = int(live.sum())
    # A mean degree of 3 needs three nodes on the other side, so two singular values exist.
    if edges == 0 or edges < LEAST_DEGREE * max(left, right):
        return None
    largest, nontrivial = torch.linalg.svdvals(live)[:2].tolist()
    return _Graph(left, right, edges, largest, nontrivial)


def _left_regular(biadjacency: Tensor) -> Iterator[Tensor]:
    """Yield, for each degree that three or more left nodes share, their rows of the matrix."""
    degrees = biadjacency.sum(dim=1)
    for degree, nodes in zip(*torch.unique(degrees, return_counts=True), strict=True):
        if degree > 0 and nodes >= LEAST_DEGREE:
            yield biadjacency[degrees == degree]


def _random_bound(graph: _Graph, inputs: int, outputs: int) -> float:
    """Return ((μ̂²/4 + 1) √(n_l n_r) − |E − (d_l / outputs) n_l n_r|) / (inputs × outputs).

    n counts nodes with edges; inputs and outputs count all nodes. E counts each edge at both
    of its ends, as the authors' code does. Counted once, the second term would be 0 whenever
    each output unit has an edge.
    """
    mixing = (graph.nontrivial**2 / 4 + 1) * sqrt(graph.left * graph.right)
    expected = graph.edges / outputs * graph.right
    return (mixing - abs(2 * graph.edges - expected)) / (inputs * outputs)
