"""The values that everything computed is one of: `Run`, `State` and `Mask`.

Run   one training trajectory, fully determined
State a run at a step: its weights and buffers
Mask  which weights are kept

A pruning method is an expression of these (orchestrator/sweep/methods.py); equal expressions are
equal work. Fields hold only what changes the result. Lengths are in iterations.
"""

from collections.abc import Callable
from typing import Literal, TypeAlias

from tasks.values.key import Record, Seed, added, known

# ---------------------------------------------------------------- what is trained, on what


class Option(Record, kind="option"):
    """A parameter of a user's function and its value as JSON, where it is not the default."""

    name: str
    value: str


class Network(Record, kind="network"):
    """An architecture, shaped for a dataset.

    `input_shape` is (channels, height, width). `name` is one of tasks.networks, torchvision's
    (`torchvision:mobilenet_v2`), or a user's own `module:function`, which takes `options` and
    whose digest is `source`. `width` multiplies the channels of a network that takes it.

    `prunable` are patterns of tensors' names that say which can be pruned, where not the usual
    ones are (tasks.networks.tensors). With `semantics` 2 each tensor has the value that the
    network's own code gives it, what the code draws is seeded, and weights of all kinds of
    layers are prunable. With 1, that of the networks here, a tensor's value is set by its
    name, nothing is drawn, and Conv2d and Linear weights are prunable.
    """

    name: str
    input_shape: tuple[int, ...]
    classes: int
    width: float = added(default=1.0)
    source: str = added(default="")
    options: tuple[Option, ...] = added(default=())
    prunable: tuple[str, ...] = added(default=())
    semantics: int = added(default=1)

    def check(self) -> None:
        if self.width <= 0:
            raise ValueError(f"width takes a number above 0, not {self.width}")
        if len(self.input_shape) != 3 or min(*self.input_shape, self.classes) < 1:
            raise ValueError("a network takes (channels, height, width) and at least one class")


class Dataset(Record, kind="dataset"):
    """A dataset of tasks.data.batches, by name, with its published split.

    `validation` training examples are held out (drawn by a fixed seed, the same for every
    run), so that choices need not be made on the test set. `source` is the digest of a user's
    own `module:function`.
    """

    name: str
    validation: int = added(default=0)
    source: str = added(default="")

    def check(self) -> None:
        if self.validation < 0:
            raise ValueError(f"validation takes 0 or more examples, not {self.validation}")


class Constant(Record, kind="constant"):
    """Learning rate held at `Recipe.lr`."""


class StepDecay(Record, kind="step_decay"):
    """Learning rate multiplied by `factor` at each step of `at`."""

    at: tuple[int, ...]
    factor: float = 0.1

    def check(self) -> None:
        if list(self.at) != sorted(set(self.at)) or min(self.at, default=1) < 1:
            raise ValueError(f"at takes rising steps from 1, not {list(self.at)}")
        if not 0 < self.factor < 1:
            raise ValueError(f"factor takes a number between 0 and 1, not {self.factor}")


class Cosine(Record, kind="cosine"):
    """Learning rate annealed to 0 along half a cosine over the recipe's steps."""


Schedule: TypeAlias = Constant | StepDecay | Cosine


LARGEST = 2**31 - 1
"""Of whole numbers: seeds, levels, lengths."""

SPLITS = ("train", "val", "test")
Augment: TypeAlias = Literal["none", "flip", "crop_flip", "resized_crop_flip"]
SplitName: TypeAlias = Literal["train", "val", "test"]
Arithmetic: TypeAlias = Literal["float32", "tf32", "bfloat16"]


NUMBERS_OF_RECIPES: dict[str, tuple[Callable[[float], bool], str]] = {
    "lr": (lambda value: value > 0, "a number above 0"),
    "momentum": (lambda value: 0 <= value < 1, "a number from 0 to below 1"),
    "weight_decay": (lambda value: value >= 0, "0 or more"),
    "label_smoothing": (lambda value: 0 <= value < 1, "a number from 0 to below 1"),
}
"""Which values a recipe's numbers take, whatever its other fields are."""


def check_number(name: str, value: float) -> None:
    """Refuse a number that no recipe takes.

    Raises
    ------
    ValueError
        When it is out of its range.
    """
    possible, words = NUMBERS_OF_RECIPES[name]
    if not possible(value):
        raise ValueError(f"{name} takes {words}, not {value}")


