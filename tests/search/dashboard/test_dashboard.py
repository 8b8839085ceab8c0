"""The dashboard over HTTP: true feasibility and best trial, pictures, and nothing written."""

import hashlib
import http.client
import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import optuna
import pytest
from optuna.artifacts import upload_artifact
from PIL import Image

from benchmarks.pictures import served as serving
from pneumo_core.errors import StorageError, StudyError, UserError
from search import trials
from search.dashboard import app, open, presented
from search.dashboard.pictures import Labels
from search.dashboard.presented import with_notes
from search.home import Home
from search.storage import artifacts
from tests.commands import command, environment
from tests.search.dashboard import studies
from tests.search.dashboard.studies import FAIR, GOOD, INFEASIBLE, PRUNED, Judged

pytest.importorskip("optuna_dashboard")


@contextmanager
def served(study: optuna.Study, folder: Path, labels: Labels | None = None) -> Iterator[int]:
    """Serve `study` on a free port meanwhile."""
    with serving(open.dashboard(study, Home(folder), labels)) as port:
        yield port


def request(port: int, path: str, method: str = "GET", host: str | None = None, **headers: str) -> tuple[int, bytes]:
    status, body, _ = answer(port, path, method, ({"Host": host} if host else {}) | headers)
    return status, body


def answer(port: int, path: str, method: str, headers: dict[str, str]) -> tuple[int, bytes, Message]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, headers=headers)
    got = connection.getresponse()
    try:
        return got.status, got.read(), got.headers
    finally:
        connection.close()


def detail(port: int, study: optuna.Study) -> dict[str, Any]:
    status, body = request(port, f"/api/studies/{study._study_id}")
    assert status == 200, body
    found: dict[str, Any] = json.loads(body)
    return found


def best(port: int, study: optuna.Study) -> list[int]:
    return [trial["number"] for trial in detail(port, study)["best_trials"]]


def test_feasibility_and_best_trial_are_true_and_the_database_is_as_before(tmp_path: Path) -> None:
    study = studies.make(tmp_path, INFEASIBLE, GOOD, FAIR, PRUNED)
    study._storage._backend.engine.dispose()
    before = hashlib.sha256((tmp_path / "pneumo.db").read_bytes()).hexdigest()
    with served(study, tmp_path) as port:
        found = detail(port, study)
    study._storage._backend.engine.dispose()
    assert [trial["constraints"] for trial in found["trials"]] == [[0.02], [-0.01], [0.0], [0.3]]
    assert [trial["number"] for trial in found["best_trials"]] == [1]
    assert found["trials"][0]["note"]["body"].startswith("**Not feasible**")
    assert found["trials"][1]["note"]["body"].startswith("**Feasible**: the false-negative rate of ")
    assert "| data.image_size_px |" in found["trials"][1]["note"]["body"]
    attributes = [pair for place in (found, *found["trials"]) for pair in place["user_attrs"]]
    assert {"recall", "fnr"} <= {pair["key"] for pair in attributes}
    assert not [pair for pair in attributes if pair["value"].startswith(("{", "["))]  # wider than any screen
    assert "made for a test" in found["note"]["body"]
    assert hashlib.sha256((tmp_path / "pneumo.db").read_bytes()).hexdigest() == before


def test_people_see_the_values_of_the_model_not_the_numbers_of_the_sampler(tmp_path: Path) -> None:
    study = studies.make(tmp_path)
    study.set_user_attr("fingerprint", {"space": {"units": "int in [2, 64]", "units (drawn)": "int in [0, 5]"}})
    for units, rate in ((4, 0.5), (32, 0.01), (64, 0.02)):
        trial = study.ask()
        trial.suggest_int("units (drawn)", 0, 5)
        trial.suggest_int("units", units, units)
        trial.suggest_float("rate (drawn)", 0.0, 1.0)
        trial.suggest_float("rate", rate, rate)
        trials.finish(study, trial, studies.result(GOOD))
    with served(study, tmp_path) as port:
        found = detail(port, study)
        one = json.loads(request(port, f"/api/studies/{study._study_id}?after=2")[1])["trials"][0]
    shown = [{param["name"]: param["param_external_value"] for param in trial["params"]} for trial in found["trials"]]
    assert shown == [
        {"units": "4", "rate": "0.5"},
        {"units": "32", "rate": "0.01"},
        {"units": "64", "rate": "0.02"},
    ]
    assert one["params"] == found["trials"][2]["params"]
    assert found["union_search_space"] == found["intersection_search_space"]  # so that importance is computed for each
    ranges = {space["name"]: space["distribution"] for space in found["union_search_space"]}
    assert {name: (x["low"], x["high"], x["log"]) for name, x in ranges.items()} == {
        "units": (4, 64, True),
        "rate": (0.01, 0.5, True),
    }
    assert "| units |" in found["note"]["body"]
    assert "(drawn)" not in json.dumps(found)
    assert study.trials[1].params["units (drawn)"] >= 0  # and the database has them


