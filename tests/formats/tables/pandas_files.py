"""Parquet by pandas, with its default engine pyarrow and with fastparquet."""

import datetime
import re
import uuid
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa

import samples
from values import Iso, comparable
from written import ROW, Written, rows

# Types that fastparquet cannot write, or does not read back the same.
NOT_OF_FASTPARQUET = re.compile("dates|times|uuids|period|interval|arrow-(decimal|date)|(datetime|timedelta)-s.*")


def series():
    for name, (bits, is_signed) in samples.INTEGERS.items():
        yield name, pd.Series(samples.integers(bits, is_signed), dtype=name)
        nullable = name.replace("int", "Int").replace("uI", "UI")
        yield f"nullable-{name}", pd.Series([None, *samples.integers(bits, is_signed)], dtype=nullable)
    for name, floats in samples.FLOATS.items():
        yield name, pd.Series(np.array(floats).astype(name))
        yield f"infinite-{name}", pd.Series(np.array(samples.INFINITE).astype(name))
    yield "nullable-float32", pd.Series([None, 0.1, 70.0], dtype="Float32")
    yield "nullable-float64", pd.Series([None, 0.1, 70.0], dtype="Float64")
    yield "integers-with-a-gap", pd.Series([1, None, 70])
    yield "bool", pd.Series([True, False])
    yield "nullable-bool", pd.Series([True, None, False], dtype="boolean")
    yield "bool-with-a-gap", pd.Series([True, None, False], dtype="object")
    for dtype in ("object", "str", "string", "category"):
        yield f"text-{dtype}", pd.Series([*samples.TEXTS, None], dtype=dtype)
    yield "category-of-integers", pd.Series([3, 1, 3, None], dtype="category")
    yield "bytes-and-none", pd.Series([text.encode() for text in samples.TEXTS] + [None])
    yield "bytes-that-are-no-text", pd.Series([b"text", b"caf\xe9"])
    yield "decimal", pd.Series([Decimal("1.50"), None, Decimal("70.00")])
    yield "dates", pd.Series([datetime.date.fromisoformat(date) for date in samples.DATES] + [None])
    yield "times", pd.Series([datetime.time.fromisoformat(time) for time in samples.TIMES] + [None])
    yield "uuids", pd.Series([uuid.UUID(int=1), None, uuid.UUID(int=2**128 - 1)])
    yield "lists", pd.Series([[1, 2], [], None, [3]])
    yield "dicts", pd.Series([{"city": "Oslo", "zip": None}, None, {"city": None, "zip": 7}])
    yield "nothing", pd.Series([None, None], dtype="object")
    for unit in ("s", "ms", "us", "ns"):
        times = np.array([*samples.moments(unit), "NaT"], dtype=f"datetime64[{unit}]")
        yield f"datetime-{unit}", pd.Series(times)
        yield f"timedelta-{unit}", pd.Series(np.array([*samples.SPANS[unit], "NaT"], dtype=f"timedelta64[{unit}]"))
        instants = pd.Series(np.array([*samples.INSTANTS, "NaT"], dtype="datetime64[ns]").astype(f"datetime64[{unit}]"))
        for name, zone in samples.ZONES.items():
            yield f"datetime-{unit}-{name}", instants.dt.tz_localize("UTC").dt.tz_convert(zone)
    yield "period", pd.Series(pd.period_range("2024-01", periods=3, freq="M"))
    yield "interval", pd.Series(pd.interval_range(0, 3))
    yield "arrow-string", pd.Series([*samples.TEXTS, None], dtype=pd.ArrowDtype(pa.large_string()))
    yield "arrow-decimal", pd.Series([Decimal("1.5"), None], dtype=pd.ArrowDtype(pa.decimal128(20, 3)))
    yield "arrow-date", pd.Series([datetime.date(2024, 2, 29), None], dtype=pd.ArrowDtype(pa.date32()))


def ids():
    yield "text", pd.Series(["c1", "", None, "007", "70.0", "é"])
    yield "category", pd.Series(["c1", "c2", None], dtype="category")
    yield "integers", pd.Series([70, -1, 2**63 - 1])
    yield "integers-with-a-gap", pd.Series([70, None, 1e16])
    yield "nullable", pd.Series([70, None, 2**63 - 1], dtype="Int64")
    yield "unsigned", pd.Series([2**64 - 1], dtype="uint64")
    yield "decimal", pd.Series([Decimal("70.00"), Decimal("12345678901234567890"), None])
    yield "bytes", pd.Series([b"c1", b"", None])
    yield "dates", pd.Series([datetime.date(2024, 2, 29), None])
    yield "uuids", pd.Series([uuid.UUID(int=1), None])


def indexed():
    """Frames with an index that is written too."""
    names = pd.Index(["a", "b"], name="name")
    yield "index-named", pd.DataFrame({ROW: [0, 1]}, index=names)
    yield "index-without-name", pd.DataFrame({ROW: [0, 1]}, index=["a", "b"])
    yield "index-of-integers", pd.DataFrame({ROW: [0, 1]}, index=[7, 3])
    levels = pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["name", "year"])
    yield "index-of-levels", pd.DataFrame({ROW: [0, 1]}, index=levels)


def read_by_pandas(series):
    if series.dtype == "float32" or series.dtype == "float16":
        # As elements of a series they are floats of 64 bits.
        return comparable(series.to_numpy())
    if isinstance(series.dtype, pd.IntervalDtype):
        return comparable([{"left": value.left, "right": value.right} for value in series])
    if isinstance(series.dtype, pd.PeriodDtype):
        return [Iso(value) for value in series]
    return comparable(series)


def files(folder):
    for name, values in series():
        frame = pd.DataFrame({ROW: range(len(values)), "value": values})
        for writer, engine in (("pandas", "pyarrow"), ("fastparquet", "fastparquet")):
            if writer == "fastparquet" and NOT_OF_FASTPARQUET.fullmatch(name):
                continue
            path = folder / f"{writer}.{name}.parquet"
            frame.to_parquet(path, engine=engine, index=False)
            back = pd.read_parquet(path, engine=engine)
            yield Written(path, rows({column: read_by_pandas(back[column]) for column in back}))
    for name, values in ids():
        path = folder / f"pandas.id-{name}.parquet"
        pd.DataFrame({ROW: range(len(values)), "company_id": values}).to_parquet(path)
        back = pd.read_parquet(path)
        yield Written(path, rows({column: read_by_pandas(back[column]) for column in back}))
    for name, frame in indexed():
        path = folder / f"pandas.{name}.parquet"
        frame.to_parquet(path)
        back = pd.read_parquet(path)
        index = [column or "__index_level_0__" for column in back.index.names]
        columns = back.rename_axis(index).reset_index()
        yield Written(path, rows({column: comparable(columns[column]) for column in [ROW, *index]}))
