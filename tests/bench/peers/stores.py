"""The stores of the durable peers: the RabbitMQ that AMQP_URL names, and a Redis of the run's own.

The program chooses the names; the workers that it starts inherit them.
"""
import contextlib
import os
import uuid

import kombu
import redis

from stage import free_port

AMQP_URL = os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f")
# Peers and runs may share a broker, so each run has its own queue.
QUEUE = os.environ.setdefault("PEER_QUEUE", f"rollcall-peer-{uuid.uuid4().hex[:12]}")
REDIS_URL = os.environ.setdefault("PEER_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
# Redis's documentation suggests these for durable data: a write is on disk within a second. `always` would be closer to what
# Rollcall does, and slower. Snapshots would add work, and no safety.
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
    """Deletes these queues and exchanges at the end of the run, and nothing else."""

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
        connection.connect()  # otherwise it would retry for ever if there is no broker
        yield connection.default_channel


def versions():
    redis_version = redis.Redis.from_url(REDIS_URL).info("server")["redis_version"]
    with channel() as there:
        return {"redis-server": redis_version, "rabbitmq-server": there.connection.server_properties["version"]}
