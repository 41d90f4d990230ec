"""Checks what lies under deploy/, without running it.

python tests/deploy/checks manifests ROOT   every check on the files of that checkout
python tests/deploy/checks faults ROOT      each fault of faults.tsv in a copy of them, which the check named there must refuse
python tests/deploy/checks scaled-object ROOT   print the ScaledObject of production as JSON, for keda.py

Needs requirements.txt, and kubectl, hadolint and docker (with compose) in PATH.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import brokers
import compose
import dockerfile
import gateway
import pods
import programs
import scaling
import schemas
import wiring
from tree import Refused, Tree

# In the order in which a reader would want to know.
CHECKS = {
    "hadolint": dockerfile.hadolint,
    "dockerfile": dockerfile.rules,
    "context": dockerfile.context,
    "compose-schema": compose.schema,
    "compose": compose.rules,
    "observability": compose.observability,
    "kustomize": schemas.kustomize,
    "core-schema": schemas.core,
    "resource-schema": schemas.custom,
    "restricted": pods.restricted,
    "probes": pods.probes,
    "grace": pods.grace,
    "jobs": pods.jobs,
    "references": wiring.references,
    "network": wiring.network,
    "scaling": scaling.rules,
    "permissions": brokers.permissions,
    "retention": brokers.retention,
    "programs": programs.rules,
    "gateway": gateway.rules,
    "model": programs.model,
}
FAULTS = Path(__file__).with_name("faults.tsv")


def refusals(tree, names=CHECKS):
    """What the checks refuse, as (check, message). A check that cannot render what it needs refuses that."""
    for name in names:
        try:
            for message in CHECKS[name](tree):
                yield name, message
        except Refused as refused:
            yield refused.check, str(refused)


def manifests(root):
    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(root, Path(folder))
        found = set()
        for name, message in refusals(tree):
            # A check that fails may be the reason why a later one cannot go on.
            if (name, message) not in found:
                print(f"{name}: {message}", file=sys.stderr, flush=True)
            found.add((name, message))
        if not found:
            print(f"manifests: {len(CHECKS)} checks of {len(tree.files())} files and {tree.number_of_objects()} rendered objects")
        return not found


def read_faults():
    for line in FAULTS.read_text().splitlines():
        if line and not line.startswith("#"):
            file, expression, check = line.split("\t")
            yield file, expression, check


def faults(root):
    missed, faults = [], list(read_faults())
    if schemas.definitions(root) is None:
        print("skipped: faults that resource-schema must refuse, since the definitions of custom resources are not in ../shared/crds beside the checkout")
        faults = [fault for fault in faults if fault[2] != "resource-schema"]
    with tempfile.TemporaryDirectory() as folder:
        untouched = set(Tree(root, Path(folder)).files())
    for file, expression, check in faults:
        untouched.discard(file)
        with tempfile.TemporaryDirectory() as folder:
            tree = Tree(root, Path(folder))
            path = tree.root / file
            before = path.read_bytes()
            subprocess.run(["sed", "-E", "-i", expression, path], check=True)
            if path.read_bytes() == before:
                missed.append(f"{file}: expected {expression} to change something")
            elif not any(name == check for name, _ in refusals(tree, [check])):
                missed.append(f"{file}: expected the check {check} to refuse {expression}")
    missed += [f"{file}: expected a fault for it in {FAULTS.name}" for file in sorted(untouched)]
    for message in missed:
        print(message, file=sys.stderr)
    if not missed:
        print(f"faults: {len(faults)} faults, each refused by the check that is named for it")
    return not missed


def scaled_object(root):
    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(root, Path(folder))
        print(json.dumps(next(thing.document for thing in tree.renders["production"] if thing.kind == "ScaledObject")))
    return True


def main():
    match sys.argv[1:]:
        case ["manifests", root]:
            return manifests(Path(root))
        case ["faults", root]:
            return faults(Path(root))
        case ["scaled-object", root]:
            return scaled_object(Path(root))
    sys.exit(__doc__)


if __name__ == "__main__":
    sys.exit(not main())
