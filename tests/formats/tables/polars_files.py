"""Parquet by polars."""

import datetime
from decimal import Decimal

import numpy as np
import polars as pl

import samples
from values import clock, moment, comparable, span
from written import ROW, Written, rows


def series():
    yield "bool", pl.Series([True, False, None])
    yield "null", pl.Series([None, None], dtype=pl.Null)
    for name, (bits, is_signed) in samples.INTEGERS.items():
        dtype = getattr(pl, name.replace("uint", "UInt").replace("int", "Int"))
        yield name, pl.Series([*samples.integers(bits, is_signed), None], dtype=dtype)
    yield "int128", pl.Series([2**127 - 1, -(2**127), 70, None], dtype=pl.Int128)
    yield "uint128", pl.Series([2**128 - 1, 0, 70, None], dtype=pl.UInt128)
    for name, floats in samples.FLOATS.items():
        dtype = getattr(pl, name.capitalize())
        yield name, pl.Series([*floats, None], dtype=dtype)
        yield f"infinite-{name}", pl.Series(samples.INFINITE, dtype=dtype)
    for name in samples.DECIMALS:
        precision, scale, decimals = samples.decimals(name)
        yield f"decimal-{name}", pl.Series([*decimals, None], dtype=pl.Decimal(precision, scale))
    yield "string", pl.Series([*samples.TEXTS, None])
    yield "categorical", pl.Series([*samples.TEXTS, None], dtype=pl.Categorical)
    yield "enum", pl.Series(["low", "high", None], dtype=pl.Enum(["low", "high"]))
    yield "binary-of-text", pl.Series([text.encode() for text in samples.TEXTS] + [None])
    yield "binary", pl.Series([b"text", b"caf\xe9", None])
    yield "date", pl.Series([datetime.date.fromisoformat(date) for date in samples.DATES] + [None])
    yield "time", pl.Series([datetime.time.fromisoformat(time) for time in samples.TIMES] + [None])
    yield "time-ns", pl.Series([0, 1, 86_399_999_999_999]).cast(pl.Time)
    for unit in ("ms", "us", "ns"):
        yield f"datetime-{unit}", pl.Series([*samples.moments(unit), None]).str.to_datetime(time_unit=unit)
        yield f"duration-{unit}", pl.Series([*samples.SPANS[unit], None]).cast(pl.Duration(unit))
        instants = pl.Series([*samples.INSTANTS, None]).str.to_datetime(time_unit=unit, time_zone="UTC")
        for name, zone in samples.ZONES.items():
            if name != "offset":
                yield f"datetime-{unit}-{name}", instants.dt.convert_time_zone(zone)
    # In pandas and numpy the least is none at all.
    yield "duration-ms-extreme", pl.Series([-(2**63), 2**63 - 1, -(2**63 - 1)]).cast(pl.Duration("ms"))
    yield "list", pl.Series([[1, None, 3], [], None], dtype=pl.List(pl.Int64))
    yield "list-of-text", pl.Series([[*samples.TEXTS, None], [], None], dtype=pl.List(pl.String))
    yield "list-of-lists", pl.Series([[[1.5], None, []], [], None], dtype=pl.List(pl.List(pl.Float64)))
    yield "list-of-dates", pl.Series([[datetime.date(2024, 2, 29), None], None])
    yield "list-of-categories", pl.Series([["low", None], ["high"]], dtype=pl.List(pl.Categorical))
    yield "array", pl.Series([[1, 2], [3, None], None], dtype=pl.Array(pl.Int32, 2))
    structs = [{"city": "Oslo", "at": {"x": 1.5, "y": None}}, {"city": None, "at": None}, None]
    yield "struct", pl.Series(structs)
    yield "list-of-structs", pl.Series([structs[:2], [], None])
    yield "map", pl.Series([{"b": 1, "a": None}, {}, None], dtype=pl.Map(pl.String, pl.Int64))
    yield "map-by-integers", pl.Series([{1: "a"}, None], dtype=pl.Map(pl.Int64, pl.String))
    yield "struct-of-decimals", pl.Series([{"share": Decimal("0.10")}, {"share": None}])


def files(folder):
    for name, values in series():
        path = folder / f"polars.{name}.parquet"
        frame = pl.DataFrame({ROW: range(len(values)), "value": values})
        frame.write_parquet(path)
        back = pl.read_parquet(path)
        yield Written(path, rows({column: read_by_polars(back[column]) for column in back.columns}))


def read_by_polars(series):
    """Python's own dates and times have no nanoseconds, and its floats no width, so these values are read from polars."""
    counts = series.to_physical().to_list()
    match series.dtype:
        case pl.Datetime(time_unit=unit, time_zone=zone):
            return [count if count is None else moment(count, unit, zone) for count in counts]
        case pl.Duration(time_unit=unit):
            return [count if count is None else span(count, unit) for count in counts]
        case pl.Time():
            return [count if count is None else clock(count) for count in counts]
        case pl.Float16() | pl.Float32():
            width = np.float16 if series.dtype == pl.Float16 else np.float32
            return [value if value is None else comparable(width(value)) for value in counts]
    return comparable(series.to_list())
