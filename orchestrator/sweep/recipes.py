"""Published training recipes by name, each with its source: `recipe: synflow/vgg16-cifar100`.

A name stands for what a sweep file could have said: dataset, network, recipe, initialization,
and the choices with which the study's methods scored. What the file says itself wins.
"""

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from tasks.values import user_code
from tombola.text import nearest

Fields = dict[str, Any]


@dataclass(frozen=True)
class Published:
    """A study's settings for one network and dataset, in the words of a sweep file.

    `source` says which is followed where paper and code differ. `methods` are options of methods
    by name; `rewind` is the step that the study rewound to.
    """

    source: str
    dataset: str
    network: str | Fields
    recipe: Fields
    init: Fields = field(default_factory=dict)
    methods: dict[str, Fields] = field(default_factory=dict)
    rewind: str | None = None


def filled(data: Fields) -> Fields:
    """A sweep file's data with its named recipes written out.

    Raises
    ------
    ValueError
        When there is no recipe of a name.
    """
    name = _name(data.get("recipe"))
    if name is None:
        return data
    published = _own(name) if ":" in str(name) else _published(name)
    data = {
        **({"dataset": published.dataset} if published.dataset else {}),
        **({"network": published.network} if published.network else {}),
        **({"init": published.init} if published.init else {}),
        **data,
        "recipe": _merged(published.recipe, data["recipe"]),
    }
    if isinstance(data.get("grids"), list):
        data["grids"] = [_with_options(grid, published.methods) for grid in data["grids"]]
    return data


def _name(recipe: Any) -> str | None:
    if isinstance(recipe, str):
        return recipe
    return recipe.get("from") if isinstance(recipe, dict) else None


def _published(name: str) -> Published:
    if name not in PUBLISHED:
        raise ValueError(f"recipe: no recipe {name!r}; {nearest(str(name), list(PUBLISHED))}")
    return PUBLISHED[name]


def _own(name: str) -> Published:
    """A user's recipe: what `module:function` returns is the recipe's fields."""
    with user_code.told(f"recipe: {name}"):
        fields = user_code.load(name)()
    if not isinstance(fields, dict):
        raise ValueError(f"recipe: {name} takes a function that returns a mapping of fields")
    return Published(source=name, dataset="", network="", recipe=fields)


def _merged(published: Fields, written: Any) -> Fields:
    said = {k: v for k, v in written.items() if k != "from"} if isinstance(written, dict) else {}
    return {**deepcopy(published), **said}


def _with_options(grid: Any, options: dict[str, Fields]) -> Any:
    """A grid whose methods score as the study's did, where it does not say otherwise."""
    if not isinstance(grid, dict) or "method" not in grid:
        return grid
    methods = grid["method"] if isinstance(grid["method"], list) else [grid["method"]]
    return {**grid, "method": [_with_defaults(method, options) for method in methods]}


def _with_defaults(method: Any, options: dict[str, Fields]) -> Any:
    name: Any = method
    said: Any = {}
    if isinstance(method, dict) and len(method) == 1:
        [(name, said)] = method.items()
    if not isinstance(name, str) or name not in options or not isinstance(said, dict):
        return method
    return {name: {**options[name], **said}}


# ---------------------------------------------------------------- the studies

# Initializations are those of the official codes, which say more than the papers.
_RESNET = {"weights": "kaiming_normal", "batch_norm": "uniform"}
_TORCHVISION_VGG = {"weights": "kaiming_normal_fan_out", "linear": "normal_001"}
_SYNFLOW_RESNET = {"weights": "kaiming_normal_fan_out", "linear": "pytorch"}
_TENSORFLOW = {"weights": "lecun_truncated_normal", "linear": "normal_001"}
_MISSING = "Frankle et al. 2021 (Missing the Mark), appendix A, as in OpenLTH"
_SYNFLOW = (
    "Tanaka et al. 2020 (SynFlow), appendix; initialization and networks of its code at 9dfa57a "
    "(its released ResNet-18 runs pruned the identity shortcuts too: 1,024 weights more)"
)
_SYNFLOW_SCORING: dict[str, Fields] = {
    "snip": {"batch_norm": "eval", "draw": "random", "augment": "crop_flip"},
    "grasp": {"batch_norm": "eval", "draw": "random", "augment": "crop_flip"},
}


