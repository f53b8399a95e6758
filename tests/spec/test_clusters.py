"""The files under clusters/ match their pages, and Ray and bash accept them. No network."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture
def aws(project_root: Path) -> dict[str, Any]:
    return yaml.safe_load((project_root / "clusters" / "aws.yaml").read_text())


def test_ray_takes_the_cloud_cluster_and_would_refuse_a_mistake(aws: dict[str, Any]) -> None:
    from jsonschema import ValidationError
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(aws)  # its defaults for AWS, merged, as `ray up` does
    validate_config(prepared)
    assert prepared["available_node_types"]["spot"]["max_workers"] == 8
    with pytest.raises(ValidationError, match="idle_timeout"):
        validate_config({**prepared, "idle_timeout": 10})
    with pytest.raises(ValueError, match="head_node_type"):
        validate_config({**prepared, "head_node_type": "another"})


def test_the_head_is_on_demand_and_runs_no_task_and_the_workers_are_spot(
    aws: dict[str, Any],
) -> None:
    head, spot = (aws["available_node_types"][name] for name in ("head", "spot"))
    assert "InstanceMarketOptions" not in head["node_config"]
    assert head["resources"] == {"CPU": 0, "GPU": 0}
    assert spot["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert spot["min_workers"] == spot["max_workers"] > 0, "so that each one lost is replaced"


def test_no_cloud_node_starts_without_the_token_or_listens_to_the_world(
    aws: dict[str, Any],
) -> None:
    assert aws["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    for node in ("head", "worker"):
        start = aws[f"{node}_start_ray_commands"][-1]
        assert start.startswith("RAY_AUTH_MODE=token ")
    assert "--dashboard-host=127.0.0.1" in aws["head_start_ray_commands"][-1]


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_the_slurm_script_says_how_it_is_used(project_root: Path) -> None:
    script = project_root / "clusters" / "slurm.sh"
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    for arguments in ([], ["sweep.yaml"]):
        ended = subprocess.run(
            ["bash", script, *arguments], capture_output=True, text=True, check=False, env={}
        )
        assert ended.returncode == 2
        assert "sbatch" in ended.stderr
