"""Whether what objects say of each other is so: names, labels, ports, and who may talk to whom."""

from urllib.parse import urlsplit

from tree import variables

# Made by the Messaging Topology Operator for the User rollcall, or by hand for the overlay small; and by hand.
CREDENTIALS, TOKENS = "rollcall-user-credentials", "gateway-tokens"
MONITORING, KEDA, TOPOLOGY_OPERATOR, PROXY = "monitoring", "keda", "rabbitmq-system", "ingress"


def references(tree):
    for render, things in tree.renders.items():
        names = {(thing.kind, thing.name) for thing in things}
        namespaces = {thing.document["metadata"].get("namespace") for thing in things if thing.kind != "Namespace"}
        if namespaces != {"rollcall"}:
            yield f"{render}: expected every object in the namespace rollcall, found {namespaces}"
        if render != "small" and ("User", "rollcall") not in names:
            yield f"{render}: expected a User rollcall, of which the secret {CREDENTIALS} is made"
        for thing in things:
            yield from (f"{thing.at}: expected {kind} {name} to be rendered too" for kind, name in named(thing) if (kind, name) not in names)
            yield from selectors(thing, things)


def named(thing):
    """What it names by kind and name."""
    pod = thing.pod or {}
    if "serviceAccountName" in pod:
        yield "ServiceAccount", pod["serviceAccountName"]
    for volume in pod.get("volumes", []):
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
        for source in volume.get("projected", {}).get("sources", []):
            if "configMap" in source:
                yield "ConfigMap", source["configMap"]["name"]
            if "secret" in source and source["secret"]["name"] != TOKENS:
                yield "Secret", source["secret"]["name"]
    for container in thing.containers:
        for source in container.get("envFrom", []):
            yield "ConfigMap", source["configMapRef"]["name"]
        for variable in container.get("env", []):
            secret = variable.get("valueFrom", {}).get("secretKeyRef")
            if secret and secret["name"] != CREDENTIALS:
                yield "Secret", secret["name"]
    if thing.kind == "ScaledObject":
        yield thing.spec["scaleTargetRef"].get("kind", "Deployment"), thing.spec["scaleTargetRef"]["name"]
        for trigger in thing.spec["triggers"]:
            if "authenticationRef" in trigger:
                yield trigger["authenticationRef"].get("kind", "TriggerAuthentication"), trigger["authenticationRef"]["name"]
    if "rabbitmqClusterReference" in thing.spec:
        yield "RabbitmqCluster", thing.spec["rabbitmqClusterReference"]["name"]
    if "userReference" in thing.spec:
        yield "User", thing.spec["userReference"]["name"]


def selectors(thing, things):
    match thing.kind:
        case "Service":
            labels = thing.spec["selector"]
        case "PodDisruptionBudget" | "Deployment" | "StatefulSet":
            labels = thing.spec["selector"]["matchLabels"]
        case "NetworkPolicy":
            labels = thing.spec["podSelector"].get("matchLabels", {})
        case _:
            return
    pods = [other for other in things if other.makes_pods and labels.items() <= other.labels.items()]
    if not pods:
        yield f"{thing.at}: expected pods with the labels {labels}, found none"
    if thing.kind == "Service":
        ports = {port["name"] for pod in pods for container in pod.containers for port in container.get("ports", [])}
        for port in thing.spec["ports"]:
            if port["targetPort"] not in ports:
                yield f"{thing.at}: expected the port {port['targetPort']} in its pods, found {sorted(ports)}"


