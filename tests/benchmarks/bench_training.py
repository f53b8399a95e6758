"""Training and evaluation on one CPU thread beside a bare PyTorch loop and OpenLTH's.

    python tests/benchmarks/bench_training.py [FOLDER]

FOLDER is a checkout of github.com/facebookresearch/open_lth; without it that row is left out.
Images are random bytes in the shape of the dataset: speed does not depend on what they show.
All take turns, so that a busy machine slows all alike; figures are the best of the turns.
Peers run as their users have them, without the allocator's settings of our workers.
"""

import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from measuring import machine, report
from torch import nn
from torch.nn.functional import cross_entropy

from tasks import process
from tasks.data.batches import Data, InMemory, Split
from tasks.networks.build import build, initial_weights
from tasks.training.evaluation import evaluate
from tasks.training.train import train
from tasks.values.training import Init, Network, Recipe

TURNS = 3
LENET = Network(name="lenet_300_100", input_shape=(1, 28, 28), classes=10)
RESNET = Network(name="resnet20", input_shape=(3, 32, 32), classes=10)
CONV = Network(name="conv_2", input_shape=(3, 32, 32), classes=10)


def split(network: Network, examples: int) -> Split:
    generator = torch.Generator().manual_seed(0)
    shape = (examples, *network.input_shape)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, network.classes, (examples,), generator=generator)
    half = torch.full((network.input_shape[0], 1, 1), 0.5)
    return Split(InMemory(pixels), labels, half, half)


def ours(network: Network, recipe: Recipe, source: Split) -> Callable[[], None]:
    data = Data(source, source.part(torch.arange(1)))
    start = initial_weights(network, Init(seed=0))
    return lambda: void(train(network, recipe, data, start, order_seed=0))


def own_module(network: Network) -> nn.Module:
    module = build(network, in_place=True).to_empty(device="cpu")
    module.load_state_dict(initial_weights(network, Init(seed=0)))
    return module.train()


def bare(network: Network, recipe: Recipe, source: Split) -> Callable[[], None]:
    """The shortest training loop for data in memory that a PyTorch user would write."""
    module = own_module(network)
    optimizer = torch.optim.SGD(module.parameters(), lr=recipe.lr, momentum=recipe.momentum)

    def run() -> None:
        for step in range(recipe.steps):
            if step * recipe.batch_size % len(source) < recipe.batch_size:
                order = torch.randperm(len(source))
            begin = step * recipe.batch_size % len(source)
            batch = source.batch(order[begin : begin + recipe.batch_size])
            optimizer.zero_grad()
            cross_entropy(module(batch.images), batch.labels).backward()
            optimizer.step()

    return run


def openlth(network: Network, recipe: Recipe, source: Split) -> Callable[[], None]:
    """OpenLTH's own dataset class, loader (no workers) and the body of its training loop."""
    from datasets import base, cifar10, mnist
    from torchvision.transforms import RandomCrop, RandomHorizontalFlip

    assert isinstance(source.source, InMemory)
    pixels = source.source.pixels
    if network is LENET:
        dataset = mnist.Dataset(pixels[:, 0], source.labels)
    else:
        augment = [RandomHorizontalFlip(), RandomCrop(32, 4)]
        examples = pixels.permute(0, 2, 3, 1).numpy()
        dataset = cifar10.Dataset(examples, source.labels.numpy(), augment)
    loader = base.DataLoader(dataset, batch_size=recipe.batch_size, num_workers=0, pin_memory=False)
    module = own_module(network)
    optimizer = torch.optim.SGD(module.parameters(), lr=recipe.lr, momentum=recipe.momentum)

    def run() -> None:
        step = 0
        while True:
            loader.shuffle(step)
            for examples, labels in loader:
                if step == recipe.steps:
                    return
                step += 1
                optimizer.zero_grad()
                module.train()
                cross_entropy(module(examples), labels).backward()
                optimizer.step()

    return run


