"""What is set up on the broker: the same permissions everywhere, and the ledger's retention as README has it."""

import json
import re
import shlex

CONFIGURATIONS = ("deploy/docker/rabbitmq.conf", "deploy/kubernetes/overlays/small/rabbitmq.conf")
PREFIX = "rollcall"
# Of each kind of queue and exchange (ARCHITECTURE.md), and what is not Rollcall's.
NAMED = ("work", "work.risk", "work.risk.express", "retry.risk.10s", "results", "ledger", "checkpoint", "consumer.risk.1", "watch.job.1", "gateway.exports.5s", "gateway.webhook.crm")
OWN = [f"{PREFIX}.{name}" for name in NAMED]
OTHERS = ["rollcallish", "x.rollcall.work", "orders", "amq.topic", "amq.default.x", "amq.gen-NEaoX57xhg3xt_zSUQuDJw"]


def permissions(tree):
    found = {f"{thing.at}": thing.spec["permissions"] for thing in tree.objects("Permission") if thing.name == "rollcall"}
    command = re.search(r"^rabbitmqctl set_permissions .*", tree.text("README.md"), re.MULTILINE)[0]
    found["README.md"] = dict(zip(("configure", "write", "read"), shlex.split(command)[-3:], strict=True))
    for name in CONFIGURATIONS:
        settings = dict(re.findall(r"^([\w.]+) = (.*)$", tree.text(name), re.MULTILINE))
        found[name] = {key: settings.get(f"default_permissions.{key}") for key in ("configure", "write", "read")}
        if settings.get("default_user_tags.administrator") != "false":
            yield f"{name}: expected the default user not to be an administrator"
    for at, patterns in found.items():
        for right, pattern in patterns.items():
            # A configuration file has to have the same for both: RabbitMQ mixes them up.
            allowed = OWN + (["amq.default"] if right == "write" or right == "read" and at in CONFIGURATIONS else [])
            wrong = [name for name in [*OWN, *OTHERS, "amq.default"] if bool(pattern and re.search(pattern, name)) != (name in allowed)]
            if wrong:
                yield f"{at}: expected {right} to match Rollcall's names alone, found {pattern}, which is wrong for {wrong}"
    for thing in tree.objects("Permission"):
        if thing.name == "subscriber" and any(re.search(thing.spec["permissions"][right], name) for right in ("configure", "write") for name in OWN):
            yield f"{thing.at}: expected a subscriber to change nothing of Rollcall's"
        if thing.name == "subscriber" and [name for name in OWN if re.search(thing.spec["permissions"]["read"], name)] != [f"{PREFIX}.results"]:
            yield f"{thing.at}: expected a subscriber to read results and events alone"
        vhosts = [other.spec["name"] for other in tree.renders[thing.render] if other.kind == "Vhost"]
        if thing.spec["vhost"] not in vhosts:
            yield f"{thing.at}: expected one of the virtual hosts {vhosts}, found {thing.spec['vhost']}"
    for thing in tree.objects("RabbitmqCluster"):
        if thing.spec["replicas"] < 3:
            yield f"{thing.at}: expected three nodes, so that queues go on without one"
        if not thing.spec.get("persistence", {}).get("storage"):
            yield f"{thing.at}: expected a volume for each node"


def retention(tree):
    command = re.search(r"^rabbitmqctl set_policy .*", tree.text("README.md"), re.MULTILINE)[0]
    _, _, name, pattern, definition, _, apply_to = shlex.split(command)
    for told in re.findall(r"^.* rabbitmqctl --vhost rollcall (set_policy .*)", tree.text("docs/operations.md"), re.MULTILINE):
        if told != command.removeprefix("rabbitmqctl "):
            yield f"docs/operations.md: expected what README's command sets, `{command}`, found {told}"
    for thing in tree.objects("Policy"):
        found = thing.spec
        if (found["name"], found["pattern"], found["definition"], found["applyTo"]) != (name, pattern, json.loads(definition), apply_to):
            yield f"{thing.at}: expected what README's command sets, `{command}`"
        if [own for own in OWN if re.search(found["pattern"], own)] != [f"{PREFIX}.ledger"]:
            yield f"{thing.at}: expected a pattern of the ledger alone, found {found['pattern']}"
