"""`pneumo report` as a user types it: where the page goes, what it says when it can't, and its exit code."""

import shutil
from pathlib import Path

from tests.commands import pneumo_here
from tests.search.report.conftest import MakeStudy

GOOD, POOR = 7.0, 0.5


def test_report_with_the_data_writes_the_page_and_ends_with_0(make_study: MakeStudy, tmp_path: Path) -> None:
    study = make_study()
    study.finish(GOOD)
    report = ("report", "made", "--out", "deep/report", "--data", study.spec.data.source)
    done = pneumo_here(*report, folder=tmp_path, is_drawn=True)
    assert done.stdout.strip() == "deep/report/report.html"
    page = (tmp_path / "deep" / "report" / "report.html").read_text("utf-8")
    assert "data:image/png" in page or "None." in page
    assert "Trivial baselines" in page


def test_report_without_feasible_trial_is_written_and_ends_with_3(make_study: MakeStudy, tmp_path: Path) -> None:
    make_study().finish(POOR)
    pneumo_here("report", "made", "--out", "out", folder=tmp_path, code=3)
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "No feasible trial" in page
    assert "Give --data" in page


def test_report_of_an_unknown_study_names_the_known_ones(make_study: MakeStudy, tmp_path: Path) -> None:
    make_study()
    assert "did you mean 'made'" in pneumo_here("report", "mode", "--out", "out", folder=tmp_path, code=2).stderr


def test_report_refuses_images_that_the_study_did_not_see(
    make_study: MakeStudy, tmp_path: Path, phantoms: Path
) -> None:
    make_study()
    other = tmp_path / "other"
    shutil.copytree(phantoms, other)
    next(other.rglob("*.png")).unlink()
    said = pneumo_here("report", "made", "--out", "out", "--data", other, folder=tmp_path, code=2).stderr
    assert "is not what study 'made' was trained on" in said
    assert "digest" in said
    assert not (tmp_path / "out").exists()


def test_report_into_a_place_that_is_a_file_is_refused(make_study: MakeStudy, tmp_path: Path) -> None:
    make_study()
    (tmp_path / "out").write_text("")
    assert "can't write" in pneumo_here("report", "made", "--out", "out", folder=tmp_path, code=2).stderr


def test_report_of_a_study_whose_usual_images_are_others_goes_without(make_study: MakeStudy, tmp_path: Path) -> None:
    study = make_study()
    study.finish(GOOD)
    file = tmp_path / "made.py"
    file.write_text(
        "from studies.quickstart import STUDY as Q\nimport dataclasses\n"
        "from studies.spec import SourceSpec\n"
        'STUDY = dataclasses.replace(Q, name="made", data=SourceSpec(source="gone"))\n'
    )
    pneumo_here("report", "made.py", "--out", "out", folder=tmp_path)
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "Give --data" in page
    assert "does not exist" in page
