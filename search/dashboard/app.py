"""optuna-dashboard's web application, read-only and with the right best trials."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna
from optuna.trial import FrozenTrial

from pneumo_core.errors import PneumoError, UserError, describe
from search import records
from search.dashboard.pictures import Pictures
from search.dashboard.review import ReviewStorage
from search.stored_trials import trials_of

LOOPBACK = "127.0.0.1"  # the dashboard has no login: anyone who reaches it may read everything
HOSTS = {LOOPBACK, "localhost", ""}
READING = {"GET", "HEAD"}
OWN_SITES = {"same-origin", "none"}  # what a browser says of requests of our own pages and of typed addresses
ARTIFACTS = "/artifacts/"
SHOWN = {"application/json", "image/jpeg", "image/png", "image/svg+xml", "text/csv", "text/plain"}
HARMLESS = (  # whatever a stored file holds, it runs nothing, and no other site can embed it
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "SAMEORIGIN"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
SANDBOX = ("Content-Security-Policy", "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:")
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
    app.catchall = False  # its own page of an error prints a traceback
    return guarded(app)


def best_trials(storage: ReviewStorage, study_id: int) -> list[FrozenTrial]:
    """Return the best feasible trial, or with two objectives the feasible trials that no other surpasses in both."""
    study = optuna.load_study(study_name=storage.get_study_name_from_id(study_id), storage=storage)
    if len(study.directions) > 1:
        return study.best_trials
    stored = optuna.load_study(study_name=study.study_name, storage=storage.inner)  # with all attributes
    best = records.best_feasible(trials_of(stored).ours)
    return [storage.get_trial(best._trial_id)] if best else []


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
    """Return `app` refusing requests that would write and requests from pages of other sites.

    optuna-dashboard lets every page read artifacts, which here are pictures of patients, and serves them as whatever
    type was stored: both are corrected in the answer.
    """

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if reason := refusal(environ):
            return _refuse(start_response, "403 Forbidden", reason)

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            return start_response(status, harmless(headers, environ["PATH_INFO"].startswith(ARTIFACTS)), *rest)

        try:
            return app(environ, start)
        except Exception as error:  # a damaged row makes Optuna raise anything
            return _refuse(start_response, "500 Internal Server Error", f"the study can't be read: {describe(error)}")

    return serve


def refusal(environ: Mapping[str, Any]) -> str | None:
    """Return why a request is refused, None for one of our own pages that reads."""
    host = str(environ.get("HTTP_HOST", ""))
    if host.partition(":")[0] not in HOSTS:
        return f"this server answers to {LOOPBACK} only"
    own = environ.get("HTTP_SEC_FETCH_SITE", "none") in OWN_SITES
    if not own or environ.get("HTTP_ORIGIN", f"http://{host}") != f"http://{host}":
        return "this server answers only its own pages; type the address instead of following a link"
    return None if environ["REQUEST_METHOD"] in READING else "this view of the study is read-only"


def harmless(headers: Sequence[tuple[str, str]], is_artifact: bool) -> list[tuple[str, str]]:
    """Return `headers` without leave for other sites, and for a stored file with a type that a browser may show."""
    kept = [(name, value) for name, value in headers if not name.lower().startswith("access-control-")]
    if not is_artifact:
        return [*kept, *HARMLESS]
    stated = next((value for name, value in kept if name.lower() == "content-type"), "").partition(";")[0]
    shown = stated if stated in SHOWN else "application/octet-stream"
    kept = [(name, value) for name, value in kept if not name.lower().startswith("content-type")]
    return [*kept, ("Content-Type", shown), SANDBOX, *HARMLESS]


def server(app: Wsgi, port: int) -> WSGIServer:
    """Return a server on `port` of the loopback interface, 0 for a free one. Raises `UserError` for a taken port."""
    try:
        return make_server(LOOPBACK, port, app, server_class=_Server, handler_class=_Handler)
    except (OSError, OverflowError) as error:
        raise UserError(f"port {port} can't be used: {error}; `--port 0` takes a free one") from error


def _refuse(start_response: Callable[..., Any], status: str, reason: str) -> Iterable[bytes]:
    start_response(status, [("Content-Type", "application/json")])
    return [json.dumps({"reason": reason}).encode()]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # an open request doesn't keep the program from ending


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: a browser asks every few seconds."""
