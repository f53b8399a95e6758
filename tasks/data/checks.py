"""Compare the images and labels of a dataset with its facts, once, when it is loaded.

A dataset function returns images and labels. Images are an array or tensor (examples, channels,
height, width) of bytes, or of floats from 0 to 1. Floats that are normalised already need facts
with mean 0 and std 1. Labels are an array, tensor or list of whole numbers from 0 to classes - 1.
"""

from collections.abc import Sized
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tasks.values.catalog import DatasetFacts

SLACK = 1e-3
"""Distance by which floats may lie outside 0 to 1: resizing overshoots by rounding."""

NORMALISED = 64.0
"""Bound of the absolute value of normalised pixels; pixels from 0 to 255 exceed it."""


def checked(found: Any, facts: DatasetFacts, *, counted: int | None) -> tuple[Any, Tensor]:
    """Return images as a tensor (or `Images` read from files) and labels (examples,) int64.

    `counted` is the expected number of examples; None accepts any.

    Raises
    ------
    ValueError
        When they do not fit each other or the facts; the message says what would be right.
    """
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise ValueError(f"gives {_kind(found)}; right: a pair, images and labels")
    images, labels = found[0], _labels(found[1], facts.classes)
    if isinstance(images, np.ndarray | Tensor):
        images = _pixels(images, facts)
    elif isinstance(images, Sized) and hasattr(images, "take"):
        _check_shape(images.take(torch.arange(min(1, len(images))), None), facts)
    else:
        raise ValueError(f"gives images as {_kind(images)}; right: one array or tensor")
    if len(images) != len(labels):
        raise ValueError(f"gives {len(images)} images and {len(labels)} labels")
    if not len(labels):
        raise ValueError("gives no examples")
    if counted is not None and len(labels) != counted:
        raise ValueError(f"gives {len(labels)} examples, and its facts say {counted}")
    return images, labels


def _labels(found: Any, classes: int) -> Tensor:
    right = f"right: one whole number from 0 to {classes - 1} for each image"
    try:
        labels = torch.as_tensor(found)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"gives labels as {_kind(found)}; {right}") from None
    if labels.ndim == 2 and labels.shape[1] == classes:
        raise ValueError(f"gives labels of shape {_shape(labels)} (one-hot?); right: argmax(1)")
    if labels.ndim != 1:
        raise ValueError(f"gives labels of shape {_shape(labels)}; {right}")
    if len(labels) and (labels.is_floating_point() or labels.is_complex()):
        raise ValueError(f"gives labels of {_type(labels)}; {right}")
    labels = labels.to(torch.int64)
    if len(labels) and (int(labels.min()) < 0 or int(labels.max()) >= classes):
        span = f"{int(labels.min())} to {int(labels.max())}"
        from_one = (int(labels.min()), int(labels.max())) == (1, classes)
        hint = "; right: labels - 1" if from_one else ""
        raise ValueError(
            f"gives labels from {span}, and {classes} classes are 0 to {classes - 1}{hint}"
        )
    return labels


def _pixels(found: Any, facts: DatasetFacts) -> Tensor:
    try:
        pixels = torch.as_tensor(found)
    except TypeError:
        raise ValueError(
            f"gives images of type {found.dtype}; right: uint8, or floats from 0 to 1"
        ) from None
    _check_shape(pixels, facts)
    if pixels.dtype == torch.uint8:
        return pixels
    if not pixels.is_floating_point():
        raise ValueError(f"gives images of {_type(pixels)}; right: uint8, or floats from 0 to 1")
    if len(pixels):
        _check_floats(pixels, facts)
    return pixels


def _check_shape(pixels: Tensor, facts: DatasetFacts) -> None:
    shape, wanted = tuple(pixels.shape[1:]), tuple(facts.input_shape)
    if pixels.ndim == 0 or (len(pixels) and shape != wanted):
        raise ValueError(
            f"gives images of shape {_shape(pixels)}, and its facts say (examples, "
            f"{', '.join(map(str, wanted))}){_hint(shape, wanted)}"
        )


def _check_floats(pixels: Tensor, facts: DatasetFacts) -> None:
    low, high = (float(bound) for bound in torch.aminmax(pixels))
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError("gives images that are not finite everywhere (nan or infinity)")
    standard = all(m == 0 for m in facts.mean) and all(s == 1 for s in facts.std)
    if standard and max(-low, high) < NORMALISED:
        return
    if low < -SLACK or high > 1 + SLACK:
        hint = "images / 255" if low >= 0 and 1 < high <= 255 else "floats from 0 to 1"
        raise ValueError(
            f"gives floats from {low:.4g} to {high:.4g}; right: {hint} (images that are "
            "normalised already have facts with mean 0 and std 1)"
        )


def _hint(shape: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    channels, height, width = wanted
    if shape == (height, width, channels):
        return "; channels come first: transpose(0, 3, 1, 2)"
    if shape == (height, width) and channels == 1:
        return "; right: images[:, None]"
    return ""


def _kind(found: Any) -> str:
    kind = type(found)
    if isinstance(found, torch.utils.data.Dataset):
        return f"a Dataset ({kind.__name__})"
    return f"a tuple of {len(found)}" if isinstance(found, tuple) else kind.__name__


def _shape(tensor: Tensor) -> str:
    return f"({', '.join(map(str, tensor.shape))})"


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
