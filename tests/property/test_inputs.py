"""Inputs of a lane equal those of the training loop, bit by bit."""

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.data.batches import Data, InMemory, Split, training_batches
from tasks.training.inputs import AUGMENTATIONS, Chunk, Pixels, steps_until_short
from tasks.training.optimizers import Adam
from tasks.training.train import learning_rate
from tasks.values.training import Cosine, Recipe


@st.composite
def cases(draw: Any) -> tuple[Split, Recipe, int, int]:
    """Draw a split in bytes or floats, perhaps a part of another, a recipe, a seed and a step."""
    examples, channels = draw(st.integers(1, 40)), draw(st.sampled_from((1, 3)))
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    draws = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    shape = (examples, channels, height, width)
    floats = draw(st.booleans())
    pixels = (
        torch.randn(shape, generator=draws)
        if floats
        else torch.randint(256, shape, dtype=torch.uint8, generator=draws)
    )
    mean = torch.rand(channels, 1, 1, generator=draws)
    labels = torch.randint(10, (examples,), generator=draws)
    split = Split(InMemory(pixels), labels, mean, mean + 0.1, floats)
    if draw(st.booleans()):
        for _ in range(draw(st.integers(1, 2))):
            chosen = torch.randperm(len(split), generator=draws)[: max(1, len(split) - 3)]
            split = split.part(chosen)
    recipe = Recipe(
        steps=60,
        batch_size=draw(st.integers(1, 16)),
        lr=0.1,
        evaluate_every=10,
        optimizer=draw(st.sampled_from(("sgd", "adam"))),
        schedule=Cosine(),
        warmup=3,
        augment=draw(st.sampled_from(AUGMENTATIONS)),
    )
    return split, recipe, draw(st.integers(0, 5)), draw(st.integers(0, 50))


@settings(max_examples=150, deadline=None)
@given(cases(), st.integers(1, 8))
def test_chunks_hold_the_batches_of_training(
    case: tuple[Split, Recipe, int, int], length: int
) -> None:
    split, recipe, seed, first = case
    pixels = Pixels(split, recipe)
    chunk = Chunk.empty(length, recipe.batch_size)
    steps = range(first, first + length)
    chunk.fill(recipe, len(split), seed, steps, 4)
    wanted = training_batches(split, recipe, seed, first, steps.stop)
    for at, (step, batch) in enumerate(zip(steps, wanted, strict=True)):
        short = steps_until_short(recipe, len(split), step) == 0
        assert len(batch.labels) == (len(split) % recipe.batch_size if short else recipe.batch_size)
        images, labels = chunk.batch(pixels, at, len(batch.labels))
        assert torch.equal(images, batch.images)
        assert torch.equal(labels, batch.labels)
        rate, *corrections = chunk.real[:, at].tolist()
        assert rate == torch.tensor(learning_rate(recipe, step)).item()
        if recipe.optimizer == "adam":
            assert corrections == torch.tensor(Adam.corrections(5 + at)).tolist()


@given(st.sampled_from(AUGMENTATIONS), st.integers(0, 100))
def test_bfloat16_images_are_the_float32_ones_rounded(augment: str, seed: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (9, 3, 5, 4), dtype=torch.uint8, generator=draws)
    mean = torch.rand(3, 1, 1, generator=draws)
    split = Split(InMemory(pixels), torch.zeros(9, dtype=torch.int64), mean, mean + 0.1)
    found = []
    for precision in ("float32", "bfloat16"):
        recipe = Recipe(
            steps=1, batch_size=9, lr=1, evaluate_every=1, augment=augment, precision=precision
        )
        chunk = Chunk.empty(1, 9)
        chunk.fill(recipe, 9, seed, range(1), 0)
        found.append(chunk.batch(Pixels(split, recipe), 0, 9)[0])
    assert found[1].dtype == torch.bfloat16
    assert torch.equal(found[0].bfloat16(), found[1])


def test_lanes_share_pixels_of_any_split() -> None:
    split = Split(
        InMemory(torch.zeros(4, 1, 2, 2)), torch.zeros(4), torch.zeros(1), torch.ones(1), True
    )
    data = Data(split, split)
    recipe = Recipe(steps=1, batch_size=2, lr=1, evaluate_every=1)
    assert Pixels(data.train, recipe).table is None
