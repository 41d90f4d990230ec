"""What is the same for every peer: the companies, a scorer that costs nothing, the clock, and the line that is printed."""
import argparse
import csv
import importlib.metadata
import json
import os
import sys
import time
from pathlib import Path

# So many go the whole way before the clock starts: then every worker is up, connected, and has done all it does but once.
WARM_UP = 500
# What is started inherits it.
PREDICTION = "x" * (int(os.environ.get("PEER_ANSWER_BYTES", 0)) - len('{"company_id": "synthetic-0000001", "prediction": ""}'))


def arguments(description, **tuned):
    """What a peer is told: the companies, the size of an answer, and what was tuned, which anyone may tune again."""
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
    """The companies of a CSV file, a dict each."""
    with file.open(encoding="utf-8", newline="") as rows:
        return list(csv.DictReader(rows))


def score(company):
    """A scorer that costs nothing: there is nothing to work out, and the answer is as long as Rollcall's result is."""
    return {"company_id": company["company_id"], "prediction": PREDICTION}


def measure(count, companies):
    """The seconds from the submission of all companies until they are counted. What `count` gives back, then, tells how many."""
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
    """The one line on stdout. `measure` has seen to it that all companies were counted."""
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
