"""`tombola check` finds in seconds the mistakes that a launch would find in every task."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.orchestrator.sweep.test_methods import OWN
from tests.support.small import write_sweep
from tombola.cli import app

MORE = """

class Normed(nn.Sequential):
    def __init__(self, network):
        super().__init__(
            nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, network.classes)
        )


def reads(network):
    with open("width" + ".txt") as file:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, int(file.read())))


def nothing(network):
    pass


def images(network):
    return nn.Identity()


def crashes(network):
    raise OSError(5, "the disk is gone")


def leaves(network):
    raise SystemExit(3)


def fickle(module, weights, kept, batches, seed):
    return {n: torch.rand(p.shape) for n, p in module.named_parameters() if p.ndim > 1}


def partial(module, weights, kept, batches, seed):
    return {}


def odd(split):
    images, labels = parity(split)
    return images, labels + 1


odd.facts = parity.facts
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_own.py").write_text(OWN + MORE)
    (tmp_path / "width.txt").write_text("10")
    return tmp_path


def check(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["check", *arguments])


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("my_own:tiny", "my_own:tiny: 650 parameters, 98.5% of them prunable, in 1 tensors"),
        ("my_own:tiny", "one batch forward and backward, loss 2."),
        ("my_own:parity", "1438 + 359 examples of 1 x 8 x 8, 2 classes, as its facts say"),
        ("my_own:gradient_flow", "the same in both calls"),
        ("my_own:short", "'batch_size': 64"),
        ("my_own:Normed", "cannot train on a batch of one example"),
        ("my_own:reads", "width.txt, which is not part of its key"),
    ],
)
def test_what_works_is_described(folder: Path, name: str, found: str) -> None:
    result = check(name)
    assert result.exit_code == 0, result.output
    assert found in result.stdout.replace("\n", " ")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my_own:nothing", "my_own:nothing returned NoneType"),
        ("my_own:images", "my_own:images"),
        ("my_own:crashes", "the disk is gone (my_own.py:"),
        ("my_own:leaves", "my_own:leaves ended with SystemExit: 3"),
        ("my_own:fickle", "my_own:fickle: returns different scores when it is called again"),
        ("my_own:partial", "gave scores of shape None"),
        ("my_own:odd", "labels from 1 to 2, and 2 classes are 0 to 1; right: labels - 1"),
        ("my_own:tinyy", "my_own.py has no function 'tinyy'; did you mean tiny?"),
        ("nowhere:net", "no module 'nowhere'"),
    ],
)
def test_what_does_not_is_one_line(folder: Path, name: str, message: str) -> None:
    result = check(name)
    assert result.exit_code == 2, result.output
    [line] = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert message in line
    assert "Traceback" not in result.output


def test_a_sweep_is_checked_whole(folder: Path) -> None:
    grids = [{"method": {"my_own:gradient_flow": {"temperature": [1, 2]}}, "density": [0.5]}]
    network = ["my_own:nothing", {"my_own:tiny": {"hidden": [0, 5]}}]
    write_sweep(folder, network=network, dataset="my_own:parity", grids=grids)
    result = check("tiny.yaml")
    assert result.exit_code == 2
    assert "my_own:nothing returned NoneType" in result.stderr
    assert result.stdout.count("one batch forward and backward") == 2
    assert result.stdout.count("the same in both calls") >= 2


def test_plan_names_files_that_no_key_covers(folder: Path) -> None:
    (folder / "mentions.py").write_text("def net(network):\n    return open('width.txt')\n")
    write_sweep(folder, network="mentions:net")
    result = CliRunner().invoke(app, ["plan", "tiny.yaml"])
    assert result.exit_code == 0
    assert "note: mentions:net mentions width.txt, which is not part of its key" in result.stderr
