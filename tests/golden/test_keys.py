"""Golden keys. A difference here means that every store in the world loses its results: it
takes a raised semantics version of the record concerned, and a line in the changelog."""

import json
from pathlib import Path
from typing import Any

from orchestrator.running import study
from tasks.values.measurements import Barrier, Graphs, Latency
from tasks.values.records import Run, State, at, prune
from tasks.values.scores import (
    Examples,
    GemMiner,
    Grasp,
    Inverted,
    LayerRate,
    Magnitude,
    NofM,
    Obd,
    Own,
    Random,
    Shuffled,
    Snip,
    Synflow,
    Units,
)
from tasks.values.training import Constant, Cosine, Dataset, Init, Network, Recipe, StepDecay

GOLDEN = json.loads((Path(__file__).parent / "keys.json").read_text())


def _later(network: Network, digits: Dataset, examples: Examples) -> dict[str, Any]:
    """Records of the second version, with every added field away from its first meaning."""
    by_norm = {"of": Init(seed=0), "density": 0.5}
    drawn = Examples(dataset=digits, seed=1, draw="random", augment="crop_flip", batch_size=32)
    return {
        "wide network": Network(name="resnet20", input_shape=(3, 32, 32), classes=10, width=2),
        "network of one's own": Network(
            name="my:net", input_shape=(3, 32, 32), classes=10, source="0123456789abcdef"
        ),
        "validation": Dataset(name="digits", validation=100),
        "later recipe": Recipe(
            steps=600,
            batch_size=64,
            lr=1e-3,
            evaluate_every=100,
            optimizer="adam",
            augment="crop_flip",
            label_smoothing=0.1,
            evaluate=("train", "val", "test"),
            ghosts="both",
            ghost_steps=60,
        ),
        "drawn examples": drawn,
        "erk": Random(seed=0, layers="erk"),
        "later snip": Snip(examples=drawn, iterations=10, precision="float64", total="absolute"),
        "later grasp": Grasp(examples=drawn, iterations=10, precision="float64", absolute=True),
        "later synflow": Synflow(schedule="linear", precision="float32"),
        "obd": Obd(examples=examples),
        "gem miner": GemMiner(dataset=digits, seed=0, steps=100, period=10),
        "own": Own(name="my:score", source="0123456789abcdef", examples=examples),
        "protected": prune(network, Magnitude(), **by_norm, keep_dense=("last", "first")),
        "blocks": prune(network, Magnitude(), **by_norm, pattern=NofM(n=2, m=4)),
        "rescaled recipe": Recipe(
            steps=60, batch_size=64, lr=0.1, evaluate_every=60, rescale_steps=180
        ),
        "layer rates": prune(
            network,
            Magnitude(),
            **by_norm,
            scope="layerwise",
            rates=(LayerRate(layer="last", exponent=0.5), LayerRate(layer="conv", exponent=2)),
        ),
        "units": prune(network, Magnitude(), **by_norm, pattern=Units(norm="l2")),
    }


def expressions() -> dict[str, str]:
    network = Network(name="lenet_300_100", input_shape=(1, 8, 8), classes=10)
    digits = Dataset(name="digits")
    recipe = Recipe(
        steps=600,
        batch_size=64,
        lr=0.1,
        evaluate_every=100,
        weight_decay=1e-4,
        schedule=StepDecay(at=(300, 450)),
        warmup=20,
    )
    examples = Examples(dataset=digits, seed=0)
    dense = Run(network=network, dataset=digits, recipe=recipe, start=Init(seed=0), order_seed=0)
    mask = prune(network, Magnitude(), of=at(dense, 600), density=0.8)
    deeper = prune(network, Magnitude(), of=at(dense, 600), density=0.8**2, within=mask)
    assert mask is not None
    assert deeper is not None
    ticket = Run(
        network=network,
        dataset=digits,
        recipe=recipe,
        start=at(dense, 50),
        order_seed=0,
        mask=deeper,
        first_step=50,
    )
    values = {
        "network": network,
        "recipe": recipe,
        "constant": Constant(),
        "cosine": Cosine(),
        "init": Init(seed=7, weights="glorot_normal", batch_norm="uniform"),
        "random": Random(seed=3),
        "snip": Snip(examples=examples),
        "grasp": Grasp(examples=examples),
        "synflow": Synflow(),
        "shuffled": Shuffled(seed=2),
        "inverted": Inverted(),
        "dense run": dense,
        "state": State(run=dense, step=50),
        "mask": mask,
        "mask within a mask": deeper,
        "ticket": ticket,
        "barrier": Barrier(one=State(run=ticket, step=600), other=State(run=dense, step=600)),
        "graphs": Graphs(mask=mask),
        "latency": Latency(mask=mask, batch_size=64),
        **_later(network, digits, examples),
    }
    return {name: value.key for name, value in values.items()}


def test_keys_are_what_they_were() -> None:
    assert expressions() == GOLDEN["expressions"]


def test_the_shipped_sweeps_ask_for_what_they_asked_for() -> None:
    import hashlib

    for name, expected in GOLDEN["sweeps"].items():
        trials = study.read(Path(__file__).parents[2] / "sweeps" / f"{name}.yaml").trials
        keys = "".join(trial.run.key for trial in trials)
        assert hashlib.sha256(keys.encode()).hexdigest() == expected, name
