"""Running `pneumo` as a user does, and the small studies and folders that the end-to-end tests use."""

import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from search.cli import app
from tests import in_process

ROOT = Path(__file__).parents[1]

STUDY = """
from pneumo_core.specs import CnnSpec, DataSpec, TrainSpec, TrialSpec
from studies.spec import BudgetSpec, FidelitySpec, PrunerSpec, Rung, SamplerSpec, StudySpec

def space(suggest):
    filters = suggest.suggest_int("filters", 4, 12)
    rate = suggest.suggest_float("learning_rate", 1e-3, 1e-2, log=True)
    return TrialSpec(
        data=DataSpec(image_size_px=24),
        model=CnnSpec(filters=(filters, 8), head="flatten", dropout=0.2),
        train=TrainSpec(epochs={epochs}, batch_size=32, learning_rate=rate),
    )

STUDY = StudySpec(
    name="small", space=space, budget=BudgetSpec(trials=3, max_retries=20), {more}
    sampler=SamplerSpec(n_startup_trials=2), pruner=PrunerSpec(kind="median", n_startup_trials=2, n_warmup_epochs=0),
)
"""


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "search.cli", *map(str, arguments)]


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200", "TERM": "dumb"} | more


@dataclass(frozen=True)
class Done:
    """What a command came to."""

    returncode: int
    stdout: str
    stderr: str


def pneumo(*arguments: object, folder: Path, code: int | None = 0, **more: str) -> Done:
    """Run the command line in `folder` and check its exit code; None accepts any."""
    done = subprocess.run(
        command(*arguments), cwd=folder, env=environment(**more), capture_output=True, text=True, timeout=300
    )
    return _checked(Done(done.returncode, done.stdout, done.stderr), code)


def pneumo_here(*arguments: object, folder: Path, code: int | None = 0, is_drawn: bool = False, **more: str) -> Done:
    """Do as `pneumo` in this process, which saves the import of Keras by a trainer or by the process with a bundle.

    The pictures of reports are empty unless `is_drawn`.
    """
    out, err = io.StringIO(), io.StringIO()
    with (
        in_process.everything(),
        nullcontext() if is_drawn else in_process.undrawn(),
        as_a_command(folder, arguments, more),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            app.main()
        except SystemExit as ended:
            found = int(ended.code or 0)
    return _checked(Done(found, out.getvalue(), err.getvalue()), code)


@contextmanager
def as_a_command(folder: Path, arguments: Sequence[object], more: Mapping[str, str]) -> Iterator[None]:
    """Give this process the folder, the environment and the arguments of a command, and take them back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with (
        chdir(folder),
        mock.patch.dict(os.environ, environment(**more)),
        mock.patch.object(sys, "argv", ["pneumo", *map(str, arguments)]),
    ):
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _checked(done: Done, code: int | None) -> Done:
    assert code is None or done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done


# Has the process of the tests do what it is called for: a command or a trainer of its own would load Keras each time.
CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.create_connection(("127.0.0.1", {port})) as asking:
    asking.sendall(json.dumps([os.getcwd(), *sys.argv[1:]]).encode() + b"\\n")
    code, out, err = json.loads(asking.makefile().read())
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(code)
"""


def run_with_commands_here(script: Sequence[object], folder: Path, **more: str) -> None:
    """Run a script whose `pneumo` this process answers, and check that it ends with 0."""
    launcher = folder / "bin" / "pneumo"
    launcher.parent.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        launcher.write_text(CLIENT.format(python=sys.executable, port=server.getsockname()[1]))
        launcher.chmod(0o755)
        path = f"{launcher.parent}:{os.environ['PATH']}"
        with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
            running = subprocess.Popen(
                list(map(str, script)), cwd=folder, env=environment(PATH=path, **more), stdout=out, stderr=err
            )
        while running.poll() is None:
            if select.select([server], [], [], 0.1)[0]:
                _answer(server.accept()[0])
    assert running.returncode == 0, (folder / "out").read_text() + (folder / "err").read_text()


def _answer(asked: socket.socket) -> None:
    with asked, asked.makefile() as lines:
        folder, *arguments = json.loads(lines.readline())
        done = pneumo_here(*arguments, folder=Path(folder), code=None)
        asked.sendall(json.dumps([done.returncode, done.stdout, done.stderr]).encode())


def last_json(done: Done) -> Any:
    return json.loads(done.stdout.strip().splitlines()[-1])


def write_study(folder: Path, *, epochs: int = 2, more: str = "") -> Path:
    file = folder / "small.py"
    file.write_text(STUDY.format(epochs=epochs, more=more))
    return file


def children_of(folder: Path) -> list[int]:
    """Return the trainer processes that work in `folder`, by their working directory."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words: Sequence[bytes] = (entry / "cmdline").read_bytes().split(b"\0")
            if b"pneumo_core.child" in words and Path(os.readlink(entry / "cwd")) == folder.resolve():
                found.append(int(entry.name))
        except (OSError, ValueError):
            continue
    return found


def wait_for(holds: Callable[[], Any], what: str, *, seconds: float = 120) -> Any:
    """Return the first truthy answer; the time is a safety net, not a measurement."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := holds():
            return answer
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds:g} s for {what}")
