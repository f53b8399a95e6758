"""A small vision transformer."""

from math import sqrt

import torch
from torch import Tensor, nn

from tasks.networks.widths import scaled
from tasks.values.training import Network


class _Attention(nn.Module):
    """Self-attention in plain operations: scores need its second derivatives."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(size)
        self.inputs, self.output = nn.Linear(size, 3 * size), nn.Linear(size, size)

    def forward(self, x: Tensor) -> Tensor:
        examples, tokens, size = x.shape
        qkv = self.inputs(self.norm(x)).reshape(examples, tokens, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        weights = torch.softmax(q @ k.transpose(-1, -2) / sqrt(q.shape[-1]), dim=-1)
        mixed = (weights @ v).transpose(1, 2).reshape(examples, tokens, size)
        out: Tensor = x + self.output(mixed)
        return out


class _Mlp(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(size), nn.Linear(size, 4 * size), nn.GELU(), nn.Linear(4 * size, size)
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.layers(x)
        return out


class _Tokens(nn.Module):
    """Patches as tokens, each with a learned position."""

    def __init__(self, channels: int, size: int, patch: int, tokens: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, size, patch, patch)
        self.position = nn.Parameter(nn.init.normal_(torch.empty(1, tokens, size), std=0.02))

    def forward(self, x: Tensor) -> Tensor:
        tokens: Tensor = self.patches(x).flatten(2).transpose(1, 2) + self.position
        return tokens


class _Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=1)


def vit_small(network: Network) -> nn.Module:
    """Build six blocks of 192 units and three heads on 8 × 8 patches (the width of ViT-Ti).

    Dosovitskiy et al. 2021, with the mean of the tokens in place of a class token (Beyer et al.
    2022, "Better plain ViT baselines").
    """
    channels, height, width = network.input_shape
    size = 3 * scaled(64, network.width)
    patch = max(1, min(height, width) // 8)
    tokens = (height // patch) * (width // patch)
    blocks = [part for _ in range(6) for part in (_Attention(size, 3), _Mlp(size))]
    head = (nn.LayerNorm(size), _Mean(), nn.Linear(size, network.classes))
    return nn.Sequential(_Tokens(channels, size, patch, tokens), *blocks, *head)
