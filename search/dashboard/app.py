"""optuna-dashboard's web application with its notion of the best trials put right, closed to all but reading."""

import json
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna
from optuna.trial import FrozenTrial

from pneumo_core.errors import PneumoError, UserError
from search import records
from search.dashboard.pictures import Pictures
from search.dashboard.review import ReviewStorage

LOOPBACK = "127.0.0.1"  # the dashboard knows no users: whoever reaches it may read everything
HOSTS = {LOOPBACK, "localhost", ""}
READING = {"GET", "HEAD"}
STUDY_ROUTE = "/api/studies/<study_id:int>"
INSTALL = "the dashboard needs a package: pip install 'pneumo-search[dashboard]'"

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def make(storage: ReviewStorage, pictures: Pictures) -> Wsgi:
    """Return the application. Raises `UserError` without the package, `PneumoError` for a version of another make."""
    try:
        from optuna_dashboard import wsgi
    except ImportError as error:
        raise UserError(INSTALL) from error
    app = wsgi(storage, artifact_store=pictures)
    if not any(route.rule == STUDY_ROUTE for route in app.routes):
        raise PneumoError("this version of optuna-dashboard is unknown: pip install 'optuna-dashboard~=0.21.0'")
    app.install(FeasibleBest(storage))
    return guarded(app)


def best_trials(storage: ReviewStorage, study_id: int) -> list[FrozenTrial]:
    """Return the best feasible trial, or with two objectives the feasible trials that no other surpasses in both."""
    study = optuna.load_study(study_name=storage.get_study_name_from_id(study_id), storage=storage)
    if len(study.directions) > 1:
        return study.best_trials
    best = records.best_feasible(study.get_trials(deepcopy=False))
    return [best] if best else []


class FeasibleBest:
    """A plugin of Bottle that replaces `best_trials` of a study: the dashboard's ignore constraints."""

    name, api = "feasible_best", 2

    def __init__(self, storage: ReviewStorage) -> None:
        self._storage = storage

    def apply(self, callback: Callable[..., Any], route: Any) -> Callable[..., Any]:
        """Return `callback`, wrapped where `route` answers with a whole study."""
        if route.rule != STUDY_ROUTE or route.method != "GET":
            return callback

        def answer(study_id: int) -> Any:
            body = callback(study_id=study_id)
            return {**body, "best_trials": self._serialized(study_id)} if "best_trials" in body else body

        return answer

    def _serialized(self, study_id: int) -> list[dict[str, Any]]:
        from optuna_dashboard._serializer import serialize_frozen_trial

        attrs = self._storage.get_study_system_attrs(study_id)
        return [serialize_frozen_trial(study_id, trial, attrs) for trial in best_trials(self._storage, study_id)]


def guarded(app: Wsgi) -> Wsgi:
    """Return `app` refusing what would write, and requests that a web page elsewhere sent by a name of its own."""

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        host = str(environ.get("HTTP_HOST", "")).partition(":")[0]
        if host not in HOSTS:
            return _refuse(start_response, f"this server answers to {LOOPBACK} only")
        if environ["REQUEST_METHOD"] not in READING:
            return _refuse(start_response, "this view of the study is read-only")
        return app(environ, start_response)

    return serve


def server(app: Wsgi, port: int) -> WSGIServer:
    """Return a server on `port` of the loopback interface, 0 for a free one. Raises `UserError` for a taken port."""
    try:
        return make_server(LOOPBACK, port, app, server_class=_Server, handler_class=_Handler)
    except (OSError, OverflowError) as error:
        raise UserError(f"port {port} can't be used: {error}; `--port 0` takes a free one") from error


def _refuse(start_response: Callable[..., Any], reason: str) -> Iterable[bytes]:
    start_response("403 Forbidden", [("Content-Type", "application/json")])
    return [json.dumps({"reason": reason}).encode()]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # an open request doesn't keep the program from ending


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: a browser asks every few seconds."""
