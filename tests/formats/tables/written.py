"""A file, with the values that the writer's own reader reads from it."""

from dataclasses import dataclass, field
from pathlib import Path

# A column with the row's number, so that no row is blank: Rollcall skips blank rows.
ROW = "row"


@dataclass
class Written:
    path: Path
    # Values by column, of every row.
    rows: list
    # Rollcall's options for reading it.
    reading: dict = field(default_factory=dict)

    @property
    def name(self):
        return f"{self.path.name} --columns {ROW}" if "columns" in self.reading else self.path.name


def rows(columns):
    """The rows of a table that is given as columns by name."""
    return [dict(zip(columns, values)) for values in zip(*columns.values(), strict=True)]