def large_evaluation(network: Network, source: Split) -> Callable[[], None]:
    """Evaluate as earlier versions did: as many images at once as hold four million values."""
    module = own_module(network).eval()
    at_once = min(4096, 2**22 // network.input_shape[1] ** 2 // network.input_shape[0])

    @torch.no_grad()
    def run() -> None:
        for chosen in torch.split(torch.arange(len(source)), at_once):
            batch = source.batch(chosen)
            logits = module(batch.images)
            float(cross_entropy(logits, batch.labels, reduction="sum"))
            int((logits.argmax(1) == batch.labels).sum())

    return run


def small_evaluation(network: Network, source: Split) -> Callable[[], None]:
    module, weights = build(network), initial_weights(network, Init(seed=0))
    return lambda: void(evaluate(module, weights, Data(source, source), 0, ("train",)))


def void(_: object) -> None:
    """Discard a result."""


RECIPES = {
    LENET: Recipe(steps=400, batch_size=128, lr=0.1, evaluate_every=400, evaluate=("test",)),
    RESNET: Recipe(
        steps=6,
        batch_size=128,
        lr=0.1,
        evaluate_every=6,
        evaluate=("test",),
        augment="crop_flip",
    ),
}
TRAINING = {"ours": ours, "bare": bare, "openlth": openlth}
EVALUATION = {"now": small_evaluation, "before": large_evaluation}
NETWORKS = {network.name: network for network in (LENET, RESNET, CONV)}


def measure(kind: str, name: str) -> float:
    """Return images per second in this process, which does nothing else."""
    network = NETWORKS[name]
    if kind in {"ours", "now"}:
        process.prepare()
    torch.set_num_threads(1)
    if kind in EVALUATION:
        images, run = 1024, EVALUATION[kind](network, split(network, 1024))
    else:
        recipe = RECIPES[network]
        source = split(network, 8192 if network is LENET else 2048)
        images, run = recipe.steps * recipe.batch_size, TRAINING[kind](network, recipe, source)
    run()
    began = time.perf_counter()
    run()
    return images / (time.perf_counter() - began)


def rates(network: Network, kinds: list[str], folder: str) -> dict[str, float]:
    """Return images per second of each, the best of TURNS turns, each in its own process."""
    best = dict.fromkeys(kinds, 0.0)
    for _ in range(TURNS):
        for kind in kinds:
            command = [sys.executable, __file__, folder, kind, network.name]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            best[kind] = max(best[kind], float(said))
    return best


def main() -> None:
    folder, *one = sys.argv[1:] or [""]
    if folder:
        sys.path.insert(0, folder)
        platform = types.ModuleType("platforms.platform")  # its own asks for the torch of 2020
        platform.get_platform = lambda: types.SimpleNamespace(is_distributed=False)
        sys.modules |= {"platforms": types.ModuleType("platforms"), "platforms.platform": platform}
    if one:
        print(measure(*one))
        return
    machine()
    peers = ["ours", "bare", *(["openlth"] if folder else [])]
    aims = {(LENET, "bare"): 0.95, (LENET, "openlth"): 6.0, (RESNET, "openlth"): 1.5}
    for network, recipe in RECIPES.items():
        found = rates(network, peers, folder)
        report(f"{network.name}, batch {recipe.batch_size}", f"{found['ours']:,.0f} images/s")
        for peer in peers[1:]:
            aim = f">= {aims[network, peer]} ×" if (network, peer) in aims else ""
            report(f"  ours / {peer}", f"{found['ours'] / found[peer]:.2f} ×", aim)
    for network in (RESNET, CONV):
        found = rates(network, list(EVALUATION), folder)
        report(f"{network.name}, evaluation", f"{found['now']:,.0f} images/s")
        report("  now / before", f"{found['now'] / found['before']:.2f} ×", ">= 2.5 ×")


if __name__ == "__main__":
    main()
