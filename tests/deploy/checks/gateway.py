"""The gateway's configuration: whether a gateway takes it as it is mounted, with the tokens beside it, and has room for uploads."""

import os
import re
import subprocess
import tempfile
import tomllib
from pathlib import Path, PurePosixPath

from programs import binary
from tree import variables

# Made by hand, of a file of this name.
SECRET, TOKENS = "gateway-tokens", "tokens.txt"
UNITS = {"MiB": 2**20, "GiB": 2**30, "Mi": 2**20, "Gi": 2**30}
# Of docs/gateway.md.
DEFAULTS = {"uploads": 32, "max_upload": "16GiB"}


def rules(tree):
    yield from compose(tree, tree.compose["services"]["gateway"])
    for thing in tree.objects("Deployment"):
        if thing.name == "gateway":
            yield from (f"{thing.at}: {message}" for message in deployment(tree, thing))


def compose(tree, service):
    environment = service["environment"]
    mounted = {volume["target"]: volume for volume in service["volumes"]}
    source = mounted.get(environment["ROLLCALL_CONFIG"], {}).get("source", "")
    if not source.endswith("/deploy/docker/gateway.toml"):
        yield f"compose.yaml: expected gateway.toml at ROLLCALL_CONFIG, {environment['ROLLCALL_CONFIG']}, found {sorted(mounted)}"
    if [secret["target"] for secret in service["secrets"]] != [beside(environment, TOKENS)]:
        yield f"compose.yaml: expected the tokens at {beside(environment, TOKENS)}, found {service['secrets']}"
    text = tree.text("deploy/docker/gateway.toml")
    messages = refused(tree, text, environment)
    yield from (f"deploy/docker/gateway.toml: {message}" for message in messages)
    if not messages and tomllib.loads(text)["inbox"]["path"] not in mounted:
        yield f"deploy/docker/gateway.toml: expected the path of the inbox to be a volume of compose.yaml, found {sorted(mounted)}"


def deployment(tree, thing):
    [container] = thing.containers
    environment = variables(container, tree.renders[thing.render])
    if thing.spec["replicas"] < 2:
        yield "expected two gateways, so that uploads are taken without one"
    volumes = {mount["mountPath"]: volume for mount in container["volumeMounts"] for volume in thing.pod["volumes"] if volume["name"] == mount["name"]}
    sources = volumes.get(beside(environment, "").rstrip("/"), {}).get("projected", {}).get("sources", [])
    if [source["secret"]["name"] for source in sources if "secret" in source] != [SECRET]:
        yield f"expected the Secret {SECRET} beside ROLLCALL_CONFIG, {environment['ROLLCALL_CONFIG']}, found {sources}"
    configs = [source["configMap"]["name"] for source in sources if "configMap" in source]
    texts = [config.document["data"] for config in tree.renders[thing.render] if config.kind == "ConfigMap" and config.name in configs]
    name = PurePosixPath(environment["ROLLCALL_CONFIG"]).name
    text = next((data[name] for data in texts if name in data), None)
    messages = [f"expected a ConfigMap with {name}, found {configs}"] if text is None else refused(tree, text, environment)
    yield from messages
    if messages:
        return
    http = DEFAULTS | tomllib.loads(text).get("http", {})
    limit = volumes.get("/tmp", {}).get("emptyDir", {}).get("sizeLimit", "0Mi")
    if size(limit) <= http["uploads"] * size(http["max_upload"]):
        yield f"expected more room in /tmp than {http['uploads']} uploads of {http['max_upload']}, found {limit}"


def beside(environment, name):
    """The path of a file in the folder of the configuration."""
    return f"{PurePosixPath(environment['ROLLCALL_CONFIG']).parent}/{name}"


def size(text):
    number, unit = re.fullmatch(r"(\d+)(\w+)", text).groups()
    return int(number) * UNITS[unit]


def refused(tree, text, environment):
    """What a gateway says of a configuration that it does not take."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "gateway.toml"
        config.write_text(text)
        (config.parent / TOKENS).write_text(f"operator ann {'0' * 48}\n")
        own = {name: environment[name] for name in ("ROLLCALL_LISTEN", "ROLLCALL_GRACE")}
        command = [binary(tree, "producer"), "serve", "--check", "--config", config]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **own})
        return [f"expected a gateway to take it, found exit code {done.returncode}: {done.stderr.strip()}"] if done.returncode else []