def test_without_a_feasible_trial_none_is_best(tmp_path: Path) -> None:
    study = studies.make(tmp_path, INFEASIBLE, PRUNED)
    with served(study, tmp_path) as port:
        assert best(port, study) == []


def test_with_two_objectives_infeasible_trials_are_not_on_the_front(tmp_path: Path) -> None:
    two = [((0.99, 0.99), 0.1), ((0.98, 0.80), 0.0), ((0.90, 0.95), -0.1), ((0.85, 0.90), -0.1)]
    study = studies.make(tmp_path, *(Judged(values=values, constraint=c) for values, c in two))
    with served(study, tmp_path) as port:
        assert best(port, study) == [1, 2]


def test_a_trial_that_finishes_meanwhile_appears(tmp_path: Path) -> None:
    study = studies.make(tmp_path, FAIR)
    with served(study, tmp_path) as port:
        assert best(port, study) == [0]
        studies.add(study, Home(tmp_path), GOOD)
        assert best(port, study) == [1]


def test_a_complete_trial_without_a_constraint_is_not_feasible(tmp_path: Path) -> None:
    study = studies.make(tmp_path, FAIR)
    study.add_trial(optuna.create_trial(value=1.0))
    with served(study, tmp_path) as port:
        assert detail(port, study)["trials"][1]["constraints"] == [1.0]
        assert best(port, study) == [0]


def pictures(port: int, study: optuna.Study) -> dict[str, bytes]:
    trial = detail(port, study)["trials"][0]
    found = {}
    for artifact in trial["artifacts"]:
        status, body = request(port, f"/artifacts/{study._study_id}/{trial['trial_id']}/{artifact['artifact_id']}")
        assert status == 200
        found[artifact["filename"]] = body
    return found


def test_pictures_are_drawn_and_stored_files_passed_through(tmp_path: Path) -> None:
    study = studies.make(tmp_path, GOOD)
    with served(study, tmp_path, studies.labels()) as port:
        found = pictures(port, study)
    assert set(found) == {"roc.svg", "confusion.svg", "errors.svg", "training.svg", "result.json"}
    assert json.loads(found["result.json"])["scores"] == list(studies.SCORES)
    for name in set(found) - {"result.json"}:
        assert ElementTree.fromstring(found[name]).tag == "{http://www.w3.org/2000/svg}svg"
    positive = [score for score, ill in zip(studies.SCORES, studies.Y, strict=True) if ill]
    assert f"{sum(score < 0.5 for score in positive)} missed" in found["errors.svg"].decode()
    assert b"operating point" in found["roc.svg"]


def test_errors_are_shown_as_radiographs_where_their_files_are(tmp_path: Path) -> None:
    study, sizes = studies.make(tmp_path, GOOD), []
    for folder in (tmp_path / "gone", tmp_path):
        with served(study, tmp_path, studies.labels(folder)) as port:
            sizes.append(len(pictures(port, study)["errors.svg"]))
        for row in range(len(studies.Y)):
            pixels = np.random.default_rng(row).integers(0, 255, (200, 200), np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"image-{row}", format="PNG")
    assert sizes[1] > 5 * sizes[0]  # the network's input has 8 pixels a side


def test_without_labels_there_are_training_curves(tmp_path: Path) -> None:
    study = studies.make(tmp_path, GOOD)
    with served(study, tmp_path) as port:
        assert set(pictures(port, study)) == {"training.svg", "result.json"}


def test_a_result_kept_on_another_machine_is_said_to_be_away(tmp_path: Path) -> None:
    study = studies.make(tmp_path / "there", GOOD)
    with served(study, tmp_path / "here") as port:
        trial = detail(port, study)["trials"][0]["trial_id"]
        _, body = request(port, f"/artifacts/{study._study_id}/{trial}/3-{trial:x}")
    assert b"are not here" in body


@pytest.mark.parametrize(("method", "path"), [("DELETE", "/api/studies/1"), ("PUT", "/api/studies/1/note")])
def test_writing_is_refused(tmp_path: Path, method: str, path: str) -> None:
    study = studies.make(tmp_path, GOOD)
    with served(study, tmp_path) as port:
        status, body = request(port, path, method)
        assert (status, json.loads(body)["reason"]) == (403, "this view of the study is read-only")
        assert best(port, study) == [0]


def test_the_storage_itself_refuses_to_write(tmp_path: Path) -> None:
    study = studies.make(tmp_path, GOOD)
    review = open.ReviewStorage(study._storage, study._study_id, note="", artifacts_of=lambda _: ())
    with pytest.raises(StorageError, match="read-only"):
        optuna.load_study(study_name="tiny", storage=review).set_user_attr("a", 1)


