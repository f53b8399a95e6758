"""Several runs side by side on one device, each as if it were alone.

A lane is one run's tensors, a CUDA stream, and its iterations recorded as CUDA graphs. No kernel
of one lane reads or writes another's tensors, and none is chosen by what another does: so a
run's bits are those that it has alone. What is recorded is first computed without recording and
compared; where the bits differ, or nothing can be recorded, the lane computes without, and says
why (`mode`). On a CPU it always does. A lane computes what `tasks.training.train.train` computes.
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
from tasks.training.inputs import AUGMENTATIONS, Chunk, Pixels, steps_until_short
from tasks.training.optimizers import optimizer, update
from tasks.training.precision import Callee, arithmetic, laid_out
from tasks.training.train import (
    NEVER,
    Checkpoint,
    Checkpoints,
    Eval,
    Trained,
    beginning,
    check_masks,
    copied,
    evaluation,
    evaluation_batch,
    first_non_finite,
    loss_of,
)
from tasks.values.training import Network, Recipe

MOST = 32
"""Lanes of one process: PyTorch has as many streams, and two lanes must not share one."""

LENGTHS = (32, 8, 1)
"""Iterations of one recording; a run is put together from these."""

DEEP = 8
"""Layers from which 8 iterations are long enough that the host's part does not show."""

AHEAD = 3
"""Chunks of iterations that the host fills before the device has begun with the first."""

T = TypeVar("T")


@dataclass(frozen=True)
class Lap:
    """One run through a lane; what `train` takes besides network, recipe and data."""

    weights: Weights
    kept: Kept | None
    order_seed: int
    first_step: int = 0
    last_step: int | None = None
    save: Collection[int] = ()
    checkpoints: Checkpoints = field(default=NEVER)


def why_alone(network: Network, recipe: Recipe, data: Data) -> str | None:
    """Why a run of this shape cannot be in a lane; None where it can."""
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
        return "its passes may draw random numbers"
    return None


class Lane:
    """Where one run at a time is trained: tensors that stay, and recordings that use them.

    Attributes
    ----------
    mode : str
        "recorded", or "eager: " and why.
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
        """Train a run, by turns: None after each, and at last what came of it.

        A turn gives the device some iterations to do, or looks whether it has done them.
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
        for asked in lap.save:
            states.setdefault(asked, self._copied(step))
        yield Trained(evals, states, self._copied(step), diverged_at)

    def _plan(self, step: int, last: int, save: Collection[int]) -> Iterator[tuple[range, int]]:
        """Steps of each chunk, and its batches' size: events fall between chunks."""
        recipe, examples = self._recipe, len(self._data.train)
        stops = iter(sorted(at for at in {*save, last} if step < at <= last))
        stop = next(stops)
        while step < last:
            evaluated = (step // recipe.evaluate_every + 1) * recipe.evaluate_every
            whole = steps_until_short(recipe, examples, step)
            size = recipe.batch_size if whole else examples % recipe.batch_size
            left = min(stop - step, evaluated - step, max(1, whole))
            length = next(one for one in self._lengths if one <= left)
            yield range(step, step + length), size
            step += length
            if step == stop:
                stop = next(stops, last)

    def _fill(
        self, piece: tuple[range, int], order_seed: int, pool: ThreadPoolExecutor | None
    ) -> "Future[_Slot]":
        """The next slot, filled by a helper, or at once where there is none."""
        steps, size = piece
        slot = self._slots.pop(0)
        self._slots.append(slot)
        slot.free()
        slot.steps, slot.size = steps, size
        examples, made = len(self._data.train), self._made + steps.start - self._begun.step
        told = self._recipe, examples, order_seed, steps, made
        if pool is not None:
            return pool.submit(slot.filled, *told)
        future: Future[_Slot] = Future()
        future.set_result(slot.filled(*told))
        return future

    def _run(self, slot: "_Slot") -> None:
        """Give the device a chunk of iterations to do."""
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
        """Compute by replaying its recording, or as it is; record it the first time.

        `compute` gives what it writes, of which `changes` is what it also reads.
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
        """Record, if a replay gives the bits that are computed without; else say why not."""
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
        """What an iteration changes and reads again."""
        state = [t for n, t in self._state.items() if n not in self._counters]
        buffers = [t for t in self._updates.state() if t.dim() or t.is_cuda]
        return [*state, *buffers, *self._callee.copies]

    # ------------------------------------------------------------ between iterations

    def _load(self, begun: Checkpoint, kept: Kept | None) -> None:
        """Put a run's beginning, or a checkpoint, in place of the run before."""
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
        """Have everything evaluated, and masks and losses checked, without waiting for it."""
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
        """How many pruned weights and momenta are not zero; NaN belongs to a diverged run."""
        found = torch.zeros((), dtype=torch.float64, device=self._device)
        for i, mask in self._masked:
            for tensor in (self._tensors[i], self._updates.buffers[i]):
                found += ((mask == 0) & (tensor != 0) & ~tensor.isnan()).sum()
        return found

    def _evals(self, step: int, values: Tensor) -> list[Eval]:
        return [
            Eval.of(step, name, len(split), values[3 * i : 3 * i + 3])
            for i, (name, (split, _)) in enumerate(
                zip(self._recipe.evaluate, self._parts, strict=True)
            )
        ]

    def _diverged(self, first: int, step: int, values: Tensor) -> int | None:
        """Where the loss stopped being finite; raises where a mask is broken."""
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
        """Wait for everything: what other streams do may depend on it."""
        if self._stream:
            torch.cuda.synchronize(self._device)


class _Slot:
    """A chunk on the host: filled, then copied to the device, then filled again."""

    def __init__(self, length: int, batch: int) -> None:
        self.chunk = Chunk.empty(length, batch)
        self.steps, self.size = range(0), batch
        self._copy = _event() if torch.cuda.is_available() else None

    def free(self) -> None:
        """Wait until the device has what was filled in last."""
        if self._copy:
            self._copy.synchronize()

    def filled(self, *told: Any) -> "_Slot":
        self.chunk.fill(*told)
        return self

    def taken(self) -> None:
        """The copy was asked for on this stream."""
        if self._copy:
            self._copy.record()


class _Reading:
    """Numbers on their way from the device."""

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
    """So many lanes for runs of one shape, which share the pixels.

    Raises
    ------
    ValueError
        When there are more than MOST, or such runs cannot be in a lane.
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
    """Train runs, as many at once as there are lanes; each as soon as it is done, by its name.

    What a run raises comes in place of its result, and the others go on.
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
    """Let each lane have a turn, again and again, until one has ended."""
    for _ in paced(iter(int, 1)):
        for lane, (_, turns) in going.items():
            try:
                trained = next(turns)
            except torch.cuda.OutOfMemoryError:
                raise
            except Exception as error:  # noqa: BLE001 -- of this run; the others go on
                return lane, error
            if trained is not None:
                return lane, trained
    raise AssertionError


def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _event() -> torch.cuda.Event:
    return torch.cuda.Event()  # type: ignore[no-untyped-call]


def _counters(module: nn.Module) -> set[str]:
    """Names of the counts of batches, which are the number of iterations: known on the host."""
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


def _same(wanted: list[Tensor], found: list[Tensor]) -> bool:
    """Whether all bits agree, NaN's too."""
    pairs = zip(wanted, found, strict=True)
    return all(torch.equal(_bytes(one), _bytes(other)) for one, other in pairs)


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().view(-1).view(torch.uint8)
