"""Dramatiq: a group of one message per company, with a completion callback.

RabbitMQ carries the messages, Redis keeps the answers and the count.
"""
import os
import sys

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.middleware import GroupCallbacks
from dramatiq.rate_limits.backends import RedisBackend as CountBackend
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend as ResultBackend

import contest
import stores
from stage import Stage

# The rest is the default: messages are persistent and acked after processing, and queues are durable. They are classic
# queues, unless the broker's default is another type.
DURABLE = {"confirm_delivery": True}

broker = RabbitmqBroker(url=stores.AMQP_URL, **DURABLE)
broker.add_middleware(Results(backend=ResultBackend(url=stores.REDIS_URL)))
broker.add_middleware(GroupCallbacks(CountBackend(url=stores.REDIS_URL)))
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name=stores.QUEUE, store_results=True)
def score(company):
    return contest.score(company)


@dramatiq.actor(queue_name=stores.QUEUE, store_results=True)
def all_scored():
    return True


def main():
    # Tried on two cores: one to four processes, one to eight threads in each (or as many greenlets), 2 to 256 messages ahead.
    # They differ little, since submitting takes the longest: each message is sent when the one before it is confirmed.
    given = contest.arguments(__doc__, workers=os.cpu_count(), threads=2, prefetch=64)
    companies = contest.read(given.file)
    with Stage() as stage:
        stores.start_redis(stage)
        stores.forget_at_the_end(stage, [stores.QUEUE, f"{stores.QUEUE}.DQ", f"{stores.QUEUE}.XQ"])
        stage.start("workers", workers(given), dramatiq_queue_prefetch=str(given.prefetch))
        seconds = contest.measure(lambda some: count_all(some, stage), companies)
        versions = contest.versions_of("dramatiq", "pika", "redis") | stores.versions()
    settings = DURABLE | {"threads": given.threads, "dramatiq_queue_prefetch": given.prefetch, "redis": stores.REDIS_SETTINGS}
    contest.report("dramatiq", versions, companies, given.workers, seconds, durable=True, settings=settings)


def workers(given):
    return [
        sys.executable, "-m", "dramatiq", "dramatiq_group",
        "--processes", str(given.workers), "--threads", str(given.threads),
    ]


def count_all(companies, stage):
    done = all_scored.message()
    scored = dramatiq.group(score.message(company) for company in companies)
    scored.add_completion_callback(done)
    scored.run()
    stage.wait_until(lambda: has_run(done), "the group's completion callback had run")
    return lambda: scored.completed_count


def has_run(message):
    try:
        return message.get_result()
    except dramatiq.results.ResultMissing:
        return False


if __name__ == "__main__":
    main()
