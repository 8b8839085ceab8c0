"""The pieces behind the page: figures with intervals, comparisons, galleries, scales, texts."""

import base64
import io
import math
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from optuna.distributions import FloatDistribution
from PIL import Image

from pneumo_core.result import Layer
from pneumo_core.scoring import intervals, metrics
from pneumo_core.scoring.operating import Metrics
from pneumo_core.specs import ObjectiveSpec
from search.report import diagrams, gallery, gather, markup, performance, plots_parameters, plots_search, svg
from search.report.data import TrialRow, Validation
from tests.search.report.pages import parse
from tests.search.watching.test_view import RESULT

# One patient an image; the last positive is missed at 0.5, and one negative is a false alarm.
Y = np.array([0, 0, 0, 0, 1, 1, 1, 1], dtype=np.bool_)
SCORES = np.array([0.1, 0.2, 0.3, 0.6, 0.9, 0.8, 0.7, 0.4])


def validation(groups: tuple[str, ...] = tuple("abcdefgh")) -> Validation:
    x = np.arange(8 * 4 * 4, dtype=np.uint8).reshape(8, 4, 4, 1)
    kinds = ("normal",) * 4 + ("bacteria", "bacteria", "virus", "virus")
    return Validation(x=x, y=Y, paths=tuple(f"role/{name}.png" for name in groups), groups=groups, kinds=kinds)


def measured(groups: tuple[str, ...] = tuple("abcdefgh")) -> performance.Performance:
    return performance.measure(validation(groups), SCORES, 0.5, ObjectiveSpec(), 50)


def test_performance_counts_and_their_intervals() -> None:
    found = measured()
    assert (found.assessment.confusion.true_positive, found.assessment.confusion.false_negative) == (3, 1)
    assert (found.assessment.confusion.true_negative, found.assessment.confusion.false_positive) == (3, 1)
    assert found.estimates["recall"].interval == intervals.clustered([True, True, True, False], list("efgh"))
    assert found.estimates["auc"].value == metrics.auc(Y, SCORES)


def test_under_shifts_each_image_counts_once_in_what_is_promised() -> None:
    stored = Metrics(recall=0.75, specificity=0.75, fnr=0.25, auc=0.9, pauc=0.6, threshold=0.5)
    result = replace(RESULT, metrics=stored, scores=tuple(SCORES), shifted_scores=tuple(SCORES))
    twice = performance.measure(*performance.judged(validation(), result), 0.5, ObjectiveSpec(), 50)
    once = measured()
    assert (twice.estimates["recall"].hits, twice.estimates["recall"].n) == (6, 8)
    assert twice.region == once.region
    wide, narrow = (found.estimates["recall"].interval for found in (twice, once))
    assert wide.high - wide.low > 0.9 * (narrow.high - narrow.low)


def test_joint_region_covers_95_percent_with_two_independent_intervals() -> None:
    recall, specificity = measured().region
    assert recall.confidence * specificity.confidence == pytest.approx(0.95)
    assert recall.low < 0.75 < recall.high


def test_a_patient_with_any_missed_image_counts_once() -> None:
    found = measured(groups=("a", "b", "c", "d", "e", "e", "f", "f")).patients_missed
    assert (found.hits, found.n) == (1, 2)


def test_recall_by_kind() -> None:
    found = measured().recall_by_kind
    assert {name: (estimate.hits, estimate.n) for name, estimate in found.items()} == {
        "bacteria": (2, 2),
        "virus": (1, 2),
    }


def test_figures_of_a_model_at_the_floor_and_at_the_ceiling() -> None:
    objective = ObjectiveSpec(specificity_floor=0.75, fnr_ceiling=0.25)
    cuts = metrics.cuts(Y, SCORES)
    at_floor, at_ceiling = performance.cuts_for(objective, cuts)
    assert (cuts.n_missed[at_floor], cuts.n_cleared[at_floor]) == (0, 3)
    assert (cuts.n_missed[at_ceiling], cuts.n_cleared[at_ceiling]) == (1, 4)


def test_baselines_margins_are_differences_on_the_same_resamples() -> None:
    samples = performance._resampled(validation(), [SCORES, SCORES], lambda cuts: (cuts.auc, 0.0, 0.0), 20)
    assert samples.shape == (20, 2, 3)
    assert (samples[:, 0] == samples[:, 1]).all()


