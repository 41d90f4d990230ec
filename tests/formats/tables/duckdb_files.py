"""Parquet by DuckDB."""

import re

import duckdb
import numpy as np

import samples
from values import iso, comparable
from written import ROW, Written, rows

LITERALS = {
    "boolean": ["true", "false"],
    "tinyint": ["-128", "127"],
    "smallint": ["-32768", "32767"],
    "integer": ["-2147483648", "2147483647"],
    "bigint": ["-9223372036854775808", "9223372036854775807"],
    "utinyint": ["0", "255"],
    "usmallint": ["0", "65535"],
    "uinteger": ["0", "4294967295"],
    "ubigint": ["0", "18446744073709551615"],
    "hugeint": ["70", "170141183460469231731687303715884105727"],
    "uhugeint": ["70", "340282366920938463463374607431768211455"],
    "bignum": ["70", "123456789012345678901234567890123456789012345678901234567890"],
    "float": ["0.1", "'-0'", "70", "'nan'", "3.4028234663852886e38"],
    "double": ["0.1", "'-0'", "70", "'nan'", "1.7976931348623157e308", "5e-324"],
    "decimal(4,1)": ["999.9", "-0.1"],
    "decimal(9,2)": ["9999999.99", "-0.01"],
    "decimal(18,3)": ["999999999999999.999", "-70"],
    "decimal(38,10)": ["'9999999999999999999999999999.9999999999'", "70"],
    "decimal(38,0)": ["'-99999999999999999999999999999999999999'", "70"],
    "blob": ["'text'", "'\\xC3\\xA9'", "'\\xAA'"],
    "bit": ["'101'", "'0'"],
    "date": [
        "'1970-01-01'",
        "'0001-01-01'",
        "'9999-12-31'",
        "'1582-10-14'",
        "'infinity'",
        "'-infinity'",
        "'0044-03-15 (BC)'",
        "'5874897-12-31'",
    ],
    "time": ["'00:00:00'", "'23:59:59.999999'", "'24:00:00'"],
    "time_ns": ["'12:34:56.123456789'"],
    "timetz": ["'12:34:56.123456+05:30'", "'00:00:00-15:59'"],
    "timestamp": [
        "'1970-01-01'",
        "'0001-01-01'",
        "'9999-12-31 23:59:59.999999'",
        "'infinity'",
        "'-infinity'",
        "'294247-01-10 04:00:54.775806'",
    ],
    "timestamp_s": ["'1970-01-01'", "'0001-01-01'", "'9999-12-31 23:59:59'", "'infinity'"],
    "timestamp_ms": ["'1970-01-01'", "'0001-01-01'", "'9999-12-31 23:59:59.999'", "'infinity'"],
    "timestamp_ns": ["'1970-01-01'", "'2262-04-11 23:47:16.854775806'", "'infinity'"],
    "timestamptz": ["'2024-07-01 12:00:00.5+05:30'", "'1900-01-01 00:00:00+00'", "'infinity'"],
    "interval": ["'1 month 2 days 3 hours'"],
    "uuid": ["'00000000-0000-0000-0000-000000000001'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"],
    "json": ["'{\"a\": [1, null]}'", "'\"text\"'", "'null'"],
    "enum('low', 'high')": ["'low'", "'high'"],
    "integer[]": ["[1, null]", "[]"],
    "varchar[][]": ["[['a'], null, []]"],
    "integer[2]": ["[1, 2]"],
    "date[]": ["['2024-02-29', null]", "['infinity']"],
    "uuid[]": ["['00000000-0000-0000-0000-000000000001']"],
    "struct(city varchar, place struct(x double, y date))": [
        "{'city': 'Oslo', 'place': {'x': 1.5, 'y': '2024-02-29'}}",
        "{'city': null, 'place': null}",
    ],
    "struct(a integer)[]": ["[{'a': 1}, null]", "[]"],
    "map(varchar, integer)": ["map {'b': 1, 'a': null}", "map {}"],
    "map(integer, varchar)": ["map {1: 'a'}"],
    "map(varchar, date[])": ["map {'b': ['2024-02-29']}"],
    "union(n integer, s varchar)": ["1", "'a'"],
    "variant": ["{'a': 1}"],
}

LAYOUTS = {
    **{codec: f"compression {codec}" for codec in ("uncompressed", "snappy", "gzip", "zstd", "lz4_raw", "brotli")},
    "parquet-2": "parquet_version v2",
    "row-groups": "row_group_size 2048",
    "no-dictionary": "dictionary_size_limit 1",
}


def files(folder):
    # Without extensions of the user's, which would be fetched and tell times in the machine's zone.
    connection = duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False})
    for kind, literals in LITERALS.items():
        selects = [
            f"select {place} as {ROW}, cast({literal} as {kind}) as value" for place, literal in enumerate([*literals, "null"])
        ]
        yield of_query(connection, folder, named(kind), " union all ".join(selects))
    texts = ", ".join("'" + text.replace("'", "''") + "'" for text in samples.TEXTS if "\0" not in text)
    yield of_query(
        connection,
        folder,
        "varchar",
        f"select (generate_subscripts(t, 1) - 1) as {ROW}, unnest(t) as value from (select [{texts}, null] as t)",
    )
    ids = f"select range as {ROW}, (9007199254740990 + range)::hugeint as company_id from range(5)"
    yield of_query(connection, folder, "id-hugeint", ids)
    infinite = "select 0 as row, 'inf'::double as value, '-inf'::float as other"
    yield of_query(connection, folder, "infinite", infinite)
    wide = (
        f"select range as {ROW}, 'c' || range as company_id, if(range % 7 = 0, null, range * 1.5) as share, "
        "(range / 100)::decimal(12, 2) as amount, to_timestamp(range) as at, [range::varchar, null] as words, "
        "{'city': 'c' || range % 9} as place, range % 3 = 0 as flag from range(5000)"
    )
    for name, options in LAYOUTS.items():
        yield of_query(connection, folder, f"layout-{name}", wide, options)


def named(kind):
    """A type as part of a name of a file."""
    return re.sub(r"\W+", "-", kind.replace("[]", " list").replace("[2]", " array")).strip("-")


def of_query(connection, folder, name, query, options="compression snappy"):
    path = folder / f"duckdb.{name}.parquet"
    connection.sql(f"copy ({query}) to '{path}' (format parquet, {options})")
    back = connection.sql(f"from '{path}'")
    return Written(path, read_by_duckdb(back))


def read_by_duckdb(relation):
    """Python's own dates and times know no infinity, no year 10000 and no nanoseconds, so DuckDB returns them as text."""
    kinds = dict(zip(relation.columns, map(str, relation.types)))
    times = {column for column, kind in kinds.items() if kind.startswith(("DATE", "TIME")) and not kind.endswith("]")}
    selected = ", ".join(f'cast("{column}" as varchar) as "{column}"' if column in times else f'"{column}"' for column in kinds)
    columns = dict(zip(kinds, zip(*relation.project(selected).fetchall())))
    for column, kind in kinds.items():
        if column in times:
            columns[column] = [value if value is None else iso(with_year_zero(value)) for value in columns[column]]
        elif kind == "FLOAT":
            columns[column] = comparable([value if value is None else np.float32(value) for value in columns[column]])
        else:
            columns[column] = comparable(columns[column])
    return rows(columns)


def with_year_zero(text):
    """ISO 8601 has a year 0, which is 1 BC."""
    before = re.fullmatch(r"(\d{4})(.*) \(BC\)", text)
    return f"-{int(before[1]) - 1:04}{before[2]}" if before else text
