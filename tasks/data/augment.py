"""Augmentation on the device, from draws made on the CPU, so it is the same on each device."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, pad

from tasks import random_streams
from tasks.values.training import Augment

PADDING = 4
"""Pixels of zeros around an image before it is cropped (He et al. 2016, section 4.2)."""


@dataclass(frozen=True)
class Draws:
    """Random choices of the augmentation of one batch, by seed, purpose and index.

    They are drawn for the whole batch of `size` images. Methods return those of each
    `stride`-th image, beginning with the `first`.
    """

    how: Augment
    size: int
    seed: int
    purpose: str
    index: int
    first: int = 0
    stride: int = 1

    def uniform(self, each: int) -> random_streams.FloatArray:
        """Return draws (each, images) from [0, 1)."""
        drawn = random_streams.uniform(each * self.size, self.seed, self.purpose, self.index)
        return drawn.reshape(each, self.size)[:, self.first :: self.stride]

    def boxes(self) -> random_streams.FloatArray:
        """Return random crops (4, images): top, left, height, width, as fractions of the image.

        A crop covers 0.1 to 1 of the area, with sides in a ratio of 3/4 to 4/3 (Szegedy et al.
        2015, section 6; OpenLTH's scale). A side is at most that of the image.
        """
        area, ratio, top, left, _ = self.uniform(5)
        area, ratio = 0.1 + 0.9 * area, np.exp(np.log(4 / 3) * (2 * ratio - 1))
        height, width = np.minimum(np.sqrt(area / ratio), 1), np.minimum(np.sqrt(area * ratio), 1)
        return np.stack([top * (1 - height), left * (1 - width), height, width])

    def offsets(self) -> random_streams.IntArray:
        """Return top and left (2, images) of crops within the padded images, in pixels."""
        return (self.uniform(3)[:2] * (2 * PADDING + 1)).astype(np.int64)

    def flips(self) -> np.ndarray:
        """Return which images are mirrored, (images,) bool, each with probability 1/2."""
        each = {"flip": 1, "crop_flip": 3, "resized_crop_flip": 5}[self.how]
        flips: np.ndarray = self.uniform(each)[-1] < 0.5
        return flips


def augmented(images: Tensor, draws: Draws) -> Tensor:
    """Return images (examples, channels, height, width), floats, each augmented by its draws."""
    flips = torch.from_numpy(draws.flips()).to(images.device)
    if draws.how == "crop_flip":
        images = _cropped(images, draws)
    elif draws.how == "resized_crop_flip":
        images = _resized(images, draws)
    return torch.where(flips[:, None, None, None], images.flip(-1), images)


def _cropped(images: Tensor, draws: Draws) -> Tensor:
    """Pad images with zeros and crop them to their size, all at once by index arithmetic."""
    examples, _, height, width = images.shape
    top, left = torch.from_numpy(draws.offsets()).to(images.device)
    rows = top[:, None] + torch.arange(height, device=images.device)
    columns = left[:, None] + torch.arange(width, device=images.device)
    number = torch.arange(examples, device=images.device)
    padded = pad(images, (PADDING,) * 4).permute(0, 2, 3, 1)
    cropped = padded[number[:, None, None], rows[:, :, None], columns[:, None, :]]
    return cropped.permute(0, 3, 1, 2)


def _resized(images: Tensor, draws: Draws) -> Tensor:
    """Resize random crops to the size of the image, bilinearly."""
    top, left, height, width = torch.from_numpy(draws.boxes()).float().to(images.device)
    theta = torch.zeros(len(images), 2, 3, device=images.device)
    theta[:, 0, 0], theta[:, 0, 2] = width, 2 * left + width - 1
    theta[:, 1, 1], theta[:, 1, 2] = height, 2 * top + height - 1
    grid = affine_grid(theta, list(images.shape), align_corners=False)
    return grid_sample(images, grid, padding_mode="border", align_corners=False)
