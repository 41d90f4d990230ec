"""Scales real consumers of this machine by the arithmetic of KEDA and of Kubernetes's HorizontalPodAutoscaler, from what an aggregator answers
to GET /v1/scale/<model>, over two jobs with a pause between them. Prints the consumers over time.

    python3 tests/deploy/keda.py SCALED_OBJECT.json [--programs target/release] [--companies 600] [--seconds-per-company 0.2]
                                 [--pause 300] [--faster 10] [--most 8]

SCALED_OBJECT.json is the rendered ScaledObject with its metrics-api trigger, as `kubectl kustomize` has it, in JSON. The broker is that of AMQP_URL.
--faster divides each of its spans and HPA's own, target and pause included, so that minutes pass in seconds; plots have the time as it was. Ends with an
error unless the consumers went from none up and back to none in both jobs, and each company was scored once, at its first attempt. In the first job both
aggregators are stopped for a while, so that KEDA cannot ask: no consumer may be stopped then.

Modelled: KEDA's polling (activation, cooldown, fallback) and the HPA's sync (ratio and tolerance, stabilisation windows, rate policies). Not modelled: the
time to schedule a pod and to start its container, and nodes that are full.
"""

import argparse
import http.client
import json
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

# The controller's --horizontal-pod-autoscaler-sync-period and --horizontal-pod-autoscaler-tolerance.
SYNC_SECONDS, TOLERANCE = 15, 0.1
# KEDA's KEDA_HTTP_DEFAULT_TIMEOUT.
HTTP_TIMEOUT_SECONDS = 3
# What the API server fills in where a behavior says nothing.
DEFAULTS = {
    "scaleUp": {
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}],
    },
    "scaleDown": {"stabilizationWindowSeconds": 300, "selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]},
}
# A job of this test takes a minute or two.
DEADLINE_SECONDS = 900


class Autoscaler:
    """The HorizontalPodAutoscaler that KEDA makes: at each sync, from a metric to a number of replicas. It knows times, and no clock."""

    def __init__(self, least, most, target, behavior):
        # With none at least, KEDA makes one for one at least: from none and to none is its own business.
        self.least, self.most, self.target = max(least, 1), most, target
        self.behavior = {direction: DEFAULTS[direction] | behavior.get(direction, {}) for direction in DEFAULTS}
        self.recommended, self.changes = [], []

    def sync(self, now, current, metric):
        if current == 0:
            return 0  # It is switched off.
        wanted = self.stabilised(now, current, self.by_ratio(current, metric))
        wanted = min(max(self.limited(now, current, wanted), self.least), self.most)
        if wanted != current:
            self.changes.append((now, wanted - current))
        return wanted

    def by_ratio(self, current, metric):
        ratio = metric / (self.target * current)
        return current if abs(1 - ratio) <= TOLERANCE else math.ceil(metric / self.target)

    def stabilised(self, now, current, wanted):
        """Up by the least, down by the most that was recommended within the window of that direction."""
        self.recommended.append((now, wanted))
        recent = {
            direction: [number for at, number in self.recommended if now - at <= rules["stabilizationWindowSeconds"]] for direction, rules in self.behavior.items()
        }
        return min(max(current, min(recent["scaleUp"])), max(recent["scaleDown"]))

    def limited(self, now, current, wanted):
        direction = "scaleUp" if wanted > current else "scaleDown"
        rules = self.behavior[direction]
        if wanted == current:
            return wanted
        limits = []
        for policy in rules["policies"]:
            began = current - sum(change for at, change in self.changes if now - at < policy["periodSeconds"])
            step = policy["value"] if policy["type"] == "Pods" else began * policy["value"] / 100
            limits.append(math.ceil(began + step) if direction == "scaleUp" else max(math.floor(began - step), 0))
        widest, narrowest = (max, min) if direction == "scaleUp" else (min, max)
        limit = (widest if rules["selectPolicy"] == "Max" else narrowest)(limits)
        return min(wanted, limit) if direction == "scaleUp" else max(wanted, limit)


class Keda:
    """KEDA's own part, at each poll: from none to one, from one to none after the cooldown, and what becomes of errors."""

    def __init__(self, spec):
        self.least = spec.get("minReplicaCount", 0)
        self.cooldown = spec.get("cooldownPeriod", 300)
        self.fallback = spec.get("fallback")
        self.failures = 0
        self.last_active = None

    def metric(self, value, current):
        """What the HPA is given: the value, what stands for it after too many failures, or nothing."""
        self.failures = 0 if value is not None else self.failures + 1
        if value is not None or not self.fallback or self.failures <= self.fallback["failureThreshold"]:
            return value
        return max(current, self.fallback["replicas"]) if self.fallback.get("behavior") == "currentReplicasIfHigher" else self.fallback["replicas"]

    def poll(self, now, current, value):
        if value is not None and value > 0:
            self.last_active = now
            return current or max(self.least, 1)
        if value is None and self.fallback and self.fallback["replicas"]:
            return current
        is_cool = self.last_active is None or now - self.last_active > self.cooldown
        return self.least if current and self.least == 0 and is_cool else current


