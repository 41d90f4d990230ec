"""The rules by which a value read by the writer's reader and one read by Rollcall are the same:

- None, NaN, NaT and NA are null; in CSV, where all is text, they are "".
- Numbers have the same exact value; a float is the one of its width that is nearest to the number in JSON.
- Text is the same character for character. Bytes are UTF-8 text; a UUID is its usual text.
- Dates and times are ISO 8601, digit for digit but for zeros at the end of a fraction. With a zone the offset is the same too: that of
  the zone's rules at that instant.
- Durations are ISO 8601, of as many nanoseconds.
- Lists and structs are the same value by value; a map is an object.
"""

import datetime
import re
import uuid
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd


class Iso(str):
    """A date or time in ISO 8601."""


class Span(int):
    """A duration in nanoseconds."""


def agrees(value, ours):
    """Whether `ours`, which was JSON, is the value."""
    match value:
        case Iso():
            return isinstance(ours, str) and " " not in ours and iso(ours) == value
        case Span():
            return isinstance(ours, str) and nanoseconds(ours) == value
        case bytes():
            return isinstance(ours, str) and ours.encode() == value
        case uuid.UUID():
            return ours == str(value)
        case list():
            return isinstance(ours, list) and len(ours) == len(value) and all(map(agrees, value, ours))
        case dict():
            return isinstance(ours, dict) and list(ours) == list(value) and all(agrees(value[key], ours[key]) for key in value)
        case bool() | None | str():
            return type(ours) is type(value) and ours == value
    if isinstance(ours, bool) or not isinstance(ours, (int, Decimal)):
        return False
    if isinstance(value, (float, np.floating)):
        return type(value)(str(ours)) == value
    return Decimal(ours) == value


def identifier(value, index, is_csv):
    """The id of a company by the value of its id column: text, a whole number as text, or else its index. In CSV a number is
    text, and pandas writes that of a column with a gap as 70.0."""
    if isinstance(value, bytes):
        value = value.decode()
    if value is None or value == "":
        return str(index)
    if isinstance(value, (float, np.floating, Decimal)) and value == int(value):
        return str(int(value))
    return re.sub(r"^(0|-?[1-9]\d*)\.0$", r"\1", value) if is_csv else str(value)


def describe(value, they=None):
    """A value in a list of differences; with `they`, ours beside theirs."""
    if isinstance(they, Iso) and is_same_instant(they, value):
        return "the same instant in UTC"
    text = repr(value)
    return text if len(text) < 200 else f"{text[:200]}…"


def is_same_instant(they, ours):
    local = re.fullmatch(r"(.{19}(?:\.\d+)?)([+-])(\d\d):(\d\d)(?::(\d\d))?", they)
    if local is None or not ours.endswith("Z"):
        return False
    time, sign, hours, minutes, seconds = local.groups(default="0")
    offset = int(f"{sign}{int(hours) * 3600 + int(minutes) * 60 + int(seconds)}")
    return np.datetime64(time) - np.timedelta64(offset, "s") == np.datetime64(ours.removesuffix("Z"))


def comparable(value):
    """A value that a reader returned, converted to one that `agrees` compares."""
    if isinstance(value, (Iso, Span, bytes, Decimal, uuid.UUID)):
        return None if isinstance(value, Decimal) and value.is_nan() else value
    if isinstance(value, dict):
        return {comparable_key(key): comparable(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, np.ndarray, pd.Series)) or hasattr(value, "to_list"):
        return [comparable(inner) for inner in value]
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return None
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)) and not isinstance(value, np.timedelta64):
        return int(value)
    if isinstance(value, (np.float16, np.float32)):
        return value
    if isinstance(value, (float, np.floating)):
        return float(value)
    if isinstance(value, str):
        return str(value)
    return comparable_time(value)


def comparable_key(key):
    return str(key.isoformat()) if hasattr(key, "isoformat") else str(key)


def comparable_time(value):
    if isinstance(value, pd.Timedelta):
        return span(value.to_timedelta64().astype("int64").item(), np.datetime_data(value.to_timedelta64())[0])
    if isinstance(value, np.timedelta64):
        return span(value.astype("int64").item(), np.datetime_data(value)[0])
    if isinstance(value, datetime.timedelta):
        return span(value // datetime.timedelta(microseconds=1), "us")
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else iso(str(value))
    if isinstance(value, (datetime.date, datetime.time)):
        return iso(value.isoformat())
    raise TypeError(f"expected a value that the rules name, found {value!r} of {type(value)}")


NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def moment(count, unit, zone=None):
    """A count of units since 1970 as text, in a zone if one is given."""
    instant = np.datetime64(count, unit)
    if zone is None:
        return iso(str(instant))
    offset = offset_of(zone, instant)
    local = instant + np.timedelta64(offset, "s")
    sign, seconds = ("-" if offset < 0 else "+"), abs(offset)
    return iso(f"{local}{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}" + (f":{seconds % 60:02}" if seconds % 60 else ""))


def offset_of(zone, instant):
    fixed = re.fullmatch(r"([+-])(\d\d):(\d\d)", zone)
    if fixed:
        sign, hours, minutes = fixed.groups()
        return int(sign + "1") * (int(hours) * 3600 + int(minutes) * 60)
    utc = instant.astype("datetime64[us]").astype(object).replace(tzinfo=datetime.timezone.utc)
    return round(utc.astimezone(ZoneInfo(zone)).utcoffset().total_seconds())


def span(count, unit):
    return Span(count * NANOSECONDS[unit])


def clock(nanoseconds):
    """A time of day."""
    seconds, fraction = divmod(nanoseconds, 10**9)
    return iso(f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:09}")


def iso(text):
    """One form for the variants of ISO 8601 that readers write, such as DuckDB's with a blank."""
    text = text.removeprefix("+").replace(" ", "T", 1)
    text = re.sub(r"(:\d\d\.\d*?)0+(?!\d)", r"\1", text)
    text = re.sub(r"\.(?!\d)", "", text)
    text = re.sub(r"([+-]\d\d)$", r"\1:00", text) if "T" in text or ":" in text else text
    return Iso(re.sub(r"\+00:00$", "Z", text))


def nanoseconds(duration):
    """The nanoseconds of an ISO 8601 duration without months and years; None if it is no such duration."""
    match = re.fullmatch(r"(-?)P(?:(-?\d+)D)?(?:T(?:(-?\d+)H)?(?:(-?\d+)M)?(?:(-?\d+(?:\.\d+)?)S)?)?", duration)
    if match is None:
        return None
    sign, days, hours, minutes, seconds = match.groups(default="0")
    whole = (int(days) * 24 + int(hours)) * 3600 + int(minutes) * 60
    total = (whole + Decimal(seconds)) * 10**9
    return int(-total if sign == "-" else total)
