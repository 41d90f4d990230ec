"""Parquet by pyarrow, and as Spark writes it, as far as pyarrow can.

It cannot write lists of two levels, as old versions of Spark do; the producer has a unit test with one.
"""

import uuid
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import samples
from values import NANOSECONDS, clock, moment, comparable, span
from written import ROW, Written, rows


def arrays():
    """A column of each type."""
    yield "null", pa.nulls(2)
    yield "bool", pa.array([True, False, None])
    for name, (bits, is_signed) in samples.INTEGERS.items():
        yield name, pa.array([*samples.integers(bits, is_signed), None], getattr(pa, name)())
    for name, floats in samples.FLOATS.items():
        dtype = pa.type_for_alias(name)
        yield name, pa.array([*np.array(floats).astype(name), None], dtype)
        yield f"infinite-{name}", pa.array(np.array(samples.INFINITE).astype(name), dtype)
    for kind in (pa.decimal32, pa.decimal64, pa.decimal128, pa.decimal256):
        for name in samples.DECIMALS:
            precision, scale, decimals = samples.decimals(name)
            if precision <= {pa.decimal32: 9, pa.decimal64: 18}.get(kind, 38):
                yield f"{kind.__name__}-{name}", pa.array([*decimals, None], kind(precision, scale))
    yield "decimal256-76-38", pa.array([Decimal("9" * 38 + "." + "9" * 38), Decimal("-1"), None], pa.decimal256(76, 38))
    for kind in (pa.string, pa.large_string, pa.string_view):
        yield kind.__name__, pa.array([*samples.TEXTS, None], kind())
    for kind in (pa.binary, pa.large_binary, pa.binary_view):
        yield f"{kind.__name__}-of-text", pa.array([text.encode() for text in samples.TEXTS] + [None], kind())
        yield kind.__name__, pa.array([b"text", b"caf\xe9", None], kind())
    yield "fixed-size-binary", pa.array([b"text", "é\x00\n".encode(), None], pa.binary(4))
    yield "dictionary", pa.array([*samples.TEXTS, None]).dictionary_encode()
    yield "dictionary-of-integers", pa.array([3, 1, 3, None]).dictionary_encode()
    yield "dictionary-of-times", pa.array([3, 1, 3, None], pa.timestamp("us", "UTC")).dictionary_encode()
    yield "date32", pa.array([*samples.DATES, None]).cast(pa.date32())
    yield "date64", pa.array([*samples.DATES, None]).cast(pa.date32()).cast(pa.date64())
    for unit in ("s", "ms", "us", "ns"):
        times = pa.array(np.array(samples.moments(unit), f"datetime64[{unit}]"))
        yield f"timestamp-{unit}", pa.concat_arrays([times, pa.nulls(1, times.type)])
        instants = np.array(samples.INSTANTS, "datetime64[ns]").astype(f"datetime64[{unit}]")
        for name, zone in samples.ZONES.items():
            yield f"timestamp-{unit}-{name}", pa.array(instants).cast(pa.timestamp(unit, zone))
        yield f"duration-{unit}", pa.array([*samples.SPANS[unit], None], pa.duration(unit))
        storage, kind = (pa.int32(), pa.time32) if unit in ("s", "ms") else (pa.int64(), pa.time64)
        day = 86_400 * NANOSECONDS["s"] // NANOSECONDS[unit]
        yield f"time-{unit}", pa.array([0, 1, day // 2, day - 1, None], storage).cast(kind(unit))
    yield from nested()


def nested():
    yield "list", pa.array([[1, None, 3], [], None])
    yield "large-list", pa.array([[1, None, 3], [], None], pa.large_list(pa.int64()))
    yield "fixed-size-list", pa.array([[1, 2], [None, 4], None], pa.list_(pa.int64(), 2))
    yield "list-of-lists", pa.array([[["a"], None, []], [], None])
    structs = [{"city": "Oslo", "at": {"x": 1.5, "y": None}}, {"city": None, "at": None}, None]
    yield "struct", pa.array(structs)
    yield "list-of-structs", pa.array([structs, [], None])
    yield "list-of-times", pa.array([[0, None], None], pa.list_(pa.timestamp("us", "UTC")))
    yield "list-of-durations", pa.array([[1, None], [2**63 - 1], None], pa.list_(pa.duration("s")))
    yield "list-of-bytes", pa.array([[b"text", None], None])
    yield "struct-of-bytes-that-are-no-text", pa.array([{"a": b"text"}, {"a": b"caf\xe9"}])
    yield "struct-of-infinity", pa.array([{"a": 1.5}, {"a": float("inf")}])
    yield "map", pa.array([[("b", 1), ("a", None)], [], None], pa.map_(pa.string(), pa.int64()))
    yield "map-with-a-key-twice", pa.array([[("a", 1), ("a", 2)], [("a", 1), ("b", 2)]], pa.map_(pa.string(), pa.int64()))
    yield "map-of-lists", pa.array([[("b", [1, None])], None], pa.map_(pa.string(), pa.list_(pa.int64())))
    yield "map-by-integers", pa.array([[(1, "a")], [], None], pa.map_(pa.int64(), pa.string()))
    yield "list-of-maps-by-dates", pa.array([[[(1, "a")]], None], pa.list_(pa.map_(pa.date32(), pa.string())))
    uuids = pa.array([uuid.UUID(int=1).bytes, None, uuid.UUID(int=2**128 - 1).bytes], pa.uuid())
    yield "uuid", uuids
    yield "struct-of-uuid", pa.StructArray.from_arrays([uuids], ["id"])
    yield "map-of-uuid", pa.MapArray.from_arrays([0, 2, 3], pa.array(["a", "b", "c"]), uuids)
    yield "json", pa.array(['{"a": [1, null]}', "[]", None], pa.json_())
    yield "bool8", pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0, None], pa.int8()))


