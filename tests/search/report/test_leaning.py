"""Scores against facts of the images within each class."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from scipy import stats

from pneumo_core.progress import silent
from pneumo_core.scoring.intervals import Interval
from search.report import leaning
from search.report.data import Estimate, Leaning, ReportData
from search.report.markup import Html
from search.report.sections_trial import leaning_words, shortcuts
from search.report.source import images
from tests.search.report.conftest import MakeStudy
from tests.search.report.made import DATA, Made
from tests.search.report.pages import parse

CLASSES = ("NORMAL", "PNEUMONIA")


@pytest.fixture
def blurred(tmp_path: Path, phantoms: Path, make_study: MakeStudy) -> tuple[Made, dict[str, float]]:
    """A study on phantoms blurred by different radii, the ill ones more, and the radius of each image."""
    from tests.search.report import made

    radii: dict[str, float] = {}
    for place, file in enumerate(sorted(phantoms.rglob("*.png"))):
        path = file.relative_to(phantoms)
        radii[path.as_posix()] = 0.3 + place % 7 * 0.25 + (0.5 if "PNEUMONIA" in path.parts else 0.0)
        (tmp_path / "blurred" / path).parent.mkdir(parents=True, exist_ok=True)
        image = Image.open(file).filter(ImageFilter.GaussianBlur(radii[path.as_posix()]))
        image.save(tmp_path / "blurred" / path)
    return made.make(tmp_path / "runs", tmp_path / "blurred"), radii


def test_scores_that_follow_sharpness_are_found_out(blurred: tuple[Made, dict[str, float]]) -> None:
    study, radii = blurred
    seen = images(study.prepared, DATA)
    radius = np.array([radii[path] for path in seen.validation.paths])
    noise = np.random.default_rng(0).normal(size=len(radius))
    manifest = study.prepared.manifest
    by_blur = {one.fact: one for one in leaning.measure(seen, radius, manifest, 100, silent)}
    assert list(by_blur) == ["sharpness", "aspect", "brightness"]
    assert by_blur["sharpness"].class_auc < 0.4
    for label in (0, 1):
        assert by_blur["sharpness"].within[label].value < -0.7
        assert by_blur["sharpness"].follows(label)
    assert by_blur["aspect"].within == {}  # all phantoms are square
    by_chance = leaning.measure(seen, noise, manifest, 100, silent)
    assert not any(one.follows(label) for one in by_chance for label in (0, 1))
    words = leaning_words(tuple(by_blur.values()), CLASSES)
    assert "still follow sharpness (among NORMAL and PNEUMONIA)" in words
    assert "follow none of these facts" in leaning_words(by_chance, CLASSES)


def test_a_resample_correlates_as_its_rows_do() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.integers(0, 5, 40).astype(float), generator.normal(size=40)  # with ties and without
    rows = generator.integers(0, 40, (20, 40))
    times = np.array([np.bincount(some, minlength=40) for some in rows], np.float64)
    expected = [stats.spearmanr(a[some], b[some]).statistic for some in rows]
    assert leaning._correlations(a, b, times) == pytest.approx(expected, abs=1e-12)
    assert np.isnan(leaning._correlations(np.ones(40), b, times)).all()


def fact(class_auc: float, value: float, low: float, high: float) -> Leaning:
    estimate = Estimate(value=value, interval=Interval(low=low, high=high, confidence=0.95))
    return Leaning(fact="aspect", class_auc=class_auc, within={1: estimate})


@pytest.mark.parametrize(
    ("found", "follows"),
    [
        (fact(0.3, -0.4, -0.5, -0.3), True),
        (fact(0.7, -0.4, -0.5, -0.3), False),  # away from what the other class looks like
        (fact(0.51, 0.4, 0.3, 0.5), False),  # tells nothing of the class
        (fact(0.7, 0.4, -0.1, 0.6), False),  # chance
        (fact(0.7, 0.05, 0.01, 0.09), False),  # too little
    ],
)
def test_what_counts_as_leaning(found: Leaning, follows: bool) -> None:
    assert (found.follows(0), found.follows(1)) == (False, follows)


def test_the_report_has_table_and_picture_or_says_why_not(make_study: MakeStudy) -> None:
    study = make_study()
    study.finish(7.0)
    data = study.report()
    page = parse(shortcuts(data))
    assert "Rank correlation of scores with sharpness, aspect, brightness within each class" in page.alts
    for said in ("sharpness", "within NORMAL", "within PNEUMONIA", "rank correlation"):
        assert said in page.text
    gone = replace(data, leanings=(), no_leanings="Not measured: a file changed.")
    assert "a file changed" in text_of(shortcuts(gone))
    assert "--data" in text_of(shortcuts(study.report(with_data=False)))


def text_of(html: Html) -> str:
    return parse(html).text


def test_images_that_changed_since_the_scan_leave_the_rest_of_the_page(
    blurred: tuple[Made, dict[str, float]],
) -> None:
    study, radii = blurred
    study.finish(7.0)
    study.prepared.arrays_for(DATA)  # made before the files are gone
    for path in radii:
        (Path(study.prepared.manifest.source) / path).unlink()
    data: ReportData = study.report()
    assert data.performance is not None
    assert data.leanings == ()
    assert "Not measured" in data.no_leanings
