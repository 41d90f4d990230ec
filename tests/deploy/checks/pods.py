"""What every pod must have."""

from durations import seconds
from tree import variables

PROGRAMS = ("aggregator", "consumer", "gateway")


def containers(tree):
    """(object, container) of every pod that is rendered."""
    return [(thing, container) for thing in tree.objects() for container in thing.containers]


def restricted(tree):
    """The Pod Security Standard `restricted`, a read-only root file system, and no token."""
    for thing in tree.objects("Namespace"):
        if thing.document["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce") != "restricted":
            yield f"{thing.at}: expected it to enforce the Pod Security Standard restricted"
    for thing in tree.objects():
        if not thing.pod:
            continue
        security = thing.pod.get("securityContext", {})
        if not security.get("runAsNonRoot") or not security.get("runAsUser") or security.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{thing.at}: expected a user that is not root, and the seccomp profile RuntimeDefault, found {security}"
        if thing.pod.get("automountServiceAccountToken") is not False or thing.pod.get("enableServiceLinks") is not False:
            yield f"{thing.at}: expected no token and no variables of services"
    for thing in tree.objects("ServiceAccount"):
        if thing.document.get("automountServiceAccountToken") is not False:
            yield f"{thing.at}: expected no token"
    for thing, container in containers(tree):
        expected = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        if container.get("securityContext") != expected:
            yield f"{thing.at}: expected the security context {expected}, found {container.get('securityContext')}"
        resources = container.get("resources", {})
        if {"cpu", "memory"} - set(resources.get("requests", {})) or "memory" not in resources.get("limits", {}):
            yield f"{thing.at}: expected requests for CPU and memory and a limit for memory, found {resources}"
        if ":" not in container["image"]:
            yield f"{thing.at}: expected an image with a tag, found {container['image']}"


def probes(tree):
    for thing, container in containers(tree):
        ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
        for key in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = container.get(key, {})
            action = probe.get("httpGet") or probe.get("tcpSocket")
            if action and action["port"] not in ports:
                yield f"{thing.at}: expected {key} to ask one of the ports {list(ports)}, found {action['port']}"
            if container["name"] in PROGRAMS:
                path = "/readyz" if key == "readinessProbe" else "/healthz"
                if probe.get("httpGet", {}).get("path") != path:
                    yield f"{thing.at}: expected {key} to get {path}, found {probe}"
        environment = variables(container, tree.renders[thing.render])
        address = environment.get("ROLLCALL_METRICS_ADDR")
        if container["name"] in PROGRAMS and address != f"0.0.0.0:{ports.get('metrics')}":
            yield f"{thing.at}: expected ROLLCALL_METRICS_ADDR to have the port metrics, {ports.get('metrics')}, found {address}"
        if container["name"] in PROGRAMS:
            probe, wait = container["startupProbe"], environment["ROLLCALL_WAIT_FOR_BROKER"]
            if probe["periodSeconds"] * probe["failureThreshold"] <= seconds(wait):
                yield f"{thing.at}: expected a startupProbe that waits for longer than ROLLCALL_WAIT_FOR_BROKER, {wait}, found {probe}"


# In seconds: a gateway cancels the uploads that have not ended in its grace.
CANCELS_WITHIN = 10


def grace(tree):
    """A consumer that is killed before its grace is over costs its companies a delivery, and a gateway cuts uploads and downloads short."""
    for thing, container in containers(tree):
        if container["name"] not in ("consumer", "gateway"):
            continue
        own, pods = variables(container, [])["ROLLCALL_GRACE"], thing.pod["terminationGracePeriodSeconds"]
        before = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        after = CANCELS_WITHIN if container["name"] == "gateway" else 0
        if pods <= before + seconds(own) + after:
            yield f"{thing.at}: expected terminationGracePeriodSeconds to be longer than preStop, {before} s, ROLLCALL_GRACE, {own}, and {after} s, found {pods}"
        if container["name"] == "gateway" and not before:
            yield f"{thing.at}: expected preStop to wait until the Service has forgotten the pod"


def jobs(tree):
    """A producer that is started again must not enqueue the same job once more, nor try in vain for ever."""
    for thing in tree.objects("Job", "CronJob"):
        spec = thing.spec if thing.kind == "Job" else thing.spec["jobTemplate"]["spec"]
        rules = spec.get("podFailurePolicy", {}).get("rules", [])
        if thing.pod.get("restartPolicy") != "Never" or not any(rule.get("onExitCodes", {}).get("values") == [2] for rule in rules):
            yield f"{thing.at}: expected restartPolicy Never, and exit code 2 to end it"
        [container] = thing.containers
        if "--job=$(POD_NAME)" not in container["command"] or "--wait" in container["command"]:
            yield f"{thing.at}: expected a job of the pod's name, and no --wait"
