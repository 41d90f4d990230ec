"""Durations as Compose and the programs write them, such as 40s and 1m30s."""

import re

UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text):
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|[smhd])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"expected a duration such as 40s, found {text!r}")
    return sum(float(number) * UNITS[unit] for number, unit in parts)
