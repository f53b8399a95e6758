"""What is measured on request: values with keys of their own, beside `Run` and `Mask`."""

from typing import TypeAlias

from tasks.values.key import Record, known
from tasks.values.records import Mask, State


class Barrier(Record, kind="barrier", referenced=True):
    """Error on the straight line between two trained networks (Frankle et al. 2020, section 2).

    `points` evenly spaced networks, both ends included, on the train and the test split.
    """

    one: State
    other: State
    points: int = 30

    def check(self) -> None:
        one, other = self.one.run, self.other.run
        at_hand = known(one) and known(other)
        if at_hand and (one.network, one.dataset) != (other.network, other.dataset):
            raise ValueError("a barrier takes two runs of one network on one dataset")
        if self.points < 2:
            raise ValueError(f"points takes at least 2, the two ends, not {self.points}")


class Graphs(Record, kind="graphs", referenced=True):
    """A mask's layers as bipartite graphs (Hoang et al. 2023): tasks.measures.ramanujan."""

    mask: Mask


class Latency(Record, kind="latency", referenced=True):
    """Time of a forward pass, and size, of a network without its pruned units.

    The time is of the machine, so what two machines must agree on is the size alone.
    """

    mask: Mask
    batch_size: int = 1

    def check(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size takes 1 image or more, not {self.batch_size}")


Measurement: TypeAlias = Barrier | Graphs | Latency