class Recipe(Record, kind="recipe"):
    """How to train, in iterations: SGD or Adam on cross-entropy.

    `warmup` steps rise linearly to the scheduled rate. Each epoch is a new order of all
    training examples, its last batch short when they do not divide. The splits of `evaluate`
    are evaluated at the first step, after every `evaluate_every` steps and at the end.

    `augment` is crop_flip (4 pixels of zeros around, cropped anywhere, mirrored by half),
    resized_crop_flip (a tenth to all of the image), flip or none. Adam's decays are 0.9 and
    0.999 (Kingma and Ba 2015); `momentum` is SGD's alone. `label_smoothing` ε spreads ε of
    each target over all classes (Szegedy et al. 2016).

    The sparse-training tricks of Jaiswal et al. 2022 (ToST, section 3) act until
    `ghost_steps`, `ghosts` saying which: soft neurons (x · sigmoid(x) for ReLU), or skips
    (convolutions that keep the shape add their input, fading linearly to nothing). A run
    from step 0 first learns a scale for each tensor for `rescale_steps` (tasks.training.gradinit).

    `precision` is that of training and evaluation: float32 is IEEE's on every device; tf32
    rounds what convolutions and matrix products take (on a GPU; elsewhere it is float32);
    bfloat16 rounds their weights and inputs, while weights that are trained, batch norm's
    statistics and the loss stay float32 (tasks.training.precision).
    """

    steps: int
    batch_size: int
    lr: float
    evaluate_every: int
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    schedule: Schedule = Constant()
    warmup: int = 0
    optimizer: Literal["sgd", "adam"] = added(default="sgd")
    augment: Augment = added(default="none")
    label_smoothing: float = added(default=0.0)
    evaluate: tuple[SplitName, ...] = added(default=("train", "test"))
    ghosts: Literal["none", "neurons", "skips", "both"] = added(default="none")
    ghost_steps: int = added(default=0)
    rescale_steps: int = added(default=0)
    precision: Arithmetic = added(default="float32")

    def check(self) -> None:
        if (self.ghosts == "none") != (self.ghost_steps == 0):
            raise ValueError("ghosts and ghost_steps take each other: which, and until when")
        for name in NUMBERS_OF_RECIPES:
            check_number(name, getattr(self, name))
        if not self.evaluate or list(self.evaluate) != [n for n in SPLITS if n in self.evaluate]:
            raise ValueError(f"evaluate takes some of {', '.join(SPLITS)}, in that order")
        wholes = {
            **dict.fromkeys(("steps", "batch_size", "evaluate_every"), (1, LARGEST)),
            **dict.fromkeys(("warmup", "ghost_steps"), (0, self.steps)),
            "rescale_steps": (0, LARGEST),
        }
        for name, (least, most) in wholes.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} takes {least} to {most}, not {getattr(self, name)}")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov takes a momentum above 0")


InitScheme: TypeAlias = Literal[
    "kaiming_normal",
    "kaiming_normal_fan_out",
    "glorot_normal",
    "lecun_truncated_normal",
    "pytorch",
    "own",
]
LinearScheme: TypeAlias = Literal["as_weights", "pytorch", "normal_001"]


class Init(Record, kind="init"):
    """Weights at step 0.

    `weights` is "own", as the network's own code draws them (seeded), or the scheme of the
    weights whose inputs are known, of convolutions, linear, recurrent and attention layers
    (tasks.networks.schemes); `linear` is that of linear layers where it is another: "pytorch" is
    U(±1/√fan-in) for the weights and the biases, "normal_001" is N(0, 0.01²). Biases of the
    networks here are 0 but under "pytorch"; whatever else a network of another's has keeps its
    own value (Network.semantics). `batch_norm` is the
    scale γ of batch norm: ones, or uniform in [0, 1) as OpenLTH draws it.
    """

    seed: Seed
    weights: InitScheme = "kaiming_normal"
    batch_norm: Literal["ones", "uniform"] = "ones"
    linear: LinearScheme = added(default="as_weights")


# ---------------------------------------------------------------- scores: larger is kept


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


Mode: TypeAlias = Literal["train", "eval"]
Precision: TypeAlias = Literal["float32", "float64"]


class Random(Record, kind="random"):
    """U(0, 1): the same density everywhere, in expectation; drawn once.

    `layers` gives layer densities that are not the same: "erk" in proportion to
    (inputs + outputs + kernel sides) / weights (Evci et al. 2020, section 3).
    """

    seed: Seed
    layers: Literal["even", "erk"] = added(default="even")