def network(tree):
    for render, things in tree.renders.items():
        policies = [thing for thing in things if thing.kind == "NetworkPolicy"]
        everything = [policy for policy in policies if policy.spec["podSelector"] == {} and set(policy.spec["policyTypes"]) == {"Ingress", "Egress"}]
        if not everything or any(rules in policy.spec for policy in everything for rules in ("ingress", "egress")):
            yield f"{render}: expected a policy that denies everything that others do not allow"
        rabbitmq = {"app.kubernetes.io/name": "rabbitmq"}
        for thing in things:
            for container in thing.containers:
                url = urlsplit(variables(container, things).get("AMQP_URL") or "")
                if url.hostname and not egress(policies, thing.labels, rabbitmq, url.port):
                    yield f"{thing.at}: expected a policy that lets it reach the broker at port {url.port}"
                if url.hostname and not ingress(policies, rabbitmq, pod_labels=thing.labels, port=url.port):
                    yield f"{thing.at}: expected a policy that lets the broker be reached by it at port {url.port}"
                if not egress(policies, thing.labels, {"k8s-app": "kube-dns"}, 53):
                    yield f"{thing.at}: expected a policy that lets it resolve names"
                for port in container.get("ports", []):
                    if port["name"] == "metrics" and not ingress(policies, thing.labels, MONITORING, port=port["containerPort"]):
                        yield f"{thing.at}: expected a policy that lets Prometheus reach port {port['containerPort']}"
                    if port["name"] == "http" and not ingress(policies, thing.labels, PROXY, port=port["containerPort"]):
                        yield f"{thing.at}: expected a policy that lets the proxy reach port {port['containerPort']}"
            if thing.kind == "ScaledObject":
                for labels, port in asked(thing):
                    if not ingress(policies, labels, KEDA, port=port):
                        yield f"{thing.at}: expected a policy that lets KEDA reach port {port} of {labels}"
            if thing.kind == "RabbitmqCluster":
                if not ingress(policies, rabbitmq, TOPOLOGY_OPERATOR, port=15672):
                    yield f"{thing.at}: expected a policy that lets the Messaging Topology Operator reach port 15672"
                for port in (4369, 25672, 35672):
                    if not (ingress(policies, rabbitmq, pod_labels=rabbitmq, port=port) and egress(policies, rabbitmq, rabbitmq, port)):
                        yield f"{thing.at}: expected a policy that lets its nodes reach each other at port {port}"
        yield from too_much(policies)


def asked(scaled):
    """Which pods of this namespace KEDA asks for the number of consumers, and at which port."""
    for trigger in scaled.spec["triggers"]:
        url = urlsplit(trigger["metadata"].get("url") or trigger["metadata"].get("host") or "")
        if url.hostname:
            yield {"app.kubernetes.io/name": url.hostname.partition(".")[0]}, url.port


def too_much(policies):
    """Peers without a selector are everyone; rules without ports are all ports."""
    for policy in policies:
        for direction, peers in (("ingress", "from"), ("egress", "to")):
            for rule in policy.spec.get(direction, []):
                if not rule.get(peers) or not rule.get("ports") or any(not peer or {} in peer.values() for peer in rule[peers]):
                    yield f"{policy.at}: expected {direction} from or to some, at some ports, found {rule}"


def ingress(policies, labels, namespace=None, port=None, pod_labels=None):
    return any(
        matches(peer, namespace, pod_labels) and has(rule, port)
        for policy in applying(policies, labels, "Ingress")
        for rule in policy.spec.get("ingress", [])
        for peer in rule["from"]
    )


def egress(policies, labels, to, port):
    return any(
        matches(peer, None, to) and has(rule, port) for policy in applying(policies, labels, "Egress") for rule in policy.spec.get("egress", []) for peer in rule["to"]
    )


def applying(policies, labels, direction):
    return [
        policy
        for policy in policies
        if direction in policy.spec["policyTypes"] and policy.spec["podSelector"].get("matchLabels", {}).items() <= labels.items()
    ]


def matches(peer, namespace, labels):
    if namespace:
        return peer.get("namespaceSelector", {}).get("matchLabels") == {"kubernetes.io/metadata.name": namespace} and "podSelector" not in peer
    selected = peer.get("podSelector", {}).get("matchLabels", {})
    return bool(selected) and selected.items() <= labels.items()


def has(rule, port):
    return any(entry["port"] <= port <= entry.get("endPort", entry["port"]) for entry in rule["ports"])
