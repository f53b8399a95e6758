"""Augmentation on the device, from draws made on the CPU: the same on every device."""

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
    """How the images of one batch are augmented: a function of seed, purpose and index.

    Of the whole batch's draws, those of each `stride`-th image from the `first` are given.
    """

    how: Augment
    size: int
    seed: int
    purpose: str
    index: int
    first: int = 0
    stride: int = 1

    def uniform(self, each: int) -> random_streams.FloatArray:
        """(each, images) draws from [0, 1)."""
        drawn = random_streams.uniform(each * self.size, self.seed, self.purpose, self.index)
        return drawn.reshape(each, self.size)[:, self.first :: self.stride]

    def boxes(self) -> random_streams.FloatArray:
        """(4, images): top, left, height and width of a random crop, fractions of the image.

        A tenth to all of the area, sides in a ratio of 3/4 to 4/3 (Szegedy et al. 2015,
        section 6; OpenLTH's scale); a side that would be longer than the image is the image's.
        """
        area, ratio, top, left, _ = self.uniform(5)
        area, ratio = 0.1 + 0.9 * area, np.exp(np.log(4 / 3) * (2 * ratio - 1))
        height, width = np.minimum(np.sqrt(area / ratio), 1), np.minimum(np.sqrt(area * ratio), 1)
        return np.stack([top * (1 - height), left * (1 - width), height, width])

    def offsets(self) -> random_streams.IntArray:
        """(2, images): top and left of a crop within the padded image, in pixels."""
        return (self.uniform(3)[:2] * (2 * PADDING + 1)).astype(np.int64)

    def flips(self) -> np.ndarray:
        """(images,) bool: half of the images are mirrored."""
        each = {"flip": 1, "crop_flip": 3, "resized_crop_flip": 5}[self.how]
        flips: np.ndarray = self.uniform(each)[-1] < 0.5
        return flips


def augmented(images: Tensor, draws: Draws) -> Tensor:
    """`images` (examples, channels, height, width), floats, each augmented by its own draw."""
    flips = torch.from_numpy(draws.flips()).to(images.device)
    if draws.how == "crop_flip":
        images = _cropped(images, draws)
    elif draws.how == "resized_crop_flip":
        images = _resized(images, draws)
    return torch.where(flips[:, None, None, None], images.flip(-1), images)


def _cropped(images: Tensor, draws: Draws) -> Tensor:
    """Padded with zeros and cropped to the same size, all at once by index arithmetic."""
    examples, _, height, width = images.shape
    top, left = torch.from_numpy(draws.offsets()).to(images.device)
    rows = top[:, None] + torch.arange(height, device=images.device)
    columns = left[:, None] + torch.arange(width, device=images.device)
    number = torch.arange(examples, device=images.device)
    padded = pad(images, (PADDING,) * 4).permute(0, 2, 3, 1)
    cropped = padded[number[:, None, None], rows[:, :, None], columns[:, None, :]]
    return cropped.permute(0, 3, 1, 2)


def _resized(images: Tensor, draws: Draws) -> Tensor:
    """Crops of any size brought back to the image's, bilinearly."""
    top, left, height, width = torch.from_numpy(draws.boxes()).float().to(images.device)
    theta = torch.zeros(len(images), 2, 3, device=images.device)
    theta[:, 0, 0], theta[:, 0, 2] = width, 2 * left + width - 1
    theta[:, 1, 1], theta[:, 1, 2] = height, 2 * top + height - 1
    grid = affine_grid(theta, list(images.shape), align_corners=False)
    return grid_sample(images, grid, padding_mode="border", align_corners=False)