def wide(count):
    """A table of many rows, with a column for each way of storing values."""
    numbers = range(count)
    return pa.table(
        {
            ROW: numbers,
            "company_id": [f"c{number}" for number in numbers],
            "text": [samples.TEXTS[number % 21] if number % 7 else None for number in numbers],
            "number": pa.array([number * 2**40 if number % 5 else None for number in numbers], pa.int64()),
            "share": pa.array([number / 7 for number in numbers], pa.float64()),
            "flag": [number % 3 == 0 if number % 11 else None for number in numbers],
            "amount": pa.array([Decimal(number) / 100 for number in numbers], pa.decimal128(12, 2)),
            "at": pa.array([number * 10**12 + 1 for number in numbers], pa.timestamp("us", "UTC")),
            "words": [samples.TEXTS[: number % 5] if number % 4 else None for number in numbers],
            "place": [{"city": f"c{number % 9}", "zip": None} if number % 6 else None for number in numbers],
        }
    )


def layouts():
    for codec in ("none", "snappy", "gzip", "zstd", "lz4", "brotli"):
        for version in ("1.0", "2.0"):
            yield f"{codec}-pages-{version}", dict(compression=codec, data_page_version=version, row_group_size=400)
    for size in (1, 7, 1000, 10_000):
        yield f"groups-of-{size}", dict(row_group_size=size)
    yield "plain", dict(use_dictionary=False, write_statistics=False)
    yield "small-pages", dict(data_page_size=64, write_batch_size=5, dictionary_pagesize_limit=100)
    yield "index-and-checksums", dict(write_page_index=True, write_page_checksum=True)
    yield "format-1.0", dict(version="1.0")
    yield "format-2.4", dict(version="2.4")
    numbers = {"share": "BYTE_STREAM_SPLIT", "number": "DELTA_BINARY_PACKED"}
    texts = {"text": "DELTA_BYTE_ARRAY", "company_id": "DELTA_LENGTH_BYTE_ARRAY"}
    for name, encodings in (("numbers", numbers), ("texts", texts)):
        yield f"encoded-{name}", dict(use_dictionary=False, column_encoding=encodings)
    yield "item-lists", dict(use_compliant_nested_type=False)
    yield "without-arrow-schema", dict(store_schema=False)


