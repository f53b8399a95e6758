"""The Slurm script on a real Slurm: a controller and two nodes on this machine's loopback."""

import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.cluster import free_port, until
from tests.support.small import command, outcome, write_sweep
from tombola.store import layout
from tombola.store.verify import verify

pytestmark = pytest.mark.slow

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "sinfo")
CONFIGURATION = """
ClusterName=tombola
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
KillWait=10
NodeName=one NodeHostname={host} NodeAddr=127.0.0.1 Port={one} CPUs=1
NodeName=two NodeHostname={host} NodeAddr=127.0.0.1 Port={two} CPUs=1
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture(scope="module")
def slurm() -> Iterator[dict[str, str]]:
    """Start a Slurm of two nodes; return the environment in which `sbatch` reaches it."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root and Debian's slurm-wlm and munge; missing: {missing or 'root'}")
    with tempfile.TemporaryDirectory(prefix="slurm", dir="/tmp") as name, daemons() as start:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "munge").mkdir(mode=0o755)
        key = folder / "munge" / "key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o600)
        files = [f"--{one}-file={folder}/munge/{one}" for one in ("key", "log", "pid", "seed")]
        start(folder, "munged", "--foreground", f"--socket={folder}/munge/socket", *files)
        ports = {one: free_port() for one in ("controller", "one", "two")}
        text = CONFIGURATION.format(host=socket.gethostname(), folder=folder, **ports)
        (folder / "slurm.conf").write_text(text)
        (folder / "state").mkdir()
        until((folder / "munge" / "socket").exists, 30)
        start(folder, "slurmctld", "-D", "-f", f"{folder}/slurm.conf")
        for node in ("one", "two"):
            start(folder, "slurmd", "-D", "-N", node, "-f", f"{folder}/slurm.conf")
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {**os.environ, "SLURM_CONF": f"{folder}/slurm.conf", "PATH": path}
        until(lambda: said(environment, "sinfo", "-h", "-o", "%D %t") == "2 idle", 60)
        yield environment


@contextmanager
def daemons():
    """Start daemons in the foreground; the last one is stopped first."""
    started: list[subprocess.Popen[bytes]] = []

    def start(folder: Path, *command: str) -> None:
        with (folder / f"{len(started)}-{command[0]}.log").open("wb") as log:
            started.append(subprocess.Popen(command, stdout=log, stderr=log))

    try:
        yield start
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(timeout=60)


def said(environment: dict[str, str], *command: str) -> str:
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return ended.stdout.strip()


def submit(folder: Path, environment: dict[str, str], root: Path, *options: str) -> str:
    """Submit the script; return the number of the job."""
    job = ["sbatch", "--parsable", "--nodes=2", "--cpus-per-task=1", "--output=job-%j.out"]
    command = [*job, str(root / "clusters" / "slurm.sh"), "tiny.yaml"]
    return subprocess.run(
        [*command, "--store", str(folder / "store"), *options],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def end(folder: Path, environment: dict[str, str], job: str) -> tuple[str, str]:
    """Wait for a job; return its exit code and output, and assert that no process is left."""

    def state() -> str:
        return said(environment, "scontrol", "show", "job", job)

    until(lambda: re.search("JobState=(COMPLETED|FAILED|CANCELLED|NODE_FAIL)", state()), 300)
    until(lambda: said(environment, "squeue", "-h") == "", 60)
    assert not Path(f"/tmp/tombola-{job}").exists()
    code = re.search(r"ExitCode=(\d+):", state())
    assert code is not None
    return code[1], (folder / f"job-{job}.out").read_text()


def test_a_sweep_across_the_nodes_of_an_allocation(
    tmp_path: Path, slurm: dict[str, str], project_root: Path
) -> None:
    write_sweep(tmp_path)
    job = submit(tmp_path, slurm, project_root)
    code, out = end(tmp_path, slurm, job)
    assert (code, "13 of 13 trials done" in out) == ("0", True), out
    whole = tmp_path / "whole"
    local = ("--executor", "inline", "--store", whole)
    assert command("run", "tiny.yaml", *local, cwd=tmp_path).returncode == 0
    assert outcome(tmp_path / "store") == outcome(whole)
    assert verify(tmp_path / "store") == []


def test_the_notice_before_the_end_of_its_time_and_the_next_job_goes_on(
    tmp_path: Path, slurm: dict[str, str], project_root: Path
) -> None:
    long = {"steps": 20_000, "batch_size": 64, "lr": 0.1, "evaluate_every": 10_000}
    write_sweep(tmp_path, grids=[{"method": "random", "levels": [1]}], recipe=long)
    job = submit(tmp_path, slurm, project_root, "--checkpoint-every", "0.5")
    kept = tmp_path / "store" / layout.CHECKPOINTS
    until(lambda: any(layout.published(kept, ".safetensors")), 120)
    said(slurm, "scancel", "--batch", "--signal=TERM", job)  # as --signal=B:TERM@120 has it sent
    code, out = end(tmp_path, slurm, job)
    assert code == "130", out
    assert "SIGTERM: stopping at checkpoints, 100 s at most" in out
    assert "1 trainings continue from their checkpoints" in out
    code, out = end(tmp_path, slurm, submit(tmp_path, slurm, project_root))
    assert code == "0", out
    told = command("sql", "SELECT max(resumed_step) FROM tasks", "--format", "csv", cwd=tmp_path)
    assert int(told.stdout.split()[1]) > 0
    assert verify(tmp_path / "store") == []


def test_a_sweep_that_does_not_exist_fails_the_job_at_once(
    tmp_path: Path, slurm: dict[str, str], project_root: Path
) -> None:
    code, out = end(tmp_path, slurm, submit(tmp_path, slurm, project_root))
    assert code == "2", out
    assert "tiny.yaml: no such file" in out