class Magnitude(Record, kind="magnitude"):
    """|θ| (Han et al. 2015; at initialization: Frankle et al. 2021)."""


class Snip(Record, kind="snip"):
    """|θ ⊙ ∂L/∂θ| (Lee et al. 2019, eq. 6).

    Over several batches the gradients are summed with their signs, or their absolute
    scores are (`total`; Missing the Mark's code). With `iterations`, density falls
    exponentially and survivors are scored anew (de Jorge et al. 2021, iterative SNIP).
    """

    examples: Examples
    batch_norm: Mode = "train"
    iterations: int = added(default=1)
    precision: Precision = added(default="float32")
    total: Literal["signed", "absolute"] = added(default="signed")

    def check(self) -> None:
        _check_iterations(self.iterations)


class Grasp(Record, kind="grasp"):
    """θ ⊙ Hg of the loss at softmax temperature T (Wang et al. 2020, eq. 8; largest kept).

    `absolute` keeps the largest |θ ⊙ Hg| (Frankle et al. 2021, section 5). `iterations` as
    for SNIP.
    """

    examples: Examples
    temperature: float = 200.0
    batch_norm: Mode = "train"
    iterations: int = added(default=1)
    precision: Precision = added(default="float32")
    absolute: bool = added(default=False)

    def check(self) -> None:
        _check_iterations(self.iterations)
        if self.temperature <= 0:
            raise ValueError(f"temperature takes a number above 0, not {self.temperature}")


class Synflow(Record, kind="synflow"):
    """|θ ⊙ ∂R/∂θ|, R = 1ᵀ ∏|θ| 1, over `iterations` steps (Tanaka et al. 2020, algorithm 1).

    After k of n iterations density is d^(k/n) (exponential) or 1 - (1 - d) k/n (linear).
    """

    iterations: int = 100
    schedule: Literal["exponential", "linear"] = added(default="exponential")
    precision: Precision = added(default="float64")

    def check(self) -> None:
        _check_iterations(self.iterations)


class Obd(Record, kind="obd"):
    """½ h θ² with h the diagonal of the Hessian (LeCun et al. 1990, eq. 5).

    h is the Gauss-Newton diagonal, which of a ReLU network is the Hessian's, or the
    empirical Fisher's: the mean of squared gradients of single examples.
    """

    examples: Examples
    hessian: Literal["gauss_newton", "fisher"] = "gauss_newton"


class GemMiner(Record, kind="gem_miner"):
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

    def check(self) -> None:
        if not 1 <= self.period <= self.steps or self.batch_size < 1 or self.lr <= 0:
            raise ValueError("gem_miner takes 1 ≤ period ≤ steps, batch_size ≥ 1 and lr > 0")
        if not 0 <= self.momentum < 1 or self.regularization < 0:
            raise ValueError("gem_miner takes 0 ≤ momentum < 1 and regularization ≥ 0")


class Own(Record, kind="own"):
    """A user's score, `module:function`, with its options; `source` is its digest.

    The function is called as the scores of `tasks.pruning.scores` are: with
    (module, weights, kept, batches, seed); the README has an example.
    """

    name: str
    source: str
    examples: Examples
    options: tuple[Option, ...] = added(default=())


def _check_iterations(iterations: int) -> None:
    if iterations < 1:
        raise ValueError(f"iterations takes at least 1, not {iterations}")


OnExamples: TypeAlias = Snip | Grasp | Obd | Own
Score: TypeAlias = Random | Magnitude | Snip | Grasp | Synflow | Obd | GemMiner | Own


def is_one_shot(score: Score) -> bool:
    """Whether the score is the same for every density, so that masks can share it."""
    return not isinstance(score, GemMiner) and getattr(score, "iterations", 1) == 1


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


# ---------------------------------------------------------------- the three nouns


class Run(Record, kind="run", referenced=True):
    """One training trajectory: from `start` at `first_step` to the recipe's last step.

    `mask` None trains the dense network. A mask may have been found on a dataset of other
    shape: layers whose shapes differ, such as the classifier, are then dense. Pruned
    weights are zero at every step. Optimizer state starts afresh; learning rate and data
    order are those of the step.
    """

    network: Network
    dataset: Dataset
    recipe: Recipe
    start: "Init | State"
    order_seed: Seed
    mask: "Mask | None" = None
    first_step: int = 0

    def check(self) -> None:
        if not 0 <= self.first_step < self.recipe.steps:
            raise ValueError(
                f"first_step takes 0 to {self.recipe.steps - 1}, not {self.first_step}"
            )
        _same_network(self.network, self.start, self.mask)


