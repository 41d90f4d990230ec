"""A scorer for the test of the page: `consumer --scorer "command:python3 tests/gateway/browser/score.py"`.

It takes as long for a company as the field `ms` says. A company with a `cause` fails for it, but for the second time it is scored: as if the
scorer had been repaired before a redrive. The cause `hostile` stands for a message that would be markup, and never passes.
"""
import json
import sys
import time

seen = set()


def score(company):
    time.sleep(float(company.get("ms") or 0) / 1000)
    cause, name = company.get("cause"), company.get("name")
    if cause == "hostile":
        return {"error": {"cause": "<img src=x onerror=alert(1)>", "message": "</td><script>alert(1)</script> " + "long" * 100}}
    if cause and name not in seen:
        seen.add(name)
        return {"error": {"cause": cause, "message": f"expected a price of {name}, found none; ask whoever keeps the prices"}}
    return {"score": len(str(name)) / 10}


for line in sys.stdin:
    batch = json.loads(line)
    print(json.dumps({"id": batch["id"], "predictions": [score(company) for company in batch["instances"]]}), flush=True)