def test_the_note_of_a_judged_trial_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    note = presented.note
    monkeypatch.setattr(presented, "note", lambda trial: made.append(trial.number) or note(trial))
    study = studies.make(tmp_path, GOOD)
    review = open.ReviewStorage(study._storage, study._study_id, note="of the study", artifacts_of=lambda _: ())
    first = review.get_study_system_attrs(study._study_id)
    trials.finish(study, study.ask(), studies.result(FAIR))
    second = review.get_study_system_attrs(study._study_id)
    assert made == [0, 1]
    assert first.items() <= second.items()
    assert sum(key.endswith("note_str:0") for key in second) == 3
    assert review.get_trial(study.trials[0]._trial_id).number == 0


def test_a_page_elsewhere_that_points_its_name_here_gets_nothing(tmp_path: Path) -> None:
    study = studies.make(tmp_path, GOOD)
    with served(study, tmp_path) as port:
        assert request(port, "/api/studies", host="evil.example")[0] == 403
        assert request(port, "/api/studies", host=f"localhost:{port}")[0] == 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Origin", "http://evil.example"),
        ("Origin", "http://127.0.0.1:1"),
        ("Origin", "null"),
    ],
)
def test_a_page_of_another_site_or_port_gets_nothing(tmp_path: Path, name: str, value: str) -> None:
    study = studies.make(tmp_path, GOOD)
    with served(study, tmp_path) as port:
        assert request(port, "/api/studies", **{name: value})[0] == 403
        own = {"Sec-Fetch-Site": "same-origin", "Origin": f"http://127.0.0.1:{port}"}
        assert request(port, "/api/studies", **own)[0] == 200


def test_stored_files_come_as_types_that_run_nothing(tmp_path: Path) -> None:
    study = studies.make(tmp_path, GOOD)
    page = tmp_path / "page.html"
    page.write_text("<script>alert(1)</script>")
    kept = {
        kind: upload_artifact(
            artifact_store=artifacts.store(Home(tmp_path).artifacts),
            file_path=str(page),
            study_or_trial=study,
            mimetype=kind,
        )
        for kind in ("text/html", "application/xhtml+xml", "image/png")
    }
    with served(study, tmp_path) as port:
        for stored, identity in kept.items():
            status, _, headers = answer(port, f"/artifacts/{study._study_id}/{identity}", "GET", {})
            assert status == 200
            assert headers["Content-Type"] == (stored if stored == "image/png" else "application/octet-stream")
            assert headers["Content-Security-Policy"].startswith("sandbox;")
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert "Access-Control-Allow-Origin" not in headers


def test_other_studies_of_the_database_are_not_shown(tmp_path: Path) -> None:
    study = studies.make(tmp_path, GOOD)
    other = studies.make(tmp_path, GOOD, name="other")
    with served(study, tmp_path) as port:
        names = [one["study_name"] for one in json.loads(request(port, "/api/studies")[1])["study_summaries"]]
        assert names == ["tiny"]
        assert request(port, f"/api/studies/{other._study_id}")[0] == 404


def test_a_taken_port_is_named_with_the_remedy(tmp_path: Path) -> None:
    study = studies.make(tmp_path, GOOD)
    with served(study, tmp_path) as port, pytest.raises(UserError, match=f"port {port} .*--port 0"):
        app.server(open.dashboard(study, Home(tmp_path), None), port)


def test_a_study_of_another_program_is_refused(tmp_path: Path) -> None:
    study = optuna.create_study(storage=f"sqlite:///{tmp_path}/foreign.db")
    with pytest.raises(StudyError, match="not made by this program"):
        open.dashboard(study, Home(tmp_path), None)


def test_what_someone_wrote_stands_below_the_definition() -> None:
    attrs = {"dashboard:note_ver": 3, "dashboard:note_str:0": "mine, ", "dashboard:note_str:1": "long", "x": 1}
    shown = with_notes(attrs, {None: "definition", 7: "verdict"})
    assert shown["dashboard:note_str:0"] == "definition\n\n---\n\nmine, long"
    assert shown["dashboard:7:note_str:0"] == "verdict"
    assert (shown["dashboard:note_ver"], shown["x"], "dashboard:note_str:1" in shown) == (3, 1, False)


def test_the_command_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    study = studies.make(tmp_path / "runs", INFEASIBLE, GOOD)
    process = subprocess.Popen(
        command("dashboard", "tiny", "--port", "0"),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.endswith(f"/dashboard/studies/{study._study_id}/note"), url
        port = int(url.split(":")[2].split("/")[0])
        assert best(port, study) == [1]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.communicate()