def _sgd(**changes: Any) -> Fields:
    common = {"batch_size": 128, "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4}
    return {**common, "augment": "crop_flip", "evaluate_every": "1ep", **changes}


def _drops(*at: str, factor: float = 0.1) -> Fields:
    return {"step_decay": {"at": list(at), "factor": factor}}


def _synflow_cifar(network: str, dataset: str) -> Published:
    if network.startswith("resnet"):
        recipe = _sgd(steps="160ep", lr=0.01, nesterov=True, weight_decay=5e-4)
        recipe["schedule"] = _drops("60ep", "120ep", factor=0.2)
        init = _SYNFLOW_RESNET
    else:
        recipe = _sgd(steps="160ep", nesterov=True, schedule=_drops("60ep", "120ep"))
        init = {"weights": "kaiming_normal"}
    return Published(_SYNFLOW, dataset, network, recipe, init, _SYNFLOW_SCORING)


def _synflow_tiny(network: str) -> Published:
    drops = _drops("30ep", "60ep", "80ep")
    recipe = _sgd(steps="100ep", lr=0.01, nesterov=True, schedule=drops)
    resnet = network.startswith("resnet")
    init = _SYNFLOW_RESNET if resnet else _TORCHVISION_VGG
    return Published(_SYNFLOW, "tiny_imagenet", network, recipe, init, _SYNFLOW_SCORING)


def _renda(network: str, weight_decay: float) -> Published:
    recipe = _sgd(steps="182ep", weight_decay=weight_decay, schedule=_drops("91ep", "136ep"))
    source = "Renda et al. 2020, table 1; initialization of its code (TensorFlow's official ResNet)"
    return Published(source, "cifar10", network, recipe, _TENSORFLOW)


def _grasp(network: str | Fields, dataset: str, epochs: int, weight_decay: float) -> Published:
    drops = _drops(f"{epochs // 2}ep", f"{epochs * 3 // 4}ep")
    recipe = _sgd(steps=f"{epochs}ep", weight_decay=weight_decay, schedule=drops)
    source = (
        "Wang et al. 2020 (GraSP), section 5; network and initialization of its code, whose "
        "ResNet-32 is twice as wide as that of He et al. 2016 (it scores with linear layers drawn "
        "anew, which is not followed)"
    )
    return Published(source, dataset, network, recipe, _TORCHVISION_VGG)


def _lth_conv(n: int, lr: float, steps: int) -> Published:
    recipe = {"steps": steps, "batch_size": 60, "lr": lr, "optimizer": "adam"}
    recipe |= {"momentum": 0.0, "evaluate_every": 100}
    source = "Frankle and Carbin 2019, figure 2"
    return Published(source, "cifar10", f"conv_{n}", recipe, {"weights": "glorot_normal"})


PUBLISHED: dict[str, Published] = {
    "missing-the-mark/resnet20-cifar10": Published(
        _MISSING,
        "cifar10",
        "resnet20",
        _sgd(steps="160ep", schedule=_drops("80ep", "120ep")),
        _RESNET,
        rewind="1000it",
    ),
    "missing-the-mark/vgg16-cifar10": Published(
        _MISSING,
        "cifar10",
        "vgg16_bn",
        _sgd(steps="160ep", schedule=_drops("80ep", "120ep")),
        _RESNET,
        rewind="2000it",
    ),
    "missing-the-mark/resnet18-tinyimagenet": Published(
        _MISSING + " (warm-up: inherited from its ImageNet default)",
        "tiny_imagenet",
        "resnet18",
        _sgd(
            steps="200ep",
            batch_size=256,
            lr=0.2,
            warmup="5ep",
            augment="resized_crop_flip",
            schedule=_drops("100ep", "150ep"),
        ),
        _RESNET,
        rewind="1000it",
    ),
    "missing-the-mark/resnet50-imagenet": Published(
        _MISSING,
        "imagenet",
        "resnet50",
        _sgd(
            steps="90ep",
            batch_size=1024,
            lr=0.4,
            warmup="5ep",
            augment="resized_crop_flip",
            schedule=_drops("30ep", "60ep", "80ep"),
        ),
        _RESNET,
        rewind="6255it",
    ),
    "lth/lenet-mnist": Published(
        "Frankle and Carbin 2019, figure 2 (Adam; the released codes train by SGD at 0.1)",
        "mnist",
        "lenet_300_100",
        {
            "steps": 50_000,
            "batch_size": 60,
            "lr": 1.2e-3,
            "optimizer": "adam",
            "momentum": 0.0,
            "evaluate_every": 100,
        },
        {"weights": "glorot_normal"},
    ),
    "openlth/lenet-mnist": Published(
        "OpenLTH, models/mnist_lenet.py",
        "mnist",
        "lenet_300_100",
        {"steps": "40ep", "batch_size": 128, "lr": 0.1, "momentum": 0.0, "evaluate_every": "1ep"},
    ),
    "lth/conv2-cifar10": _lth_conv(2, 2e-4, 20_000),
    "lth/conv4-cifar10": _lth_conv(4, 3e-4, 25_000),
    "lth/conv6-cifar10": _lth_conv(6, 3e-4, 30_000),
    "lth/resnet20-cifar10": Published(
        "Frankle and Carbin 2019, figure 2 and section 4 (its ResNet-18); Frankle et al. 2020",
        "cifar10",
        "resnet20",
        _sgd(steps=30_000, evaluate_every=500, schedule=_drops("20000it", "25000it")),
    ),
    "lth/vgg19-cifar10": Published(
        "Frankle and Carbin 2019, figure 2 and section 4",
        "cifar10",
        "vgg19_bn",
        _sgd(
            steps=112_000,
            batch_size=64,
            evaluate_every=1000,
            schedule=_drops("56000it", "84000it"),
        ),
    ),
    **{
        f"synflow/{short}-{dataset}": _synflow_cifar(network, dataset)
        for short, network in (
            ("vgg11", "vgg11_bn"),
            ("vgg16", "vgg16_bn"),
            ("resnet18", "resnet18_small_stem"),
        )
        for dataset in ("cifar10", "cifar100")
    },
    **{
        f"synflow/{short}-tinyimagenet": _synflow_tiny(network)
        for short, network in (
            ("vgg11", "vgg11_bn_three_linear"),
            ("vgg16", "vgg16_bn_three_linear"),
            ("resnet18", "resnet18_small_stem"),
        )
    },
    **{f"renda/resnet{d}-cifar10": _renda(f"resnet{d}", 2e-4) for d in (20, 56, 110)},
    "renda/vgg16-cifar10": _renda("vgg16_bn", 5e-4),
    **{
        f"grasp/resnet32-{dataset}": _grasp({"resnet32": {"width": 2}}, dataset, 160, 1e-4)
        for dataset in ("cifar10", "cifar100")
    },
    **{
        f"grasp/vgg19-{dataset}": _grasp("vgg19_bn", dataset, 160, 5e-4)
        for dataset in ("cifar10", "cifar100")
    },
    "grasp/vgg19-tinyimagenet": _grasp("vgg19_bn", "tiny_imagenet", 300, 5e-4),
    "tost/resnet18-cifar10": Published(
        "Jaiswal et al. 2022 (ToST), section 4 and code, whose initialization is PyTorch's own",
        "cifar10",
        "resnet18_small_stem",
        _sgd(steps="182ep", weight_decay=2e-4, schedule=_drops("90ep", "135ep")),
        {"weights": "pytorch"},
    ),
}
