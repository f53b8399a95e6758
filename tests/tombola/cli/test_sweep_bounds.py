"""A sweep file from elsewhere is bounded: size, depth, number of values, length of messages."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tombola.cli import app

HEAD = (
    "name: x\ndataset: digits\nnetwork: lenet_300_100\nrecipe: {steps: 9, batch_size: 8, lr: 0.1}\n"
)
GRIDS = "grids: [{method: random, sparsity: 0.5}]\n"
LEVELS = "\n".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else '1'}]" for n in range(10)
)
MERGED = "\n".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" if n else "a0: &a0 {b: 1}"
    for n in range(10)
)

BAD = {
    "NUL": (HEAD + "description: 'a\0b'\n" + GRIDS, ":5: a control character"),
    "an escape": (HEAD + "description: \x1b[31mred\n" + GRIDS, ":5: a control character"),
    "an escape that is written out": (
        HEAD.replace("digits", '"\\x1b[31m"') + GRIDS,
        "no control characters",
    ),
    "aliases of aliases": (LEVELS, "values, those included that aliases repeat"),
    "merged aliases": (MERGED, "values, those included that aliases repeat"),
    "an alias of itself": ("a: &a [*a]\n", "values in one another"),
    "deep lists": ("a: " + "[" * 5000 + "]" * 5000, "values in one another"),
    "deep blocks": ("".join(f"{' ' * n}a:\n" for n in range(1000)), "values in one another"),
    "a large file": ("#" * (1 << 20) + "\n" + HEAD + GRIDS, "too much for a sweep file"),
    "a long word": (HEAD.replace("digits", "d" * 10**5) + GRIDS, "takes at most 2,000 characters"),
    "a long number": (
        HEAD + "replicates: " + "9" * 1000 + "\n" + GRIDS,
        "a number of 1,000 digits",
    ),
    "a hexadecimal one": (HEAD + "replicates: 0x" + "f" * 1990 + "\n" + GRIDS, "digits"),
    "many replicates": (
        HEAD + "replicates: 100000000\n" + GRIDS,
        "replicates: takes 100000 at most",
    ),
    "many ranges": (
        HEAD + "replicates: [0..99999, 100000..199999]\n" + GRIDS,
        "takes 100000 values at most",
    ),
    "many trials": (
        HEAD + "replicates: 100000\n" + GRIDS.replace("0.5", "0.1..0.9..0.01"),
        "a sweep holds 2,000,000 at most",
    ),
    "a wrong date": (HEAD + "description: 2001-99-99\n" + GRIDS, "not valid YAML"),
    "half a name of torchvision's": (
        HEAD.replace("lenet_300_100", "torchvision:resnet18x") + GRIDS,
        "did you mean torchvision:resnet18?",
    ),
    "a path for torchvision": (
        HEAD.replace("lenet_300_100", "torchvision:../../x") + GRIDS,
        "torchvision has no network '../../x'",
    ),
    "a function of torchvision's": (
        HEAD.replace("lenet_300_100", "torchvision:get_model") + GRIDS,
        "torchvision has no network 'get_model'",
    ),
}


@pytest.mark.parametrize(("content", "problem"), BAD.values(), ids=BAD)
def test_each_is_one_line_and_exit_code_2(tmp_path: Path, content: str, problem: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(content)
    ended = CliRunner().invoke(app, ["plan", str(path), "--store", str(tmp_path / "store")])
    assert ended.exit_code == 2, ended.output
    assert problem in ended.output
    assert len(ended.output.splitlines()) == 1
    assert len(ended.output) < 1000


def test_a_network_of_torchvisions_is_known(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    named = HEAD.replace("lenet_300_100", "torchvision:mobilenet_v2").replace("digits", "cifar10")
    path.write_text(named + GRIDS)
    ended = CliRunner().invoke(app, ["plan", str(path), "--store", str(tmp_path / "store")])
    assert ended.exit_code == 0, ended.output


@pytest.mark.parametrize("value", ["2001-99-99", "[", "&a [*a]"])
def test_a_value_of_the_command_line_is_bounded_too(tmp_path: Path, value: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(HEAD + GRIDS)
    ended = CliRunner().invoke(app, ["plan", str(path), "--set", f"replicates={value}"])
    assert ended.exit_code == 2, ended.output
    assert len(ended.output.splitlines()) == 1


def test_an_empty_condition_asks_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(HEAD + GRIDS)
    (tmp_path / "store").mkdir()
    for verb in ("cancel", "pause", "resume", "retry", "run"):
        words = [verb, str(path), "--store", str(tmp_path / "store"), "--where", ""]
        ended = CliRunner().invoke(app, words)
        assert ended.exit_code == 2, ended.output
        assert "--where: the condition is empty" in ended.output
