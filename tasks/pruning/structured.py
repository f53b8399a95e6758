"""Prune whole units (neurons and channels), and build the smaller network.

torch-pruning's dependency graph finds the parts that must be removed together: a filter, its
bias and norm, the inputs of the layers that read it, and the units that a residual sum couples.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from tasks.masks import Kept
from tasks.measures import layers
from tasks.networks.build import Weights, loaded, prunable
from tasks.values.training import Network


def unit_mask(
    network: Network,
    weights: Weights,
    density: float,
    norm: Literal["l1", "l2"] = "l1",
    scope: Literal["global", "layerwise"] = "global",
) -> Kept:
    """Return the mask of the weights of the strongest units (Li et al. 2017, section 3.1).

    The strength of a unit is the norm of its incoming weights, summed over the layers that a
    residual sum couples. With the global scope it is divided by the root of their number, to
    make layers comparable. `density` is the share of units kept, in each group or overall; each
    group keeps at least one. The logits are never pruned.
    """
    graph = _Graph(network, weights)
    strengths = [_strength(group, norm, scale=scope == "global") for group in graph.groups]
    keeps = _layerwise(strengths, density)
    if scope == "global":
        keeps = _global(strengths, density)
    kept = {n: torch.ones(weights[n].shape, dtype=torch.bool) for n in prunable(graph.module)}
    for group, keep in zip(graph.groups, keeps, strict=True):
        graph.cut(kept, group, (~keep).nonzero().flatten().tolist())
    device = weights[next(iter(kept))].device
    return {name: tensor.to(device) for name, tensor in kept.items()}


def shrink(network: Network, weights: Weights, kept: Kept) -> tuple[nn.Module, Weights]:
    """Return the network without the units that keep no incoming weight, on the CPU.

    In evaluation it gives the outputs of the masked network with the bias, scale and shift of
    the removed units set to 0.
    """
    graph = _Graph(network, weights)
    with torch.no_grad():
        for name, tensor in graph.module.named_parameters():
            if name in kept:
                tensor.mul_(kept[name].to(tensor))
    for group in graph.groups:
        gone = torch.ones(_units(group), dtype=torch.bool)
        for item, name in graph.outputs(group):
            dead = ~kept[name].cpu().flatten(1).any(dim=1)
            gone[item.root_idxs] &= dead[item.idxs]
        if gone.any() and not gone.all():
            graph.remove(group, gone.nonzero().flatten().tolist())
    return graph.module, {n: t.detach() for n, t in graph.module.state_dict().items()}


class _Graph:
    """A network with weights, and its groups of units that must be removed together."""

    def __init__(self, network: Network, weights: Weights) -> None:
        import torch_pruning

        self.module = loaded(network, {name: t.cpu() for name, t in weights.items()}).eval()
        self._names = {child: name for name, child in self.module.named_modules()}
        self._graph = torch_pruning.DependencyGraph().build_dependency(
            self.module, torch.ones(1, *network.input_shape)
        )
        logits = layers.dense_layers(network)[-1].layer.removesuffix(".weight")
        self.groups: list[Any] = list(
            self._graph.get_all_groups(
                ignored_layers=[self.module.get_submodule(logits)],
                root_module_types=[nn.Conv2d, nn.Linear],
            )
        )

    def outputs(self, group: Any) -> list[tuple[Any, str]]:
        """List the items of a group that are output units of a prunable tensor, with its name."""
        return [(item, name) for item, name in self._prunable(group) if self._is_output(item)]

    def cut(self, kept: Kept, group: Any, units: list[int]) -> None:
        """Mask units of a group: their filters, and the inputs of the layers that read them."""
        if not units:
            return
        for item, name in self._prunable(self._part(group, units)):
            if self._is_output(item):
                kept[name][item.idxs] = False
            else:
                kept[name][:, item.idxs] = False

    def remove(self, group: Any, units: list[int]) -> None:
        """Remove units of a group from the network."""
        self._part(group, units).prune()

    def _part(self, group: Any, units: list[int]) -> Any:
        root = group[0].dep
        return self._graph.get_pruning_group(root.target.module, root.handler, units)

    def _prunable(self, group: Any) -> list[tuple[Any, str]]:
        return [
            (item, f"{self._names[item.dep.target.module]}.weight")
            for item in group
            if isinstance(item.dep.target.module, nn.Conv2d | nn.Linear)
        ]

    def _is_output(self, item: Any) -> bool:
        return bool(self._graph.is_out_channel_pruning_fn(item.dep.handler))


def _units(group: Any) -> int:
    return len(group[0].idxs)


def _strength(group: Any, norm: Literal["l1", "l2"], *, scale: bool) -> Tensor:
    """Return the strength of each unit of a group, in the order of the group's first layer."""
    total, numbers = torch.zeros(_units(group), dtype=torch.float64), 0
    for item in group:
        layer = item.dep.target.module
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            continue
        if "out" not in item.dep.handler.__name__:
            continue
        rows = layer.weight.detach().double().flatten(1)
        order = 1 if norm == "l1" else 2
        total.index_add_(
            0,
            torch.as_tensor(item.root_idxs),
            torch.linalg.vector_norm(rows, ord=order, dim=1)[item.idxs],
        )
        numbers += rows.shape[1]
    return total / numbers**0.5 if scale and numbers else total


def _layerwise(strengths: list[Tensor], density: float) -> list[Tensor]:
    return [_best(s, max(1, round(density * len(s)))) for s in strengths]


def _global(strengths: list[Tensor], density: float) -> list[Tensor]:
    """Select the strongest units of all groups, and at least the best of each group."""
    first = [_best(s, 1) for s in strengths]
    units = torch.cat([s.masked_fill(f, torch.inf) for s, f in zip(strengths, first, strict=True)])
    keep = max(len(strengths), round(density * len(units)))
    return list(torch.split(_best(units, keep), [len(s) for s in strengths]))


def _best(strengths: Tensor, keep: int) -> Tensor:
    """Return a bool tensor of the `keep` strongest units, ties to the lower index."""
    order = torch.sort(strengths, descending=True, stable=True).indices
    chosen = torch.zeros(len(strengths), dtype=torch.bool)
    chosen[order[:keep]] = True
    return chosen
