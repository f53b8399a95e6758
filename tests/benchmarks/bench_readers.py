"""Four readers beside a writer and a compactor for a minute; a test has the short form."""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from measuring import machine, report

from tests.support import readers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    seconds = parser.parse_args().seconds
    machine()
    with tempfile.TemporaryDirectory() as folder:
        reports = readers.together(Path(folder) / "store", seconds=seconds)
    reading = [one for one in reports if one["role"] == "read"]
    problems = [problem for one in reports for problem in one.get("problems", ())]
    errors = [one["error"] for one in reports if "error" in one]
    [committed] = [one["committed"] for one in reports if "committed" in one]
    [merges] = [one["merges"] for one in reports if "merges" in one]
    report(f"results committed in {seconds:g} s", f"{committed:,}")
    report("compactions", f"{merges:,}")
    report("questions of 4 readers", f"{sum(one.get('asked', 0) for one in reading):,}")
    report("rows twice, missing or without their parts", str(len(problems)), "0")
    report("errors", str(len(errors)), "0")
    if problems or errors:
        sys.exit(f"failed: {problems} {errors}")


if __name__ == "__main__":
    main()
