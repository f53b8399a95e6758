"""Runs side by side have the bits that they have alone; without a GPU nothing is recorded."""

from dataclasses import replace

import pytest
import torch

from tasks.data.batches import Data, load
from tasks.masks import Kept
from tasks.networks.build import initial_weights
from tasks.pruning.prune import prune
from tasks.training.lanes import MOST, Lap, lanes, train_side_by_side, why_alone
from tasks.training.train import Checkpoint, Trained, train
from tasks.values import catalog
from tasks.values.scores import Random
from tasks.values.training import Cosine, Init, Network, Recipe

DATA = load(catalog.dataset("digits"))
LENET = catalog.network("lenet_300_100", "digits")
CONV = catalog.network("conv2_bn", "digits")
PLAIN = Recipe(
    steps=50, batch_size=64, lr=0.05, evaluate_every=20, weight_decay=1e-3, schedule=Cosine()
)
RECIPES = {
    "plain": PLAIN,
    "cropped": replace(PLAIN, augment="crop_flip", nesterov=True, warmup=5),
    "adam": replace(PLAIN, optimizer="adam", lr=1e-3, augment="flip", label_smoothing=0.1),
    "bfloat16": replace(PLAIN, precision="bfloat16"),
    "tf32": replace(PLAIN, precision="tf32", augment="crop_flip"),
}


def runs(network: Network, count: int = 3) -> list[tuple[int, Lap]]:
    """Build a dense run and pruned ones, each with its seed."""
    kept = prune(network, Random(seed=0), None, 0.3).kept
    return [
        (seed, Lap(initial_weights(network, Init(seed=seed)), kept if seed else None, seed))
        for seed in range(count)
    ]


def alone(network: Network, recipe: Recipe, lap: Lap) -> Trained:
    return train(
        network, recipe, DATA, lap.weights, lap.kept, order_seed=lap.order_seed, save=lap.save
    )


def same(one: Trained, other: Trained | Exception) -> bool:
    if isinstance(other, Exception):
        raise other
    states = [(one.weights, other.weights)]
    states += [(one.states[step], other.states[step]) for step in one.states]
    return (
        one.evals == other.evals
        and one.diverged_at == other.diverged_at
        and one.states.keys() == other.states.keys()
        and all(torch.equal(a[n], b[n]) for a, b in states for n in a)
    )


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("network", [LENET, CONV], ids=lambda network: network.name)
def test_a_run_in_a_lane_is_the_run(network: Network, name: str) -> None:
    """Three runs in two lanes: one lane is used twice."""
    recipe = RECIPES[name]
    asked = [(seed, replace(lap, save=(5, 50))) for seed, lap in runs(network)]
    there = lanes(network, recipe, DATA, 2)
    found = dict(train_side_by_side(asked, there, recipe))
    assert {lane.mode for lane in there} == {"eager: no GPU"}
    for seed, lap in asked:
        assert same(alone(network, recipe, lap), found[seed])
        assert all(tensor.is_contiguous() for tensor in found[seed].weights.values())


def test_a_run_from_a_later_step_and_one_that_diverges() -> None:
    recipe = replace(PLAIN, lr=1e6)
    [(_, lap)] = runs(LENET, 1)
    [(_, found)] = train_side_by_side([(0, lap)], lanes(LENET, recipe, DATA, 1), recipe)
    whole = alone(LENET, recipe, lap)
    assert whole.diverged_at is not None
    assert found.diverged_at == whole.diverged_at
    later = replace(lap, first_step=7, last_step=30)
    [(_, found)] = train_side_by_side([(0, later)], lanes(LENET, PLAIN, DATA, 1), PLAIN)
    wanted = train(
        LENET, PLAIN, DATA, lap.weights, lap.kept, order_seed=0, first_step=7, last_step=30
    )
    assert same(wanted, found)


