"""The process that draws from a KerasTuner hypermodel, as a space sees it."""

from dataclasses import dataclass

from pneumo_core import codec, secrecy
from pneumo_core.errors import StudyError
from pneumo_core.peer import Peer
from pneumo_core.tuner.dialogue import Answer, Draw, Open, Reply, Request, Scalar

QUIET = {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "2"}  # it only builds


@dataclass
class Helper:
    """Started when first needed, and again where it ended."""

    opened: Open
    _peer: Peer | None = None

    def draw(self, answers: tuple[Scalar, ...]) -> Reply:
        """Begin to build a model; the first questions have these answers."""
        return self._asked(Draw(answers=answers), answers)

    def answer(self, answers: tuple[Scalar, ...]) -> Reply:
        """Answer the last question with the last of `answers`, which are all since the draw began."""
        return self._asked(Answer(value=answers[-1]), answers)

    def _asked(self, request: Request, answers: tuple[Scalar, ...]) -> Reply:
        if self._peer is not None:
            try:
                return _exchange(self._peer, request)
            except EOFError:  # it was idle for too long, or was killed: once more in a fresh one
                self._peer.end()
        peer = self._peer = Peer("pneumo_core.tuner.process", secrecy.environment(QUIET), own_session=True)
        try:
            peer.send(self.opened)
            return _exchange(peer, Draw(answers=answers))
        except EOFError as error:
            self._peer = None
            raise StudyError(peer.obituary(f"the process that builds {self.opened.attribute}")) from error


def _exchange(peer: Peer, request: Request) -> Reply:
    peer.send(request)
    return codec.from_json(Reply, peer.receive())  # type: ignore[arg-type]