def test_a_constant_score_has_no_recall_at_the_floor_and_no_specificity_at_the_ceiling() -> None:
    cuts = metrics.cuts(Y, np.ones(8))
    at_floor, at_ceiling = performance.cuts_for(ObjectiveSpec(), cuts)
    assert (cuts.fnr[at_floor], cuts.specificity[at_ceiling]) == (1, 0)


def test_gallery_shows_every_miss_surest_first_and_overlays_by_row(tmp_path: Path) -> None:
    missed, false_alarms = gallery.galleries(validation(), SCORES, 0.75, {6: b"overlay"}, tmp_path)
    assert [(card.name, card.score, card.overlay) for card in missed.cards] == [
        ("h.png", 0.4, None),
        ("g.png", 0.7, b"overlay"),
    ]
    assert Image.open(io.BytesIO(missed.cards[0].jpeg)).size == (400, 400)
    assert false_alarms.n == 0


def test_gallery_is_capped_and_says_how_many_there_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gallery, "MAX_MISSED", 1)
    missed, _ = gallery.galleries(validation(), SCORES, 0.95, {}, tmp_path)
    assert (missed.n, len(missed.cards)) == (4, 1)


@pytest.mark.parametrize(("n", "expected"), [(3, [0, 1, 2]), (5, [0, 1, 2, 3, 4]), (9, [0, 2, 4, 6, 8])])
def test_spread_takes_both_ends(n: int, expected: list[int]) -> None:
    assert gallery.spread(np.arange(n), 5).tolist() == expected


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n_trials", [gather.MIN_TRIALS, 80])
def test_importance_is_of_the_parameters_that_people_see_and_not_of_chance(n_trials: int, seed: int) -> None:
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed))
    others = {f"rate_{number}": FloatDistribution(0, 1) for number in range(4)}
    for x in np.linspace(0, 1, n_trials):
        trial = study.ask({"units (drawn)": FloatDistribution(0, 1), **others})
        trial.suggest_int("units", round(64 * x), round(64 * x))
        study.tell(trial, trial.params["units (drawn)"])
    (found, _) = gather.importances(study, study.trials, ["recall"])
    assert set(found.shares) == {"units", *others}
    assert max(found.shares, key=found.shares.__getitem__) == "units"


def test_best_so_far_rises() -> None:
    def row(number: int, value: float, state: str = "feasible") -> TrialRow:
        return TrialRow(number=number, state=state, values=(value,))  # type: ignore[arg-type]

    rows = [row(0, 0.9, "infeasible"), row(1, 0.5), row(2, 0.4), row(3, 0.7), row(4, 0.7)]
    assert [found.number for found in plots_search.best_so_far(rows)] == [1, 3]


def test_frame_of_the_history_leaves_hopeless_trials_on_its_edge() -> None:
    assert plots_search.frame_bottom([0.8, 0.9, 1.0]) == 0.8
    assert plots_search.frame_bottom([0.0] + [0.9, 1.0] * 10) > 0.8


def test_pareto_front_of_feasible_trials_with_two_objectives() -> None:
    def row(number: int, recall: float, specificity: float) -> TrialRow:
        figures = {"fnr": 0.0, "auc": 0.9, "pauc": 0.9, "threshold": 0.5}
        found = Metrics(recall=recall, specificity=specificity, **figures)
        return TrialRow(number=number, state="feasible", values=(recall, specificity), metrics=found)

    rows = [row(0, 1.0, 0.8), row(1, 0.9, 0.9), row(2, 0.9, 0.8), row(3, 0.8, 1.0)]
    assert plots_search.pareto(rows) == [(0.8, 1.0), (0.9, 0.9), (1.0, 0.8)]


@pytest.mark.parametrize(
    ("values", "value", "place"),
    [
        ([0, 10], 5, 0.5),
        ([1e-4, 1e-1], 10**-2.5, 0.5),  # over decades: by its logarithm
        ([3, 3], 3, 0.5),
        ([True, False], True, 1.0),
        (["a", "b", "c"], "b", 0.5),
        ([None, 2.0, 4.0], None, 0.0),
        ([None, "b"], None, 0.0),
        ([1, "b"], 1, 0.0),
    ],
)
def test_scale_places(values: list[object], value: object, place: float) -> None:
    scale = plots_parameters.fit(values)
    assert scale.place(value) == pytest.approx(place)
    assert all(0 <= at <= 1 for at, _ in scale.ticks)


