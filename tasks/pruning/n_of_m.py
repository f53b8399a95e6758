"""N:M sparsity: keep the n best of each block of m weights (Mishra et al. 2021)."""

import torch
from torch import Tensor

from tasks.masks import Kept, Scores


def n_of_m(scores: Scores, n: int, m: int) -> tuple[Kept, tuple[str, ...]]:
    """Keep the n largest scores of each block of m along the inputs, ties to the lower index.

    Blocks run over the input features of a linear layer, and over the input channels of a
    convolution at each position of its kernel. This is the dimension that sparse tensor cores
    reduce. A tensor whose number of inputs is no multiple of m stays dense, such as a first
    convolution on three channels. The second value names these tensors.
    """
    whole = tuple(name for name in sorted(scores) if scores[name].shape[1] % m)
    kept = {
        name: torch.ones_like(tensor, dtype=torch.bool) if name in whole else _blocks(tensor, n, m)
        for name, tensor in scores.items()
    }
    return kept, whole


def _blocks(scores: Tensor, n: int, m: int) -> Tensor:
    last = scores.detach().movedim(1, -1)
    blocks = last.reshape(-1, m)
    order = torch.sort(blocks, dim=1, descending=True, stable=True).indices
    chosen = torch.zeros_like(blocks, dtype=torch.bool).scatter_(1, order[:, :n], value=True)
    return chosen.reshape(last.shape).movedim(-1, 1).contiguous()
