"""Whether each rendered object is one that Kubernetes, KEDA and RabbitMQ's operators take, with no field that they do not know."""

import copy
import functools

import jsonschema
import kubernetes_validate
import yaml

KUBERNETES = "1.37"
OURS = ("keda.sh", "rabbitmq.com")


def definitions(source):
    """The folder with definitions of custom resources beside the checkout, if it is there. They belong to other projects."""
    folder = source.resolve().parent / "shared/crds"
    return folder if folder.is_dir() else None


def kustomize(tree):
    """Kustomize itself refuses what it cannot render."""
    tree.renders
    return []


def group(thing):
    version = thing.document["apiVersion"]
    return version.partition("/")[0] if "/" in version else ""


def core(tree):
    seen = set()
    for thing in tree.objects():
        key = yaml.safe_dump(thing.document)
        if group(thing) in OURS or key in seen:
            continue
        seen.add(key)
        try:
            kubernetes_validate.validate(thing.document, KUBERNETES, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{thing.at}: {'.'.join(map(str, error.path))}: {error.message}"
        except kubernetes_validate.SchemaNotFoundError as error:
            yield f"{thing.at}: {error}"


def custom(tree):
    things = [thing for thing in tree.objects() if group(thing) in OURS]
    folder = definitions(tree.source)
    if folder is None:
        print(f"skipped: validating {len(things)} custom resources, since their definitions are not in ../shared/crds beside the checkout")
        return
    for thing in things:
        schema = read(folder).get((thing.document["apiVersion"], thing.kind))
        if schema is None:
            yield f"{thing.at}: expected a definition of {thing.document['apiVersion']} {thing.kind} in {folder}"
            continue
        for error in jsonschema.Draft7Validator(schema).iter_errors(thing.document):
            yield f"{thing.at}: {'.'.join(map(str, error.path))}: {error.message}"


@functools.cache
def read(folder):
    """The strict schema of each version of each definition."""
    found = {}
    for path in sorted(folder.glob("*.yaml")):
        for definition in yaml.load_all(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            if not definition or definition["kind"] != "CustomResourceDefinition" or definition["spec"]["group"] not in OURS:
                continue
            spec = definition["spec"]
            for version in spec["versions"]:
                schema = copy.deepcopy(version["schema"]["openAPIV3Schema"])
                found[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = strict(schema, root=True)
    return found


def strict(schema, root=False):
    """Refuses fields that are not in it. The API server drops them without a word."""
    properties = schema.get("properties", {})
    if properties and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema.setdefault("additionalProperties", False)
    for name, part in properties.items():
        if not (root and name == "metadata"):
            strict(part)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            strict(schema[key])
    return schema


