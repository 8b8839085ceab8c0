"""The process that draws from a KerasTuner hypermodel: `python -m pneumo_core.tuner.process`.

A hypermodel declares its parameters while it builds a Keras model, and a space must not load Keras. So the space asks
this process (see `pneumo_core.peer`): an `Open` once, then a `Draw` a trial. It replies with `Question`s, each answered
by an `Answer`, and at last with a `Drawn` or a `Refused`.
"""

import os
import select
import signal
import sys
from typing import Any

from pneumo_core import codec, lifeline, quick_keras
from pneumo_core.errors import UserError, describe, message_of
from pneumo_core.peer import Parent
from pneumo_core.tuner.dialogue import Answer, Draw, Drawn, Open, Question, Reason, Refused, Reply, Request, Scalar

IDLE_S = 600  # without a draw; the process then ends and gives back its memory, and the next draw starts another
MAX_DRAWS = 200  # Keras keeps some memory of every model


class Abandoned(BaseException):
    """The space has abandoned this draw; no `except Exception` of a hypermodel may hold it up."""

    def __init__(self, draw: Draw) -> None:
        super().__init__()
        self.draw = draw


class Space:
    """The process that asks for draws."""

    def __init__(self) -> None:
        self._parent = Parent()
        self._given: list[Scalar] = []

    def receive(self) -> Request:
        try:
            return codec.from_json(Request, self._parent.receive())  # type: ignore[arg-type]
        except EOFError:
            os._exit(0)

    def send(self, reply: Reply) -> None:
        self._parent.send(reply)

    def begin(self, draw: Draw) -> None:
        self._given = list(draw.answers)

    def ask(self, question: Question) -> Scalar:
        """Return the value of `question`: given with the draw, or asked for."""
        if self._given:
            return self._given.pop(0)
        self.send(question)
        message = self.receive()
        if isinstance(message, Draw):
            raise Abandoned(message)
        assert isinstance(message, Answer)
        return message.value


def main() -> None:
    """Draw until the space is gone or silent."""
    lifeline.settle(sys.stdin.fileno())
    if _is_abandoned():  # before the kernel was asked to end this process with the other
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the coordinator's to handle
    space = Space()
    opened = space.receive()
    assert isinstance(opened, Open)
    draw = _next_draw(space)
    n_draws, hypermodel = 0, None
    while n_draws < MAX_DRAWS:
        space.begin(draw)
        try:
            hypermodel = hypermodel or _load(opened)
            reply: Reply = _reply(opened, hypermodel, space)
        except Abandoned as error:
            draw = error.draw
            continue
        except UserError as error:
            reply = Refused(reason="wrong_use", message=str(error))
        space.send(reply)
        n_draws += 1
        draw = _next_draw(space)


def _is_abandoned() -> bool:
    """Return whether standard input has no writer any more, though something may be left to read."""
    poll = select.poll()
    poll.register(sys.stdin, 0)
    return any(event & select.POLLHUP for _, event in poll.poll(0))


def _next_draw(space: Space) -> Draw:
    signal.alarm(IDLE_S)
    message = space.receive()
    signal.alarm(0)
    assert isinstance(message, Draw)
    return message


def _load(opened: Open) -> Any:
    quick_keras.load("keras_tuner")
    from pneumo_core.seeds import seed_everything
    from pneumo_core.tuner import source

    seed_everything(0)  # a module that draws random numbers gives the same model in every process
    return source.load(opened.source, opened.attribute, opened.arguments)


def _reply(opened: Open, hypermodel: Any, space: Space) -> Reply:
    from keras_tuner import errors

    from pneumo_core.tuner import drawing

    try:
        return Drawn(spec=drawing.draw(opened, hypermodel, space.ask))
    except errors.FailedTrialError as error:
        return _refused("failed_trial", error)
    except errors.FatalError as error:
        return _refused("fatal", error)
    except ValueError as error:
        return Refused(reason="bad_spec", message=message_of(error))
    except (Exception, SystemExit) as error:
        return _refused("bad_spec", error)


def _refused(reason: Reason, error: BaseException) -> Refused:
    return Refused(reason=reason, message=describe(error))


if __name__ == "__main__":
    main()
