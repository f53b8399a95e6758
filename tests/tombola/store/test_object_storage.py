"""A store behind a URL behaves like one in a directory. The server is real (rclone's)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from orchestrator.executors.inline import InlineExecutor
from orchestrator.running import study
from tests.support.s3 import Server
from tests.support.small import outcome, write_sweep
from tombola.cli import app
from tombola.store import journal, layout, location, object_storage
from tombola.store.publish import publish_all
from tombola.store.results import digests
from tombola.store.segments import segments

FIGURES = ["ablations"]


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


pytestmark = pytest.mark.usefixtures("queries_here")


@pytest.fixture(scope="module")
def buckets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("buckets")).start()
    yield server
    server.kill()


@pytest.fixture
def server(buckets: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Set the environment that finds the server, with a store of the test's own in the bucket."""
    buckets.store = f"s3://bucket/{tmp_path.name}"
    buckets.folder = buckets.root / "bucket" / tmp_path.name
    for name, value in buckets.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    _forget_clients()
    return buckets


def _forget_clients() -> None:
    """Drop cached clients, which keep the credentials they were made with."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    object_storage._s3_session.cache_clear()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the same sweep in a directory."""
    folder = tmp_path_factory.mktemp("local")
    asked = study.read(write_sweep(folder, figures=FIGURES))
    study.run(asked, folder / "store", InlineExecutor())
    return folder / "store"


@pytest.mark.slow
def test_every_command_gives_what_it_gives_on_a_directory(
    server: Server, local: Path, tmp_path: Path
) -> None:
    write_sweep(tmp_path, figures=FIGURES)
    ran = invoke("run", "tiny.yaml", "--executor", "inline")
    assert ran.exit_code == 0, ran.output
    assert f"tombola figures tiny.yaml --store {server.store}" in ran.output
    assert outcome(server.folder) == outcome(local)
    assert (server.folder / layout.DATABASE).stat().st_size > 10_000
    assert_like(server, local, tmp_path)

    assert invoke("compact").output == "merged 20 results\n"
    assert list(layout.published(server.folder / layout.LIVE, "")) == []
    assert len(segments(location.locate(server.store))) == 1
    assert_like(server, local, tmp_path)
    again = invoke("run", "tiny.yaml", "--executor", "inline")
    assert again.output.startswith("Nothing to do: all 13 trials are answered.")

    write_sweep(tmp_path, keep="metrics", figures=FIGURES)
    assert invoke("run", "tiny.yaml", "--executor", "inline").exit_code == 0
    freed = invoke("gc", "--delete")
    assert freed.output.startswith("freed "), freed.output
    assert list(layout.published(server.folder / layout.MASKS, "")) == []
    assert invoke("gc").output.startswith("nothing to free")


def assert_like(server: Server, local: Path, folder: Path) -> None:
    for question in (
        ["sql", "SELECT * EXCLUDE seconds FROM trials ORDER BY trial", "--format", "csv"],
        ["sql", "FROM evals ORDER BY ALL", "--format", "csv"],
        ["sql", "SELECT * FROM layers ORDER BY mask_key, position", "--format", "csv"],
        ["table", "tiny"],
    ):
        here, there = invoke(*question, "--store", str(local)), invoke(*question)
        assert there.exit_code == here.exit_code == 0, there.output + here.output
        assert there.output == here.output
    assert "tiny        13     13        0         0         0" in invoke("status").output
    whole = f"{server.store}: every result, state and mask is whole\n"
    assert invoke("verify").output == whole
    assert invoke("gc").output.startswith("nothing to free")
    drawn = invoke("figures", "tiny", "--format", "svg")
    assert drawn.output == "figures/tiny/ablations.svg\n"
    assert "fresh    figures/tiny/ablations.svg" in invoke("trace", drawn.output.strip()).output
    assert invoke("report", "tiny").output == "figures/tiny/report.html\n"
    assert invoke("plan", "tiny.yaml").exit_code == 0


@pytest.mark.slow
def test_stores_behind_urls_are_exchanged_and_compared(
    server: Server, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "ENOUGH", 1)
    taken = invoke("import", str(local))
    assert taken.output.startswith("imported 20 results, "), taken.output
    assert digests(location.locate(server.store)) == digests(local)
    assert invoke("verify").exit_code == 0
    same = invoke("diff", str(local), server.store)
    assert "20 results are in both and agree" in same.output

    write_sweep(tmp_path, figures=FIGURES)
    again = invoke("run", "tiny.yaml", "--executor", "inline", "--repeat-fraction", "1")
    assert "20 of 20 came out the same" in again.output, again.output
    count = ["sql", "SELECT count(*) FROM attempts", "--format", "csv"]
    noted = invoke(*count).output
    assert invoke("compact").output == "merged 0 results\n"
    assert list(layout.published(server.folder / layout.JOURNAL, ".jsonl")) == []
    assert invoke(*count).output == noted

    back = invoke("import", server.store, "--store", "back")
    assert back.output.startswith("imported 20 results, "), back.output
    assert digests(tmp_path / "back") == digests(local)
    assert invoke(*count, "--store", "back").output == noted
    assert invoke("export", "tiny", "--to", "tiny.parquet").output == "tiny.parquet\n"


