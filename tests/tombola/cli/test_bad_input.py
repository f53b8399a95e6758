"""Every bad input gives one clear line and exit code 2, no traceback, and loses nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from orchestrator.executors.inline import InlineExecutor
from orchestrator.running import study
from tests.support.small import TINY, outcome, write_sweep
from tombola.cli import app
from tombola.store import layout


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad-input")
    study.run(study.read(write_sweep(folder)), folder / "store", InlineExecutor())
    return folder


@pytest.fixture
def here(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import shutil

    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=stdin)


def text(content: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "tiny.yaml").write_text(content) and None


def sweep(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: write_sweep(folder, **changes) and None


def grid(**changes: Any) -> Callable[[Path], None]:
    return sweep(grids=[{"method": "snip", "levels": [1], **changes}])


def recipe(**changes: Any) -> Callable[[Path], None]:
    return sweep(recipe={**TINY["recipe"], **changes})


PLAN = ("plan", "tiny.yaml")

# what is wrong: (what is done to the folder, the command, what the one line says)
SWEEPS: dict[str, tuple[Callable[[Path], None], str]] = {
    "broken YAML": (text("name: [tiny\ndataset: x"), "tiny.yaml:2: not valid YAML"),
    "a tab": (text("name: tiny\n\tdataset: x"), "tiny.yaml:2: not valid YAML"),
    "no mapping": (text("- a\n- b"), "a sweep file holds"),
    "empty": (text("# nothing\n"), "a sweep file holds"),
    "not UTF-8": (lambda f: (f / "tiny.yaml").write_bytes(b"\xff\xfe\x00") and None, "UTF-8"),
    "python tag": (text("name: !!python/object:os.system x"), "not valid YAML"),
    "key twice": (text("name: tiny\nname: other\n"), "tiny.yaml:2: name stands here a second time"),
    "misspelt key": (sweep(replicate=3), "unknown key 'replicate'; did you mean replicates?"),
    "other word": (sweep(architecture="x"), "unknown key 'architecture'; did you mean network?"),
    "unknown method": (grid(method="snap"), "no method 'snap'; did you mean snip?"),
    "unknown dataset": (sweep(dataset="cifar1"), "no dataset 'cifar1'; did you mean cifar10?"),
    "unknown network": (sweep(network="lenet"), "no network 'lenet'"),
    "network option": (sweep(network={"resnet20": {"depth": 3}}), "takes options as {width: 2}"),
    "network width": (sweep(network={"resnet20": {"width": 0}}), "width takes a number above 0"),
    "no such code": (sweep(network="nowhere:net"), "no module 'nowhere'"),
    "code without a function": (sweep(network="json:"), "is named module:function"),
    "data without facts": (sweep(dataset="json:loads"), "needs an attribute `facts`"),
    "unknown recipe": (sweep(recipe="synflow/vgg16-cifar1"), "did you mean synflow/vgg16-cifar10"),
    "unknown split": (sweep(eval=["dev"]), "'train', 'val' or 'test'"),
    "no validation": (sweep(eval=["val"], validation=0), "eval names val"),
    "all validation": (sweep(validation=2000), "fewer than the 1438 training examples"),
    "unknown layer": (grid(keep_dense="frist"), "takes first, last or the name"),
    "unknown source": (grid(found_on="cifar"), "did you mean cifar10?"),
    "unknown retraining": (grid(method={"imp": {"retrain": "no"}}), "retrain takes weights"),
    "unknown imp score": (grid(method={"imp": {"score": "snip"}}), "magnitude or obd"),
    "gem without steps": (grid(method={"gem_miner": {}}), "gem_miner takes steps and period"),
    "unknown norm": (grid(method={"structured": {"norm": "l3"}}), "norm takes one of l1, l2"),
    "ghosts without end": (sweep(recipe={**TINY["recipe"], "ghosts": "both"}), "take each other"),
    "unknown optimizer": (sweep(recipe={**TINY["recipe"], "optimizer": "lion"}), "'sgd' or 'adam'"),
    "no iterations": (grid(method={"snip": {"iterations": 0}}), "iterations takes at least 1"),
    "unknown ablation": (grid(ablation="shufle"), "ablation"),
    "unknown option": (grid(method={"snip": {"perclass": 3}}), "did you mean per_class?"),
    "bad option": (grid(method={"snip": {"per_class": 0}}), "per_class takes at least 1"),
    "sparsity 1": (
        grid(levels=None, sparsity=[0.5, 1.0]),
        "sparsity takes numbers from 0 to below 1",
    ),
    "sparsity in per cent": (grid(levels=None, sparsity=[90]), "not 90"),
    "negative density": (grid(levels=None, density=-0.1), "density takes numbers above 0"),
    "compression below 1": (grid(levels=None, compression=0.5), "compression takes numbers of 1"),
    "sparsity and levels": (grid(sparsity=0.5), "not sparsity and levels"),
    "no density at all": (grid(levels=None), "not none"),
    "text for a number": (
        recipe(lr="fast"),
        "recipe.lr: takes a number or a range a..b, not 'fast'",
    ),
    "falling range": (grid(levels="5..1"), "takes a range a..b or a..b..step that rises"),
    "huge range": (grid(levels="0..999999999"), "100000 at most"),
    "not a number": (recipe(lr=".nan"), "takes a number"),
    "infinite rate": (recipe(lr=float("inf")), "takes a finite number"),
    "zero rate": (recipe(lr=0), "lr takes a number above 0"),
    "bad length": (recipe(steps="10 epochs"), "takes iterations or epochs"),
    "no steps": (sweep(recipe={"lr": 0.1, "batch_size": 5}), "recipe: steps is missing"),
    "momentum 1": (recipe(momentum=1), "momentum takes a number from 0 to below 1"),
    "unknown schedule": (recipe(schedule="linear"), "takes constant, cosine or"),
    "prune after the end": (grid(prune_step=99), "takes step 1 to 12"),
    "rewind for SNIP": (grid(rewind_step=3), "rewind_step does not apply to snip"),
    "IMP by sparsity": (grid(method="imp", levels=None, sparsity=0.5), "imp takes levels"),
    "no replicates": (sweep(replicates=0), "at least 1"),
    "a seed twice": (sweep(replicates=[1, 1]), "names the same value twice"),
    "bad name": (sweep(name="tiny", network="lenet_300_100", description=3), "description"),
    "no grids": (sweep(grids=[]), "grids"),
    "extends itself": (sweep(extends="tiny.yaml"), "extends itself"),
    "extends nothing": (sweep(extends="gone.yaml"), "gone.yaml: no such file"),
    "unknown figure": (sweep(figures=["accuracy"]), "no figure 'accuracy'"),
    "figure's option": (
        sweep(figures=[{"ablations": {"spred": "std"}}]),
        "ablations has no option 'spred'; did you mean spread?",
    ),
    "a last batch of one": (
        sweep(network="vgg11_bn", recipe={**TINY["recipe"], "batch_size": 479}),
        "batch_size 479 divides 1438 examples so that the last of 4 batches has one",
    ),
    "a last batch of one, fine-tuning": (
        sweep(
            network="vgg11_bn",
            grids=[
                {
                    "method": "magnitude_after_training",
                    "levels": [1],
                    "finetune": {"batch_size": 479},
                }
            ],
        ),
        "batch_size 479 divides",
    ),
    "a last batch of one, scoring": (
        sweep(network="vgg11_bn", grids=[{"method": {"snip": {"batch_size": 33}}, "levels": [1]}]),
        "batch_size 33 divides 100 examples",
    ),
    "an option twice": (grid(method={"synflow": {"iterations": [3, 3]}}), "same value twice"),
    "an option of none": (grid(method={"synflow": {"iterations": []}}), "at least one value"),
    "too few examples": (grid(method={"snip": {"per_class": 1.5}}), "per_class takes an integer"),
}


@pytest.mark.parametrize("wrong", SWEEPS)
def test_a_bad_sweep_file_gets_a_line_that_says_where_and_what(here: Path, wrong: str) -> None:
    spoil, expected = SWEEPS[wrong]
    before = outcome(here / "store")
    spoil(here)
    for command in ("plan", "run"):
        result = invoke(command, "tiny.yaml")
        assert_refused(result, expected)
        assert "tiny.yaml" in result.stderr or "gone.yaml" in result.stderr
    assert outcome(here / "store") == before


def read_only(folder: Path) -> None:
    (folder / "store" / layout.SWEEPS).rename(folder / "moved")
    (folder / "store" / layout.SWEEPS).write_text("in the way")


def truncated_result(folder: Path) -> None:
    path = next((folder / "store" / layout.LIVE).rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-10])


COMMANDS: dict[str, tuple[Callable[[Path], Any], tuple[str, ...], str]] = {
    "no such sweep": (lambda _: None, ("run", "gone.yaml"), "gone.yaml: no such file"),
    "a directory as sweep": (lambda _: None, ("plan", "store/"), "is a directory"),
    "bad override": (lambda _: None, (*PLAN, "--set", "lr"), "takes key=value"),
    "override of nothing": (lambda _: None, (*PLAN, "--set", "recip.lr=1"), "unknown key 'recip'"),
    "override past a list": (lambda _: None, (*PLAN, "--set", "grids.9.levels=1"), "no position"),
    "store is a file": (lambda _: None, ("run", "tiny.yaml", "--store", "tiny.yaml"), "is a file"),
    "plan: store is a file": (lambda _: None, (*PLAN, "--store", "tiny.yaml"), "is a file"),
    "store is missing": (lambda _: None, ("sql", "SELECT 1", "--store", "no"), "no store at no"),
    "status: missing": (lambda _: None, ("status", "--store", "no"), "no store at no"),
    "verify: missing": (lambda _: None, ("verify", "--store", "no"), "no store at no"),
    "store not writable": (read_only, ("run", "tiny.yaml"), "cannot be written"),
    "truncated result": (truncated_result, ("sql", "SELECT 1"), "verify --repair"),
    "figures: truncated": (truncated_result, ("figures", "tiny"), "verify --repair"),
    "figures of nothing": (lambda _: None, ("figures", "other"), "no sweep 'other'; it has tiny"),
    "no figures asked": (lambda _: None, ("figures", "tiny"), "asks for no figures"),
    "report: truncated": (truncated_result, ("report", "tiny"), "verify --repair"),
    "report of nothing": (lambda _: None, ("report", "other"), "no sweep 'other'; it has tiny"),
    "report: a directory": (lambda _: None, ("report", "tiny", "--out", "store"), "is a directory"),
    "report: no store": (lambda _: None, ("report", "tiny", "--store", "no"), "no store at no"),
    "explore: no store": (lambda _: None, ("explore", "--store", "no"), "no store at no"),
    "lint of nothing": (lambda _: None, ("lint", "other"), "no sweep 'other'; it has tiny"),
    "status of nothing": (lambda _: None, ("status", "other"), "no sweep 'other'"),
    "show: no key": (lambda _: None, ("show", "xyz"), "is not a key"),
    "show: unknown key": (lambda _: None, ("show", "0123456789ab"), "no run or mask"),
    "show: ambiguous": (lambda _: None, ("show", ""), "is not a key"),
    "SQL: syntax": (lambda _: None, ("sql", "SELEC 1"), "syntax error"),
    "SQL: no column": (lambda _: None, ("sql", "SELECT acuracy FROM trials"), "accuracy"),
    "SQL: no table": (lambda _: None, ("sql", "FROM trial"), 'Did you mean "trials'),
    "SQL: two statements": (
        lambda _: None,
        ("sql", "SELECT 1; SELECT 2"),
        "a query is one statement",
    ),
    "SQL: none": (lambda _: None, ("sql", " "), "a query is one statement"),
    "SQL: writes": (lambda _: None, ("sql", "DROP TABLE trials"), "it only reads"),
    "SQL: copies": (lambda _: None, ("sql", "COPY trials TO 'x.csv'"), "it only reads"),
    "SQL: explains a copy": (
        lambda _: None,
        ("sql", "EXPLAIN ANALYZE COPY trials TO 'x.csv'"),
        "it only reads",
    ),
    "SQL: reads a file": (lambda _: None, ("sql", "FROM 'tiny.yaml'"), "error"),
    "SQL: reads a text": (
        lambda _: None,
        ("sql", "SELECT * FROM read_text('tiny.yaml')"),
        "disabled",
    ),
    "unknown command": (lambda _: None, ("rnu", "tiny.yaml"), "No such command"),
    "unknown flag": (lambda _: None, ("run", "tiny.yaml", "--stor", "x"), "No such option"),
    "unknown executor": (lambda _: None, ("run", "tiny.yaml", "--executor", "slurm"), "slurm"),
}


@pytest.mark.parametrize("wrong", COMMANDS)
def test_a_bad_command_gets_a_line_that_says_what(here: Path, wrong: str) -> None:
    spoil, command, expected = COMMANDS[wrong]
    spoil(here)
    before = sorted(path.name for path in here.iterdir())
    assert_refused(invoke(*command), expected)
    assert sorted(path.name for path in here.iterdir()) == before


def test_truncated_states_are_said_removed_and_made_again(here: Path) -> None:
    for path in (here / "store" / layout.STATES).rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-10])
    write_sweep(here, grids=[{"method": "imp", "levels": [3], "rewind_step": 3}])
    result = invoke("run", "tiny.yaml", "--executor", "inline")
    assert result.exit_code == 0, result.output
    assert "Damaged files were removed. Their results are computed again" in result.output
    assert "Traceback" not in result.output


def assert_refused(result: Result, expected: str) -> None:
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert expected in result.stderr, result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith(("error:", "Error:"))]
    assert 1 <= len(errors) <= 3, result.stderr
    assert all(len(line) < 400 for line in errors)