def spark():
    """Columns as Spark writes them: times as INT96 or in UTC; text of old versions, not marked as text, and decimals as bytes."""
    int96 = dict(use_deprecated_int96_timestamps=True, flavor="spark", store_schema=False)
    for unit in ("s", "ms", "us", "ns"):
        yield f"int96-{unit}", pa.array(np.array(samples.moments(unit), f"datetime64[{unit}]")), int96
        stored = dict(int96, store_schema=True)
        yield f"int96-{unit}-with-schema", pa.array(np.array(samples.moments(unit), f"datetime64[{unit}]")), stored
        instants = pa.array(np.array(samples.INSTANTS, f"datetime64[{unit}]"))
        zoned = instants.cast(pa.timestamp(unit, "UTC")).cast(pa.timestamp(unit, "Europe/Paris"))
        yield f"int96-{unit}-zoned", zoned, stored
    yield "int96-in-list", pa.array([[0, None], None], pa.list_(pa.timestamp("us"))), int96
    today = dict(flavor="spark", store_schema=False)
    yield "utc", pa.array([0, -1, None, 1_719_835_200_000_001], pa.timestamp("us", "UTC")), today
    yield "without-zone", pa.array([0, -1, None, 1_719_835_200_000_001], pa.timestamp("us")), today
    yield "binary", pa.array([text.encode() for text in samples.TEXTS] + [None]), today
    for name in samples.DECIMALS:
        precision, scale, decimals = samples.decimals(name)
        array = pa.array([*decimals, None], pa.decimal128(precision, scale))
        yield f"legacy-decimal-{name}", array, today
        yield f"decimal-{name}", array, dict(store_decimal_as_integer=True, **today)
    yield "map", pa.array([[("b", 1), ("a", None)], [], None], pa.map_(pa.string(), pa.int64())), today
    yield "list", pa.array([["a", None], [], None]), today
    yield "byte", pa.array([-128, 127, None], pa.int8()), today


def files(folder):
    for name, array in arrays():
        for suffix, options in (("", {}), (".bare", dict(store_schema=False))):
            yield of_column(folder / f"pyarrow.{name}{suffix}.parquet", array, options)
    for name, options in layouts():
        path = folder / f"pyarrow.layout-{name}.parquet"
        pq.write_table(wide(3000), path, **options)
        yield Written(path, read_by_pyarrow(pq.read_table(path)))
    for name, array, options in spark():
        yield of_column(folder / f"spark.{name}.parquet", array, options)


def of_column(path, array, options):
    pq.write_table(pa.table({ROW: range(len(array)), "value": array}), path, **options)
    # INT96 has a larger range than 64 bits of nanoseconds.
    unit = "us" if "int96" in path.name and "-ns" not in path.name else None
    return Written(path, read_by_pyarrow(pq.read_table(path, coerce_int96_timestamp_unit=unit)))


def read_by_pyarrow(table):
    return rows({name: [value for chunk in table[name].chunks for value in of_array(chunk)] for name in table.column_names})


def of_array(array):
    """Python's own dates and times have no nanoseconds, and its floats no width, so these values are read from Arrow."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return of_array(array.dictionary_decode())
    if pa.types.is_timestamp(kind):
        return [count if count is None else moment(count, kind.unit, kind.tz) for count in array.cast(pa.int64()).to_pylist()]
    if pa.types.is_duration(kind):
        return [count if count is None else span(count, kind.unit) for count in array.cast(pa.int64()).to_pylist()]
    if pa.types.is_time64(kind) and kind.unit == "ns":
        return [count if count is None else clock(count) for count in array.cast(pa.int64()).to_pylist()]
    if pa.types.is_float16(kind) or pa.types.is_float32(kind):
        width = np.float16 if pa.types.is_float16(kind) else np.float32
        return [value if value is None else comparable(width(value)) for value in array.to_pylist()]
    if pa.types.is_list(kind) and pa.types.is_duration(kind.value_type):
        return [of_array(value.values) if value.is_valid else None for value in array]
    if pa.types.is_map(kind):
        return [value if value is None else comparable(dict(value)) for value in array.to_pylist()]
    return comparable(array.to_pylist())
