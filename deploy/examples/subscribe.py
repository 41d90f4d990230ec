"""Prints a model's results as they come, and each job's end: python3 deploy/examples/subscribe.py MODEL

The queue is the subscriber's own, so any number of them may listen; it gets what is published from now on, and goes with its
connection. A message may come twice: a result's message_id and a done event's id tell. Needs pika (Debian: python3-pika), and a
broker on which Rollcall has run, which AMQP_URL names.
"""
import json
import os
import sys

import pika

if len(sys.argv) != 2:
    sys.exit(__doc__)
model = sys.argv[1]
prefix = os.environ.get("ROLLCALL_PREFIX", "rollcall")
connection = pika.BlockingConnection(pika.URLParameters(os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f")))
channel = connection.channel()
queue = channel.queue_declare("", exclusive=True).method.queue
channel.queue_bind(queue, f"{prefix}.results", f"{model}.*.*")  # <model>.<job>.<succeeded or failed>
channel.queue_bind(queue, f"{prefix}.events", "job.*.done")  # of every model; the event says which
channel.basic_qos(prefetch_count=100)  # sent ahead of being acked: what waits, waits at the broker


def show(channel, method, properties, body):
    message = json.loads(body)
    if properties.type == "rollcall.result.v1":
        print(message["job"], message["company_id"], message["outcome"], message.get("prediction") or message.get("error"))
    elif message["data"]["model"] == model:
        print("done:", json.dumps(message["data"]))
    sys.stdout.flush()
    channel.basic_ack(method.delivery_tag)


channel.basic_consume(queue, show)
try:
    channel.start_consuming()
except KeyboardInterrupt:
    connection.close()
