"""Train several runs side by side on one device, each to the bits that it has alone.

A lane holds the tensors of one run, a CUDA stream, and the run's iterations recorded as CUDA
graphs. No kernel of a lane reads or writes the tensors of another lane, and no lane affects the
choice of another's kernels. Each recording is compared with the same computation without
recording. Where the bits differ, or recording fails, the lane computes without recordings and
says why (`mode`). On a CPU it never records. A lane gives the bits of
`tasks.training.train.train`.
"""

import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tasks.data.batches import Batch, Data, InMemory, Part
from tasks.heartbeat import paced
from tasks.masks import Kept
from tasks.networks.build import Weights, build, prunable
from tasks.training.evaluation import Eval, evaluation, evaluation_batch
from tasks.training.inputs import AUGMENTATIONS, Chunk, Pixels, steps_until_short
from tasks.training.optimizers import optimizer, update
from tasks.training.precision import Callee, arithmetic, laid_out
from tasks.training.train import (
    NEVER,
    Checkpoint,
    Checkpoints,
    Trained,
    beginning,
    check_masks,
    copied,
    first_non_finite,
    loss_of,
)
from tasks.values.training import Network, Recipe

MOST = 32
"""Most lanes of a process: PyTorch has 32 streams, and two lanes must not share one."""

LENGTHS = (32, 8, 1)
"""Numbers of iterations of one recording; a run is composed of these."""

DEEP = 8
"""Number of layers from which 8 iterations take long enough to hide the host's work."""

AHEAD = 3
"""Chunks of iterations that the host fills before the device has begun the first."""

T = TypeVar("T")


@dataclass(frozen=True)
class Lap:
    """One run in a lane: the arguments of `train` besides network, recipe and data."""

    weights: Weights
    kept: Kept | None
    order_seed: int
    first_step: int = 0
    last_step: int | None = None
    save: Collection[int] = ()
    checkpoints: Checkpoints = field(default=NEVER)


def why_alone(network: Network, recipe: Recipe, data: Data) -> str | None:
    """Return the reason why a run of this shape cannot be in a lane, or None if it can."""
    source = data.train.source
    while isinstance(source, Part):
        source = source.whole
    if not isinstance(source, InMemory):
        return "images are read from files"
    if recipe.augment not in AUGMENTATIONS:
        return f"{recipe.augment} computes new pixels"
    if recipe.ghosts != "none":
        return "ghosts change with each step"
    if network.semantics > 1:
        return "its forward passes may draw random numbers"
    return None


