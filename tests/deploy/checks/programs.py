"""Whether the programs know the commands, flags and variables that the files give them. They must be built."""

import functools
import os
import re
import subprocess
from pathlib import Path

from tree import Refused

PROGRAMS = ("producer", "consumer", "aggregator")
# What services and containers of these programs are named.
NAMES = (*PROGRAMS, "gateway")


def rules(tree):
    for at, program, words, names in started(tree):
        if program not in PROGRAMS:
            yield f"{at}: expected one of {PROGRAMS}, found {program}"
            continue
        command = tuple(word for word in words[:1] if not word.startswith("-"))
        text = usage(tree, program, command)
        if text is None:
            yield f"{at}: expected a command of {program}, found {command[0]}"
            continue
        for flag in (word.partition("=")[0] for word in words if word.startswith("--")):
            if not re.search(rf"{flag}\b", text):
                yield f"{at}: expected a flag of {program}, found {flag}"
        for name in names:
            if is_ours(name) and not reads(text, name):
                yield f"{at}: expected a variable of {program}, found {name}"
    # One ConfigMap serves all programs.
    for thing in tree.objects("ConfigMap"):
        for name in thing.document["data"]:
            if is_ours(name) and not any(reads(usage(tree, program, ()), name) for program in PROGRAMS):
                yield f"{thing.at}: expected a variable of one of {PROGRAMS}, found {name}"


def is_ours(name):
    return name.startswith("ROLLCALL_") or name == "AMQP_URL"


def reads(text, name):
    return re.search(rf"\[env: {name}[=\]]", text)


def started(tree):
    """Each program that is started: where, its name, its other words and the names of its own variables."""
    for name, service in tree.compose["services"].items():
        words = (service.get("entrypoint") or []) + (service.get("command") or [])
        if name in NAMES:
            yield f"compose.yaml: {name}", words[0], words[1:], list(service["environment"])
            if "healthcheck" in service:
                yield f"compose.yaml: {name}", service["healthcheck"]["test"][1], service["healthcheck"]["test"][2:], []
    for thing in tree.objects():
        for container in thing.containers:
            if container["name"] in NAMES:
                yield thing.at, container["command"][0], container["command"][1:], [variable["name"] for variable in container["env"]]


def usage(tree, program, command):
    """What --help says of a program, or of one of its commands; None if there is no such command."""
    return help_of(binary(tree, program), program, command)


@functools.cache
def help_of(path, program, command):
    done = subprocess.run([path, *command, "--help"], capture_output=True, text=True, env={"COLUMNS": "200"})
    is_command = not command or re.search(rf"^Usage: {program}\b.* {command[0]}\b", done.stdout, re.MULTILINE)
    return done.stdout if done.returncode == 0 and is_command else None


def binary(tree, program):
    path = Path(os.environ.get("CARGO_TARGET_DIR") or tree.source / "target") / "release" / program
    if not path.exists():
        raise Refused("programs", f"expected the programs to be built (`make build`), found no {path}")
    return path


def model(tree):
    """A consumer loads its network before it looks for the broker, and there is none at this address."""
    network = tree.root / "deploy/kubernetes/base/risk.bif"
    command = [binary(tree, "consumer"), "--model", "risk", "--scorer", f"bayes:{network}", "--amqp-url", "amqp://127.0.0.1:1"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 3:
        yield f"{network.name}: expected a consumer to load it, found exit code {done.returncode}: {done.stderr.strip()}"
    done = subprocess.run([binary(tree, "producer"), "generate", "--companies", "1"], capture_output=True, text=True)
    columns = done.stdout.splitlines()[0].split(",")
    if not set(re.findall(r"^variable (\w+)", network.read_text(), re.MULTILINE)) & set(columns):
        yield f"{network.name}: expected variables among the columns that `producer generate` writes, found none of {columns}"
