"""The certificate keeps its promise on simulated scores, where the plug-in threshold and false assumptions don't."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, norm

from pneumo_core import codec
from pneumo_core.scoring.certify import (
    Certificate,
    allowed_misses,
    certifiable_ceiling,
    certify_both,
    certify_images,
    certify_patients,
    lowest_by_patient,
    positives_needed,
)
from pneumo_core.scoring.exact import upper_bound
from pneumo_core.scoring.operating import judge
from pneumo_core.specs import ObjectiveSpec

N_DRAWS, CEILING, CONFIDENCE = 1000, 0.05, 0.95
PATIENT_SD, IMAGE_SD = 0.8, 0.6  # of a positive's score: variance 1 in all, correlation 0.64 within a patient
MAX_IMAGES = 4  # 1 to 4 images a patient, equally often


def broken_more_often_than_promised(n_broken: int) -> bool:
    """Whether `n_broken` of `N_DRAWS` is beyond binomial error of δ (one-sided, 0.1 %)."""
    return bool(binomtest(n_broken, N_DRAWS, 1 - CONFIDENCE, alternative="greater").pvalue < 0.001)


def n_broken(true_fnr: Callable[[float], float], threshold_of: Callable[[np.random.Generator], float]) -> int:
    """Count the calibration draws whose threshold misses more than the ceiling of all positives."""
    generator = np.random.default_rng(20)
    return sum(true_fnr(threshold_of(generator)) > CEILING for _ in range(N_DRAWS))


def threshold_of(certificate: Certificate) -> float:
    assert certificate.threshold is not None
    return certificate.threshold


def plug_in(y: np.ndarray, scores: np.ndarray) -> float:
    """The threshold that a trial's own judgement would take under the same ceiling."""
    return judge(y, scores, ObjectiveSpec(kind="specificity", fnr_ceiling=CEILING)).metrics.threshold


def plug_in_by_patient(y: np.ndarray, scores: np.ndarray, groups: np.ndarray) -> float:
    """The same by patient: each patient's lowest score in place of their images."""
    by_class = [lowest_by_patient(scores[y == label], groups[y == label]) for label in (0, 1)]
    return plug_in(np.repeat([0, 1], [len(lowest) for lowest in by_class]), np.concatenate(by_class))


