"""The differences between Rollcall and the writers' readers that are intended, each with its reason."""

import re
from collections import Counter
from dataclasses import dataclass, field
from fnmatch import fnmatchcase


@dataclass
class Difference:
    # Shell patterns for file names; it must occur for each of them.
    files: list
    # Regular expressions for the whole of the value that the writer's reader reads, and for the beginning of Rollcall's value or error.
    they: str
    we: str
    reason: str
    count: Counter = field(default_factory=Counter)


ANY = "(?s:.*)"
UNREPRESENTABLE = 'field "value": expected a value that JSON can hold, found '
NO_COLUMN = 'field "value": expected a column that JSON can hold, found '
IN_UTC = "the same instant in UTC"

DIFFERENCES = [
    # Values that JSON cannot hold: the row is refused, and the others are read.
    Difference(
        ["*.infinite-float*.parquet", "pyarrow.struct-of-infinity*.parquet", "duckdb.infinite.parquet"],
        ".*inf.*",
        UNREPRESENTABLE + "an infinite number",
        "JSON has no infinite number: the row is refused",
    ),
    Difference(
        ["duckdb.date.parquet", "duckdb.timestamp*.parquet"],
        "'-?infinity'",
        UNREPRESENTABLE + "(a date or time out of range, as an infinity|an infinite time)",
        "an infinite date or time is not one: the row is refused",
    ),
    Difference(
        ["duckdb.date-list.parquet"],
        ".*9999-12-31.*",
        UNREPRESENTABLE + "a date or time out of range, as an infinity",
        "the same in a list, for which DuckDB's Python API returns the last date that Python has",
    ),
    Difference(
        ["duckdb.date.parquet", "duckdb.timestamp.parquet"],
        "'(5874897|294247)-.*",
        UNREPRESENTABLE + "a date or time out of range",
        "a date after the year 262142, where the calendar of the chrono crate ends: the row is refused",
    ),
    Difference(
        ["duckdb.time.parquet"],
        "'24:00:00'",
        UNREPRESENTABLE + "a time of day before 00:00:00, or of 24:00:00 or more",
        "ISO 8601 ends a day at 23:59:59: the row is refused",
    ),
    Difference(
        [
            "pandas.timedelta-s.parquet",
            "pyarrow.duration-s.parquet",
            "pyarrow.list-of-durations.parquet",
            "polars.duration-ms-extreme.parquet",
        ],
        r"\[?-?\d{20,}\]?",
        UNREPRESENTABLE + "a duration of more than 292 million years",
        "the durations of the chrono crate end there: the row is refused",
    ),
    Difference(
        ["pyarrow.map-with-a-key-twice*.parquet"],
        ANY,
        UNREPRESENTABLE + "a map in which a key stands twice",
        "a JSON object has each key once: the row is refused",
    ),
    Difference(
        ["pandas.id-integers-with-a-gap.parquet", "duckdb.id-hugeint.parquet"],
        ANY,
        'field "company_id": expected an id with all its digits, found it stored as a float',
        "from 2^53 on, two whole numbers may be one float: the row is refused",
    ),
    # Columns that are refused by name; --columns reads the others.
    Difference(
        [
            "*.bytes-that-are-no-text.parquet",
            "polars.binary.parquet",
            "pyarrow.*binary*.parquet",
            "pyarrow.struct-of-bytes*.parquet",
            "duckdb.blob.parquet",
        ],
        ANY,
        'field "value": expected text in UTF-8, found a byte',
        "bytes that are not UTF-8 are not text: the file is refused from that row on",
    ),
    Difference(
        ["polars.map-by-integers.parquet", "pyarrow.*map*-by-*.parquet", "duckdb.map-integer-varchar.parquet"],
        ANY,
        NO_COLUMN + r"(List\()?Map\(",
        "the keys of a JSON object are text: the column is refused",
    ),
    Difference(
        ["duckdb.interval.parquet"], ANY, NO_COLUMN + "Interval", "months and days are not a duration: the column is refused"
    ),
    Difference(["duckdb.variant.parquet"], ANY, NO_COLUMN + "VARIANT", "an encoding of its own: the column is refused"),
    Difference(
        ["spark.int96-in-list.parquet"],
        ANY,
        NO_COLUMN + "INT96",
        "INT96 inside lists cannot be read over its whole range: the column is refused",
    ),
    Difference(
        ["polars.int128.parquet*", "polars.uint128.parquet*"],
        ANY,
        "expected types that JSON can hold, found one that is not known",
        "a type of polars that the arrow crate does not know: the file is refused",
    ),
    # Values that only the writer's own reader interprets differently.
    Difference(
        ["pandas.datetime-s-*.parquet", "pyarrow.timestamp-s-*.parquet"],
        ANY,
        IN_UTC,
        "Parquet has no seconds: stored in milliseconds, where the zone stored for seconds is not applied",
    ),
    Difference(
        ["spark.int96-*-zoned.parquet"],
        r"'\d{4}-\d\d-\d\dT[\d:.]+'",
        r"'\d{4}-\d\d-\d\dT[\d:.]+(\+0[12]:00|Z)'",
        "pyarrow drops the zone stored for INT96; Rollcall writes the same instant in that zone",
    ),
    Difference(["fastparquet.datetime-*.parquet"], ANY, IN_UTC, "the zone is stored in the metadata of pandas alone"),
    Difference(
        ["*.datetime-*-paris.parquet", "pyarrow.timestamp-*-paris.parquet"],
        "'1900-.*:21'",
        IN_UTC,
        "RFC 3339 has no offset with seconds, as zones had before 1972",
    ),
    Difference(
        ["duckdb.timetz.parquet"], ".*Z'", r"'\d\d:\d\d:\d\d(\.\d+)?'$", "a time of day is written as it is stored, which is in UTC"
    ),
    Difference(
        ["pandas.period.parquet"], "'2024-0[1-3]'", "6(48|49|50)$", "stored as a number of months; only pandas reads it as a period"
    ),
    Difference(["pyarrow.bool8.parquet"], "True|False", "[01]$", "stored as a number"),
    Difference(
        ["fastparquet.timedelta-*.parquet"],
        r"-?\d+",
        f"'00:00:0|{UNREPRESENTABLE}",
        "stored as a time of day; only pandas reads it as a duration",
    ),
    Difference(
        ["fastparquet.lists.parquet", "fastparquet.dicts.parquet"], ANY, r"'(\[|\{)", "stored as JSON, which is read as text"
    ),
    Difference(
        ["fastparquet.bool-with-a-gap.parquet"],
        r"[01]\.0",
        "True|False",
        "stored as booleans, which its reader turns into numbers",
    ),
    # CSV of other dialects than RFC 4180's.
    Difference(
        [
            "pandas.escaped-delimiter.csv",
            "pandas.escaped-quote.csv",
            "pandas.escaped-not-doubled.csv",
            "pandas.single-quotes.csv",
        ],
        ANY,
        "expected (3 fields, found 4|no quote inside an unquoted field)",
        "RFC 4180 has double quotes and no escapes: the row is refused",
    ),
    Difference(
        ["pandas.escaped-escape.csv"],
        r"'back\\\\slash'",
        r"'back\\\\\\\\slash'$",
        "without escapes a backslash is text, and two are two",
    ),
    Difference(
        ["pandas.unquoted-return.csv"],
        ANY,
        "expected 3 fields, found 2",
        "a carriage return ends a row, in pandas' reader too, which adds empty fields",
    ),
    Difference(
        ["pandas.latin-1.csv"], "'Söhne'", 'field "value": expected UTF-8, found byte 0xf6', "text is UTF-8: the row is refused"
    ),
    Difference(
        ["*.utf-16.csv", "excel.unicode-text.csv"],
        ANY,
        "expected text, found UTF-16 text; save",
        "text is UTF-8: the file is refused",
    ),
    Difference(
        ["pandas.index.csv"],
        ANY,
        "expected a name for every column, found none for column 1, as pandas writes",
        "a column has a name: the file is refused",
    ),
]


class KnownDifferences:
    """Counts how often each known difference occurs."""

    def has(self, file, difference):
        _, _, they, we = difference
        for entry in DIFFERENCES:
            pattern = next((pattern for pattern in entry.files if fnmatchcase(file, pattern)), None)
            if pattern and re.fullmatch(entry.they, they) and re.match(entry.we, we):
                entry.count[pattern] += 1
                return True
        return False

    def stale(self):
        return [f"{pattern} ({entry.reason})" for entry in DIFFERENCES for pattern in entry.files if not entry.count[pattern]]

    def report(self):
        lines = [f"{entry.count.total():6} {entry.reason} ({', '.join(entry.files)})" for entry in DIFFERENCES]
        return "\n".join(["known differences:", *lines])
