"""Where the durable peers keep what must not be lost: the RabbitMQ that AMQP_URL names, and a Redis of the run's own.

The names in here are made up by the program that runs, and inherited by the workers that it starts.
"""
import contextlib
import os
import uuid

import kombu
import redis

from stage import free_port

AMQP_URL = os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f")
# Peers and runs may share a broker.
QUEUE = os.environ.setdefault("PEER_QUEUE", f"rollcall-peer-{uuid.uuid4().hex[:12]}")
REDIS_URL = os.environ.setdefault("PEER_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
# What Redis's documentation suggests for data to be kept: what was written is on disk within a second. To wait for the disk each
# time (`always`) would be nearer to what Rollcall does, and slower. Snapshots would be work beside the log, and no safer.
REDIS_SETTINGS = {"appendonly": "yes", "appendfsync": "everysec", "save": ""}


def start_redis(stage):
    client = redis.Redis.from_url(REDIS_URL)
    port = client.get_connection_kwargs()["port"]
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", str(stage.folder)]
    stage.start("redis", command + [word for name, value in REDIS_SETTINGS.items() for word in (f"--{name}", value)])
    stage.wait_until(lambda: answers(client), "Redis answered")


def answers(client):
    with contextlib.suppress(redis.ConnectionError):
        return client.ping()


def forget_at_the_end(stage, queues, exchanges=()):
    """Whatever else is on the broker stays there."""

    def forget():
        with channel() as there:
            for queue in queues:
                there.queue_delete(queue)
            for exchange in exchanges:
                there.exchange_delete(exchange)

    stage.stack.callback(forget)


@contextlib.contextmanager
def channel():
    with kombu.Connection(AMQP_URL) as connection:
        connection.connect()  # by itself, it would try for ever where there is no broker
        yield connection.default_channel


def versions():
    redis_version = redis.Redis.from_url(REDIS_URL).info("server")["redis_version"]
    with channel() as there:
        return {"redis-server": redis_version, "rabbitmq-server": there.connection.server_properties["version"]}
