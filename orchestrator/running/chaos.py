"""Run a sweep undisturbed and with killed processes, and compare the results.

Two stores are filled by `tombola run` in other processes. During the second run, drivers,
workers and whole nodes are killed (SIGKILL) after random numbers of new results. Both stores
must hold the same results, compared by digest.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tombola.errors import TombolaError
from tombola.store import results
from tombola.store.verify import verify

Victim = Literal["driver", "worker", "node"]
VICTIMS: tuple[Victim, ...] = ("driver", "worker", "node")

_LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Verdict:
    """The processes killed, and the digests of both runs."""

    killed: Mapping[Victim, int]
    digests: dict[str, str]
    expected: dict[str, str]
    damage: int

    @property
    def survived(self) -> bool:
        """Return whether no result was lost, added, changed or damaged."""
        return self.digests == self.expected and not self.damage

    @property
    def differing(self) -> int:
        """Number of results that are missing, extra or different."""
        return len(set(self.digests.items()) ^ set(self.expected.items()))


def chaos(
    words: list[str],
    folder: Path,
    *,
    kills: int,
    seed: int,
    victims: tuple[Victim, ...] = VICTIMS,
    strike: Callable[[Victim], bool] | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Verdict:
    """Run a sweep twice, kill processes in the second run, and compare the results.

    Parameters
    ----------
    words
        Arguments of `tombola run`: the sweep file and options, without a store.
    folder
        Folder for the two stores.
    strike
        Kills a worker or a node of a cluster, and returns False if there was none. By default
        it kills processes of the local Ray that the driver started.

    Raises
    ------
    TombolaError
        When the undisturbed run fails.
    """
    undisturbed, disturbed = folder / "undisturbed", folder / "disturbed"
    tell(f"running it undisturbed, into {undisturbed}")
    _finish(words, undisturbed)
    expected = digests(undisturbed)
    dice, killed = random.Random(seed), Counter[Victim]()  # noqa: S311 (moments, no secrets)
    while killed.total() < kills and len(_live(disturbed)) < len(expected):
        killed += _round(words, disturbed, dice, len(expected), kills, victims, strike, tell)
    _finish(words, disturbed)
    # Unfinished files of killed processes are no damage.
    damage = [finding for finding in verify(disturbed) if not finding.leftover]
    return Verdict(killed, digests(disturbed), expected, len(damage))


def digests(store: Path) -> dict[str, str]:
    """Return the digest of each result of a store, by key; digests exclude provenance."""
    held = results.inventory(store).results
    rows = {key: results.find(store, key) for key in held}
    return {key: row["digest"] for key, row in rows.items() if row}


def _round(
    words: list[str],
    store: Path,
    dice: random.Random,
    total: int,
    kills: int,
    victims: tuple[Victim, ...],
    strike: Callable[[Victim], bool] | None,
    tell: Callable[[str], None],
) -> Counter[Victim]:
    """Run one driver, and kill it or its processes until it is dead or done."""
    killed: Counter[Victim] = Counter()
    process = _start(words, store)
    shoot = strike or (lambda victim: _strike_here(process.pid, victim))
    while process.poll() is None:
        after = len(_live(store)) + dice.randint(1, max(1, 2 * total // (kills + 1)))
        victim = dice.choice(victims)
        while process.poll() is None and len(_live(store)) < min(after, total - 1):
            time.sleep(_LOOK_SECONDS)
        if process.poll() is not None:
            break
        if victim == "driver":
            process.kill()
            process.wait()
        elif not shoot(victim):
            time.sleep(_LOOK_SECONDS)
            continue
        killed[victim] += 1
        tell(f"killed the {victim} at {len(_live(store))} of {total} results")
        if victim == "node" and strike is None:
            process.wait()  # the local cluster has one node
        if killed.total() >= kills:
            break
    process.wait()
    return killed


def _start(words: list[str], store: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tombola.cli", "run", *words, "--store", str(store)]
    silent = subprocess.DEVNULL
    return subprocess.Popen(command, stdout=silent, stderr=silent, start_new_session=True)


def _finish(words: list[str], store: Path) -> None:
    command = [sys.executable, "-m", "tombola.cli", "run", *words, "--store", str(store)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        lines = (ended.stderr.strip() or ended.stdout.strip()).splitlines()
        last = lines[-1] if lines else ""
        raise TombolaError(f"tombola run ended with {ended.returncode}: {last}")


def _live(store: Path) -> frozenset[str]:
    return results.inventory(store).results if store.exists() else frozenset()


# ---------------------------------------------------------------- a local Ray


def _strike_here(session: int, victim: Victim) -> bool:
    """Kill a busy worker, or the raylet, of the Ray that the driver of a session started."""
    wanted = b"ray::run_pack" if victim == "worker" else b"/raylet"
    for pid, command in _processes(session):
        if wanted in command.split(b"\0")[0]:
            os.kill(pid, signal.SIGKILL)
            return True
    return False


def _processes(session: int) -> Iterator[tuple[int, bytes]]:
    for entry in Path("/proc").iterdir():
        try:
            if os.getsid(int(entry.name)) == session:
                yield int(entry.name), (entry / "cmdline").read_bytes()
        except (OSError, ValueError):
            continue
