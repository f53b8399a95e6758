"""Values that choose a mask: scores, patterns, rates of layers, and ablations.

A new score is a record here, a function in tasks.pruning.scores, and an entry in
tasks.values.methods.
"""

from typing import Literal, TypeAlias

from tasks.values.key import Record, Seed, added, changed
from tasks.values.training import Augment, Dataset, Option


class Examples(Record, kind="examples"):
    """Scoring data: training examples drawn by seed, `per_class` for each class on average.

    Balanced draws exactly as many of each class, random draws from all (Synaptic-Flow's
    code). They are augmented as in training only where a study did so. Scored in one batch,
    or in several of `batch_size` (0: one).
    """

    dataset: Dataset
    seed: Seed
    per_class: int = 10
    draw: Literal["balanced", "random"] = added(default="balanced")
    augment: Augment = added(default="none")
    batch_size: int = added(default=0)

    def check(self) -> None:
        if self.per_class < 1:
            raise ValueError(f"per_class takes at least 1, not {self.per_class}")
        if self.batch_size < 0:
            raise ValueError(f"batch_size takes 0 (one batch) or more, not {self.batch_size}")


class Score(Record):
    """A score of each prunable weight; the largest are kept.

    A subclass is a score by name. Its fields are its options, but for `seed`, `dataset` and
    `examples`: these are the replicate's and the sweep's. Its function is in
    tasks.pruning.scores, its methods are in tasks.values.methods.
    """

    @property
    def rounds(self) -> int:
        """Number of times the weights are scored while the density falls."""
        rounds: int = getattr(self, "iterations", 1)
        return rounds

    @property
    def is_one_shot(self) -> bool:
        """True if the score is equal for every density: masks can share it."""
        return self.rounds == 1

    @property
    def reads(self) -> Dataset | None:
        """The dataset that the score looks at, if any."""
        return None

    def shortened(self, rounds: int) -> "Score":
        """Return the score with fewer rounds, for a rehearsal."""
        if not hasattr(self, "iterations"):
            return self
        return changed(self, iterations=min(self.rounds, rounds))


class OnExamples(Score):
    """A score that looks at training examples."""

    examples: Examples

    @property
    def reads(self) -> Dataset | None:
        return self.examples.dataset


Mode: TypeAlias = Literal["train", "eval"]
Precision: TypeAlias = Literal["float32", "float64"]


class Random(Score, kind="random"):
    """U(0, 1): the same density everywhere, in expectation; drawn once.

    `layers` gives layer densities that are not the same: "erk" in proportion to
    (inputs + outputs + kernel sides) / weights (Evci et al. 2020, section 3).
    """

    seed: Seed
    layers: Literal["even", "erk"] = added(default="even")


class Magnitude(Score, kind="magnitude"):
    """|θ| (Han et al. 2015; at initialization: Frankle et al. 2021)."""


class Snip(OnExamples, kind="snip"):
    """|θ ⊙ ∂L/∂θ| (Lee et al. 2019, eq. 6).

    Over several batches the gradients are summed with their signs, or their absolute
    scores are (`total`; Missing the Mark's code). With `iterations`, density falls
    exponentially and survivors are scored anew (de Jorge et al. 2021, iterative SNIP).
    """

    batch_norm: Mode = "train"
    iterations: int = added(default=1)
    precision: Precision = added(default="float32")
    total: Literal["signed", "absolute"] = added(default="signed")

    def check(self) -> None:
        _check_iterations(self.iterations)


class Grasp(OnExamples, kind="grasp"):
    """θ ⊙ Hg of the loss at softmax temperature T (Wang et al. 2020, eq. 8; largest kept).

    `absolute` keeps the largest |θ ⊙ Hg| (Frankle et al. 2021, section 5). `iterations` as
    for SNIP.
    """

    temperature: float = 200.0
    batch_norm: Mode = "train"
    iterations: int = added(default=1)
    precision: Precision = added(default="float32")
    absolute: bool = added(default=False)

    def check(self) -> None:
        _check_iterations(self.iterations)
        if self.temperature <= 0:
            raise ValueError(f"temperature takes a number above 0, not {self.temperature}")


