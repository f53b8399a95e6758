"""Other implementations, written anew and run on the same card: loaders, fused networks, a loop."""

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from statistics import median
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu

from tasks.networks import build as building
from tasks.networks.build import build, initial_weights
from tasks.values.training import Init, Network, Recipe
from tests.device.shapes import RESNET_20, SMALL, WIDE, device, go, lanes, laps, noise


def _rate(step: Callable[[], Any], images: int, clock: Any, seconds: float = 2.0) -> int:
    """Return images per second of a step that trains on a number of images."""

    def sync() -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    for _ in range(2):
        step()
    sync()
    began, done = time.perf_counter(), 0
    while done < (2 if clock.dry else 10**9):
        step()
        done += 1
        if done % 10 == 0:
            sync()
            if time.perf_counter() - began > seconds:
                break
    sync()
    return round(done * images / (time.perf_counter() - began))


# ---------------------------------------------------------------- a loop with a data loader


class _Files(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """CIFAR-like images through PIL and torchvision's transforms, as in most scripts."""

    def __init__(self, count: int) -> None:
        from torchvision import transforms as t

        draws = torch.Generator().manual_seed(0)
        self._pixels = torch.randint(256, (count, 32, 32, 3), dtype=torch.uint8, generator=draws)
        self._change = t.Compose(
            [
                t.RandomHorizontalFlip(),
                t.RandomCrop(32, 4),
                t.ToTensor(),
                t.Normalize((0.491, 0.482, 0.447), (0.247, 0.243, 0.262)),
            ]
        )

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self._change(Image.fromarray(self._pixels[index].numpy())), index % 10


def data_loader(clock: Any, workers: int, seconds: float = 8.0) -> int:
    """Time ResNet-20, batch 128, PyTorch's float32, momentum SGD, images from a DataLoader."""
    module = _filled(RESNET_20)
    sgd = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    batch = 8 if clock.dry else 128
    loader = torch.utils.data.DataLoader(
        _Files(batch * (2 if clock.dry else 300)),
        batch,
        shuffle=True,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
    )
    began, done = 0.0, -2  # the first two batches warm up
    for images, labels in loader:
        if done == 0:
            began = time.perf_counter()
        sgd.zero_grad()
        module.train()
        cross_entropy(module(images.to(device())), labels.to(device())).backward()
        sgd.step()
        done += 1
        if done > 0 and time.perf_counter() - began > seconds:
            break
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return round(max(done, 0) * batch / max(time.perf_counter() - began, 1e-9)) if done > 0 else 0


def _filled(network: Network) -> nn.Module:
    module = build(network).to_empty(device=device())
    module.load_state_dict(initial_weights(network, Init(seed=0)))
    return module.train()


# ---------------------------------------------------------------- many networks as one


def bmm_lenet(clock: Any, count: int, *, graph: bool) -> int:
    """Time `count` Lenet-300-100 by batched matrix products, momentum SGD; recorded or not."""
    sizes, batch = (784, 300, 100, 10), 4 if clock.dry else 60
    weights = [
        torch.randn(count, a, b, device=device(), requires_grad=True) for a, b in pairwise(sizes)
    ]
    biases = [torch.zeros(count, 1, b, device=device(), requires_grad=True) for b in sizes[1:]]
    tensors = [*weights, *biases]
    masks = [torch.ones_like(w) for w in weights]
    momenta = [torch.zeros_like(t) for t in tensors]
    pixels = torch.rand(4096, 784, device=device())
    labels = torch.randint(10, (4096,), device=device())
    picked = torch.randint(4096, (count, batch), device=device())

    def step() -> None:
        x, answers = pixels[picked], labels[picked]
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            x = relu(torch.baddbmm(bias, x, weight))
        logits = torch.baddbmm(biases[-1], x, weights[-1])
        loss = cross_entropy(logits.flatten(0, 1), answers.flatten()) * count
        gradients = list(torch.autograd.grad(loss, tensors))
        with torch.no_grad():
            torch._foreach_mul_(gradients[: len(masks)], masks)
            torch._foreach_mul_(momenta, 0.9)
            torch._foreach_add_(momenta, gradients)
            torch._foreach_add_(tensors, momenta, alpha=-0.01)

    return _rate(_recorded(step) if graph else step, count * batch, clock)


def _recorded(step: Callable[[], None]) -> Callable[[], Any]:
    if not torch.cuda.is_available():
        return step
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=side):
        step()
    return graph.replay


