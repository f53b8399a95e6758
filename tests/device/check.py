"""What only a GPU can show, in stages: are a run's bits its own, and how fast are lanes?

Needs torch and this repository, no Ray and no store. Each stage is a process with a limit of its
own, and writes its JSON when it is done, so that nothing is lost where another one hangs.
`make device-check`; `--dry` goes through all of it on a CPU, a few steps each.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "32")  # else lanes share 8 queues
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from tasks.training import lanes as lane_module  # noqa: E402
from tasks.training import train as training  # noqa: E402
from tasks.training.precision import arithmetic  # noqa: E402
from tasks.training.train import Checkpoint  # noqa: E402
from tasks.values.training import Network, Recipe  # noqa: E402
from tests.device import accuracy, bits, peers  # noqa: E402
from tests.device.shapes import (  # noqa: E402
    CONV_2,
    CROPPED,
    RESNET_18,
    RESNET_20,
    RESNET_50,
    SMALL,
    VGG_16,
    WIDE,
    as_pytorch_has_it,
    device,
    go,
    lanes,
    laps,
    noise,
)

Found = dict[str, Any]


class Clock:
    """Time left for a stage, and its findings so far."""

    def __init__(self, seconds: float, path: Path, *, dry: bool) -> None:
        self._until, self._path, self.dry = time.monotonic() + seconds, path, dry
        self.found: Found = {}

    def left(self) -> float:
        return self._until - time.monotonic()

    def note(self, **found: Any) -> None:
        """Write a finding at once, so that a stage which is ended has stored it."""
        self.found |= found
        self._path.write_text(json.dumps(self.found, indent=1, default=str))
        print(*(f"  {name}: {value}" for name, value in found.items()), sep="\n", flush=True)

    def attempt(self, name: str, work: Callable[[], Any]) -> None:
        """Note the result of the work, or the reason why it failed."""
        if self.left() < 0 and not self.dry:
            self.note(**{name: "no time left"})
            return
        try:
            self.note(**{name: work()})
        except Exception as error:  # noqa: BLE001 -- the other parts go on
            traceback.print_exc()
            self.note(**{name: f"{type(error).__name__}: {str(error).splitlines()[:1]}"})


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def timed(work: Callable[[], Any]) -> float:
    synchronize()
    began = time.perf_counter()
    work()
    synchronize()
    return time.perf_counter() - began


# ---------------------------------------------------------------- stages


def versions(clock: Clock) -> None:
    """S0: describe the machine, measure its ceilings, and check that float32 is float32."""
    clock.note(torch=torch.__version__, python=sys.version.split()[0], device=device())
    if torch.cuda.is_available():
        facts = torch.cuda.get_device_properties(0)
        clock.note(
            name=facts.name,
            processors=facts.multi_processor_count,
            memory=facts.total_memory,
            cudnn=torch.backends.cudnn.version(),
            cuda=torch.version.cuda,
        )
    side = 64 if clock.dry else 8192
    clock.attempt("copy_tb_per_s", lambda: _copy(2**20 if clock.dry else 2**32))
    for name, dtype, precision in (
        ("bfloat16", torch.bfloat16, "bfloat16"),
        ("tf32", torch.float32, "tf32"),
        ("float32", torch.float32, "float32"),
    ):
        clock.attempt(f"product_tflops_{name}", lambda: _product(side, dtype, precision))  # noqa: B023
    for precision in ("float32", "tf32"):
        clock.attempt(f"conv_error_{precision}", lambda: bits.conv_error(precision))  # noqa: B023
    clock.attempt("tensor_rate_is_alpha", bits.rates_agree)


def _copy(size: int) -> float:
    source = torch.randint(255, (size,), dtype=torch.uint8, device=device())
    into = torch.empty_like(source)
    into.copy_(source)
    return 2 * size / median(timed(lambda: into.copy_(source)) for _ in range(5)) / 1e12


def _product(side: int, dtype: torch.dtype, precision: Any) -> float:
    a, b = (torch.randn(side, side, device=device(), dtype=dtype) for _ in range(2))
    with arithmetic(precision):
        a @ b
        return 2 * side**3 / median(timed(lambda: a @ b) for _ in range(5)) / 1e12


def correctness(clock: Clock) -> None:
    """S1: bits of a run, alone and beside others, recorded and not, and those of train."""
    packs = (2,) if clock.dry else (2, 8, 16)
    for network, recipe in ((WIDE, SMALL), (RESNET_20, CROPPED)):
        for precision in ("float32", "bfloat16", "tf32"):
            how = _short(replace(recipe, precision=precision), clock)
            clock.attempt(
                f"{network.name} {precision}",
                lambda: bits.alike(network, how, packs),  # noqa: B023
            )


def _short(recipe: Recipe, clock: Clock) -> Recipe:
    """Return a recipe with enough iterations to tell bits apart."""
    return replace(recipe, steps=3, batch_size=4) if clock.dry else replace(recipe, steps=40)


def leaks(clock: Clock) -> None:
    """S2: beside a neighbour that fills memory and multiplies; resumed in another lane."""
    for network, recipe in ((WIDE, SMALL), (RESNET_20, CROPPED)):
        for precision in ("float32", "bfloat16"):
            how = _short(replace(recipe, precision=precision), clock)
            for name, look in (
                ("neighbour", bits.beside_a_neighbour),
                ("resumed", bits.resumed_elsewhere),
                ("program", bits.programs),
            ):
                clock.attempt(
                    f"{name} {network.name} {precision}",
                    lambda: look(network, how),  # noqa: B023
                )
    for network, recipe in ((CONV_2, SMALL), (VGG_16, CROPPED)):
        how = _short(replace(recipe, precision="bfloat16"), clock)
        clock.attempt(f"alike {network.name}", lambda: bits.alike(network, how, (2,)))  # noqa: B023


def today(clock: Clock) -> None:
    """Time the loop without lanes: eager, with PyTorch's default switches, and in float32."""
    for network, recipe in LADDER[:2] if clock.dry else LADDER:
        how = replace(recipe, batch_size=4) if clock.dry else recipe
        clock.attempt(f"{network.name} today", lambda: _loop(network, how, clock, False))  # noqa: B023
        clock.attempt(f"{network.name} strict", lambda: _loop(network, how, clock, True))  # noqa: B023


