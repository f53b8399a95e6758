"""`plan` and `show` report the prunable share of a network; `plan` checks patterns."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from analysis.database import connection as results
from orchestrator.executors.inline import InlineExecutor
from orchestrator.running import study
from tests.support.small import write_sweep
from tombola.cli import app
from tombola.store import layout

OWN = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.out = nn.Linear(64, classes)
        self.place = nn.Parameter(torch.zeros(8, 8))

    def forward(self, x):
        x = x[:, 0] + self.place
        return self.out((x + self.attention(x, x, x, need_weights=False)[0]).flatten(1))


def net(network):
    return Net(network.classes)


def broken(network):
    raise KeyError("depth")


def leaves(network):
    raise SystemExit("usage: net [-h]")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_net.py").write_text(OWN)
    return tmp_path


def tombola(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def prunable(result: Result) -> list[str]:
    """Return the lines of a plan about prunable shares."""
    assert result.exit_code == 0, result.output
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    first = next(n for n, line in enumerate(lines) if line.startswith("prunable"))
    last = next(n for n, line in enumerate(lines) if line.startswith("trial by trial"))
    return lines[first:last]


def test_a_plan_says_the_share_of_each_network(folder: Path) -> None:
    networks = ["lenet_300_100", {"resnet20": {"width": [0.25, 1]}}, "own_net:net"]
    own = 4 * 64 + 640  # of projections and the last layer
    assert prunable(tombola("plan", write_sweep(folder, network=networks))) == [
        "prunable 99.2% of 50,610 parameters of lenet_300_100; not biases",
        "97.7% of 17,462 parameters of resnet20 x0.25; not biases, norms",
        "99.4% of 272,186 parameters of resnet20; not biases, norms",
        f"{own / (own + 32 + 10 + 64):.1%} of 1,002 parameters of own_net:net; not place, biases",
    ]


def test_what_patterns_leave_out_is_named(folder: Path) -> None:
    networks = [{"own_net:net": {"prunable": "default, -out.*"}}]
    [line] = prunable(tombola("plan", write_sweep(folder, network=networks)))
    assert line.startswith("prunable 25.5% of 1,002 parameters of own_net:net prunable=default,")
    assert line.endswith("not out.weight, place, biases")


def test_one_network_on_two_datasets_has_a_line_for_each(folder: Path) -> None:
    assert prunable(tombola("plan", write_sweep(folder, dataset=["digits", "mnist"]))) == [
        "prunable 99.2% of 50,610 parameters of lenet_300_100 on digits; not biases",
        "99.8% of 266,610 parameters of lenet_300_100 on mnist; not biases",
    ]


def test_many_networks_are_cut_short(folder: Path) -> None:
    networks = [{"resnet20": {"width": [w / 10 for w in range(1, 10)]}}]
    lines = prunable(tombola("plan", write_sweep(folder, network=networks)))
    assert len(lines) == 7
    assert lines[-1] == "and of 3 more networks"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("own_net:broken", "building own_net:broken raised KeyError: 'depth' (own_net.py:"),
        ("own_net:leaves", "own_net:leaves ended with SystemExit: usage: net [-h]"),
    ],
)
def test_a_network_that_cannot_be_built_here_is_noted(folder: Path, name: str, words: str) -> None:
    result = tombola("plan", write_sweep(folder, network=["lenet_300_100", name]))
    assert len(prunable(result)) == 1
    assert f"note: the prunable share of {name} is not known: {words}" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("command", [("plan",), ("run", "--executor", "inline")])
@pytest.mark.parametrize(
    ("network", "pattern", "near"),
    [
        ("own_net:net", "otu.*", "similar names are out.weight"),
        ("own_net:net", "default, -*.in_proj_wieght", "similar names are attention.in_proj_weight"),
        ("own_net:net", "*.bias", "the names are attention.in_proj_weight, "),
        ("own_net:net", "-*", "prunable: -* leaves nothing to prune"),
        ("conv2_bn", "zzz", "the names are 0.weight, 4.weight, 9.weight"),
        ("torchvision:squeezenet1_1", "classifer*", "similar names are classifier.1.weight"),
    ],
)
def test_patterns_that_do_not_fit_are_refused_before_anything_runs(
    command: tuple[str, ...], network: str, pattern: str, near: str, folder: Path
) -> None:
    dataset = "cifar10" if network.startswith("torchvision") else "digits"
    networks = ["lenet_300_100", {network: {"prunable": ["default", pattern]}}]
    path = write_sweep(folder, network=networks, dataset=dataset)
    result = tombola(*command, path)
    assert result.exit_code == 2, result.output
    [error] = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    written = [text.strip().strip("- '") for text in path.read_text().splitlines()]
    line = 1 + written.index(pattern.strip("-"))
    assert error.startswith(f"error: {path}:{line}: {network}: prunable: ")
    assert near in error
    assert not (folder / "store" / layout.SWEEPS).exists()


def test_every_network_whose_patterns_do_not_fit_is_told(folder: Path) -> None:
    networks = [{"conv2_bn": {"prunable": ["a", "default"]}}, {"own_net:net": {"prunable": "b"}}]
    result = tombola("plan", write_sweep(folder, network=networks))
    assert result.exit_code == 2
    assert result.stderr.count("matches no weight") == 2


def test_show_says_the_share_and_imports_nothing_for_it(folder: Path) -> None:
    grid = [{"method": "random", "levels": [2], "train": False}]
    asked = study.read(write_sweep(folder, network=["lenet_300_100", "own_net:net"], grids=grid))
    study.run(asked, folder / "store", InlineExecutor())
    (folder / "own_net.py").write_text("raise SystemExit('this is run')")
    for trial in asked.trials:
        assert trial.mask is not None
        shown = tombola("show", trial.mask.key)
        assert shown.exit_code == 0, shown.output
        if trial.run.network.name == "lenet_300_100":
            assert "prunable     99.2% of 50,610 parameters; not biases" in shown.stdout
        else:
            assert "of 1,002 parameters; `tombola check own_net:net` says which" in shown.stdout


def test_an_effective_density_that_cannot_be_computed_is_null_and_said_to_be(folder: Path) -> None:
    figure = {"accuracy-vs-sparsity": {"metric": "effective_density"}}
    grids = [{"method": "magnitude", "sparsity": [0.5]}]
    recipe = {"steps": 2, "batch_size": 64, "lr": 0.1}
    for name, network in (("both", ["own_net:net", "lenet_300_100"]), ("alone", ["own_net:net"])):
        fields = {"network": network, "grids": grids, "recipe": recipe, "figures": [figure]}
        asked = study.read(write_sweep(folder, name=name, dense=False, **fields))
        study.run(asked, folder / "store", InlineExecutor())
    with results.connect(folder / "store") as connection:
        masks = dict(
            connection.execute(
                "SELECT network, effective_density FROM trials WHERE sweep = 'both'"
            ).fetchall()
        )
        layers = connection.execute(
            "SELECT count(*), count(effective) FROM layers WHERE layer LIKE '%attention%'"
        ).fetchone()
        [[accuracies]] = connection.execute("SELECT count(accuracy) FROM trials").fetchall()
    assert masks["own_net:net"] is None
    assert 0 < masks["lenet_300_100"] <= 0.5
    assert layers == (2, 0)
    assert accuracies == 3
    alone = tombola("figures", "alone.yaml", "--format", "svg")
    assert alone.exit_code, alone.output
    assert "takes masks of networks without recurrent and attention layers" in alone.stderr
    both = tombola("figures", "both.yaml", "--format", "svg")
    assert both.exit_code == 0, both.output
    assert (folder / "figures/both/accuracy-vs-sparsity.svg").exists()


def test_a_plan_of_shipped_networks_imports_no_torch(folder: Path) -> None:
    from tests.spec.test_imports import loaded

    path = write_sweep(folder, network=["lenet_300_100", {"resnet20": {"width": 0.25}}])
    program = (
        "from typer.testing import CliRunner\nfrom tombola.cli import app\n"
        f"assert not CliRunner().invoke(app, ['plan', {str(path)!r}]).exit_code"
    )
    assert "torch" not in loaded(program)