class Fleet:
    """Aggregators, and consumers as the replicas of a Deployment: the newest stops first, by SIGTERM."""

    def __init__(self, programs, folder, model, seconds_per_company, threads, timeout):
        scorer = folder / "scorer.py"
        scorer.write_text(SCORER.format(seconds=seconds_per_company))
        self.programs, self.folder, self.threads, self.timeout = programs, folder, threads, timeout
        self.consumer = ["--model", model, "--scorer", f"command:{sys.executable} {scorer}", "--threads", str(threads)]
        self.consumers, self.draining, self.number = [], [], 0
        self.addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        self.aggregators = [self.start("aggregator", "--metrics-addr", address) for address in self.addresses]

    def start(self, program, *arguments):
        self.number += 1
        with open(self.folder / f"{program}-{self.number}.log", "w") as log:
            return subprocess.Popen([self.programs / program, *arguments], stdout=log, stderr=log, start_new_session=True)

    def scale(self, replicas):
        crashed = [process for process in self.consumers if process.poll() is not None]
        if crashed:
            raise SystemExit(f"expected consumers to run, found exit codes {[process.returncode for process in crashed]}: see {self.folder}")
        while len(self.consumers) < replicas:
            self.consumers.append(self.start("consumer", *self.consumer))
        while len(self.consumers) > replicas:
            process = self.consumers.pop()
            process.send_signal(signal.SIGTERM)
            self.draining.append(process)

    def ask(self, number, path):
        """The answer of one of the aggregators in turn, as a Service would choose one; None if it has none."""
        host, port = self.addresses[number % len(self.addresses)].split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=self.timeout)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return json.load(response) if response.status == 200 else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def signal_aggregators(self, number):
        for aggregator in self.aggregators:
            aggregator.send_signal(number)

    def stop(self):
        self.signal_aggregators(signal.SIGCONT)
        processes = self.consumers + self.draining + self.aggregators
        for process in processes:
            if process.poll() is None:
                process.terminate()
        for process in processes:
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
        return [process.returncode for process in self.draining]


