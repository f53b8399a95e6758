"""Bits of a run on a GPU: tests a to h of the design."""

import hashlib
from collections import Counter
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from tasks.training import lanes as lane_module
from tasks.training.lanes import Lap, train_side_by_side
from tasks.training.precision import arithmetic
from tasks.training.train import Checkpoint, train
from tasks.values.training import Network, Recipe
from tests.device.shapes import device, digest, eagerly, go, lanes, laps, noise

DENSITY = 0.2


def conv_error(precision: Any) -> float:
    """Return the relative error of a convolution against float64; TF32 would give 3e-4."""
    draws = torch.Generator().manual_seed(0)
    images, kernel = torch.randn(8, 64, 16, 16, generator=draws), torch.randn(64, 64, 3, 3)
    exact = conv2d(images.double(), kernel.double(), padding=1)
    with arithmetic(precision):
        found = conv2d(images.to(device()), kernel.to(device()), padding=1).cpu().double()
    return float((found - exact).norm() / exact.norm())


def rates_agree() -> bool:
    """Return whether an update with a tensor as rate has the bits of one with a number."""
    from tasks.training.optimizers import optimizer as made
    from tasks.training.optimizers import update

    recipe = Recipe(steps=1, batch_size=1, lr=0.1, evaluate_every=1, weight_decay=1e-3)
    found = []
    for rate in (0.0123, torch.tensor(0.0123, device=device())):
        draws = torch.Generator().manual_seed(0)
        tensors, gradients = (
            [torch.randn(s, generator=draws).to(device()) for s in ((300, 784), (300,), (7,))]
            for _ in range(2)
        )
        update(recipe, made(recipe, tensors), tensors, gradients, [], rate)
        found.append(tensors)
    return all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def alike(network: Network, recipe: Recipe, packs: tuple[int, ...]) -> dict[str, Any]:
    """Compare runs: recorded, eager, alone, in packs, in other orders (a, b, h)."""
    data = noise(network, 10 * recipe.batch_size + recipe.batch_size // 2)
    asked = laps(network, max(packs), density=DENSITY, save=(2,))
    asked[1] = (1, replace(asked[1][1], kept=None))
    found: dict[str, Any] = {}
    alone = {}
    modes = set()
    for name, lap in asked[:2]:
        there = lanes(network, recipe, data, 1)
        alone[name] = go([(name, lap)], there, recipe)[name]
        modes |= {there[0].mode}
    found["mode"] = sorted(modes)
    wanted = {name: digest(trained) for name, trained in alone.items()}
    with eagerly():
        eager = go(asked[:2], lanes(network, recipe, data, 1), recipe)
    found["eager"] = {name: digest(trained) for name, trained in eager.items()} == wanted
    for count in packs:
        there = lanes(network, recipe, data, count)
        for order in (asked[:count], asked[:count][::-1]):
            packed = go(order, there, recipe)
            same = all(digest(packed[name]) == wanted[name] for name in wanted)
            found[f"K={count}"] = found.get(f"K={count}", True) and same
    again = lanes(network, recipe, data, 1)
    twice = [go([(0, asked[0][1])], again, recipe)[0] for _ in range(2)]
    found["warm"] = {digest(trained) for trained in twice} == {wanted[0]}
    found["train"] = {
        n: digest(_trained(network, recipe, data, lap)) for n, lap in asked[:2]
    } == wanted
    kept = asked[0][1].kept or {}
    found["zero"] = all(
        not torch.count_nonzero(alone[0].weights[n].cpu()[~k.cpu()]) for n, k in kept.items()
    )
    found["digest"] = wanted[0]
    return found


def _trained(network: Network, recipe: Recipe, data: Any, lap: Lap) -> Any:
    here = {n: t.to(device()) for n, t in lap.weights.items()}
    kept = {n: t.to(device()) for n, t in lap.kept.items()} if lap.kept else None
    return train(network, recipe, data, here, kept, order_seed=lap.order_seed, save=lap.save)


def beside_a_neighbour(network: Network, recipe: Recipe) -> dict[str, bool]:
    """Train with most of the memory taken and large products on another stream (c)."""
    data = noise(network, 10 * recipe.batch_size)
    asked = laps(network, 1, density=DENSITY)
    wanted = digest(go(asked, lanes(network, recipe, data, 1), recipe)[0])
    if not torch.cuda.is_available():
        return {
            "multiplying": wanted == digest(go(asked, lanes(network, recipe, data, 1), recipe)[0])
        }
    free = torch.cuda.mem_get_info()[0]
    ballast = torch.empty(int(free * 0.9), dtype=torch.uint8, device="cuda")
    hogged = digest(go(asked, lanes(network, recipe, data, 1), recipe)[0])
    del ballast
    torch.cuda.empty_cache()
    there = lanes(network, recipe, data, 1)
    go(asked, there, recipe)
    a = torch.randn(4096, 4096, device="cuda")
    beside = torch.cuda.Stream()
    with torch.cuda.stream(beside):
        for _ in range(200):
            a = (a @ a).clamp(-1, 1)
    multiplied = digest(go(asked, there, recipe)[0])
    torch.cuda.synchronize()
    return {"hogging": hogged == wanted, "multiplying": multiplied == wanted}


class _Cut:
    """Store a checkpoint when first asked, and stop the run."""

    def __init__(self) -> None:
        self.kept: Checkpoint | None = None

    def last(self) -> Checkpoint | None:
        return self.kept

    def due(self) -> bool:
        return self.kept is None

    def keep(self, one: Checkpoint) -> None:
        def home(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: tensor.cpu().clone() for name, tensor in tensors.items()}

        states = {step: home(weights) for step, weights in one.states.items()}
        optimizer = [tensor.cpu().clone() for tensor in one.optimizer]
        losses = one.losses.cpu().clone()
        weights = home(one.weights)
        self.kept = Checkpoint(one.step, weights, optimizer, losses, list(one.evals), states)
        raise InterruptedError


def resumed_elsewhere(network: Network, recipe: Recipe) -> bool:
    """Interrupt a run after its first chunk; continue it in another lane beside others (d)."""
    data = noise(network, 10 * recipe.batch_size)
    asked = laps(network, 3, density=DENSITY)
    wanted = digest(go(asked[:1], lanes(network, recipe, data, 1), recipe)[0])
    cut = _Cut()
    lap = replace(asked[0][1], checkpoints=cut)
    [(_, ended)] = train_side_by_side([(0, lap)], lanes(network, recipe, data, 1), recipe)
    assert isinstance(ended, InterruptedError), ended
    rest = [*asked[1:], (0, lap)]
    return digest(go(rest, lanes(network, recipe, data, 3), recipe)[0]) == wanted


def programs(network: Network, recipe: Recipe) -> dict[str, Any]:
    """Compare the kernels of one iteration in two lanes: they are the same (f); count them."""
    data = noise(network, 10 * recipe.batch_size)
    with eagerly():
        there = lanes(network, recipe, data, 2)
    go(laps(network, 2), there, replace(recipe, steps=1))
    timed = [_kernels(lane, recipe) for lane in there]
    one, other = (Counter(name for name, _ in kernels) for kernels in timed)
    total: Counter[str] = Counter()
    for name, microseconds in timed[0]:
        total[name] += microseconds
    names = hashlib.sha256("\n".join(sorted(one.elements())).encode()).hexdigest()[:16]
    return {
        "same": one == other,
        "differ": [name[:90] for name in (one - other) + (other - one)],
        "kernels": one.total(),
        "digest": names,
        "microseconds": round(sum(total.values())),
        "longest": [(name[:70], one[name], round(us)) for name, us in total.most_common(25)],
    }


def _kernels(lane: lane_module.Lane, recipe: Recipe) -> list[tuple[str, float]]:
    """Return each kernel of one iteration and its microseconds."""
    from torch.profiler import ProfilerActivity, profile

    on_gpu = torch.cuda.is_available()
    watched = ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU
    with arithmetic(recipe.precision), lane._own():
        lane._iterations(1, recipe.batch_size)
        lane._settle()
        with profile(activities=[watched]) as profiler:
            lane._iterations(1, recipe.batch_size)
            lane._settle()
    kind = torch.autograd.DeviceType.CUDA if on_gpu else torch.autograd.DeviceType.CPU
    return [
        (event.name, event.time_range.elapsed_us())
        for event in profiler.events()
        if event.device_type == kind
    ]
