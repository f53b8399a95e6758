"""What a sweep's file says of itself and of its trials, checked for every reader of a store."""

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
    """One revision of a sweep: the metadata of its file, by name, and its trials."""

    about: dict[str, str]
    path: Path
    count: int

    @property
    def registered_at(self) -> datetime:
        """When it was last launched, UTC."""
        return utc(self.about["registered_at"])


def utc(text: str) -> datetime:
    """A moment from ISO text, in UTC and without a zone.

    Raises
    ------
    ValueError
        When it is none, or one that no launch of this software can have noted.
    """
    moment = datetime.fromisoformat(text)
    try:
        moment = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except OverflowError:
        moment = _LAST
    if not _FIRST <= moment < _LAST:
        raise ValueError(f"no launch was at {text}")
    return moment


def revision(path: Path, file: pq.ParquetFile) -> Revision:
    """What a sweep's file says of itself.

    Raises
    ------
    Damage
        When it does not say it all, or is called otherwise.
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
        raise Damage("it is of another sweep than its name says")
    return Revision(about, path, file.metadata.num_rows)


def trials(file: pq.ParquetFile, of: Revision, declared: pa.Schema = schema.TRIALS) -> pa.Table:
    """Declared columns of the trials in a sweep's file.

    Raises
    ------
    Damage
        When the file is not what was written, or says what no sweep file could.
    """
    rows = parquet.table(file, declared)
    try:
        asked.check_trials(rows, of.about["name"])
    except ValueError as error:
        raise Damage(str(error)) from None
    return rows
