"""The processes and the folder of one run, which are removed at its end."""
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
# A wait that takes longer has failed.
PATIENCE_SECONDS = 1_800
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stage:
    """A folder and processes for one run. On exit, all are removed in reverse order, whatever has happened."""

    def __enter__(self):
        obey_signals()
        self.stack = contextlib.ExitStack()
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="peer-")))
        self.processes = {}
        return self

    def __exit__(self, kind, error, trace):
        ignore_signals()
        with self.stack:  # closes the stack even if the logs cannot be printed
            if error and not (isinstance(error, SystemExit) and isinstance(error.code, int)):
                self.show_logs()

    def start(self, name, command, **environment):
        """Starts a process in a group of its own, which is stopped with its children. It ends with this process, even after kill -9."""
        with self.log(name).open("w") as log:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *command], cwd=HERE, env={**os.environ, **environment},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )
        self.processes[name] = process
        self.stack.callback(stop, process)

    def wait_until(self, condition, what):
        """Polls every 5 ms: long compared with a query to Redis, and short compared with any run."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            for name, process in self.processes.items():
                if process.poll() is not None:
                    sys.exit(f"{name} ended, with exit code {process.returncode}, before {what}")
            if time.monotonic() > deadline:
                sys.exit(f"waited {PATIENCE_SECONDS} s until {what}")
            time.sleep(0.005)

    def log(self, name):
        return self.folder / f"{name}.log"

    def show_logs(self):
        for name in self.processes:
            print(f"--- {name}", *self.log(name).read_text(errors="replace").splitlines()[-20:], sep="\n", file=sys.stderr)


def obey_signals():
    for number in SIGNALS:
        signal.signal(number, leave)


def leave(number, _frame):
    ignore_signals()
    sys.exit(128 + number)


def ignore_signals():
    """A second signal must not interrupt the clean-up."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def stop(process):
    """Kills a process and its children. Their data are not needed any more."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
