"""A file that a writer wrote, with what the writer's own reader says of it."""

from dataclasses import dataclass, field
from pathlib import Path

# Numbers the rows of every file, so that no row is without any value: such rows are skipped.
ROW = "row"


@dataclass
class Written:
    path: Path
    # Values by column, of every row.
    rows: list
    # How Rollcall is to read it, where not as usual.
    reading: dict = field(default_factory=dict)

    @property
    def name(self):
        return f"{self.path.name} --columns {ROW}" if "columns" in self.reading else self.path.name


def rows(columns):
    """The rows of columns that are given by name."""
    return [dict(zip(columns, values)) for values in zip(*columns.values(), strict=True)]
