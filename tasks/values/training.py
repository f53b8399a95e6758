"""Values of training: `Network`, `Dataset`, `Recipe`, and `Init`, the weights at step 0.

Fields hold only what changes the result. Lengths are in iterations.
"""

from collections.abc import Callable
from typing import Literal, TypeAlias

from tasks.values.key import About, Record, Seed, added, described


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
    """A training procedure, in iterations: SGD or Adam on cross-entropy.

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

    steps: int = described(About("recipe: iterations", "iterations"))
    batch_size: int = described(About("recipe: examples per iteration", "examples"))
    lr: float = described(About("recipe: learning rate"))
    evaluate_every: int
    momentum: float = described(About("recipe: momentum"), default=0.9)
    nesterov: bool = described(About("recipe: Nesterov's momentum"), default=False)
    weight_decay: float = described(About("recipe: L2 penalty"), default=0.0)
    schedule: Schedule = described(
        About("recipe: constant, cosine, or step_decay with its steps"), default=Constant()
    )
    warmup: int = described(About("recipe: iterations of linear warm-up", "iterations"), default=0)
    optimizer: Literal["sgd", "adam"] = added(default="sgd", about=About("recipe: sgd or adam"))
    augment: Augment = added(
        default="none", about=About("recipe: how training images are augmented")
    )
    label_smoothing: float = added(
        default=0.0,
        about=About("recipe: share of each target spread over all classes", "fraction"),
    )
    evaluate: tuple[SplitName, ...] = added(default=("train", "test"))
    ghosts: Literal["none", "neurons", "skips", "both"] = added(
        default="none", about=About("recipe: tricks of early training, if any")
    )
    ghost_steps: int = added(default=0)
    rescale_steps: int = added(
        default=0,
        about=About("recipe: iterations that learn a scale for each tensor", "iterations"),
    )
    precision: Arithmetic = added(
        default="float32", about=About("recipe: float32, tf32 or bfloat16 arithmetic")
    )

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


LENGTHS = ("steps", "evaluate_every", "warmup", "ghost_steps", "rescale_steps")
"""Fields of a recipe that a sweep file may say in epochs."""

OF_THE_START = frozenset({"schedule", "warmup", "ghosts", "ghost_steps", "rescale_steps"})
"""Fields that fine-tuning does not inherit: it goes on from a trained network."""

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
