"""Read and check the file of a sweep's revision: its metadata and its trials.

Every reader of a store reads these files here.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tombola.store import asked, layout, parquet, schema
from tombola.store.parquet import Damage

_FIRST, _LAST = datetime.fromisoformat("1970-01-01"), datetime.fromisoformat("2200-01-01")


@dataclass(frozen=True)
class Revision:
    """One revision of a sweep: the metadata of its file by name, and the number of its trials."""

    about: dict[str, str]
    path: Path
    count: int

    @property
    def registered_at(self) -> datetime:
        """The time of its last launch, UTC."""
        return utc(self.about["registered_at"])


def utc(text: str) -> datetime:
    """Parse an ISO time as UTC without a time zone.

    Raises
    ------
    ValueError
        When it is not a time, or not one at which this software can have run.
    """
    moment = datetime.fromisoformat(text)
    try:
        moment = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except OverflowError:
        moment = _LAST
    if not _FIRST <= moment < _LAST:
        raise ValueError(f"no launch can have run at {text}")
    return moment


def revision(path: Path, file: pq.ParquetFile) -> Revision:
    """Read the metadata of a sweep's file.

    Raises
    ------
    Damage
        When metadata is missing or invalid, or does not match the name of the file.
    """
    try:
        known = {k.decode(): v.decode() for k, v in (file.metadata.metadata or {}).items()}
        about = {name: known[name] for name in schema.SWEEP_METADATA}
        utc(about["registered_at"])
        asked.check_metadata(about)
    except KeyError as error:
        raise Damage(f"its metadata has no {error}") from None
    except ValueError as error:
        raise Damage(f"metadata: {error}") from None
    if path.name != Path(layout.sweep(about["name"], about["revision"])).name:
        raise Damage("its name and its metadata name different sweeps")
    return Revision(about, path, file.metadata.num_rows)


def trials(file: pq.ParquetFile, of: Revision, declared: pa.Schema = schema.TRIALS) -> pa.Table:
    """Read declared columns of the trials in a sweep's file.

    Raises
    ------
    Damage
        When the file is damaged, or no sweep file can ask for its trials.
    """
    rows = parquet.table(file, declared)
    try:
        asked.check_trials(rows, of.about["name"])
    except ValueError as error:
        raise Damage(str(error)) from None
    return rows
