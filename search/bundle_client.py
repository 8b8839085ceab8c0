"""Asks the process that uses a bundle, so that this one never loads Keras."""

from typing import Any

from pneumo_core import secrecy
from pneumo_core.bundles.bundle_process import Request
from pneumo_core.errors import PneumoError, UserError
from pneumo_core.peer import Peer
from pneumo_core.progress import Progress, silent


def ask(request: Request, progress: Progress = silent) -> Any:
    """Return the answer to `request` as JSON-native data.

    Raises `UserError` where the request can't be served as it is, `PneumoError` where the process failed.
    """
    peer = Peer("pneumo_core.bundles.bundle_process", {"TF_CPP_MIN_LOG_LEVEL": "2"} | secrecy.environment())
    try:
        peer.send(request)
        while "progress" in (message := peer.receive()):
            progress(*message["progress"])
    except EOFError as error:
        raise PneumoError(peer.obituary("the process with the model")) from error
    finally:
        peer.end()
    if "answer" in message:
        return message["answer"]
    raise (UserError if message["wrong_use"] else PneumoError)(message["error"])
