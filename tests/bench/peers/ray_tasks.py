"""Ray: one task a company, and a count of the answers.

Nothing of it is durable: tasks and answers are in memory, and end with the program that submitted them.
"""
import os
import secrets
import sys

# Ray looks at these as it is imported. It listens on the network and runs what it is sent, so it asks for a token: one of this
# run's own, not one that it would keep in the home folder. And it reports to nobody.
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
        obey_signals()  # which Ray has just taken over
        seconds = contest.measure(count_all, companies)
    settings = {"num_cpus": given.workers}
    contest.report("ray", contest.versions_of("ray"), companies, given.workers, seconds, durable=False, settings=settings)


def head(port, workers, folder):
    """What ray.init() starts by itself, in a group of its own: so it can be stopped whole."""
    return [
        sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--port", str(port),
        "--num-cpus", str(workers), "--include-dashboard", "false", "--temp-dir", str(folder),
    ]


def count_all(companies):
    answers = ray.get([score.remote(company) for company in companies])
    return lambda: len(answers)


if __name__ == "__main__":
    main()