def draw_images(generator: np.random.Generator, n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Independent images, half negative N(−1, 1), half positive N(1, 1)."""
    y = np.repeat([0, 1], n)
    return y, generator.normal(size=2 * n) + np.where(y, 1.0, -1.0)


def fnr_of_images(threshold: float) -> float:
    return float(norm.cdf(threshold - 1))


def test_by_image_the_certificate_holds_and_the_plug_in_fails() -> None:
    certified = n_broken(fnr_of_images, lambda rng: threshold_of(certify_images(*draw_images(rng), ceiling=CEILING)))
    plugged_in = n_broken(fnr_of_images, lambda rng: plug_in(*draw_images(rng)))
    assert not broken_more_often_than_promised(certified)
    assert broken_more_often_than_promised(plugged_in)
    assert plugged_in > 0.3 * N_DRAWS
    exact = binom.cdf(allowed_misses(200, CEILING, CONFIDENCE), 200, CEILING)  # the promise isn't kept by luck
    assert binomtest(certified, N_DRAWS, exact).pvalue > 0.001


def test_by_image_the_certificate_holds_with_tied_scores() -> None:
    """Scores of one decimal: many positives share the deciding score."""

    def draw(generator: np.random.Generator) -> float:
        y, scores = draw_images(generator)
        return threshold_of(certify_images(y, np.round(scores, 1), ceiling=CEILING))

    def true_fnr(threshold: float) -> float:
        return float(norm.cdf(np.ceil(threshold * 10 - 1e-9) / 10 - 0.05 - 1))  # P(rounded score < threshold)

    assert not broken_more_often_than_promised(n_broken(true_fnr, draw))


def test_by_image_the_best_of_several_candidates_holds_only_with_their_number_stated() -> None:
    """Five equally good models; the one with the highest threshold on calibration looks best and is kept."""

    def keep_best(n_candidates: int) -> Callable[[np.random.Generator], float]:
        def draw(generator: np.random.Generator) -> float:
            models = [generator.normal(size=200) + 1 for _ in range(5)]
            return max(
                threshold_of(certify_images(np.ones(200), scores, ceiling=CEILING, n_candidates=n_candidates))
                for scores in models
            )

        return draw

    assert not broken_more_often_than_promised(n_broken(fnr_of_images, keep_best(5)))
    assert broken_more_often_than_promised(n_broken(fnr_of_images, keep_best(1)))


def draw_patients(generator: np.random.Generator, n: int = 150) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`n` negative and `n` positive patients; images of one patient share most of their score."""
    groups = np.repeat(np.arange(2 * n), generator.integers(1, MAX_IMAGES + 1, size=2 * n))
    y = (groups >= n).astype(int)
    noise = PATIENT_SD * generator.normal(size=2 * n)[groups] + IMAGE_SD * generator.normal(size=len(groups))
    return y, noise + np.where(y, 1.0, -1.0), groups


def fnr_of_patients(threshold: float) -> float:
    """P(the lowest of a patient's images < threshold), by Gauss–Hermite quadrature over the patient's effect."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    kept = norm.sf((threshold - 1 - PATIENT_SD * nodes) / IMAGE_SD)  # one image kept, given the patient
    all_kept = np.mean([kept**n_images for n_images in range(1, MAX_IMAGES + 1)], axis=0)
    return float(1 - weights @ all_kept / weights.sum())


def test_by_patient_the_certificate_holds_and_the_others_fail() -> None:
    certified = n_broken(
        fnr_of_patients, lambda rng: threshold_of(certify_patients(*draw_patients(rng), ceiling=CEILING))
    )
    assert not broken_more_often_than_promised(certified)
    assert broken_more_often_than_promised(
        n_broken(fnr_of_patients, lambda rng: plug_in_by_patient(*draw_patients(rng)))
    )


def test_by_image_the_certificate_fails_with_correlated_patients() -> None:
    """Why certify_patients exists: dependent images promise more than they can keep, even image by image."""
    n, groups = 80, np.repeat(np.arange(80), MAX_IMAGES)

    def draw(unit: str) -> Callable[[np.random.Generator], float]:
        def threshold(generator: np.random.Generator) -> float:
            noise = IMAGE_SD * generator.normal(size=len(groups))
            scores = 1 + PATIENT_SD * generator.normal(size=n)[groups] + noise
            if unit == "image":
                return threshold_of(certify_images(np.ones(len(groups)), scores, ceiling=CEILING))
            return threshold_of(certify_patients(np.ones(len(groups)), scores, groups, ceiling=CEILING))

        return threshold

    assert broken_more_often_than_promised(n_broken(fnr_of_images, draw("image")))
    assert not broken_more_often_than_promised(n_broken(fnr_of_images, draw("patient")))


@given(st.integers(1, 3000), st.floats(0.001, 0.5), st.sampled_from([0.8, 0.95, 0.99]), st.integers(1, 20))
def test_allowed_misses_are_the_most_that_the_binomial_allows(
    n: int, ceiling: float, confidence: float, n_candidates: int
) -> None:
    delta = (1 - confidence) / n_candidates
    allowed = allowed_misses(n, ceiling, confidence, n_candidates)
    if allowed is None:
        assert binom.cdf(0, n, ceiling) > delta - 1e-9
    else:
        assert binom.cdf(allowed, n, ceiling) <= delta + 1e-9
        assert allowed == n - 1 or binom.cdf(allowed + 1, n, ceiling) > delta - 1e-9


@given(st.floats(0.002, 0.9), st.sampled_from([0.8, 0.95, 0.99]), st.integers(0, 10), st.integers(1, 20))
def test_one_positive_fewer_than_needed_is_too_few(
    ceiling: float, confidence: float, n_misses: int, n_candidates: int
) -> None:
    needed = positives_needed(ceiling, confidence, n_misses=n_misses, n_candidates=n_candidates)
    allowed = allowed_misses(needed, ceiling, confidence, n_candidates)
    fewer = allowed_misses(needed - 1, ceiling, confidence, n_candidates)
    assert allowed is not None
    assert allowed >= n_misses
    assert fewer is None or fewer < n_misses


@pytest.mark.parametrize(("ceiling", "needed"), [(0.01, 299), (0.02, 149), (0.03, 99), (0.05, 59)])
def test_positives_needed_at_95_per_cent_confidence(ceiling: float, needed: int) -> None:
    assert positives_needed(ceiling, 0.95) == needed


@given(st.integers(1, 2000), st.sampled_from([0.8, 0.95, 0.99]), st.integers(1, 20))
def test_the_certifiable_ceiling_is_the_bound_without_a_miss(n: int, confidence: float, n_candidates: int) -> None:
    ceiling = certifiable_ceiling(n, confidence, n_candidates)
    scipy = binomtest(0, n, alternative="less").proportion_ci(1 - (1 - confidence) / n_candidates, "exact").high
    assert ceiling == pytest.approx(scipy, abs=1e-9)
    assert positives_needed(min(ceiling * 1.0001, 0.9999), confidence, n_candidates=n_candidates) <= n


@given(st.integers(1, 500), st.integers(0, 500), st.sampled_from([0.8, 0.95, 0.99]))
def test_the_upper_bound_of_a_fixed_threshold_equals_scipy(n: int, missed: int, confidence: float) -> None:
    missed = min(missed, n)
    scipy = binomtest(missed, n, alternative="less").proportion_ci(confidence, "exact").high
    assert upper_bound(missed, n, confidence) == pytest.approx(scipy, abs=1e-9)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=300), st.floats(0.01, 0.5))
def test_the_threshold_is_the_highest_allowed_but_for_noise(tenths: list[int], ceiling: float) -> None:
    scores = np.array(tenths) / 50
    certificate = certify_images(np.ones(len(scores)), scores, ceiling=ceiling)
    if certificate.threshold is None or certificate.n_allowed_misses is None:
        assert len(scores) < certificate.n_positives_needed
        return
    deciding = np.sort(scores)[certificate.n_allowed_misses]
    assert deciding * (1 - 2e-6) <= certificate.threshold <= deciding
    assert certificate.n_missed == np.sum(scores < deciding)
    assert certificate.n_missed <= certificate.n_allowed_misses
    assert certificate.fnr_upper is not None
    assert certificate.fnr_upper <= ceiling + 1e-9


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 50)), min_size=60, max_size=200))
def test_the_patient_threshold_never_misses_more_patients_than_allowed(rows: list[tuple[int, int]]) -> None:
    groups, scores = np.array([row[0] for row in rows]), np.array([row[1] for row in rows]) / 50
    certificate = certify_patients(np.ones(len(rows)), scores, groups, ceiling=0.3)
    assert certificate.n_positives == len(np.unique(groups))
    if certificate.threshold is not None and certificate.n_allowed_misses is not None:
        missed = {patient for patient, score in zip(groups, scores, strict=True) if score < certificate.threshold}
        assert len(missed) == certificate.n_missed <= certificate.n_allowed_misses


def test_alone_in_their_group_images_are_patients() -> None:
    y, scores = draw_images(np.random.default_rng(0))
    by_image = certify_images(y, scores, ceiling=CEILING)
    by_patient = certify_patients(y, scores, np.arange(len(y)), ceiling=CEILING)
    assert by_patient.threshold == by_image.threshold
    assert (by_image.unit, by_patient.unit) == ("image", "patient")


def test_negatives_have_no_say() -> None:
    y, scores = draw_images(np.random.default_rng(0))
    assert certify_images(y[y == 1], scores[y == 1], ceiling=0.05) == certify_images(y, scores, ceiling=0.05)


@pytest.mark.parametrize("n", [0, 1, 58])
def test_with_too_few_positives_nothing_is_pretended(n: int) -> None:
    y = np.concatenate([np.zeros(5), np.ones(n)])
    certificate = certify_images(y, np.linspace(0, 1, n + 5), ceiling=0.05)
    assert not certificate.certified
    assert certificate.threshold is certificate.fnr_upper is certificate.n_missed is None
    assert certificate.n_positives_needed == 59
    assert certificate.certifiable_ceiling == (pytest.approx(1 - 0.05 ** (1 / n)) if n else 1.0)
    assert f"with {n} positive images: at least 59 are needed" in str(certificate)


def test_the_least_positives_certify_without_a_miss() -> None:
    scores = np.linspace(0.2, 0.9, 59)
    certificate = certify_images(np.ones(59), scores, ceiling=0.05)
    assert (certificate.n_missed, certificate.n_allowed_misses) == (0, 0)
    assert certificate.threshold == pytest.approx(0.2, rel=2e-6)
    assert "is at most 0.05 at threshold 0.2 (0 of 59 positive images missed" in str(certificate)


def test_float_noise_in_the_deciding_score_flips_nothing() -> None:
    scores = np.linspace(0.2, 0.9, 300)
    certificate = certify_images(np.ones(300), scores, ceiling=0.05)
    assert certificate.threshold is not None
    noisy = scores * (1 + 2e-7 * np.random.default_rng(0).choice([-1, 1], size=300))
    assert np.array_equal(noisy >= certificate.threshold, scores >= certificate.threshold)


def test_both_promises_hold_at_the_lower_threshold_and_by_patient_only_where_patients_are_known() -> None:
    y, scores, groups = draw_patients(np.random.default_rng(0))
    known = certify_both(y, scores, groups, patients_known=True, ceiling=CEILING)
    assert known.certificates == (
        certify_images(y, scores, ceiling=CEILING),
        certify_patients(y, scores, groups, ceiling=CEILING),
    )
    assert known.threshold == min(map(threshold_of, known.certificates))
    assert known.guarantee == "patient"
    assert certify_both(y, scores, groups, patients_known=False, ceiling=CEILING).guarantee == "image"
    few = certify_both(y, scores, np.zeros(len(y), int), patients_known=True, ceiling=CEILING)
    assert (few.guarantee, few.threshold) == ("image", few.certificates[0].threshold)
    none = certify_both(y, scores, groups, patients_known=True, ceiling=0.001)
    assert (none.guarantee, none.threshold) == ("none", None)


@pytest.mark.parametrize("n", [20, 200])
def test_a_certificate_survives_json(n: int) -> None:
    certificate = certify_images(np.ones(n), np.linspace(0, 1, n), ceiling=0.05, n_candidates=3)
    assert codec.from_json(Certificate, codec.to_json(certificate)) == certificate


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ceiling": 0.0}, r"`ceiling` must be in \(0, 1\), got 0.0"),
        ({"ceiling": 0.05, "confidence": 1.0}, r"`confidence` must be in \(0, 1\), got 1.0"),
        ({"ceiling": 0.05, "n_candidates": 0}, "`n_candidates` must be at least 1, got 0"),
    ],
)
def test_impossible_promises_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        certify_images([1, 1], [0.1, 0.2], **arguments)


def test_scores_and_groups_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="1 NaN or infinite"):
        certify_images([1, 1], [0.1, np.inf], ceiling=0.05)
    with pytest.raises(ValueError, match=r"`groups` must have shape \(2,\)"):
        certify_patients([1, 1], [0.1, 0.2], ["a"], ceiling=0.05)
