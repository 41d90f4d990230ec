"""Writes tables with the writers that people use, and compares what Rollcall reads with what each writer's own reader says:
tables FOLDER READER, where READER is the producer's example `records`.

Every value is compared, by the rules in values.py. A difference that meant.py does not have is a fault, and so is one that it has
and that does not occur.
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
from meant import Meant
from values import agrees, identifier, in_words
from written import ROW, Written

WRITERS = (pandas_files, polars_files, pyarrow_files, duckdb_files, csv_files)

# How many faults of a file are shown.
SHOWN = 5


def main(folder, reader):
    folder.mkdir(parents=True)
    files = [file for writer in WRITERS for file in writer.files(folder)]
    told = read_by_us(reader, files)
    # A column that is refused must not keep the others from being read.
    refused = [file for file, ours in zip(files, told) if ours["refused"] and file.path.suffix == ".parquet" and not ours["rows"]]
    others = [Written(file.path, [{ROW: row[ROW]} for row in file.rows], {"columns": [ROW]}) for file in refused]
    told += read_by_us(reader, others)

    meant, counts = Meant(), {}
    failed = 0
    for file, ours in zip(files + others, told, strict=True):
        found = list(differences(file, ours))
        faults = [difference for difference in found if not meant.has(file.name, difference)]
        for row, column, they, we in faults[:SHOWN]:
            print(f"{file.name}, row {row + 1}, {column}: they say {they}, we say {we}")
        failed += bool(faults)
        count = counts.setdefault(file.name.split(".")[0], Counter())
        count.update(files=1, values=sum(map(len, file.rows)), differences=len(found))
    for stale in meant.stale():
        print(f"expected a difference that meant.py has, found none: {stale}")
        failed += 1

    print(f"{'written by':12} {'files':>6} {'values':>9} {'differences':>12}")
    for writer, count in counts.items():
        print(f"{writer:12} {count['files']:6} {count['values']:9,} {count['differences']:12}")
    print(meant.report())
    print(f"{len(told) - failed} passed, {failed} failed")
    return 1 if failed else 0


def read_by_us(reader, files):
    """What Rollcall reads of each file."""
    lines = [json.dumps({"file": str(file.path), "reading": file.reading}) for file in files]
    answer = subprocess.run([reader], input="\n".join(lines).encode(), stdout=subprocess.PIPE, check=True)
    return [json.loads(line, parse_float=Decimal, object_pairs_hook=once) for line in answer.stdout.splitlines()]


def once(pairs):
    """An object in which no key stands twice."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError(f"expected every key once, found {[key for key, _ in pairs]}")
    return fields


def differences(file, ours):
    """Where what Rollcall reads is not what the writer's reader says: row, column, and both in words."""
    is_csv = file.path.suffix != ".parquet"
    rows = ours["rows"]
    for place, said in enumerate(file.rows):
        row = rows[place] if place < len(rows) else {"error": ours["refused"] or "no row"}
        if "error" in row:
            yield place, "value", in_words(said.get("value", said)), without_place(row["error"], file.path)
            continue
        if list(row["record"]) != list(said):
            yield place, "names of the columns", list(said), list(row["record"])
        ids = identifier(said.get("company_id"), place, is_csv)
        if (row["index"], row["company_id"]) != (place, ids):
            yield place, "company_id", ids, row["company_id"]
        for column in said.keys() & row["record"].keys():
            value, told = said[column], row["record"][column]
            if not agrees(value, told):
                yield place, column, in_words(value), in_words(told, value)
    if len(rows) > len(file.rows):
        yield len(file.rows), "row", "nothing", str(rows[len(file.rows)])


def without_place(error, path):
    return re.sub(rf"^{re.escape(str(path))}(, row \d+)?( \(line \d+\))?(, line \d+)?(, |: )", "", error)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
