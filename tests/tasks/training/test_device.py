"""Masks are the same on every device. Runs if there is an accelerator; CI has none."""

import pytest
import torch

from tasks.data.batches import load
from tasks.networks.build import initial_weights
from tasks.pruning.prune import prune
from tasks.values import catalog
from tasks.values.scores import Examples, Grasp, Magnitude, Random, Score, Snip, Synflow
from tasks.values.training import Init

DIGITS = catalog.dataset("digits")
EXAMPLES = Examples(dataset=DIGITS, seed=0)
EXACT: list[Score] = [Random(seed=0), Magnitude()]
CLOSE: list[Score] = [Snip(EXAMPLES), Grasp(EXAMPLES), Synflow(iterations=10)]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no accelerator")
@pytest.mark.parametrize("score", [*EXACT, *CLOSE], ids=lambda score: score.kind)
@pytest.mark.parametrize("name", ["lenet_300_100", "resnet20"])
def test_masks_are_the_same_on_the_cpu_and_the_accelerator(name: str, score: Score) -> None:
    network = catalog.network(name, "digits")
    weights = initial_weights(network, Init(seed=0))
    masks = []
    for device in ("cpu", "cuda"):
        here = {n: t.to(device) for n, t in weights.items()}
        kept = prune(network, score, here, 0.1, data=load(DIGITS, device)).kept
        masks.append(torch.cat([kept[n].flatten().cpu() for n in sorted(kept)]))
    differ = int((masks[0] != masks[1]).sum())
    allowed = 0 if score in EXACT else 1e-3 * len(masks[0])
    assert differ <= allowed