class _Grouped(nn.Module):
    """`count` ResNet-20s as one network: channels side by side, grouped convolutions."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count
        *body, self._last = _filled(RESNET_20).children()
        self.body = nn.Sequential(*(_widened(child, count) for child in body))
        self.last = nn.Parameter(torch.randn(count, 64, 10, device=device()) / 8)

    def forward(self, images: Tensor) -> Tensor:
        x = self.body(images)
        x = x.view(len(x), self._count, -1).transpose(0, 1)
        return torch.bmm(x, self.last.to(x.dtype)).transpose(0, 1)


def _widened(module: nn.Module, count: int) -> nn.Module:
    if isinstance(module, nn.Conv2d):
        return nn.Conv2d(
            module.in_channels * count,
            module.out_channels * count,
            module.kernel_size,  # type: ignore[arg-type]
            module.stride,  # type: ignore[arg-type]
            module.padding,  # type: ignore[arg-type]
            groups=count,
            bias=False,
            device=device(),
        )
    if isinstance(module, nn.BatchNorm2d):
        return nn.BatchNorm2d(module.num_features * count, device=device())
    for name, child in list(module.named_children()):
        setattr(module, name, _widened(child, count))
    return module


def grouped_resnet(clock: Any, count: int, dtype: torch.dtype, *, last: bool) -> int:
    """Time `count` ResNet-20 by grouped convolutions, in autocast or TF32."""
    module = _Grouped(count).train()
    layout = torch.channels_last if last else torch.contiguous_format
    module = module.to(memory_format=layout)
    batch = 4 if clock.dry else 128
    images = torch.rand(batch, 3 * count, 32, 32, device=device()).contiguous(memory_format=layout)
    labels = torch.randint(10, (batch * count,), device=device())
    sgd = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)

    def step() -> None:
        with torch.autocast(device(), dtype, enabled=dtype != torch.float32):
            logits = module(images)
        loss = cross_entropy(logits.float().flatten(0, 1), labels) * count
        sgd.zero_grad()
        loss.backward()
        sgd.step()

    return _rate(step, count * batch, clock, 3.0)


# ---------------------------------------------------------------- a loop made for speed


def _fast_network(network: Network) -> nn.Module:
    """Build a network like airbench94's: 2 × 2 stem, three stages of two convolutions."""
    channels, layers = 24, [nn.Conv2d(3, 24, 2), nn.GELU()]
    for outputs in (64, 256, 256):
        layers += [
            *(nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.MaxPool2d(2)),
            *(nn.BatchNorm2d(outputs), nn.GELU()),
            *(nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)),
            nn.GELU(),
        ]
        channels = outputs
    return nn.Sequential(*layers, nn.MaxPool2d(3), nn.Flatten(), nn.Linear(256, network.classes))


FAST = Network(name="fast", input_shape=(3, 32, 32), classes=10)
_known = mock.patch.dict(building.BUILDERS, {"fast": _fast_network})
FAST_RECIPE = Recipe(
    steps=96,
    batch_size=1024,
    lr=0.01,
    evaluate_every=10**6,
    evaluate=("test",),
    nesterov=True,
    augment="flip",
    precision="bfloat16",
)


@_known
def fast_loop(clock: Any, dtype: torch.dtype) -> int:
    """Time weights and images in half precision, channels last, on the device; uncompiled."""
    module = _filled(FAST).to(dtype=dtype, memory_format=torch.channels_last)
    for child in module.modules():
        if isinstance(child, nn.BatchNorm2d):
            child.float()
    sgd = torch.optim.SGD(module.parameters(), lr=1e-4, momentum=0.85, nesterov=True)
    batch = 8 if clock.dry else 1024
    pixels = torch.rand(16 * batch, 3, 32, 32, device=device(), dtype=dtype)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (16 * batch,), device=device())
    order = torch.randperm(16 * batch, device=device())

    def step() -> None:
        chosen = order[:batch]
        images = pixels[chosen]
        images = torch.where(
            (torch.rand(batch, device=device()) < 0.5)[:, None, None, None], images.flip(-1), images
        )
        loss = cross_entropy(module(images), labels[chosen], label_smoothing=0.2, reduction="sum")
        sgd.zero_grad(set_to_none=True)
        loss.backward()
        sgd.step()

    return _rate(step, batch, clock, 3.0)


@_known
def fast_lane(clock: Any, count: int) -> int:
    """Time the same network in lanes."""
    recipe = replace(FAST_RECIPE, batch_size=8, steps=2) if clock.dry else FAST_RECIPE
    data = noise(FAST, recipe.batch_size * (2 if clock.dry else 32))
    there, asked = lanes(FAST, recipe, data, count), laps(FAST, count)
    took = []
    for _ in range(1 if clock.dry else 4):
        began = time.perf_counter()
        go(asked, there, recipe)
        took.append(time.perf_counter() - began)
    return round(count * recipe.steps * recipe.batch_size / median(took[-3:]))


def lenet_lanes(clock: Any, count: int) -> int:
    """Time lanes with the same number of networks as the batched products."""
    recipe = replace(SMALL, batch_size=4, steps=2) if clock.dry else replace(SMALL, steps=2048)
    data = noise(WIDE, recipe.batch_size * (2 if clock.dry else 1024))
    there, asked = lanes(WIDE, recipe, data, count), laps(WIDE, count)
    took = []
    for _ in range(1 if clock.dry else 3):
        began = time.perf_counter()
        go(asked, there, recipe)
        took.append(time.perf_counter() - began)
    return round(count * recipe.steps * recipe.batch_size / min(took))


PEERS: dict[str, Callable[[Any], Any]] = {
    "data loader, no workers": lambda clock: data_loader(clock, 0),
    "data loader, 8 workers": lambda clock: data_loader(clock, 0 if clock.dry else 8),
    "bmm LeNet K=32": lambda clock: bmm_lenet(clock, 2 if clock.dry else 32, graph=False),
    "bmm LeNet K=32 recorded": lambda clock: bmm_lenet(clock, 2 if clock.dry else 32, graph=True),
    "lanes LeNet K=32": lambda clock: lenet_lanes(clock, 2 if clock.dry else 32),
    "grouped ResNet-20 K=8 tf32": lambda clock: grouped_resnet(
        clock, 2 if clock.dry else 8, torch.float32, last=False
    ),
    "grouped ResNet-20 K=8 bfloat16": lambda clock: grouped_resnet(
        clock, 2 if clock.dry else 8, torch.bfloat16, last=False
    ),
    "grouped ResNet-20 K=8 bfloat16 channels last": lambda clock: grouped_resnet(
        clock, 2 if clock.dry else 8, torch.bfloat16, last=True
    ),
    "fast loop float16": lambda clock: fast_loop(
        clock, torch.bfloat16 if clock.dry else torch.float16
    ),
    "fast loop bfloat16": lambda clock: fast_loop(clock, torch.bfloat16),
    "fast network in a lane": lambda clock: fast_lane(clock, 1),
    "fast network in two lanes": lambda clock: fast_lane(clock, 2),
}