def baseline(clock: Clock) -> None:
    """Time two cases without lanes again, as a reference for this machine; count programs."""
    for network, recipe in LADDER[:2]:
        how = replace(recipe, batch_size=4) if clock.dry else recipe
        clock.attempt(f"{network.name} today", lambda: _loop(network, how, clock, False))  # noqa: B023
        for precision in ("bfloat16",) if clock.dry else ("float32", "tf32", "bfloat16"):
            of = replace(how, precision=precision)
            name = f"program {network.name} {precision}"
            clock.attempt(name, lambda: bits.programs(network, of))  # noqa: B023


LADDER: list[tuple[Network, Recipe]] = [
    (WIDE, SMALL),
    (RESNET_20, CROPPED),
    (VGG_16, CROPPED),
    (CONV_2, SMALL),
]


def _examples(network: Network, recipe: Recipe, clock: Clock) -> int:
    """Take whole batches whose number is a multiple of all recordings' lengths."""
    if clock.dry:
        return 2 * recipe.batch_size
    return recipe.batch_size * (1024 if network is WIDE else 384)


def _loop(network: Network, recipe: Recipe, clock: Clock, strict: bool) -> float:
    """Return images per second of the eager loop."""
    data = noise(network, _examples(network, recipe, clock))
    [(_, lap)] = laps(network, 1)
    here = {n: t.to(device()) for n, t in lap.weights.items()}

    def steps(count: int) -> float:
        how = replace(recipe, steps=count)
        return timed(lambda: training.train(network, how, data, here, order_seed=0))

    def rate() -> float:
        steps(3)
        count = 3 if clock.dry else max(20, int(20 * 1.5 / steps(20)))
        return round(count * recipe.batch_size / steps(count))

    if strict:
        return rate()
    with as_pytorch_has_it():
        return rate()