def test_damage_is_found_and_repaired(server: Server, local: Path, tmp_path: Path) -> None:
    write_sweep(tmp_path)
    assert invoke("run", "tiny.yaml", "--executor", "inline").exit_code == 0
    paths = [next(layout.published(server.folder / f, "")) for f in (layout.LIVE, layout.MASKS)]
    for path in paths:
        path.write_bytes(path.read_bytes()[:-20])
    found = invoke("verify")
    assert found.exit_code == 1
    assert f"2 found in {server.store}" in found.output
    told = invoke("sql", "SELECT count(*) FROM tasks")
    assert told.exit_code == 2
    assert f"{server.store}/{layout.LIVE}" in told.output
    assert "is damaged" in told.output
    assert invoke("verify", "--repair").exit_code == 0
    assert invoke("run", "tiny.yaml", "--executor", "inline").exit_code == 0
    assert outcome(server.folder) == outcome(local)


NO_ENDPOINT = "http://127.0.0.1:9"

# what is wrong: (the environment, what the one line says)
WRONG: dict[str, tuple[dict[str, str], str]] = {
    "no bucket": ({"TOMBOLA_STORE": "s3://nobody/x"}, "there is no such bucket"),
    "refused": ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "access is refused"),
    "no credentials": (
        {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
        "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
    "unreachable": ({"AWS_ENDPOINT_URL": NO_ENDPOINT}, f"the endpoint {NO_ENDPOINT} does not"),
    "no extra": ({"TOMBOLA_STORE": "gs://bucket/x"}, "pip install 'tombola[gcs]'"),
    "no scheme": ({"TOMBOLA_STORE": "nope://bucket/x"}, "nope"),
    "no name": ({"TOMBOLA_STORE": "s3://"}, "names no bucket"),
}


@pytest.mark.parametrize("command", [("run", "tiny.yaml", "--executor", "inline"), ("status",)])
@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_said_in_one_line(
    wrong: str,
    command: tuple[str, ...],
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment, said = WRONG[wrong]
    if wrong == "no extra":
        monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
    write_sweep(tmp_path)
    for name, value in {"AWS_MAX_ATTEMPTS": "1", **environment}.items():
        monkeypatch.setenv(name, value)
    ended = invoke(*command)
    assert ended.exit_code == 2
    assert ended.output.count("\n") == 1, ended.output
    assert ended.output.startswith("error: ")
    assert said in ended.output
    assert not server.folder.exists()


def test_what_is_committed_together_is_sent_together_and_each_stage_after_the_one_before(
    server: Server,
) -> None:
    store: Any = location.locate(server.store)
    names = [f"{number:02}" for number in range(2 * object_storage.AT_ONCE)]
    stages = [[(store / "put" / kind / n, n.encode()) for n in names] for kind in ("masks", "rows")]
    publish_all(*stages)
    for kind in ("masks", "rows"):
        assert [(server.folder / "put" / kind / n).read_text() for n in names] == names
    sent = dict.fromkeys(server.puts("put"))  # a client may send one again
    order = [name.split("/")[1] for name in sent]
    assert order == ["masks"] * len(names) + ["rows"] * len(names)
    nowhere: Any = location.locate("s3://nobody/x")
    with pytest.raises(OSError, match="there is no such bucket"):
        publish_all([(nowhere / n, b"") for n in names])


def test_any_url_of_fsspec_will_do(tmp_path: Path, local: Path) -> None:
    url = f"memory://{tmp_path.name}/store"
    asked = study.read(write_sweep(tmp_path))
    study.run(asked, url, InlineExecutor())
    root: Any = location.locate(url)
    assert outcome(root) == outcome(local)
    assert location.locate(f"file://{local}") == local


IMP = {"method": "imp", "levels": [6], "rewind_step": 3}


@pytest.mark.slow
def test_a_node_reads_from_the_store_none_of_the_weights_and_masks_that_it_wrote(
    server: Server, tmp_path: Path
) -> None:
    write_sweep(tmp_path, name="near", grids=[IMP])
    run = ("run", "near.yaml", "--executor", "inline")
    assert invoke(*run).exit_code == 0
    assert server.gets("states") + server.gets("masks") == []
    near = outcome(server.folder)

    server.folder = server.root / "bucket" / "other"
    far = (*run, "--store", "s3://bucket/other", "--node-cache", "0")
    assert invoke(*far).exit_code == 0
    assert len(server.gets("states")) == 6 + 6, "what each mask is of, and where each run starts"
    assert len(server.gets("masks")) == 6 + 5, "for the run on it, and for the next mask"
    assert outcome(server.folder) == near
