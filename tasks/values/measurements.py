"""Measurements on request: a class for each, with its words and its cost.

A new measurement is a class here, its function in tasks/measures, and a method of
orchestrator.node.task.Computing that reads its inputs. The key of its result is a column of
`trials` then, and plans, forecasts and progress name it.
"""

import math
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

from tasks.values import catalog
from tasks.values.key import Record, known
from tasks.values.records import Mask, State
from tasks.values.training import Network

SHORT_KEY = 12
"""Digits of a key that people are shown."""

MeasurementName: TypeAlias = Literal["barrier", "ramanujan", "latency"]
"""Values of `measure` in a sweep file: the `name` of each class."""


class Speed(NamedTuple):
    """Sizes from which a cost is estimated.

    Attributes
    ----------
    weights, flops : int
        Weights of the network; multiply-adds of a forward pass of one example.
    iteration : float
        Overhead of an iteration, s.
    rate : float
        Multiply-adds per second.
    """

    weights: int
    flops: int
    iteration: float
    rate: float


class Measurement(Record):
    """A measurement of stored weights or masks, with a result of its own.

    Attributes
    ----------
    name : str
        By which a sweep file asks for it.
    verb, plural : str
        What progress shows while it is computed, and what forecasts count.
    column : str
        What the column of `trials` with the result's key means.
    """

    name: ClassVar[str]
    verb: ClassVar[str]
    plural: ClassVar[str]
    column: ClassVar[str]

    @property
    def reads(self) -> tuple[State | Mask, ...]:
        """The stored weights and masks that it is measured of."""
        raise NotImplementedError

    @property
    def network(self) -> Network:
        """The network that it is measured of."""
        raise NotImplementedError

    @property
    def title(self) -> str:
        """Name and keys of the measurement, in a few words."""
        raise NotImplementedError

    def seconds(self, speed: Speed) -> float:
        """Estimate its time, s."""
        raise NotImplementedError


class Barrier(Measurement, kind="barrier", referenced=True):
    """Error on the straight line between two trained networks (Frankle et al. 2020, section 2).

    `points` evenly spaced networks, both ends included, on the train and the test split.
    """

    name = "barrier"
    verb = "interpolate"
    plural = "barriers"
    column = "barrier to the same run in another data order, if asked"

    one: State
    other: State
    points: int = 30

    @property
    def reads(self) -> tuple[State | Mask, ...]:
        return self.one, self.other

    @property
    def network(self) -> Network:
        return self.one.run.network

    @property
    def title(self) -> str:
        first, second = (end.run.key[:SHORT_KEY] for end in (self.one, self.other))
        return f"the barrier between {first} and {second}"

    def seconds(self, speed: Speed) -> float:
        """Every point evaluates all examples."""
        facts = catalog.dataset_facts(self.one.run.dataset.name)
        return 0.05 + self.points * (facts.train + facts.test) * 2 * speed.flops / speed.rate

    def check(self) -> None:
        first, second = self.one.run, self.other.run
        at_hand = known(first) and known(second)
        if at_hand and (first.network, first.dataset) != (second.network, second.dataset):
            raise ValueError("a barrier takes two runs of one network on one dataset")
        if self.points < 2:
            raise ValueError(f"points takes at least 2, the two ends, not {self.points}")


class OfMask(Measurement):
    """A measurement of a mask alone."""

    mask: Mask

    @property
    def reads(self) -> tuple[State | Mask, ...]:
        return (self.mask,)

    @property
    def network(self) -> Network:
        return self.mask.network

    @property
    def title(self) -> str:
        return f"the {self.kind} of {self.mask.key[:SHORT_KEY]}"


class Graphs(OfMask, kind="graphs", referenced=True):
    """A mask's layers as bipartite graphs (Hoang et al. 2023): tasks.measures.ramanujan."""

    name = "ramanujan"
    verb = "measure"
    plural = "measurements"
    column = "its mask's layers as graphs, if asked"

    def seconds(self, speed: Speed) -> float:
        """A layer's singular values take (weights)^1.5."""
        return 0.01 + 2.5e-10 * math.sqrt(speed.weights) * speed.weights


class Latency(OfMask, kind="latency", referenced=True):
    """Time of a forward pass, and size, of a network without its pruned units.

    The time is that of the machine: two machines are compared by the size alone.
    """

    name = "latency"
    verb = "time"
    plural = "latencies"
    column = "latency of its mask's network, if asked"

    batch_size: int = 1

    def seconds(self, speed: Speed) -> float:
        """Three forms of the network are timed, each 20 times and once before."""
        one_pass = speed.iteration + self.batch_size * speed.flops / speed.rate
        return 0.05 + max(0.25, 3 * 21 * one_pass)

    def check(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size takes 1 image or more, not {self.batch_size}")


MEASUREMENTS: dict[str, Any] = {cls.kind: cls for cls in (Barrier, Graphs, Latency)}
"""Every measurement by its kind, in the order of columns and tasks."""