def _lanes(
    network: Network, recipe: Recipe, clock: Clock, count: int, seconds: float = 1.0
) -> Found:
    """Return images per second of all lanes together; seconds to record, and to load again."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    data = noise(network, _examples(network, recipe, clock))
    there = lanes(network, recipe, data, count)
    length = 3 if clock.dry else 32

    def steps(number: int) -> float:
        how = replace(recipe, steps=number)
        for lane in there:
            lane._recipe = how
        return timed(lambda: go(laps_of, there, how))

    laps_of = laps(network, count)
    recording = steps(length)
    again = steps(length)
    whole = length if clock.dry else max(64, 32 * int(seconds / again))
    took = median(steps(whole) for _ in range(1 if clock.dry else 2))
    memory = torch.cuda.max_memory_reserved() if torch.cuda.is_available() else 0
    weights = laps_of[0][1].weights
    fresh = Checkpoint(0, weights, [], torch.zeros(whole), [], {})
    load = min(timed(lambda: there[0]._load(fresh, None)) for _ in range(3))
    return {
        "images_per_second": round(count * whole * recipe.batch_size / took),
        "record_each": round((recording - again) / count, 3),
        "load": round(load, 4),
        "steps": whole,
        "mode": sorted({lane.mode for lane in there}),
        "reserved_gb": round(memory / 1e9, 2),
    }


def ladder(clock: Clock) -> None:
    """S3: one graph and K lanes, in each precision, beside the loop without lanes."""
    for network, recipe in LADDER[:2] if clock.dry else LADDER:
        cells = [("float32", 1), ("tf32", 1), ("bfloat16", 1)]
        many = (2, 4, 8, 16, 32) if network is WIDE else (2, 4, 8)
        if network is VGG_16:
            many = (2, 4)
        cells += [("bfloat16", k) for k in many]
        cells += [("float32", many[-1])] + ([("float32", 16)] if network is WIDE else [])
        if clock.dry:
            cells = [("float32", 1), ("bfloat16", 2)]
        for precision, count in cells:
            how = replace(recipe, precision=precision)
            how = replace(how, batch_size=4) if clock.dry else how
            clock.attempt(
                f"{network.name} {precision} K={count}",
                lambda: _lanes(network, how, clock, count),  # noqa: B023
            )


def longer(clock: Clock) -> None:
    """S3: the cells named in goals, for longer; float32 channels last; a profile."""

    def always(_: object) -> Any:
        return arithmetic("float32")

    strict = mock.patch.object(lane_module, "arithmetic", always)
    for network in (RESNET_20, VGG_16):
        how = replace(CROPPED, precision="tf32", batch_size=4 if clock.dry else 128)
        with strict:  # TF32's layout, float32's arithmetic
            clock.attempt(
                f"{network.name} float32 channels last K=1",
                lambda: _lanes(network, how, clock, 1),  # noqa: B023
            )
    looked_at = [(RESNET_20, "bfloat16"), (RESNET_20, "float32"), (VGG_16, "bfloat16")]
    for network, precision in looked_at[:1] if clock.dry else looked_at:
        how = replace(CROPPED, precision=precision, batch_size=4 if clock.dry else 128)
        name = f"program {network.name} {precision}"
        clock.attempt(name, lambda: bits.programs(network, how))  # noqa: B023
    cells: list[tuple[Network, Recipe, Any, int]] = [
        (RESNET_20, CROPPED, "bfloat16", 8),
        (WIDE, SMALL, "float32", 32),
        (VGG_16, CROPPED, "bfloat16", 4),
        (RESNET_20, CROPPED, "bfloat16", 1),
        (WIDE, SMALL, "float32", 16),
        (WIDE, SMALL, "float32", 1),
        (RESNET_20, CROPPED, "float32", 8),
    ]
    for network, recipe, precision, count in cells[:3:2] if clock.dry else cells:
        how = replace(recipe, precision=precision)
        how = replace(how, batch_size=4) if clock.dry else how
        clock.attempt(
            f"{network.name} {precision} K={count}",
            lambda: _lanes(network, how, clock, count, 2.5),  # noqa: B023
        )
    for network, recipe in LADDER[:2] if clock.dry else LADDER:
        how = replace(recipe, batch_size=4) if clock.dry else recipe
        clock.attempt(f"{network.name} today", lambda: _loop(network, how, clock, False))  # noqa: B023
        clock.attempt(f"{network.name} strict", lambda: _loop(network, how, clock, True))  # noqa: B023


def others(clock: Clock) -> None:
    """S4: other implementations on this card."""
    for name, work in peers.PEERS.items():
        clock.attempt(name, lambda: work(clock))  # noqa: B023


def large(clock: Clock) -> None:
    """S5: networks whose kernels fill the chip."""
    for network, recipe in (
        (RESNET_18, replace(CROPPED, batch_size=256)),
        (RESNET_50, replace(CROPPED, batch_size=256, augment="none")),
    ):
        if clock.dry and network is RESNET_50:
            continue
        some = replace(recipe, batch_size=4) if clock.dry else recipe
        for precision in ("bfloat16", "tf32"):
            how = replace(some, precision=precision)
            clock.attempt(
                f"{network.name} {precision}",
                lambda: _large(network, how, clock),  # noqa: B023
            )
        clock.attempt(f"{network.name} strict", lambda: _eager(network, some, clock))  # noqa: B023


def _large(network: Network, recipe: Recipe, clock: Clock) -> Found:
    data = noise(network, recipe.batch_size * (1 if clock.dry else 8), 8)
    there = lanes(network, recipe, data, 1)
    lengths = 1 if clock.dry else 8

    def steps(number: int) -> float:
        how = replace(recipe, steps=number)
        for lane in there:
            lane._recipe = how
        return timed(lambda: go(asked, there, how))

    asked = laps(network, 1)
    first = steps(lengths)
    again = steps(lengths)
    whole = lengths if clock.dry else 8 * max(2, int(2 / again))
    return {
        "images_per_second": round(whole * recipe.batch_size / steps(whole)),
        "first": round(first, 2),
        "mode": there[0].mode,
    }


def _eager(network: Network, recipe: Recipe, clock: Clock) -> int:
    data = noise(network, recipe.batch_size * (1 if clock.dry else 8), 8)
    [(_, lap)] = laps(network, 1)
    here = {n: t.to(device()) for n, t in lap.weights.items()}

    def steps(count: int) -> float:
        how = replace(recipe, steps=count)
        return timed(lambda: training.train(network, how, data, here, order_seed=0))

    steps(1)
    count = 1 if clock.dry else 12
    return round(count * recipe.batch_size / steps(count))


def paired(clock: Clock) -> None:
    """S6: accuracy of bfloat16 against float32, over paired seeds."""
    accuracy.study(clock)


STAGES: dict[str, tuple[Callable[[Clock], None], float]] = {
    "S0": (versions, 30),
    "S1": (correctness, 90),
    "S2": (leaks, 80),
    "today": (today, 45),
    "baseline": (baseline, 40),
    "S3": (ladder, 180),
    "S3b": (longer, 100),
    "S4": (others, 90),
    "S5": (large, 50),
    "S6": (paired, 120),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stages", nargs="*", help=f"some of {', '.join(STAGES)}; all if none")
    parser.add_argument("--dry", action="store_true", help="a few steps of everything, on a CPU")
    parser.add_argument("--out", type=Path, default=Path("device-check"))
    parser.add_argument("--within", action="store_true", help=argparse.SUPPRESS)
    told = parser.parse_args()
    torch.set_num_threads(1)  # as a worker does
    told.out.mkdir(parents=True, exist_ok=True)
    if not told.within and not told.dry and not torch.cuda.is_available():
        print("there is no GPU here; --dry goes through the motions", file=sys.stderr)
        return 2
    status = 0
    for stage in told.stages or STAGES:
        work, seconds = STAGES[stage]
        print(f"{stage}: {(work.__doc__ or '').strip()}", flush=True)
        if told.within or told.dry:
            work(Clock(seconds, told.out / f"{stage}.json", dry=told.dry))
            continue
        command = [sys.executable, __file__, stage, "--within", "--out", str(told.out)]
        began = time.monotonic()
        try:
            ended = subprocess.run(command, timeout=seconds + 20, check=False).returncode
        except subprocess.TimeoutExpired:
            ended = 124
        print(f"{stage}: {ended} after {time.monotonic() - began:.0f} s", flush=True)
        status = status or ended
    return status


if __name__ == "__main__":
    sys.exit(main())
