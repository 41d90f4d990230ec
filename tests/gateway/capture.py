#!/usr/bin/python3
"""Writes the notifications of a real Ceph into FOLDER, as tests/fixtures/notifications has them: capture.py FOLDER

Bodies are as they were sent, byte for byte, but for values that differ from one run or machine to the next: each is replaced by one of the same form.
They do not depend on the acknowledgements that the topic asks for. Prints each one's routing key and properties. The Ceph is that of AWS_ENDPOINT_URL, where the buckets `companies` and `archive` must be new, and the
broker that of AMQP_URL.
"""

import json
import os
import re
import sys
import tempfile
from pathlib import Path

import pika
import s3

EXCHANGE, TOPIC = "uploads", "uploads"
SMALL = b"company_id,name\n1,Acme\n"
KEY = "risk/companies.csv"
# A space, a plus sign, quotes, a percent sign before what could be an escape, a backslash, and letters of two and three bytes.
ODD_KEY = 'risk/Zürich + "50%25" \\ 東京.csv'

ZONE = "5f0c3c6e-2f1b-4d0a-9d7e-8b1f6a2c4d10"
NEUTRAL = [
    (r'"eventTime":"[-\dT:.]+Z"', '"eventTime":"2027-01-31T06:00:00.123456Z"'),
    (r'"x-amz-request-id":"[-0-9a-f]{36}\.\d+\.\d+"', f'"x-amz-request-id":"{ZONE}.4104.429714585119081095"'),
    (r'"x-amz-id-2":"[0-9a-f]+-default-default"', '"x-amz-id-2":"1008-default-default"'),
    (r'"id":"[-0-9a-f]{36}\.\d+\.\d+"', f'"id":"{ZONE}.4106.1"'),
    # Seconds and nanoseconds of the time, in hexadecimal digits, the least byte of each first.
    (r'"sequencer":"[0-9A-F]{16}"', '"sequencer":"E0CD5E6B00CA5B07"'),
    (r'"eventId":"\d{10}\.\d+\.', '"eventId":"1801375200.123456.'),
    (r'"val":"\d{8}T\d{6}Z"', '"val":"20270131T060000Z"'),
    (r'"versionId":"[-\w.]{30,32}"', '"versionId":"u0cZGxU7.SE5oaE2jAReMNi5VLNcnfU"'),
]


def captures(client):
    """The name of each fixture, and what makes Ceph send it."""
    small = {"Bucket": "companies", "Key": KEY, "Body": SMALL}
    versioned = {"Bucket": "archive", "Key": KEY}
    yield "put", lambda: client.put_object(**small)
    yield "put-metadata", lambda: client.put_object(**small, ContentType="text/csv", Metadata={"job": "monthly"}, Tagging="team=risk")
    yield "put-odd-key", lambda: client.put_object(**small | {"Key": ODD_KEY})
    yield "multipart", multipart
    yield "copy", lambda: s3.run("copy", "companies", KEY, "risk/copy.csv")
    yield "delete", lambda: s3.run("delete", "companies", "risk/copy.csv")
    yield "version-put", lambda: client.put_object(**versioned, Body=SMALL)
    version = s3.run("head", "archive", KEY)["version"]
    yield "version-marked-deleted", lambda: s3.run("delete", "archive", KEY)
    yield "version-deleted", lambda: s3.run("delete", "archive", KEY, "--version", version)


def multipart():
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"x" * s3.PART_BYTES + b"y")
        file.flush()
        s3.run("put", "companies", "risk/large.csv", file.name, "--multipart")


def notified(channel, queue):
    for method, properties, body in channel.consume(queue, auto_ack=True, inactivity_timeout=60):
        if method is None:
            sys.exit("capture.py: expected a notification within a minute, found none: see the log of radosgw")
        return method, properties, body


def main(folder):
    channel = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"])).channel()
    channel.exchange_declare(EXCHANGE, "topic", durable=True)
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, EXCHANGE, "#")
    s3.run("bucket", "companies")
    s3.run("bucket", "archive", "--versioned")
    for bucket in ("companies", "archive"):
        s3.run("notify", bucket, EXCHANGE, "--topic", TOPIC, "--event", "s3:ObjectCreated:*", "--event", "s3:ObjectRemoved:*")
    for name, act in captures(s3.client("s3")):
        act()
        method, properties, body = notified(channel, queue)
        text = body.decode()
        for pattern, neutral in NEUTRAL:
            text = re.sub(pattern, neutral, text)
        (folder / f"ceph-{name}.json").write_text(text)
        known = {name: value for name, value in vars(properties).items() if value is not None}
        print(json.dumps({"fixture": name, "exchange": method.exchange, "routing_key": method.routing_key, **known}))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__.splitlines()[0])
    main(Path(sys.argv[1]))
