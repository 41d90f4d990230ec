"""Writes tables with the writers that people use, and compares what Rollcall reads with what each writer's own reader reads:
tables FOLDER READER, where READER is the producer's example `records`.

Every value is compared, by the rules in values.py. A difference that is not in known_differences.py fails, and so does one that is,
but does not occur.
"""

import json
import re
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path

import csv_files
import duckdb_files
import pandas_files
import polars_files
import pyarrow_files
from known_differences import KnownDifferences
from values import agrees, identifier, describe
from written import ROW, Written

WRITERS = (pandas_files, polars_files, pyarrow_files, duckdb_files, csv_files)

# The most differences of a file that are shown.
SHOWN = 5


def main(folder, reader):
    folder.mkdir(parents=True)
    files = [file for writer in WRITERS for file in writer.files(folder)]
    read = read_by_us(reader, files)
    # Where a column is refused, the others can still be read.
    refused = [file for file, ours in zip(files, read) if ours["refused"] and file.path.suffix == ".parquet" and not ours["rows"]]
    others = [Written(file.path, [{ROW: row[ROW]} for row in file.rows], {"columns": [ROW]}) for file in refused]
    read += read_by_us(reader, others)

    known, counts = KnownDifferences(), {}
    failed = 0
    for file, ours in zip(files + others, read, strict=True):
        found = list(differences(file, ours))
        unknown = [difference for difference in found if not known.has(file.name, difference)]
        for row, column, they, we in unknown[:SHOWN]:
            print(f"{file.name}, row {row + 1}, {column}: its writer reads {they}, we read {we}")
        failed += bool(unknown)
        count = counts.setdefault(file.name.split(".")[0], Counter())
        count.update(files=1, values=sum(map(len, file.rows)), differences=len(found))
    for stale in known.stale():
        print(f"expected a difference in known_differences.py, found none: {stale}")
        failed += 1

    print(f"{'written by':12} {'files':>6} {'values':>9} {'differences':>12}")
    for writer, count in counts.items():
        print(f"{writer:12} {count['files']:6} {count['values']:9,} {count['differences']:12}")
    print(known.report())
    print(f"{len(read) - failed} passed, {failed} failed")
    return 1 if failed else 0


def read_by_us(reader, files):
    """The answer of READER for each file."""
    lines = [json.dumps({"file": str(file.path), "reading": file.reading}) for file in files]
    answer = subprocess.run([reader], input="\n".join(lines).encode(), stdout=subprocess.PIPE, check=True)
    return [json.loads(line, parse_float=Decimal, object_pairs_hook=once) for line in answer.stdout.splitlines()]


def once(pairs):
    """An object, no key of which may occur twice."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError(f"expected every key once, found {[key for key, _ in pairs]}")
    return fields


def differences(file, ours):
    """Where Rollcall reads another value than the writer's reader: row, column, and descriptions of both."""
    is_csv = file.path.suffix != ".parquet"
    rows = ours["rows"]
    for place, theirs in enumerate(file.rows):
        row = rows[place] if place < len(rows) else {"error": ours["refused"] or "no row"}
        if "error" in row:
            yield place, "value", describe(theirs.get("value", theirs)), without_place(row["error"], file.path)
            continue
        if list(row["record"]) != list(theirs):
            yield place, "names of the columns", list(theirs), list(row["record"])
        ids = identifier(theirs.get("company_id"), place, is_csv)
        if (row["index"], row["company_id"]) != (place, ids):
            yield place, "company_id", ids, row["company_id"]
        for column in theirs.keys() & row["record"].keys():
            value, our_value = theirs[column], row["record"][column]
            if not agrees(value, our_value):
                yield place, column, describe(value), describe(our_value, value)
    if len(rows) > len(file.rows):
        yield len(file.rows), "row", "nothing", str(rows[len(file.rows)])


def without_place(error, path):
    return re.sub(rf"^{re.escape(str(path))}(, row \d+)?( \(line \d+\))?(, line \d+)?(, |: )", "", error)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