class Synflow(Score, kind="synflow"):
    """|θ ⊙ ∂R/∂θ|, R = 1ᵀ ∏|θ| 1, over `iterations` steps (Tanaka et al. 2020, algorithm 1).

    After k of n iterations density is d^(k/n) (exponential) or 1 - (1 - d) k/n (linear).
    """

    iterations: int = 100
    schedule: Literal["exponential", "linear"] = added(default="exponential")
    precision: Precision = added(default="float64")

    def check(self) -> None:
        _check_iterations(self.iterations)


class Obd(OnExamples, kind="obd"):
    """½ h θ² with h the diagonal of the Hessian (LeCun et al. 1990, eq. 5).

    h is the Gauss-Newton diagonal, which of a ReLU network is the Hessian's, or the
    empirical Fisher's: the mean of squared gradients of single examples.
    """

    hessian: Literal["gauss_newton", "fisher"] = "gauss_newton"


class GemMiner(Score, kind="gem_miner"):
    """A mask trained on data while the weights stay as they are (Sreenivasan et al. 2022, alg. 1).

    Scores p in [0, 1] learn by SGD with a straight-through gradient and L2 penalty
    `regularization`; every `period` iterations the lowest are frozen out.
    """

    dataset: Dataset
    seed: Seed
    steps: int
    period: int
    lr: float = 0.1
    momentum: float = 0.9
    batch_size: int = 128
    regularization: float = 1e-4

    @property
    def is_one_shot(self) -> bool:
        return False

    @property
    def reads(self) -> Dataset | None:
        return self.dataset

    def shortened(self, rounds: int) -> "GemMiner":
        return changed(self, steps=rounds, period=1)

    def check(self) -> None:
        if not 1 <= self.period <= self.steps or self.batch_size < 1 or self.lr <= 0:
            raise ValueError("gem_miner takes 1 ≤ period ≤ steps, batch_size ≥ 1 and lr > 0")
        if not 0 <= self.momentum < 1 or self.regularization < 0:
            raise ValueError("gem_miner takes 0 ≤ momentum < 1 and regularization ≥ 0")


class Own(OnExamples, kind="own"):
    """A user's score, `module:function`, with its options; `source` is its digest.

    The function is called as the scores of `tasks.pruning.scores` are: with
    (module, weights, kept, batches, seed); docs/tutorial/your_own_method.md has one.
    """

    name: str
    source: str
    options: tuple[Option, ...] = added(default=())


def _check_iterations(iterations: int) -> None:
    if iterations < 1:
        raise ValueError(f"iterations takes at least 1, not {iterations}")


class NofM(Record, kind="n_of_m"):
    """In each block of m weights along the inputs, the n best are kept (Mishra et al. 2021).

    Tensors whose inputs do not divide by m stay dense.
    """

    n: int
    m: int

    def check(self) -> None:
        if not 1 <= self.n < self.m:
            raise ValueError(f"n_of_m takes 1 ≤ n < m, not {self.n} of {self.m}")


class Units(Record, kind="units"):
    """Whole neurons or channels by the norm of their incoming weights (Li et al. 2017)."""

    norm: Literal["l1", "l2"] = "l1"


Pattern: TypeAlias = NofM | Units


class LayerRate(Record, kind="layer_rate"):
    """A layer pruned at another rate: its density is the mask's to the power `exponent`.

    `layer` is a tensor, "first", "last", "conv" or "linear"; the more exact name wins. At
    rate r where the others have p, the exponent is log(1 - r) / log(1 - p).
    """

    layer: str
    exponent: float

    def check(self) -> None:
        if self.exponent < 0:
            raise ValueError(f"a layer's rate takes an exponent of 0 or more, not {self.exponent}")


class Shuffled(Record, kind="shuffled"):
    """The finished mask's entries permuted, within each layer or over the whole network."""

    seed: Seed
    scope: Literal["layerwise", "global"] = "layerwise"


class Inverted(Record, kind="inverted"):
    """The weights that the score would keep first are pruned first."""


Ablation: TypeAlias = Shuffled | Inverted
