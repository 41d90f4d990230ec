"""Celery: a chord of one task per company, whose callback counts the answers.

RabbitMQ carries the tasks, Redis stores the answers. A task has one company, as Rollcall's messages have: Celery also supports chunks,
but one failing company would fail its whole chunk. The last answer triggers the callback, with all answers in one message: RabbitMQ
accepts at most 128 MiB, or 16 MiB since version 4, and 10,000 answers of 1,500 bytes are 15 MB.
"""
import os
import sys

import amqp
import celery

import contest
import stores
from stage import Stage

DURABLE = {
    # A task is acked after it has run, and runs again on another worker if its own is lost.
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    # Messages are persistent by default. The rest follows the documentation's example for quorum queues, with a topic
    # exchange. Classic queues, the default, took about a fifth less time; they are as safe as their single node.
    "task_default_queue_type": os.environ.get("PEER_QUEUE_TYPE", "quorum"),
    "task_default_exchange_type": "topic",
    "broker_transport_options": {"confirm_publish": True},
}
# Optional activity of workers, turned off.
LEAN = {
    "worker_enable_remote_control": False,
    "worker_disable_rate_limits": True,
}

app = celery.Celery("peers", broker=stores.AMQP_URL, backend=stores.REDIS_URL)
app.conf.update(DURABLE | LEAN, task_default_queue=stores.QUEUE, task_default_routing_key=stores.QUEUE)


@app.task(name="score")
def score(company):
    return contest.score(company)


@app.task(name="count")
def count(answers):
    return len(answers)


def main():
    # Tried on two cores: one, two or three workers of pool solo; one with pool prefork or threads of two, or two of prefork;
    # 1, 4 or 64 messages ahead. Except for 1 ahead, they differ little, since submitting takes the longest: each task is sent
    # when the one before it is confirmed.
    given = contest.arguments(__doc__, workers=os.cpu_count(), pool="solo", concurrency=1, prefetch_multiplier=4)
    companies = contest.read(given.file)
    with Stage() as stage:
        stores.start_redis(stage)
        stores.forget_at_the_end(stage, *left_on_the_broker())
        # When a result object is deleted, it unsubscribes from Redis, and would wait for that although Redis has been
        # stopped.
        stage.stack.callback(app.backend.result_consumer.subscribed_to.clear)
        for number in range(given.workers):
            stage.start(f"worker-{number}", worker(number, given))
        seconds = contest.measure(lambda some: count_all(some, stage), companies)
        versions = contest.versions_of("celery", "kombu", "amqp", "redis") | stores.versions()
    settings = DURABLE | LEAN | {
        "pool": given.pool,
        "concurrency": given.concurrency,
        "worker_prefetch_multiplier": given.prefetch_multiplier,
        "redis": stores.REDIS_SETTINGS,
    }
    contest.report("celery", versions, companies, given.workers, seconds, durable=True, settings=settings)


def worker(number, given):
    return [
        sys.executable, "-m", "celery", "--app", "celery_chord", "worker", "--hostname", f"worker-{number}@%h",
        "--pool", given.pool, "--concurrency", str(given.concurrency), "--prefetch-multiplier", str(given.prefetch_multiplier),
        "--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING",
    ]


def count_all(companies, stage):
    # Without argsrepr, Celery would also format each company for its logs.
    tasks = [score.s(company).set(argsrepr="a company") for company in companies]
    counted = celery.chord(tasks)(count.s())
    # get() would first read the result of each task from Redis, which is not needed here.
    stage.wait_until(counted.ready, "the chord's callback had run")
    return lambda: counted.result


def left_on_the_broker():
    """Queues and exchanges to delete: the run's own, and those that Celery adds to delay tasks, unless they existed before."""
    delays = [f"celery_delayed_{level}" for level in range(28)]
    try:
        with stores.channel() as there:
            there.exchange_declare("celery_delayed_delivery", "topic", passive=True)
    except amqp.NotFound:
        return [stores.QUEUE, *delays], [stores.QUEUE, *delays, "celery_delayed_delivery"]
    return [stores.QUEUE], [stores.QUEUE]


if __name__ == "__main__":
    main()
