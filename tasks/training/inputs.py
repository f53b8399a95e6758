"""Inputs of a lane, prepared for several iterations at once: the same bits as `batches`.

The device holds the pixels as bytes (padded if they are cropped) and a table of the number that
each byte stands for. The host sends the choice of images, their augmentation and the learning
rates for several iterations at once. It draws them from the random streams of the training loop.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from tasks import random_streams
from tasks.data.augment import PADDING, Draws
from tasks.data.batches import InMemory, Part, Split
from tasks.training.optimizers import Adam
from tasks.training.train import learning_rate
from tasks.values.training import Recipe

AUGMENTATIONS = ("none", "flip", "crop_flip")
"""Augmentations that only choose pixels and compute no new ones."""


class Pixels:
    """A split's images as stored, on their device; lanes share them.

    `stored` (examples, height, width, channels) is padded if the recipe crops. `table`
    (channels × 256,) holds the normalised number of each byte in each channel, computed by the
    operations that normalise a batch. It is None if the pixels are stored as floats.
    """

    def __init__(self, split: Split, recipe: Recipe) -> None:
        self.stored = _resolved(split)
        _, self.channels, self.height, self.width = self.stored.shape
        self.labels, self.crops = split.labels, recipe.augment == "crop_flip"
        self.mirrors = recipe.augment != "none"
        if self.crops:
            self.stored = pad(self.stored, (PADDING,) * 4)
        self.stored = self.stored.permute(0, 2, 3, 1).contiguous()
        self.table = None if self.stored.is_floating_point() else self._worth(split)
        if recipe.precision == "bfloat16":
            if self.table is None:
                self.stored = self.stored.bfloat16()
            else:
                self.table = self.table.bfloat16()
        device = self.labels.device
        self.channels_last = recipe.precision != "float32" or (self.crops and device.type == "cpu")
        """Memory layout of a training batch; the bits of a convolution may depend on it."""
        self.channel = torch.arange(self.channels, device=device) * 256
        self.x = torch.arange(self.width, device=device)
        self.mirrored_x = self.x.flip(0)
        self.y = torch.arange(self.height, device=device)

    def _worth(self, split: Split) -> Tensor:
        levels = torch.arange(256, dtype=torch.uint8, device=self.stored.device).float() / 255
        each = levels.expand(self.channels, 256)[:, :, None]
        if not split.normalised:
            each = (each - split.mean) / split.std
        return each.flatten()


def _resolved(split: Split) -> Tensor:
    """Return the pixels (examples, channels, height, width) of a split or of a part of one."""
    source, chosen = split.source, None
    while isinstance(source, Part):
        chosen = source.chosen if chosen is None else source.chosen[chosen]
        source = source.whole
    assert isinstance(source, InMemory)
    return source.pixels if chosen is None else source.pixels[chosen]


@dataclass(frozen=True)
class Chunk:
    """Choices of some iterations: `whole` (4, iterations, batch) int32, `real` (3, iterations).

    The rows of `whole` are the image numbers, the tops and the lefts of crops, and whether
    images are mirrored. The rows of `real`, float32, are the learning rate and Adam's two
    corrections.
    """

    whole: Tensor
    real: Tensor

    @classmethod
    def empty(cls, iterations: int, batch: int, device: torch.device | None = None) -> "Chunk":
        """Build a chunk of zeros on a device, or else in host memory that a GPU can read."""
        pinned = device is None and torch.cuda.is_available()
        where = "cpu" if device is None else device
        return cls(
            torch.zeros(4, iterations, batch, dtype=torch.int32, device=where, pin_memory=pinned),
            torch.zeros(3, iterations, device=where, pin_memory=pinned),
        )

    def take(self, other: "Chunk") -> None:
        """Copy the choices of another chunk, without making the host wait."""
        self.whole.copy_(other.whole, non_blocking=True)
        self.real.copy_(other.real, non_blocking=True)

    def fill(
        self, recipe: Recipe, examples: int, order_seed: int, steps: range, updates: int
    ) -> None:
        """Write the choices of these steps; the optimizer made `updates` updates before them."""
        whole, real = self.whole.numpy(), self.real.numpy()
        per_epoch, size = -(-examples // recipe.batch_size), recipe.batch_size
        for at, step in enumerate(steps):
            epoch, number = divmod(step, per_epoch)
            chosen = _order(examples, order_seed, epoch)[number * size : (number + 1) * size]
            count = len(chosen)
            whole[0, at, :count] = chosen
            if recipe.augment != "none":
                draws = Draws(recipe.augment, count, order_seed, "augment", step)
                whole[3, at, :count] = draws.flips()
                if recipe.augment == "crop_flip":
                    whole[1:3, at, :count] = draws.offsets()
            real[0, at] = learning_rate(recipe, step)
            if recipe.optimizer == "adam":
                real[1:, at] = Adam.corrections(updates + at + 1)

    def batch(self, pixels: Pixels, at: int, size: int) -> tuple[Tensor, Tensor]:
        """Return the images and labels of the iteration at place `at`."""
        numbers, tops, lefts, flips = self.whole[:, at, :size]
        stored = pixels.stored
        if pixels.mirrors:
            columns = torch.where(flips[:, None] > 0, pixels.mirrored_x, pixels.x)
            rows = pixels.y.expand(size, -1)
            if pixels.crops:
                columns, rows = columns + lefts[:, None], rows + tops[:, None]
            taken = stored[numbers[:, None, None], rows[:, :, None], columns[:, None, :]]
        else:
            taken = stored[numbers]
        if pixels.table is not None:
            taken = torch.take(pixels.table, taken + pixels.channel)
        images = taken.permute(0, 3, 1, 2)
        if not pixels.channels_last:  # strides too: with one channel both layouts look alike
            images = images.reshape(size, -1).view(images.shape)
        return images, pixels.labels[numbers]


@lru_cache(maxsize=64)
def _order(examples: int, seed: int, epoch: int) -> random_streams.IntArray:
    """Return the order of the examples in an epoch; runs of one replicate share it."""
    order = random_streams.permutation(examples, seed, "order", epoch)
    order.flags.writeable = False
    return order


def steps_until_short(recipe: Recipe, examples: int, step: int) -> int:
    """Return the number of whole batches from a step on, before the next short batch."""
    per_epoch, short = -(-examples // recipe.batch_size), examples % recipe.batch_size
    if not short:
        return np.iinfo(np.int64).max
    return per_epoch - 1 - step % per_epoch
