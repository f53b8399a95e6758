"""Errors in a user's code are reported once, with their place, as the user's."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.executors.inline import InlineExecutor
from orchestrator.node.pack import Job, Pack
from orchestrator.node.worker import run_pack
from orchestrator.running import study
from orchestrator.scheduling.failures import Failure
from tests.support.small import write_sweep
from tombola.cli import app

CODE = {
    "a missing file": "def net(network):\n    return open('gone.yaml')\n",
    "a full disk": "def net(network):\n    raise OSError(28, 'No space left on device')\n",
    "a script": "import argparse\n\nparser = argparse.ArgumentParser()\n"
    "parser.add_argument('--arch', required=True)\nparser.parse_args([])\n\n\n"
    "def net(network):\n    pass\n",
    "an exit": "import sys\n\n\ndef net(network):\n    sys.exit(0)\n",
    "an end of its own": "class Stop(BaseException):\n    pass\n\n\n"
    "def net(network):\n    raise Stop\n",
    "an exit in forward": "from torch import nn\n\n\nclass net(nn.Linear):\n"
    "    def __init__(self, network):\n        super().__init__(64, 10)\n\n"
    "    def forward(self, x):\n        raise SystemExit(4)\n",
    "a missing file in forward": "from torch import nn\n\n\nclass net(nn.Linear):\n"
    "    def __init__(self, network):\n        super().__init__(64, 10)\n\n"
    "    def forward(self, x):\n        return open('gone.bin')\n",
    "nothing": "def net(network):\n    pass\n",
}
TOLD = {
    "a missing file": "No such file or directory: 'gone.yaml'",
    "a full disk": "No space left on device",
    "a script": "importing mine ended with SystemExit: 2 (mine.py:5)",
    "an exit": "mine:net ended with SystemExit: 0 (mine.py:5)",
    "an end of its own": "mine:net ended with Stop (mine.py:6)",
    "an exit in forward": "ended with SystemExit: 4 (mine.py:9)",
    "a missing file in forward": "No such file or directory: 'gone.bin'",
    "nothing": "mine:net returned NoneType",
}


@pytest.mark.parametrize("what", CODE)
def test_a_users_failure_is_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(CODE[what])
    grids = [{"method": "random", "levels": [1]}]
    asked = study.read(write_sweep(tmp_path, network="mine:net", grids=grids))
    progress = study.run(asked, tmp_path / "store", InlineExecutor())
    [*failures] = progress.failures
    assert failures
    for failed in failures:
        assert failed.why is Failure.RAISED
        assert "tries" not in failed.message, "it would do the same again"
        assert TOLD[what] in failed.message


def test_a_users_interrupt_on_a_worker_is_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray takes it for a cancelled task, and would send it again for ever."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("def net(network):\n    raise KeyboardInterrupt\n")
    asked = study.read(write_sweep(tmp_path, network="mine:net"))
    study.register(asked, tmp_path / "store")
    run = asked.trials[0].run
    job = Job(run.key, "run", run.canonical, 1, last_step=run.recipe.steps)
    pack = Pack("pack", (job,), str(tmp_path / "store"), "launch")
    [outcome] = run_pack(pack, limited=True)
    assert outcome.failure is Failure.RAISED
    with pytest.raises(KeyboardInterrupt):
        run_pack(pack)


@pytest.mark.parametrize("command", ["plan", "run"])
@pytest.mark.parametrize(
    ("code", "sweep", "message"),
    [
        (CODE["a script"], {"dataset": "mine:net"}, "importing mine ended with SystemExit: 2"),
        ("def net(network) return", {"network": "mine:net"}, "mine.py:1: "),
        ("def other(network): ...", {"network": "mine:net"}, "mine.py has no function 'net'"),
        ("def net(): ...", {"network": "mine:net"}, "mine:net takes no argument"),
        ("import gone_module\ndef net(s): ...", {"dataset": "mine:net"}, "No module named"),
        ("def net():\n    return 1 / 0", {"recipe": "mine:net"}, "raised ZeroDivisionError"),
    ],
)
def test_what_the_text_or_the_plan_shows_is_refused_before_anything_is_scheduled(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    code: str,
    sweep: dict[str, str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(code + "\n")
    write_sweep(tmp_path, **sweep)
    result = CliRunner().invoke(app, [command, "tiny.yaml"])
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "store").exists()
