"""Asks the process that uses a bundle, so that this one never loads Keras."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from typing import IO, Any

from pneumo_core import codec, secrecy
from pneumo_core.bundles.bundle_process import Request
from pneumo_core.errors import PneumoError, UserError
from pneumo_core.progress import Progress, silent

COMMAND = (sys.executable, "-m", "pneumo_core.bundles.bundle_process")
LOG_TAIL_BYTES = 2000


def ask(request: Request, progress: Progress = silent) -> Any:
    """Return the answer to `request` as JSON-native data.

    Raises `UserError` where the request can't be served as it is, `PneumoError` where the process failed.
    """
    environment = {"TF_CPP_MIN_LOG_LEVEL": "2"} | secrecy.environment()
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin as stream:
            stream.write(json.dumps(codec.to_json(request)))
        for line in process.stdout:
            message = json.loads(line)
            if "progress" in message:
                progress(*message["progress"])
            elif "answer" in message:
                return message["answer"]
            else:
                raise (UserError if message["wrong_use"] else PneumoError)(message["error"])
        raise PneumoError(_diagnosis(process.wait(), log))


def _diagnosis(code: int, log: IO[bytes]) -> str:
    """Return how the process died without a word, with the end of what it printed."""
    log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return (
        f"the process with the model ended with {how}; its last output:\n{log.read().decode(errors='replace').strip()}"
    )
