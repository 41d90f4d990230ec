#!/usr/bin/python3
"""An S3 client for tests, which shares no code with what is tested. Each call prints one JSON document.

    s3.py bucket BUCKET [--versioned]
    s3.py notify BUCKET EXCHANGE [--topic NAME] [--event s3:ObjectCreated:*] [--prefix P] [--suffix S] [--ack none] [--persistent]
    s3.py put BUCKET KEY FILE [--multipart]
    s3.py copy BUCKET KEY NEW_KEY
    s3.py delete BUCKET KEY [--version ID]
    s3.py head BUCKET KEY
    s3.py get BUCKET KEY FILE
    s3.py list BUCKET [--prefix P]

The server is that of AWS_ENDPOINT_URL, with the credentials of the other AWS_ variables. `notify` makes a topic, and has the bucket's events sent
to the exchange on the broker of AMQP_URL, which must have it by the first event; messages have the topic's name (by default the bucket's) as routing key.
"""

import argparse
import json
import os
import sys

import boto3
from botocore.config import Config

# The least that S3 allows of all parts but the last.
PART_BYTES = 5 << 20


def client(service):
    # No proxy, since the server is on this machine. One attempt, since each one that arrives sends an event.
    config = Config(proxies={}, retries={"max_attempts": 0}, connect_timeout=5, read_timeout=30, s3={"addressing_style": "path"})
    # Boto3 reads the variable itself from 1.28 on.
    return boto3.client(service, config=config, endpoint_url=os.environ["AWS_ENDPOINT_URL"], region_name=os.environ["AWS_REGION"])


def bucket(s3, args):
    s3.create_bucket(Bucket=args.bucket)
    if args.versioned:
        s3.put_bucket_versioning(Bucket=args.bucket, VersioningConfiguration={"Status": "Enabled"})
    return {}


def notify(s3, args):
    sns = client("sns")
    # Ceph refuses a topic with a password that comes over plain HTTP.
    sns.meta.events.register("before-send.sns.*", lambda request, **_: request.headers.update({"X-Forwarded-Proto": "https"}))
    topic = args.topic or args.bucket
    attributes = {
        "push-endpoint": os.environ["AMQP_URL"],
        "amqp-exchange": args.exchange,
        "amqp-ack-level": args.ack,
        "persistent": "true" if args.persistent else "false",
    }
    arn = sns.create_topic(Name=topic, Attributes=attributes)["TopicArn"]
    rules = [{"Name": name, "Value": value} for name, value in (("prefix", args.prefix), ("suffix", args.suffix)) if value]
    notification = {"Id": "rollcall", "TopicArn": arn, "Events": args.event or ["s3:ObjectCreated:*"]}
    if rules:
        notification["Filter"] = {"Key": {"FilterRules": rules}}
    s3.put_bucket_notification_configuration(Bucket=args.bucket, NotificationConfiguration={"TopicConfigurations": [notification]})
    return {"arn": arn, "topic": topic}


def put(s3, args):
    if not args.multipart:
        with open(args.file, "rb") as body:
            return version(s3.put_object(Bucket=args.bucket, Key=args.key, Body=body))
    where = {"Bucket": args.bucket, "Key": args.key}
    where["UploadId"] = s3.create_multipart_upload(**where)["UploadId"]
    parts = []
    with open(args.file, "rb") as body:
        while part := body.read(PART_BYTES):
            number = len(parts) + 1
            parts.append({"PartNumber": number, "ETag": s3.upload_part(**where, PartNumber=number, Body=part)["ETag"]})
    return version(s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts}))


def copy(s3, args):
    done = s3.copy_object(Bucket=args.bucket, Key=args.new_key, CopySource={"Bucket": args.bucket, "Key": args.key})
    return version(done | done["CopyObjectResult"])


def delete(s3, args):
    s3.delete_object(Bucket=args.bucket, Key=args.key, **({"VersionId": args.version} if args.version else {}))
    return {}


def head(s3, args):
    found = s3.head_object(Bucket=args.bucket, Key=args.key)
    return version(found) | {"size": found["ContentLength"]}


def get(s3, args):
    found = s3.get_object(Bucket=args.bucket, Key=args.key)
    with open(args.file, "wb") as file:
        for chunk in found["Body"].iter_chunks():
            file.write(chunk)
    return version(found) | {"size": found["ContentLength"]}


def list_(s3, args):
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=args.bucket, Prefix=args.prefix)
    return {"keys": [found["Key"] for page in pages for found in page.get("Contents", [])]}


def version(answer):
    """The object's ETag, without the quotes that HTTP puts around it, and its version; none where the bucket has no versions."""
    return {"etag": answer["ETag"].strip('"'), "version": answer.get("VersionId")}


def run(*argv):
    """Does what a command line says, and returns its document."""
    args = arguments(argv)
    return args.act(client("s3"), args)


def arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    def command(act, name, *positionals):
        added = commands.add_parser(name)
        added.set_defaults(act=act)
        for positional in ("bucket", *positionals):
            added.add_argument(positional)
        return added

    command(bucket, "bucket").add_argument("--versioned", action="store_true")
    notifying = command(notify, "notify", "exchange")
    for option in ("--topic", "--prefix", "--suffix"):
        notifying.add_argument(option)
    notifying.add_argument("--event", action="append")
    # With the others, which wait for the broker's confirms, Ceph 16.2 crashes once in some dozens of events on a busy machine.
    notifying.add_argument("--ack", choices=["none", "broker", "routable"], default="none")
    notifying.add_argument("--persistent", action="store_true")
    command(put, "put", "key", "file").add_argument("--multipart", action="store_true")
    command(copy, "copy", "key", "new_key")
    command(delete, "delete", "key").add_argument("--version")
    command(head, "head", "key")
    command(get, "get", "key", "file")
    command(list_, "list").add_argument("--prefix", default="")
    return parser.parse_args(argv)


if __name__ == "__main__":
    try:
        print(json.dumps(run(*sys.argv[1:])))
    except Exception as error:  # Any: a test shows this line.
        sys.exit(f"s3.py: {error}")