def test_absent_values_stand_below_the_smallest() -> None:
    scale = plots_parameters.fit([None, 2.0, 4.0])
    assert scale.place(None) < scale.place(2.0) < scale.place(4.0) == 1.0


@pytest.mark.parametrize(("seconds", "unit"), [(30, "seconds"), (1000, "minutes"), (3 * 3600, "hours"), (1e6, "days")])
def test_time_unit(seconds: float, unit: str) -> None:
    assert markup.time_unit(seconds)[1] == unit


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (7.04, "7.0 s"), (59.7, "1 min"), (61, "1 min 1 s"), (3600, "1 h"), (90061, "1 d 1 h")],
)
def test_duration(seconds: float, text: str) -> None:
    assert markup.duration(seconds) == text


def test_texts_are_escaped_wherever_they_are_put() -> None:
    made = markup.tag("p", "<b>&", markup.tag("i", "'\""), title='"><script>')
    assert made == '<p title="&quot;&gt;&lt;script&gt;">&lt;b&gt;&amp;<i>&#x27;&quot;</i></p>'


def test_an_f_string_of_markup_is_text_again() -> None:
    assert "<b>" not in markup.tag("p", f"{markup.tag('b', 'x')}")


def test_long_and_reordering_texts_are_tamed() -> None:
    assert len(markup.clean("x" * 10_000)) < 2100
    assert markup.clean("a\u202eb\x00c\nd") == r"a\u202eb\x00c" + "\nd"


def test_gallery_shows_the_radiograph_and_not_the_input_of_the_network(tmp_path: Path) -> None:
    (tmp_path / "role").mkdir()
    Image.fromarray(np.zeros((300, 200), np.uint8)).save(tmp_path / "role" / "h.png")
    missed, _ = gallery.galleries(validation(), SCORES, 0.5, {}, tmp_path)
    assert [card.name for card in missed.cards] == ["h.png"]
    assert Image.open(io.BytesIO(missed.cards[0].jpeg)).size == (267, 400)


@pytest.mark.parametrize("text", ["$x^{$", r"\$a$", "<&>\"'", "a\nb", "$$$", "\x1b[0m"])
def test_labels_are_never_read_as_mathematics(text: str) -> None:
    drawn = svg.draw(lambda figure: figure.subplots().set_title(svg.plain(text)), alt=text)
    assert parse(drawn).tags["img"] == 1


def test_a_picture_brings_its_colours_for_light_and_dark_and_its_drawing_for_a_phone() -> None:
    drawn = svg.draw(lambda figure: figure.subplots().set_title("x"), alt="", size=svg.WIDE, phone_height=3)
    wide, phone = (base64.b64decode(uri).decode() for uri in re.findall(r"base64,([^\"]+)", drawn)[::-1])
    assert 'width="734' in wide
    assert 'width="295' in phone
    assert f"{svg._variable(svg.INK)}:{svg.DARK[svg.INK]}" in wide
    assert "DejaVu" not in wide
    assert "metadata" not in wide


def test_legends_take_as_many_rows_as_they_need() -> None:
    labels = ["a rather long label of a model"] * 6

    def paint(figure: Figure) -> None:
        handles = [Line2D([], [])] * 6
        svg.legend(figure, handles, labels)
        figure.draw_without_rendering()
        box = figure.legends[0].get_window_extent()
        assert 0 <= box.x0 < box.x1 <= figure.bbox.width

    svg.draw(paint, alt="", size=svg.WIDE, phone_height=4)


def test_a_deep_network_is_drawn_in_boxes_of_neighbours() -> None:
    layers = [
        Layer(name=f"conv{n}", kind="Conv2D", shape=(32 >> n // 20, 32 >> n // 20, 8), n_parameters=10, trains=n > 59)
        for n in range(80)
    ]
    drawn = diagrams.network(layers)
    assert drawn.count("<li") == 4
    assert "20 × Conv2D" in drawn
    assert drawn.count("frozen") == 6  # in class and text of three boxes
    assert diagrams.n_trained(layers) == 200


def test_a_trial_that_never_ran_has_an_empty_row() -> None:
    from optuna.trial import TrialState, create_trial

    made = gather.row_of(create_trial(state=TrialState.WAITING))
    assert (made.state, made.metrics, made.values) == ("waiting", None, ())
    assert gather.number(math.nan) is None
    assert gather.number(True) is None
    assert gather.texts(SimpleNamespace()) == {}
