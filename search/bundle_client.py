"""Asks the process that uses a bundle, so that this one never loads Keras."""

from collections.abc import Mapping
from typing import Any

from pneumo_core import helper, secrecy
from pneumo_core.bundles.bundle_process import Request
from pneumo_core.errors import PneumoError, UserError
from pneumo_core.peer import Peer
from pneumo_core.progress import Progress, silent


class _Crashed(PneumoError):
    """The process crashed."""


def ask(request: Request, progress: Progress = silent) -> Any:
    """Return the answer to `request` as JSON-native data.

    If the process crashes, most likely at an image, it is restarted and reads each image in a helper, so that the crash
    costs that image only. Raises `UserError` for a request that can't be served, `PneumoError` if the process failed.
    """
    try:
        return _ask(request, progress, {})
    except _Crashed:
        return _ask(request, progress, {helper.APART: "1"})


def _ask(request: Request, progress: Progress, more: Mapping[str, str]) -> Any:
    environment = {"TF_CPP_MIN_LOG_LEVEL": "2", **secrecy.environment(), **more}
    peer = Peer("pneumo_core.bundles.bundle_process", environment)
    try:
        peer.send(request)
        while "progress" in (message := peer.receive()):
            progress(*message["progress"])
    except EOFError as error:
        kind = _Crashed if peer.crashed else PneumoError
        raise kind(peer.obituary("the process with the model")) from error
    finally:
        peer.end()
    if "answer" in message:
        return message["answer"]
    raise (UserError if message["wrong_use"] else PneumoError)(message["error"])
