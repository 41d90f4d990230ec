"""A scorer for `consumer --scorer "command:python3 deploy/examples/score.py"`: how many times its people a company is worth.

One JSON line in for each batch: {"id": "…", "instances": [{…}, …]}. One line out, with the same id and one prediction for each
instance, in the same order. A prediction is any JSON value; {"error": {"cause": "…", "message": "…"}} fails that one company,
and with "retryable": true it is tried again. Where there is no number, predict None: NaN is no JSON. To log, print to stderr; other lines
on stdout are taken for log as well.
"""
import json
import sys


def score(company):
    try:
        worth_per_head = round(float(company["market_cap"]) / float(company["employees"]))
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        message = f"expected numbers in market_cap and employees, the latter above zero: {error!r}"
        return {"error": {"cause": "invalid_record", "message": message}}
    return {"worth_per_head": worth_per_head, "grade": "A" if worth_per_head > 1_000_000 else "B"}


for line in sys.stdin:
    batch = json.loads(line)
    answer = {"id": batch["id"], "predictions": [score(company) for company in batch["instances"]]}
    print(json.dumps(answer), flush=True)  # unflushed, it would wait in a buffer, and the consumer for it
