"""Ray: one task per company, and a count of the answers.

Nothing is durable: tasks and answers are in memory, and are lost when the program that submitted them ends.
"""
import os
import secrets
import sys

# Ray reads these when it is imported. It listens on the network and runs what it receives, so it gets a token for this run,
# instead of one stored in the home folder; and it must not report usage statistics.
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}

import ray

import contest
from stage import Stage, free_port, obey_signals


@ray.remote
def score(company):
    return contest.score(company)


def main():
    # Tried on two cores: one to four workers. One is slower, three and four are no faster than two for certain.
    given = contest.arguments(__doc__, workers=os.cpu_count())
    companies = contest.read(given.file)
    with Stage() as stage:
        port = free_port()
        stage.start("ray", head(port, given.workers, stage.folder))
        stage.wait_until(lambda: "Ray runtime started" in stage.log("ray").read_text(), "Ray was up")
        ray.init(f"127.0.0.1:{port}", log_to_driver=False, logging_level="warning")
        stage.stack.callback(ray.shutdown)
        obey_signals()  # ray.init() has replaced the handlers
        seconds = contest.measure(count_all, companies)
    settings = {"num_cpus": given.workers}
    contest.report("ray", contest.versions_of("ray"), companies, given.workers, seconds, durable=False, settings=settings)


def head(port, workers, folder):
    """The processes that ray.init() would start, in a process group of their own, so that all can be stopped."""
    return [
        sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--port", str(port),
        "--num-cpus", str(workers), "--include-dashboard", "false", "--temp-dir", str(folder),
    ]


def count_all(companies):
    answers = ray.get([score.remote(company) for company in companies])
    return lambda: len(answers)


if __name__ == "__main__":
    main()
