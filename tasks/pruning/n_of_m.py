"""N:M sparsity: in every block of m weights the n best are kept (Mishra et al. 2021)."""

import torch
from torch import Tensor

from tasks.masks import Kept, Scores


def n_of_m(scores: Scores, n: int, m: int) -> tuple[Kept, tuple[str, ...]]:
    """Keep the n largest scores of each m along the inputs, ties to the lower index.

    Blocks run over input features of a linear layer, and over input channels of a
    convolution at each position of its kernel: the dimension that sparse tensor cores
    reduce. A tensor whose inputs do not divide by m stays dense and is named in the second
    value, such as a first convolution on three channels.
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
