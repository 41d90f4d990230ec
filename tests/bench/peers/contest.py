"""What all peers share: the companies, a scorer that costs nothing, the clock, and the line that is printed."""
import argparse
import csv
import importlib.metadata
import json
import os
import sys
import time
from pathlib import Path

# Companies that are scored before the clock starts, so that every worker is started, connected, and initialised.
WARM_UP = 500
# The workers inherit the environment variable.
PREDICTION = "x" * (int(os.environ.get("PEER_ANSWER_BYTES", 0)) - len('{"company_id": "synthetic-0000001", "prediction": ""}'))


def arguments(description, **tuned):
    """A peer's arguments: the companies, the size of an answer, and the tuned settings, with the best values as defaults."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("file", type=Path, help="companies, as `producer generate` writes them")
    parser.add_argument("--answer-bytes", type=int, default=1_500, help="size of the answer for a company (default %(default)s)")
    for name, best in tuned.items():
        flag = "--" + name.replace("_", "-")
        parser.add_argument(flag, type=type(best), default=best, help="default %(default)s, as fast as any that was tried")
    given = parser.parse_args()
    os.environ["PEER_ANSWER_BYTES"] = str(given.answer_bytes)
    return given


def read(file):
    """The companies of a CSV file, as dicts."""
    with file.open(encoding="utf-8", newline="") as rows:
        return list(csv.DictReader(rows))


def score(company):
    """A scorer that costs nothing. Its answer is as long as Rollcall's result."""
    return {"company_id": company["company_id"], "prediction": PREDICTION}


def measure(count, companies):
    """The seconds from the submission of all companies until they are counted. `count` returns a function that returns the count."""
    expect(count(companies[:WARM_UP]), companies[:WARM_UP])
    start = time.perf_counter()
    tell = count(companies)
    seconds = time.perf_counter() - start
    expect(tell, companies)
    return seconds


def expect(tell, companies):
    counted = tell()
    if counted != len(companies):
        sys.exit(f"expected {len(companies)} companies to be counted, found {counted}")


def report(peer, versions, companies, workers, seconds, durable, settings):
    """Prints the result as one line of JSON. `measure` has checked that all companies were counted."""
    line = {
        "peer": peer,
        "versions": versions,
        "companies": len(companies),
        "counted": len(companies),
        "workers": workers,
        "seconds": round(seconds, 3),
        "companies_per_second": round(len(companies) / seconds, 1),
        "durable": durable,
        "settings": settings,
    }
    print(json.dumps(line), flush=True)


def versions_of(*packages):
    return {package: importlib.metadata.version(package) for package in packages}