SCORER = """import json, sys, time
for line in sys.stdin:
    batch = json.loads(line)
    time.sleep({seconds} * len(batch["instances"]))
    print(json.dumps({{"id": batch["id"], "predictions": [1] * len(batch["instances"])}}), flush=True)
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def in_a_hurry(spec, faster):
    """The spec with all its spans divided."""
    spec = json.loads(json.dumps(spec))
    for key, default in (("pollingInterval", 30), ("cooldownPeriod", 300)):
        spec[key] = spec.get(key, default) / faster
    for direction in spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"].values():
        if "stabilizationWindowSeconds" in direction:
            direction["stabilizationWindowSeconds"] /= faster
        for policy in direction.get("policies", []):
            policy["periodSeconds"] /= faster
    for defaults in DEFAULTS.values():
        defaults["stabilizationWindowSeconds"] /= faster
        for policy in defaults["policies"]:
            policy["periodSeconds"] /= faster
    return spec


def trigger(spec, faster):
    """(path, where the value is, the target) of the metrics-api trigger."""
    metadata = next(trigger["metadata"] for trigger in spec["triggers"] if trigger["type"] == "metrics-api")
    url = urlsplit(metadata["url"])
    query = {key: values[0] for key, values in parse_qs(url.query).items()}
    query["target"] = f"{round(float(query['target'].removesuffix('s')) * 1000 / faster)}ms"
    return f"{url.path}?{urlencode(query)}", metadata["valueLocation"], float(metadata["targetValue"]), int(query["threads"])


def plot(samples, notes):
    """Rows are consumers, columns are time: the most consumers of each column."""
    width, end = 100, samples[-1][0]
    columns = [0] * width
    for (at, number), (until, _) in zip(samples, samples[1:] + samples[-1:]):
        for column in range(int(at / end * (width - 1)), int(until / end * (width - 1)) + 1):
            columns[column] = max(columns[column], number)
    lines = [f"{row:3} |" + "".join("█" if number >= row else " " for number in columns) for row in range(max(columns), 0, -1)]
    below = [" "] * width
    for at, mark, _ in notes:
        below[int(at / end * (width - 1))] = mark
    return "\n".join(["consumers", *lines, "  0 +" + "-" * width, "     " + "".join(below).rstrip(), f"     0 s{f'{end:.0f} s':>{width - 3}}"] + [f"     {mark} {at:5.1f} s  {text}" for at, mark, text in notes])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scaled_object", type=Path)
    parser.add_argument("--programs", type=Path, default=Path("target/release"))
    parser.add_argument("--companies", type=int, default=600)
    parser.add_argument("--seconds-per-company", type=float, default=0.2)
    parser.add_argument("--pause", type=float, default=300, help="seconds between the end of the first job and the second, before --faster")
    parser.add_argument("--faster", type=float, default=10)
    parser.add_argument("--most", type=int, help="consumers at most, in place of maxReplicaCount")
    options = parser.parse_args()
    # One that is stopped stops what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.environ.setdefault("ROLLCALL_PREFIX", f"keda-{os.getpid()}")
    with tempfile.TemporaryDirectory(prefix="keda-") as folder:
        sys.exit(drive(options, Path(folder)))


def drive(options, folder):
    rendered = json.loads(options.scaled_object.read_text())["spec"]
    spec, most = in_a_hurry(rendered, options.faster), options.most or rendered["maxReplicaCount"]
    path, location, target, threads = trigger(spec, options.faster)
    model = urlsplit(path).path.rpartition("/")[2]
    producer = options.programs / "producer"
    subprocess.run([producer, "generate", "--companies", str(options.companies), "--to", folder / "companies.csv"], check=True)
    keda, hpa = Keda(spec), Autoscaler(spec.get("minReplicaCount", 0), most, target, spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"])
    fleet = Fleet(options.programs, folder, model, options.seconds_per_company, threads, HTTP_TIMEOUT_SECONDS / options.faster)
    began, replicas, samples, notes, number = time.monotonic(), 0, [(0, 0)], [], 0
    next_poll, next_sync, next_job, jobs, running = 0, 0, 0, [], None
    # Until when the aggregators are stopped: for more polls than the fallback waits for. And the fewest consumers meanwhile.
    silent_until, is_silent, fewest = None, False, []
    silence = (spec["fallback"]["failureThreshold"] + 5) * spec["pollingInterval"]
    try:
        while True:
            now = time.monotonic() - began
            if now > DEADLINE_SECONDS:
                raise SystemExit(f"expected both jobs and the way back to none within {DEADLINE_SECONDS} s, found {replicas} consumers")
            before = replicas
            if now >= next_poll:
                next_poll, number = next_poll + spec["pollingInterval"], number + 1
                answer = fleet.ask(number, path)
                replicas = keda.poll(now, replicas, answer and answer[location])
            if now >= next_sync:
                next_sync, number = next_sync + SYNC_SECONDS / options.faster, number + 1
                answer = fleet.ask(number, path)
                metric = keda.metric(answer and answer[location], replicas)
                replicas = hpa.sync(now, replicas, metric) if metric is not None else replicas
            fleet.scale(replicas)
            if silent_until is None and running and replicas > 1:
                silent_until, is_silent = now + silence, True
                fleet.signal_aggregators(signal.SIGSTOP)
                notes.append((now, "(", "both aggregators stopped"))
            if is_silent:
                fewest.append(replicas)
            if is_silent and now >= silent_until:
                is_silent = False
                fleet.signal_aggregators(signal.SIGCONT)
                notes.append((now, ")", "both aggregators go on"))
            if replicas != before:
                samples += [(now, before), (now, replicas)]
                print(f"{now:6.1f} s  {before} -> {replicas} consumers", flush=True)
            if running and running.poll() is not None:
                notes.append((now, "v", f"job {jobs[-1]} ended, exit code {running.returncode}"))
                running, next_job = None, now + options.pause / options.faster
            elif running is None and len(jobs) < 2 and now >= next_job and (answer := fleet.ask(number, path)) is not None:
                jobs.append(f"keda-{len(jobs) + 1}-{os.getpid()}")
                notes.append((now, "^", f"job {jobs[-1]} of {options.companies} companies enqueued"))
                running = subprocess.Popen([producer, "enqueue", folder / "companies.csv", "--model", model, "--job", jobs[-1], "--wait"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            elif running is None and len(jobs) == 2 and replicas == 0:
                break
            # A step of the model, far below each of its spans.
            time.sleep(0.05)
        samples.append((now, 0))
        documents = [json.loads(subprocess.run([producer, "watch", job, "--output", "json"], check=False, capture_output=True, text=True).stdout) for job in jobs]
    finally:
        if running:
            running.terminate()
        codes = fleet.stop()
    print(plot(samples, notes))
    return verdict(options, samples, notes, documents, codes, fewest)


def verdict(options, samples, notes, documents, codes, fewest):
    wrong = [f"exit code {code} of a consumer that was scaled in" for code in codes if code]
    if sorted(fewest) != fewest or not fewest:
        wrong.append(f"consumers {fewest} while no aggregator answered")
    for document in documents:
        found = {key: find(document, key) for key in ("succeeded", "failed", "duplicates", "retries")}
        print("job", find(document, "job"), found)
        if found != {"succeeded": options.companies, "failed": 0, "duplicates": 0, "retries": 0}:
            wrong.append(f"{found}")
    starts = [at for at, mark, _ in notes if mark == "^"]
    for start, end in zip(starts, starts[1:] + [samples[-1][0] + 1]):
        numbers = [number for at, number in samples if start <= at < end]
        if not numbers or max(numbers) < 2 or numbers[-1] != 0:
            wrong.append(f"consumers {numbers} after {start:.1f} s")
    for message in wrong:
        print(f"expected more than one consumer and then none in each job, which stop in order, and each company scored once; found {message}", file=sys.stderr)
    return bool(wrong)


def find(document, key):
    """A key's value in a document, wherever it is."""
    if key in document:
        return document[key]
    return next((found for part in document.values() if isinstance(part, dict) and (found := find(part, key)) is not None), None)


if __name__ == "__main__":
    main()