class Cut:
    """Store a copy at request number `at`, and stop the run."""

    def __init__(self, at: int) -> None:
        self.left, self.kept = at, None

    def last(self) -> Checkpoint | None:
        return self.kept

    def due(self) -> bool:
        self.left -= 1
        return self.left == 0

    def keep(self, one: Checkpoint) -> None:
        states = {s: {n: t.clone() for n, t in w.items()} for s, w in one.states.items()}
        self.kept = Checkpoint(
            one.step,
            {n: t.clone() for n, t in one.weights.items()},
            [t.clone() for t in one.optimizer],
            one.losses.clone(),
            list(one.evals),
            states,
        )
        raise InterruptedError


@pytest.mark.parametrize("name", ["plain", "adam", "bfloat16"])
@pytest.mark.parametrize("at", [1, 3, 5])
def test_a_run_that_is_cut_goes_on_in_another_lane_or_alone(name: str, at: int) -> None:
    recipe = RECIPES[name]
    (_, other), (_, lap) = ((seed, replace(one, save=(4, 45))) for seed, one in runs(CONV, 2))
    cut = Cut(at)
    there = lanes(CONV, recipe, DATA, 2)
    halves = {0: other, 1: replace(lap, checkpoints=cut)}
    found = dict(train_side_by_side(halves.items(), there, recipe))
    assert isinstance(found[1], InterruptedError)
    assert cut.kept is not None
    assert 0 < cut.kept.step < 50
    wanted = alone(CONV, recipe, lap)
    assert same(alone(CONV, recipe, other), found[0])
    again = dict(train_side_by_side(halves.items(), there[::-1], recipe))
    assert same(wanted, again[1])
    by_itself = train(
        CONV, recipe, DATA, lap.weights, lap.kept, order_seed=1, save=(4, 45), checkpoints=cut
    )
    assert same(wanted, by_itself)


def test_what_a_run_raises_is_its_own() -> None:
    asked = runs(LENET)
    asked[1] = (1, replace(asked[1][1], weights={"no such": torch.zeros(1)}))
    found = dict(train_side_by_side(asked, lanes(LENET, PLAIN, DATA, 2), PLAIN))
    assert isinstance(found[1], KeyError)
    assert all(same(alone(LENET, PLAIN, lap), found[seed]) for seed, lap in asked[::2])


def test_a_broken_mask_is_noticed() -> None:
    class Breaking(dict[str, torch.Tensor]):
        pass

    [_, (_, lap)] = runs(LENET, 2)
    [lane] = lanes(LENET, PLAIN, DATA, 1)
    turns = lane.turns(lap, None)
    next(turns)
    assert isinstance(lap.kept, dict)
    broken: Kept = lap.kept
    name = next(iter(broken))
    with torch.no_grad():
        lane._params[name][~broken[name]] = 1.0
    with pytest.raises(Exception, match="pruned weights of"):
        list(turns)


@pytest.mark.parametrize(
    ("network", "changes", "reason"),
    [
        ("conv2_bn", {"ghosts": "both", "ghost_steps": 3}, "ghosts change"),
        ("conv2_bn", {"augment": "resized_crop_flip"}, "computes new pixels"),
        ("torchvision:vgg11", {}, "random numbers"),
        ("conv2_bn", {}, None),
    ],
)
def test_some_runs_train_alone(network: str, changes: dict, reason: str | None) -> None:
    shape, how = (3, 32, 32), catalog.semantics(network)
    of = Network(name=network, input_shape=shape, classes=10, semantics=how)
    recipe = replace(PLAIN, **changes)
    found = why_alone(of, recipe, DATA)
    assert (reason is None) == (found is None)
    if reason:
        assert reason in str(found)
        with pytest.raises(ValueError, match="cannot be in a lane"):
            lanes(of, recipe, DATA, 1)


def test_images_from_files_train_alone() -> None:
    class Files:
        def __len__(self) -> int:
            return 1

        def take(self, chosen: object, draws: object) -> object:
            raise NotImplementedError

    split = replace(DATA.train, source=Files()).part(torch.arange(1))
    assert why_alone(LENET, PLAIN, Data(split, split)) == "images are read from files"


def test_a_process_has_so_many_lanes() -> None:
    for count in (0, MOST + 1):
        with pytest.raises(ValueError, match=f"1 to {MOST} lanes, not {count}"):
            lanes(LENET, PLAIN, DATA, count)
