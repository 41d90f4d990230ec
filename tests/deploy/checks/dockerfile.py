"""The Dockerfile, and what is sent to the engine with it."""

import re

from tree import run

DOCKERFILE = "deploy/docker/Dockerfile"


def hadolint(tree):
    run(["hadolint", "--failure-threshold", "info", DOCKERFILE], tree.root, "hadolint")
    return []


def rules(tree):
    text = tree.text(DOCKERFILE)
    runtime = text[text.rindex("\nFROM ") :]
    if re.search(r"^#\s*syntax\s*=", text, re.MULTILINE):
        yield "expected no `# syntax=` line: it is fetched from a registry"
    if re.search(r"^ENTRYPOINT", runtime, re.MULTILINE):
        yield "expected no ENTRYPOINT: each service names its program"
    users = re.findall(r"^USER (.*)", runtime, re.MULTILINE)
    if not users or not re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]):
        yield f"expected the last USER to be numbers, and not root, found {users}"
    if "cargo auditable build --locked --release" not in text:
        yield "expected cargo auditable to build from the lock file"
    for program in ("producer", "consumer", "aggregator"):
        if f"target/release/{program}" not in text:
            yield f"expected {program} in the image"
    if not re.match(r"\nFROM debian:bookworm-slim\n", runtime):
        yield "expected the image to be made from debian:bookworm-slim"
    for label in ("title", "description", "licenses", "base.name", "version", "revision", "created"):
        if f"org.opencontainers.image.{label}=" not in runtime:
            yield f"expected the label org.opencontainers.image.{label}"
    version = re.search(r'^version = "(.*)"', tree.text("Cargo.toml"), re.MULTILINE)[1]
    if f"ARG VERSION={version}\n" not in text:
        yield f"expected VERSION to be that of Cargo.toml, {version}"


def context(tree):
    patterns = [line for line in tree.text(".dockerignore").splitlines() if line and not line.startswith("#")]
    if patterns[0] != "*":
        yield f"expected `*` first, so that nothing is sent that is not named, found {patterns[0]}"
    for needed in ("Cargo.toml", "Cargo.lock", "consumer", "producer", "shared", "deploy/local/broker", "tests/Cargo.toml"):
        if f"!{needed}" not in patterns:
            yield f"expected !{needed}: the build needs it"
