"""Values that are hard to write or to read."""

import math
from decimal import Decimal

TEXTS = [
    "Acme",
    "",
    " blanks around ",
    'Acme, "the" first; a|b',
    "two\nlines",
    "old\rMac",
    "DOS\r\nlines\r\n",
    "a\ttab",
    "\x00\x01\x1f\x7f\x85",
    "Ünï & Söhne 日本 😀",
    "\ufeffmark",
    "back\\slash \\N \\\" '",
    "NA",
    "NaN",
    "null",
    "true",
    "007",
    "1e5",
    "70.0",
    "2024-07-01T12:00:00.500",
    "=1+1",
    "x" * 40_000,
]

INTEGERS = {f"{sign}int{bits}": (bits, sign == "") for bits in (8, 16, 32, 64) for sign in ("", "u")}


def integers(bits, is_signed):
    least = -(2 ** (bits - 1)) if is_signed else 0
    return [least, least + 1, 0, 1, 70, least + 2**bits - 1]


FLOATS = {
    "float16": [0.0, -0.0, 1.0, 70.0, 0.1, 1 / 3, math.nan, 65504.0, 2**-14, 2**-24, 2048.0],
    "float32": [0.0, -0.0, 1.0, 70.0, 0.1, 1 / 3, math.nan, 3.4028234663852886e38, -(2**-126), 2**-149, 16777216.0, 1e10, 1e-7],
    "float64": [
        0.0,
        -0.0,
        1.0,
        70.0,
        0.1,
        1 / 3,
        math.nan,
        1.7976931348623157e308,
        -(2**-1022),
        5e-324,
        2.0**53,
        1e16,
        1e22,
        1e-7,
    ],
}

INFINITE = [1.5, math.inf, -math.inf]

# Precision, scale, values.
DECIMALS = {
    "9-2": (9, 2, ["0.00", "-0.01", "7000.00", "1234567.89", "-9999999.99"]),
    "18-0": (18, 0, ["0", "70", "-999999999999999999", "999999999999999999"]),
    "38-10": (38, 10, ["0.0000000001", "-1234567890123456789012345678.0123456789", "70"]),
    "38-38": (38, 38, ["0." + "0" * 37 + "1", "-0." + "9" * 38]),
    "38-0": (38, 0, ["9" * 38, "-" + "9" * 38, "1"]),
}


def decimals(name):
    precision, scale, texts = DECIMALS[name]
    return precision, scale, [Decimal(text) for text in texts]


DATES = ["1970-01-01", "2024-02-29", "1969-12-31", "1582-10-14", "0001-01-01", "9999-12-31"]

TIMES = ["00:00:00", "12:34:56", "23:59:59.999999", "07:00:00.001"]

# In 64 bits of nanoseconds.
MOMENTS = ["1970-01-01T00:00:00", "2024-02-29T23:59:59", "1969-12-31T23:59:59", "1677-09-22T00:00:00", "2262-04-11T00:00:00"]
FRACTIONS = {"s": "", "ms": ".007", "us": ".999999", "ns": ".999999999"}
FAR_MOMENTS = ["0001-01-01T00:00:00", "9999-12-31T23:59:59"]


def moments(unit):
    with_fraction = [moment + FRACTIONS[unit] for moment in MOMENTS[:3]]
    far = [] if unit == "ns" else [FAR_MOMENTS[0], FAR_MOMENTS[1] + FRACTIONS[unit]]
    return MOMENTS + with_fraction + far


# Instants around the changes of summer time in Paris and New York, and before Paris had an offset in whole minutes.
INSTANTS = [
    "2024-03-31T00:59:59",
    "2024-03-31T01:00:00",
    "2024-10-27T00:30:00",
    "2024-10-27T01:30:00",
    "2024-03-10T06:59:59.500",
    "2024-03-10T07:00:00",
    "1970-01-01T00:00:00",
    "1900-01-01T00:00:00",
]
ZONES = {"utc": "UTC", "offset": "+05:30", "paris": "Europe/Paris", "new-york": "America/New_York"}

# In seconds, some are longer than the chrono crate can hold.
SPANS = {
    "s": [0, 1, -1, 86_400, 90_061, (2**63 - 1) // 1000, 2**63 - 1, -(2**63 - 1)],
    "ms": [0, 1, -1, 1_500],
    "us": [0, 1, -1, 1_500_000],
    "ns": [0, 1, -1, 2**63 - 1],
}