class State(Record, kind="state"):
    """A run's weights and buffers after `step` iterations (make it with `at`)."""

    run: Run
    step: int

    def check(self) -> None:
        if not known(self.run):
            return
        first, last = self.run.first_step, self.run.recipe.steps
        if not first < self.step <= last:
            raise ValueError(f"a state of this run takes step {first + 1} to {last}")


class Mask(Record, kind="mask", referenced=True):
    """Which weights are kept (make it with `prune`, which folds equal work).

    Keeps exactly round(density × prunable weights), the largest scores of `of`, ties by
    index, among those `within` keeps. `of` is None for scores that look at no weights.

    `keep_dense` names layers that are not pruned: "first", "last", or tensors; the others
    make up for them, so that the density is that of the network. A `pattern` keeps blocks
    or whole units instead: `density` is then n/m, or the share of units kept. With `rates`
    it is the density of the layers that they do not name.
    """

    network: Network
    score: Score
    of: "Init | State | None"
    density: float
    scope: Literal["global", "layerwise"] = "global"
    within: "Mask | None" = None
    ablation: Ablation | None = None
    keep_dense: tuple[str, ...] = added(default=())
    pattern: Pattern | None = added(default=None)
    rates: tuple[LayerRate, ...] = added(default=())

    def check(self) -> None:
        if self.rates and (self.scope != "layerwise" or self.keep_dense or self.pattern):
            raise ValueError(
                "layer_rates take scope: layerwise, no pattern, and rate 0 in place of keep_dense"
            )
        if self.rates and not is_one_shot(self.score):
            raise ValueError("layer_rates take a score of one iteration")
        if isinstance(self.pattern, NofM) and self.density != float(
            f"{self.pattern.n / self.pattern.m:.12g}"
        ):
            raise ValueError("the density of an n_of_m pattern is n/m")
        if isinstance(self.pattern, Units) and not isinstance(self.score, Magnitude):
            raise ValueError("units are pruned by the norm of their weights: score magnitude")
        if self.pattern is not None and (self.within is not None or self.keep_dense):
            raise ValueError("a pattern takes neither `within` nor keep_dense")
        if not 0 < self.density < 1:
            raise ValueError(f"density takes a number above 0 and below 1, not {self.density}")
        if isinstance(self.score, Random) != (self.of is None):
            raise ValueError("a random mask scores no weights, every other mask does")
        if isinstance(self.score, Random) and self.ablation is not None:
            raise ValueError("a shuffled or inverted random mask is a random mask")
        within = self.within
        if within is not None and known(within) and within.density < self.density:
            raise ValueError(f"density takes at most {within.density}, that of `within`")
        _same_network(self.network, self.of, self.within)


def _same_network(network: Network, start: "Init | State | None", mask: "Mask | None") -> None:
    if isinstance(start, State) and known(start.run) and start.run.network != network:
        raise ValueError("the weights to start from belong to another network")
    if mask is None or not known(mask) or mask.network is network:
        return
    if _architecture(mask.network) != _architecture(network):
        raise ValueError("the mask belongs to another network")


def _architecture(network: Network) -> tuple[object, ...]:
    """What networks for different datasets may have in common."""
    return network.name, network.width, network.options, network.prunable, network.semantics


# ---------------------------------------------------------------- folding equal work


def at(run: Run, step: int) -> Init | State:
    """The weights of `run` after `step` iterations; a dense run's first are its start's."""
    if step == run.first_step and run.mask is None:
        return run.start
    return State(run=run, step=step)


def prune(
    network: Network,
    score: Score,
    *,
    of: Init | State,
    density: float,
    scope: Literal["global", "layerwise"] = "global",
    within: Mask | None = None,
    ablation: Ablation | None = None,
    keep_dense: tuple[str, ...] = (),
    pattern: Pattern | None = None,
    rates: tuple[LayerRate, ...] = (),
) -> Mask | None:
    """The mask, or None where it keeps every weight (density 1 of any method is dense).

    A random mask looks at no weights, and shuffled or inverted it is a random mask again.
    """
    if density == 1:
        return None
    drawn = isinstance(score, Random)
    return Mask(
        network=network,
        score=score,
        of=None if drawn else of,
        density=density,
        scope=scope,
        within=within,
        ablation=None if drawn else ablation,
        keep_dense=tuple(sorted(set(keep_dense))),
        pattern=pattern,
        rates=tuple(sorted(rates, key=lambda rate: rate.layer)),
    )
