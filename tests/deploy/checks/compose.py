"""compose.yaml, and the configuration of what it runs."""

import re
from urllib.parse import urlsplit

import yaml
from durations import seconds

SERVICES = ("rabbitmq", "aggregator", "consumer", "gateway")
# Each with its health check. The producer has none, and that of the aggregator asks whatever serves the metrics.
HEALTHCHECKS = {"aggregator": "aggregator", "consumer": "consumer", "gateway": "aggregator"}
# What people reach, from this machine alone.
PUBLISHED = ("gateway", "grafana")


def schema(tree):
    """Compose itself refuses what it does not know."""
    tree.compose
    return []


def rules(tree):
    services, networks = tree.compose["services"], tree.compose["networks"]
    for name, service in services.items():
        for key, expected in (("read_only", True), ("cap_drop", ["ALL"]), ("security_opt", ["no-new-privileges:true"])):
            if service.get(key) != expected:
                yield f"{name}: expected {key} to be {expected}, found {service.get(key)}"
        for port in service.get("ports", []):
            if name not in PUBLISHED or port.get("host_ip") != "127.0.0.1":
                yield f"{name}: expected no port that is published, but on 127.0.0.1 of {PUBLISHED}, found {port.get('published')}"
        if name != "producer" and service.get("restart") != "unless-stopped":
            yield f"{name}: expected it to be started again"
        expected = {"broker", "published"} if name == "gateway" else {"broker"}
        if name in SERVICES and (set(service.get("networks", [])) != expected or "healthcheck" not in service):
            yield f"{name}: expected a health check, and the networks {expected} alone"
        if name in (*HEALTHCHECKS, "producer") and service["depends_on"]["rabbitmq"]["condition"] != "service_healthy":
            yield f"{name}: expected it to wait for a healthy broker"
    if not networks["broker"].get("internal"):
        yield "expected the network broker to be internal"
    if "check_port_connectivity" not in services["rabbitmq"]["healthcheck"]["test"]:
        yield "rabbitmq: expected check_port_connectivity: other checks succeed before AMQP is listened for"
    for name, program in HEALTHCHECKS.items():
        if services[name]["healthcheck"]["test"] != ["CMD", program, "healthcheck"]:
            yield f"{name}: expected its health check to be `{program} healthcheck`"
    if services["aggregator"]["deploy"]["replicas"] < 2:
        yield "aggregator: expected a standby"
    for name in ("consumer", "gateway"):
        grace = services[name]["environment"]["ROLLCALL_GRACE"]
        if seconds(services[name]["stop_grace_period"]) <= seconds(grace):
            yield f"{name}: expected stop_grace_period to be longer than ROLLCALL_GRACE, {grace}"
    if "/tmp" not in [volume["target"] for volume in services["gateway"]["volumes"]]:
        yield "gateway: expected /tmp to be a volume: uploads may be larger than the memory"
    broker = services["rabbitmq"]["environment"]
    url = urlsplit(services["consumer"]["environment"]["AMQP_URL"])
    expected = (broker["RABBITMQ_DEFAULT_USER"], broker["RABBITMQ_DEFAULT_PASS"], "rabbitmq", 5672, f"/{broker['RABBITMQ_DEFAULT_VHOST']}")
    if (url.username, url.password, url.hostname, url.port, url.path) != expected:
        yield f"expected AMQP_URL to name the broker as the service rabbitmq has it, found {url.geturl()}"
    yield from secrets(tree)


def secrets(tree):
    text, example = tree.text("deploy/docker/compose.yaml"), tree.text("deploy/docker/.env.example")
    offered = set(re.findall(r"^#?(\w+)=", example, re.MULTILINE))
    for name in set(re.findall(r"\$\{(\w+)", text)) - offered - {"ROLLCALL_IMAGE", "RABBITMQ_IMAGE"}:
        yield f".env.example: expected it to offer {name}, which compose.yaml reads"
    for name, value in re.findall(r"^(\w*PASSWORD)=(.+)", example, re.MULTILINE):
        yield f".env.example: expected no value of {name}, found {value}"
    for name, value in re.findall(r"^ *(\w*PASS\w*): *(\S+)", text, re.MULTILINE) + re.findall(r"://(\w+):(.+?)@", text):
        if not value.startswith("${"):
            yield f"compose.yaml: expected no password, found that of {name}"


def observability(tree):
    services = tree.compose["services"]
    prometheus = parse(tree, "deploy/docker/prometheus.yaml")
    programs = {name: service["environment"].get("ROLLCALL_METRICS_ADDR") for name, service in services.items() if "environment" in service}
    programs = {name: int(address.rpartition(":")[2]) for name, address in programs.items() if address}
    found = {
        name: discovery["port"]
        for scrape in prometheus["scrape_configs"]
        for discovery in scrape.get("dns_sd_configs", [])
        for name in discovery["names"]
    }
    if found != programs:
        yield f"prometheus.yaml: expected the services and ports that have ROLLCALL_METRICS_ADDR, {programs}, found {found}"
    targets = [target for scrape in prometheus["scrape_configs"] for config in scrape.get("static_configs", []) for target in config["targets"]]
    if targets != ["rabbitmq:15692"]:
        yield f"prometheus.yaml: expected the broker's port for Prometheus, found {targets}"
    [source] = parse(tree, "deploy/docker/grafana-datasource.yaml")["datasources"]
    url = urlsplit(source["url"])
    if url.hostname not in services or url.port != 9090 or source["type"] != "prometheus":
        yield f"grafana-datasource.yaml: expected a service of compose.yaml that is Prometheus, found {source['url']}"
    if source["jsonData"]["timeInterval"] != prometheus["global"]["scrape_interval"]:
        yield "grafana-datasource.yaml: expected timeInterval to be Prometheus's scrape_interval"
    mounted = {volume["source"].rpartition("/")[2] for name in ("prometheus", "grafana", "rabbitmq") for volume in services[name]["volumes"]}
    for file in ("prometheus.yaml", "grafana-datasource.yaml", "rabbitmq.conf"):
        if file not in mounted:
            yield f"compose.yaml: expected {file} to be mounted"


def parse(tree, name):
    return yaml.safe_load(tree.text(name))
