"""The page says each thing once, or the same each time."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from pneumo_core.specs import ObjectiveSpec
from search.report import svg
from search.report.data import ReportData
from search.report.markup import limit, percent, tag
from search.report.page import sections
from tests.search.report.conftest import MakeStudy
from tests.search.report.made import Made
from tests.search.report.pages import parse

NUMBER = r"(\d+(?:\.\d+)?)"
SHARE = re.compile(rf"{NUMBER} % \({NUMBER}–{NUMBER} %\) · (\d+) of (\d+)")
STATES = {"meets the ceiling": "feasible", "misses the ceiling": "infeasible", "pruned": "pruned", "failed": "failed"}


@pytest.fixture(autouse=True)
def unpainted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave pictures out: these tests read, and painting takes most of a page's time."""
    monkeypatch.setattr(svg, "draw", lambda paint, *, alt, **_: tag("img", src="data:,", alt=alt))


def of_every_state(study: Made) -> None:
    for quality in (7.0, 4.0, 0.5):
        study.finish(quality)
    study.finish(0.5, stopped="pruned", n_epochs=2)
    study.fail()
    study.fail("out_of_memory", "no memory")


def none_feasible(study: Made) -> None:
    study.finish(0.5)
    study.fail()


OBJECTIVES = {
    "as they are": {"objective": ObjectiveSpec()},
    "shifted": {"objective": ObjectiveSpec(shifts=("blurred", "dark", "cropped"))},
    "folds": {"n_folds": 3},
}


def texts(data: ReportData) -> dict[str, str]:
    """Return the words of each section, a space between those of two elements."""
    return {part.id: " ".join(parse(part.body.replace("<", " <")).text.split()) for part in sections(data)}


@pytest.mark.parametrize(
    ("what", "trials"), [*((what, of_every_state) for what in OBJECTIVES), ("as they are", none_feasible)]
)
def test_the_page_never_contradicts_itself(make_study: MakeStudy, what: str, trials: Callable[[Made], None]) -> None:
    study = make_study(**OBJECTIVES[what])  # type: ignore[arg-type]
    trials(study)
    data = study.report()
    check(data, texts(data))


def check(data: ReportData, text: dict[str, str]) -> None:
    shown, found = data.shown, data.performance
    assert shown is not None
    assert shown.metrics is not None
    assert found is not None, data.no_performance
    every = "\n".join(text.values())

    shares = SHARE.findall(every)
    assert shares
    for value, low, high, hits, n in shares:
        assert float(value) == pytest.approx(100 * int(hits) / int(n), abs=0.051)
        assert float(low) - 0.05 <= float(value) <= float(high) + 0.05

    m = shown.metrics
    fnr, recall = percent(m.fnr, beside=data.objective.fnr_ceiling), percent(m.recall)
    for part in ("summary", "search", "trial"):
        for figure in (fnr, recall, percent(m.specificity)):
            assert figure.replace("\u00a0", " ") in text[part], (part, figure)
    assert (data.best is None) == ("No feasible trial." in text["summary"])
    assert (m.fnr <= data.objective.fnr_ceiling) == ("Feasible." in text["summary"])

    c = found.assessment.confusion
    assert (c.true_positive, c.true_positive + c.false_negative) == (
        found.estimates["recall"].hits,
        found.estimates["recall"].n,
    )
    assert {"twice" in text["trial"], "as they are" in text["errors"], "as they are" in text["baselines"]} == {
        data.is_shifted
    }
    if not data.is_shifted:
        assert data.missed is not None
        assert data.false_alarms is not None
        assert (data.missed.n, data.false_alarms.n) == (c.false_negative, c.false_positive)
        assert data.compared[0].estimates["auc"].value == found.estimates["auc"].value == m.auc

    states = [row.state for row in data.trials]
    for word, state in STATES.items():
        n = states.count(state)  # type: ignore[arg-type]
        assert (f"{word} {n}" in text["cost"]) == bool(n)
    assert f"Failed: {states.count('failed')}" in text["losses"]
    assert f"{states.count('failed')} failed" in text["summary"]
    assert f"Pruned: {states.count('pruned')}" in text["losses"]


def test_a_rate_beside_its_limit_never_reads_as_the_limit() -> None:
    assert percent(0.0304, beside=0.03) == "3.04\u00a0%"
    assert percent(0.03, beside=0.03) == "3.0\u00a0%"
    assert percent(0.9696, beside=0.97) == "96.96\u00a0%"
    assert percent(0.5, beside=0.03) == "50.0\u00a0%"
    assert [limit(value).rstrip(" %\u00a0") for value in (0.03, 0.0125, 0.9, 0.001)] == ["3.0", "1.25", "90.0", "0.1"]


def test_a_trial_just_above_the_ceiling_is_said_to_be_above(make_study: MakeStudy) -> None:
    study = make_study()
    study.finish(0.5)
    data = study.report(with_data=False)
    row = data.trials[0]
    assert row.metrics is not None
    near = replace(row, metrics=replace(row.metrics, fnr=0.0304, recall=0.9696), constraint=0.0004)
    text = texts(replace(data, trials=(near,), shown=near))
    assert "ceiling of 3.0 %" in text["summary"]
    for part in ("summary", "search"):
        assert "3.04 %" in text[part]
        assert "96.96 %" in text[part]
