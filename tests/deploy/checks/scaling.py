"""Whether KEDA would scale what is there, by the signal of its model."""

from urllib.parse import parse_qs, urlsplit

from tree import variables


def rules(tree):
    for scaled in tree.objects("ScaledObject"):
        things = tree.renders[scaled.render]
        spec = scaled.spec
        target = next((thing for thing in things if thing.kind == "Deployment" and thing.name == spec["scaleTargetRef"]["name"]), None)
        if target is None:
            yield f"{scaled.at}: expected a Deployment {spec['scaleTargetRef']['name']}"
            continue
        if "replicas" in target.spec:
            yield f"{target.at}: expected no replicas: each apply would set them, against KEDA"
        if spec.get("minReplicaCount") != 0 or "maxReplicaCount" not in spec:
            yield f"{scaled.at}: expected consumers from none, up to a number that it says"
        fallback = spec.get("fallback", {})
        if fallback.get("behavior") != "currentReplicasIfHigher" or not fallback.get("replicas"):
            yield f"{scaled.at}: expected a fallback to what runs, and to one consumer: to none would stop them all, found {fallback}"
        behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        if not behavior["scaleDown"].get("stabilizationWindowSeconds"):
            yield f"{scaled.at}: expected scaling down to be stabilised"
        [container] = target.containers
        environment = variables(container, things)
        if container["resources"]["requests"]["cpu"] != environment["ROLLCALL_THREADS"]:
            yield f"{target.at}: expected a request for as much CPU as ROLLCALL_THREADS, {environment['ROLLCALL_THREADS']}"
        for trigger in spec["triggers"]:
            check = {"metrics-api": metrics_api, "prometheus": prometheus, "rabbitmq": rabbitmq}.get(trigger["type"])
            if check is None:
                yield f"{scaled.at}: expected a trigger of a known type, found {trigger['type']}"
            else:
                yield from (f"{scaled.at}: {message}" for message in check(trigger["metadata"], environment, things))


def metrics_api(metadata, environment, things):
    url = urlsplit(metadata["url"])
    service, _, namespace = url.hostname.partition(".")
    found = next((thing for thing in things if thing.kind == "Service" and thing.name == service), None)
    if found is None or namespace != f"{found.document['metadata']['namespace']}.svc" or url.port not in [port["port"] for port in found.spec["ports"]]:
        yield f"expected the address and port of a Service, found {url.netloc}"
    if url.path != f"/v1/scale/{environment['ROLLCALL_MODEL']}":
        yield f"expected the path /v1/scale/{environment['ROLLCALL_MODEL']}, found {url.path}"
    query = parse_qs(url.query)
    if set(query) != {"target", "threads"} or query["threads"] != [environment["ROLLCALL_THREADS"]]:
        yield f"expected a target, and threads={environment['ROLLCALL_THREADS']} as ROLLCALL_THREADS has it, found {url.query}"
    if metadata["valueLocation"] != "consumers_wanted" or metadata["targetValue"] != "1":
        yield "expected as many consumers as consumers_wanted"


def prometheus(metadata, environment, _):
    model, threads = environment["ROLLCALL_MODEL"], environment["ROLLCALL_THREADS"]
    if metadata["query"] != f'ceil(max(rollcall_scale_consumers_wanted{{model="{model}"}}) / {threads})':
        yield f"expected the consumers that the model {model} wants, of {threads} threads, found {metadata['query']}"
    if metadata["threshold"] != "1" or metadata.get("ignoreNullValues") != "false":
        yield "expected as many consumers as the query says, and no answer to be an error"


def rabbitmq(metadata, environment, _):
    queue = f"{environment['ROLLCALL_PREFIX']}.work.{environment['ROLLCALL_MODEL']}"
    if metadata["queueName"] not in (queue, f"{queue}.express"):
        yield f"expected one of the queues {queue} and {queue}.express, found {metadata['queueName']}"
    broker, url = urlsplit(metadata["host"]), urlsplit(environment["AMQP_URL"])
    if (broker.hostname.partition(".")[0], broker.port, broker.path) != (url.hostname, url.port, url.path):
        yield f"expected the broker and the virtual host of AMQP_URL, found {metadata['host']}"
    if broker.username or "@" in metadata["host"]:
        yield "expected the password to come from a secret"