class Lane:
    """Tensors in which one run at a time is trained, and recordings that use them.

    Attributes
    ----------
    mode : str
        "recorded", or "eager: " and the reason.
    """

    def __init__(self, network: Network, recipe: Recipe, data: Data, pixels: Pixels) -> None:
        self._network, self._recipe, self._data, self._pixels = network, recipe, data, pixels
        self._device = device = data.train.labels.device
        self._stream = _stream(device) if device.type == "cuda" else None
        self._pool = torch.cuda.graph_pool_handle() if self._stream else None
        self.mode = "recorded" if self._stream else "eager: no GPU"
        self._module = build(network, in_place=True).train()
        self._counters = _counters(self._module)
        layout = recipe.precision
        self._state = {
            name: laid_out(torch.zeros(tensor.shape, dtype=tensor.dtype, device=device), layout)
            for name, tensor in self._module.state_dict().items()
        }
        names = [name for name, p in self._module.named_parameters() if p.requires_grad]
        self._params = {name: self._state[name].requires_grad_() for name in names}
        self._tensors = list(self._params.values())
        self._masks = {
            name: torch.ones_like(self._state[name], requires_grad=False)
            for name in prunable(self._module)
        }
        self._masked = [(i, self._masks[n]) for i, n in enumerate(names) if n in self._masks]
        self._updates = optimizer(recipe, self._tensors)
        others = {n: t for n, t in self._state.items() if n not in self._counters}
        self._callee = Callee(self._module, others, recipe.precision)
        self._lengths = LENGTHS[1:] if len(self._masks) >= DEEP else LENGTHS
        self._inputs = Chunk.empty(self._lengths[0], recipe.batch_size, device)
        self._losses = torch.zeros(self._lengths[0], device=device)
        self._history = torch.zeros(0, device=device)
        self._measures = torch.zeros(3 * len(recipe.evaluate) + 1, dtype=torch.float64)
        self._measures = self._measures.to(device)
        self._parts = [self._evaluated(name) for name in recipe.evaluate]
        self._recordings: dict[object, torch.cuda.CUDAGraph | None] = {}
        self._slots = [_Slot(self._lengths[0], recipe.batch_size) for _ in range(AHEAD)]
        self._begun, self._made = Checkpoint(0, {}, [], self._history, [], {}), 0
        self._settle()

    # ------------------------------------------------------------ one run

    def turns(self, lap: Lap, pool: ThreadPoolExecutor | None) -> Iterator[Trained | None]:
        """Train a run in turns; yield None after each turn and the result after the last.

        A turn gives the device some iterations, or checks whether it has finished them.
        """
        recipe, first = self._recipe, lap.first_step
        last = recipe.steps if lap.last_step is None else lap.last_step
        begun = lap.checkpoints.last() or beginning(
            self._network, recipe, self._data, lap.weights, lap.kept, lap.order_seed, first, last
        )
        self._load(begun, lap.kept)
        evals, states = list(begun.evals), dict(begun.states)
        plan = self._plan(begun.step, last, lap.save)
        filled: deque[Future[_Slot]] = deque()
        step, diverged_at = begun.step, None
        while True:
            if begun.step < step < last and lap.checkpoints.due():
                lap.checkpoints.keep(self._taken(step, evals, states))
            if step in (first, last) or step % recipe.evaluate_every == 0:
                reading = self._measure(first, step)
                while not reading.done():
                    yield None
                evals += self._evals(step, reading.values)
                diverged_at = self._diverged(first, step, reading.values)
            if step in lap.save:
                states[step] = self._copied(step)
            if step == last or diverged_at is not None:
                break
            while len(filled) < AHEAD and (piece := next(plan, None)) is not None:
                filled.append(self._fill(piece, lap.order_seed, pool))
            slot = filled.popleft().result()
            self._run(slot)
            step = slot.steps.stop
            yield None
        for future in filled:
            future.cancel()
        for unreached in lap.save:
            states.setdefault(unreached, self._copied(step))
        yield Trained(evals, states, self._copied(step), diverged_at)

    def _plan(self, step: int, last: int, save: Collection[int]) -> Iterator[tuple[range, int]]:
        """Yield the steps of each chunk and the size of its batches.

        Evaluations and saved states fall between chunks.
        """
        recipe, examples = self._recipe, len(self._data.train)
        stops = iter(sorted(at for at in {*save, last} if step < at <= last))
        stop = next(stops)
        while step < last:
            evaluated = (step // recipe.evaluate_every + 1) * recipe.evaluate_every
            whole = steps_until_short(recipe, examples, step)
            size = recipe.batch_size if whole else examples % recipe.batch_size
            left = min(stop - step, evaluated - step, max(1, whole))
            length = next(length for length in self._lengths if length <= left)
            yield range(step, step + length), size
            step += length
            if step == stop:
                stop = next(stops, last)

    def _fill(
        self, piece: tuple[range, int], order_seed: int, pool: ThreadPoolExecutor | None
    ) -> "Future[_Slot]":
        """Fill the next slot in a thread of the pool, or at once if there is no pool."""
        steps, size = piece
        slot = self._slots.pop(0)
        self._slots.append(slot)
        slot.free()
        slot.steps, slot.size = steps, size
        examples, made = len(self._data.train), self._made + steps.start - self._begun.step
        arguments = self._recipe, examples, order_seed, steps, made
        if pool is not None:
            return pool.submit(slot.filled, *arguments)
        future: Future[_Slot] = Future()
        future.set_result(slot.filled(*arguments))
        return future

    def _run(self, slot: "_Slot") -> None:
        """Start a chunk of iterations on the device."""
        length, size = len(slot.steps), slot.size
        with self._own():
            self._inputs.take(slot.chunk)
            slot.taken()
            self._do((length, size), lambda: self._iterations(length, size), self._mutable())
            self._history[slot.steps.start : slot.steps.stop].copy_(self._losses[:length])

    def _iterations(self, length: int, size: int) -> list[Tensor]:
        for at in range(length):
            images, labels = self._inputs.batch(self._pixels, at, size)
            loss = loss_of(self._callee.logits(images), Batch(images, labels), self._recipe)
            gradients = self._callee.gradients(loss)
            rate, *corrections = self._inputs.real[:, at]
            update(
                self._recipe,
                self._updates,
                self._tensors,
                gradients,
                self._masked,
                rate,
                (corrections[0], corrections[1]),
            )
            self._callee.refresh()
            self._losses[at].copy_(loss.detach())
        return [*self._mutable(), self._losses]

    # ------------------------------------------------------------ recordings

    def _do(self, name: object, compute: Callable[[], list[Tensor]], changes: list[Tensor]) -> None:
        """Compute by replaying a recording, which the first call makes; or without one.

        `compute` returns the tensors that it writes; `changes` are those that it also reads.
        """
        if self.mode == "recorded" and name not in self._recordings:
            self._record(name, compute, changes)
        if self.mode == "recorded":
            recording = self._recordings[name]
            assert recording is not None
            recording.replay()
        else:
            compute()

    def _record(
        self, name: object, compute: Callable[[], list[Tensor]], changes: list[Tensor]
    ) -> None:
        """Keep a recording if its replay gives the same bits; else set `mode` to the reason."""
        count, before = self._updates.count, [tensor.detach().clone() for tensor in changes]
        wanted = [tensor.detach().clone() for tensor in compute()]
        _put(before, changes)
        recording = torch.cuda.CUDAGraph()
        try:
            torch.cuda.synchronize()
            recording.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                written = compute()
            finally:
                recording.capture_end()
            recording.replay()
            if _same(wanted, written):
                self._recordings[name] = recording
            else:
                self.mode = f"eager: recorded differs from computed at {name}"
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.mode = f"eager: {str(error).splitlines()[0]}"
        self._updates.count = count
        _put(before, changes)

    def _mutable(self) -> list[Tensor]:
        """Return the tensors that an iteration changes and the next one reads."""
        state = [t for n, t in self._state.items() if n not in self._counters]
        buffers = [t for t in self._updates.state() if t.dim() or t.is_cuda]
        return [*state, *buffers, *self._callee.copies]

    # ------------------------------------------------------------ between iterations

    def _load(self, begun: Checkpoint, kept: Kept | None) -> None:
        """Load the beginning of a run, or its checkpoint, in place of the previous run."""
        with self._own(), torch.no_grad():
            for name, tensor in begun.weights.items():
                self._state[name].copy_(tensor)
            for name, mask in self._masks.items():
                mask.copy_(kept[name]) if kept and name in kept else mask.fill_(1.0)
            for i, mask in self._masked:
                self._tensors[i].mul_(mask)
            self._updates.count = 0
            if begun.optimizer:
                self._updates.put(begun.optimizer)
            else:
                torch._foreach_zero_([t for t in self._updates.state() if t.dim()])
            self._callee.refresh()
            self._history = begun.losses.to(self._device, copy=True)
        self._begun, self._made = begun, self._updates.count
        self._settle()

    def _measure(self, first: int, step: int) -> "_Reading":
        """Start an evaluation and a check of masks and losses, without waiting for them."""
        with self._own():
            self._do("evaluation", self._evaluate, [])
            finite = torch.isfinite(self._history[first:step]).all()[None]
            return _Reading(torch.cat([self._measures, finite.to(self._measures)]))

    @torch.no_grad()
    def _evaluate(self) -> list[Tensor]:
        self._module.eval()
        sums = [evaluation(self._callee, split, parts) for split, parts in self._parts]
        self._module.train()
        torch.cat([*sums, self._stray()[None]], out=self._measures)
        return [self._measures]

    def _stray(self) -> Tensor:
        """Count the pruned weights and momenta that are not zero; NaN is a diverged run's."""
        count = torch.zeros((), dtype=torch.float64, device=self._device)
        for i, mask in self._masked:
            for tensor in (self._tensors[i], self._updates.buffers[i]):
                count += ((mask == 0) & (tensor != 0) & ~tensor.isnan()).sum()
        return count

    def _evals(self, step: int, values: Tensor) -> list[Eval]:
        return [
            Eval.of(step, name, len(split), values[3 * i : 3 * i + 3])
            for i, (name, (split, _)) in enumerate(
                zip(self._recipe.evaluate, self._parts, strict=True)
            )
        ]

    def _diverged(self, first: int, step: int, values: Tensor) -> int | None:
        """Return the first step whose loss is not finite, or None; raise if a mask is broken."""
        if values[-2]:
            check_masks(
                self._state,
                dict(zip(self._params, self._updates.buffers, strict=True)),
                self._masks,
            )
        return None if values[-1] else first_non_finite(self._history, first, step)

    def _evaluated(self, name: str) -> tuple[Any, tuple[Tensor, ...]]:
        split = self._data.split(name)
        numbers = torch.arange(len(split), device=self._device)
        self._module.eval()
        with torch.no_grad():
            size = evaluation_batch(self._module, self._state, split)
        self._module.train()
        return split, torch.split(numbers, size)

    def _copied(self, step: int) -> Weights:
        with self._own():
            weights = copied(self._state)
            for name in self._counters:
                weights[name] += step - self._begun.step
        self._settle()
        return weights

    def _taken(self, step: int, evals: list[Eval], states: dict[int, Weights]) -> Checkpoint:
        weights = self._copied(step)
        self._updates.count = self._made + step - self._begun.step
        state = [tensor.contiguous() for tensor in self._updates.state()]
        self._updates.count = self._made
        return Checkpoint(step, weights, state, self._history, evals, states)

    def _own(self) -> AbstractContextManager[Any]:
        return torch.cuda.stream(self._stream) if self._stream else nullcontext()

    def _settle(self) -> None:
        """Wait for the device, since other streams may depend on its results."""
        if self._stream:
            torch.cuda.synchronize(self._device)


class _Slot:
    """A chunk in host memory: filled, copied to the device, then filled again."""

    def __init__(self, length: int, batch: int) -> None:
        self.chunk = Chunk.empty(length, batch)
        self.steps, self.size = range(0), batch
        self._copy = _event() if torch.cuda.is_available() else None

    def free(self) -> None:
        """Wait until the device has copied the previous contents."""
        if self._copy:
            self._copy.synchronize()

    def filled(self, *arguments: Any) -> "_Slot":
        self.chunk.fill(*arguments)
        return self

    def taken(self) -> None:
        """Take in that this stream has begun to copy the contents."""
        if self._copy:
            self._copy.record()


class _Reading:
    """Numbers that are being copied from the device."""

    def __init__(self, values: Tensor) -> None:
        self._arrived = _event() if values.is_cuda else None
        self.values = values
        if self._arrived:
            self.values = torch.empty_like(values, device="cpu", pin_memory=True)
            self.values.copy_(values, non_blocking=True)
            self._arrived.record()

    def done(self) -> bool:
        return self._arrived is None or bool(self._arrived.query())  # type: ignore[no-untyped-call]


def lanes(network: Network, recipe: Recipe, data: Data, count: int) -> list[Lane]:
    """Build `count` lanes for runs of one shape; they share the pixels.

    Raises
    ------
    ValueError
        When `count` is above MOST, or such runs cannot be in a lane.
    """
    if not 1 <= count <= MOST:
        raise ValueError(f"a process takes 1 to {MOST} lanes, not {count}")
    if reason := why_alone(network, recipe, data):
        raise ValueError(f"a run of {network.name} cannot be in a lane: {reason}")
    pixels = Pixels(data.train, recipe)
    with arithmetic(recipe.precision):
        return [Lane(network, recipe, data, pixels) for _ in range(count)]


def train_side_by_side(
    laps: Iterable[tuple[T, Lap]], lanes: list[Lane], recipe: Recipe
) -> Iterator[tuple[T, Trained | Exception]]:
    """Train runs, one in each lane at a time; yield the name and result of each when it ends.

    If a run raises an error, the error is yielded as its result and the other runs continue.
    """
    waiting, free = iter(laps), list(lanes)
    going: dict[Lane, tuple[T, Iterator[Trained | None]]] = {}
    workers = ThreadPoolExecutor(min(4, os.cpu_count() or 1))
    pool = workers if torch.cuda.is_available() else None
    with workers:
        while True:
            while free and (lap := next(waiting, None)) is not None:
                lane = free.pop()
                going[lane] = lap[0], lane.turns(lap[1], pool)
            if not going:
                return
            with arithmetic(recipe.precision):
                lane, ended = _first_done(going)
            name, _ = going.pop(lane)
            free.append(lane)
            yield name, ended


def _first_done(
    going: dict[Lane, tuple[T, Iterator[Trained | None]]],
) -> tuple[Lane, Trained | Exception]:
    """Give each lane a turn, round after round, until the run of one lane ends."""
    for _ in paced(iter(int, 1)):
        for lane, (_, turns) in going.items():
            try:
                trained = next(turns)
            except torch.cuda.OutOfMemoryError:
                raise
            except Exception as error:  # noqa: BLE001 -- of this run; the others continue
                return lane, error
            if trained is not None:
                return lane, trained
    raise AssertionError


def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _event() -> torch.cuda.Event:
    return torch.cuda.Event()  # type: ignore[no-untyped-call]


def _counters(module: nn.Module) -> set[str]:
    """Return the names of batch norm's counters, whose values the host knows (iterations)."""
    return {
        f"{owner}.num_batches_tracked"
        for owner, child in module.named_modules()
        if isinstance(child, _BatchNorm) and child.momentum is not None
        if child.num_batches_tracked is not None
    }


@torch.no_grad()
def _put(values: list[Tensor], tensors: list[Tensor]) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)


def _same(expected: list[Tensor], actual: list[Tensor]) -> bool:
    """Return whether all bits agree, those of NaN included."""
    pairs = zip(expected, actual, strict=True)
    return all(torch.equal(_bytes(first), _bytes(second)) for first, second in pairs)


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().view(-1).view(torch.uint8)
