"""A copy of what lies under deploy/, and what its files mean: the parsed Compose file, and the rendered objects of Kubernetes."""

import functools
import json
import os
import re
import shutil
import subprocess

import yaml

# The overlays, and each component in the place of the one that it replaces. A name, then the components of a production overlay.
BROKER = "rabbitmq-cluster"
VARIANTS = {
    "production with scale-prometheus": [BROKER, "scale-prometheus"],
    "production with scale-rabbitmq": [BROKER, "scale-rabbitmq"],
    "production with models-volume": [BROKER, "scale-metrics-api", "models-volume"],
    "production with enqueue": [BROKER, "scale-metrics-api", "enqueue"],
    "production with gateway": [BROKER, "scale-metrics-api", "gateway"],
}
# It has an overlay as readers may write one, and what they may add to it for a gateway.
GUIDE = "docs/operations.md"
# Examples are documented elsewhere, and scripts are run by other targets.
FOLDERS = ("deploy/docker", "deploy/kubernetes")


class Refused(Exception):
    """A file that a tool cannot even read."""

    def __init__(self, check, message):
        super().__init__(message)
        self.check = check


class Tree:
    def __init__(self, source, folder):
        self.source = source
        self.root = folder / "root"
        for name in FOLDERS:
            shutil.copytree(source / name, self.root / name, ignore=shutil.ignore_patterns(".env", "data", "inbox", "tokens.txt"))
        (self.root / "docs").mkdir()
        for name in (".dockerignore", "README.md", "Cargo.toml", GUIDE):
            shutil.copy(source / name, self.root / name)

    def files(self):
        """The files that are checked, each of which must have a fault."""
        found = [path for folder in FOLDERS for path in (self.root / folder).rglob("*") if path.is_file() and path.name != ".gitignore"]
        return sorted(str(path.relative_to(self.root)) for path in [*found, self.root / ".dockerignore", self.root / GUIDE] if "variants" not in path.parts)

    def text(self, name):
        return (self.root / name).read_text()

    @functools.cached_property
    def compose(self):
        """compose.yaml as Compose understands it, with all profiles."""
        environment = {**os.environ, "RABBITMQ_PASSWORD": "x"}
        command = ["docker", "compose", "--file", "deploy/docker/compose.yaml", "--profile", "*", "config", "--format", "json"]
        return json.loads(run(command, self.root, "compose-schema", environment))

    @functools.cached_property
    def renders(self):
        """The objects of each overlay and variant, by its name."""
        kubernetes = self.root / "deploy/kubernetes"
        folders = {path.name: path for path in sorted((kubernetes / "overlays").iterdir())}
        for name, components in VARIANTS.items():
            folders[name] = folder = kubernetes / "variants" / components[-1]
            folder.mkdir(parents=True, exist_ok=True)
            overlay = yaml.safe_load((kubernetes / "overlays/production/kustomization.yaml").read_text())
            overlay["components"] = [f"../../components/{component}" for component in components]
            (folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
        folders[GUIDE] = folder = kubernetes / "variants/own"
        folder.mkdir(exist_ok=True)
        shutil.copy(kubernetes / "base/risk.bif", folder / "fraud.bif")
        examples = re.findall(r"^```yaml\n(.*?)^```", self.text(GUIDE).replace("- kubernetes/", "- ../../"), re.MULTILINE | re.DOTALL)
        overlay, added = map(yaml.safe_load, examples)
        overlay |= {key: overlay.get(key, []) + values for key, values in added.items()}
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
        rendered = {name: run(["kubectl", "kustomize", str(folder)], self.root, "kustomize") for name, folder in folders.items()}
        return {name: [Object(name, document) for document in yaml.safe_load_all(text)] for name, text in rendered.items()}

    def objects(self, *kinds):
        """The objects of these kinds, or all, in every render."""
        return [thing for things in self.renders.values() for thing in things if not kinds or thing.kind in kinds]

    def number_of_objects(self):
        return len({json.dumps(thing.document, sort_keys=True) for thing in self.objects()})


class Object:
    """A rendered object. `at` says where it is, for messages."""

    def __init__(self, render, document):
        self.render = render
        self.document = document
        self.kind = document["kind"]
        self.name = document["metadata"]["name"]
        self.at = f"{render}: {self.kind} {self.name}"

    @property
    def spec(self):
        return self.document.get("spec", {})

    @property
    def template(self):
        """The pod that it makes, if it makes any."""
        match self.kind:
            case "Deployment" | "StatefulSet" | "Job":
                return self.spec["template"]
            case "CronJob":
                return self.spec["jobTemplate"]["spec"]["template"]
        return None

    @property
    def pod(self):
        return self.template and self.template["spec"]

    @property
    def containers(self):
        return self.pod["containers"] if self.pod else []

    @property
    def labels(self):
        """The labels of its pods."""
        if self.kind == "RabbitmqCluster":
            # Those that its operator gives them.
            return {"app.kubernetes.io/name": self.name, "app.kubernetes.io/part-of": "rabbitmq"}
        return self.template["metadata"].get("labels", {}) if self.template else {}

    @property
    def makes_pods(self):
        return self.template is not None or self.kind == "RabbitmqCluster"


def variables(container, render):
    """A container's environment: its own variables, and those of the ConfigMaps that it takes whole."""
    found = {}
    for source in container.get("envFrom", []):
        config = next((thing for thing in render if thing.kind == "ConfigMap" and thing.name == source["configMapRef"]["name"]), None)
        found |= config.document["data"] if config else {}
    return found | {variable["name"]: variable.get("value") for variable in container.get("env", [])}


def run(command, folder, check, environment=None):
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise Refused(check, f"{' '.join(command[:3])}: {(done.stderr or done.stdout).strip()}")
    return done.stdout
