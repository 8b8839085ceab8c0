"""The guarantee of a bundle's threshold in words, and no more than that."""

from pneumo_core.bundles.bundle import Bundle


def promise(bundle: Bundle) -> str:
    """Return the guarantee of `bundle`'s threshold as a sentence; Markdown."""
    if bundle.guarantee == "none":
        why = "the split leaks patients, so there is no guarantee for new ones; " if _leaks(bundle) else ""
        return f"**Not certified**: {why}this is a plug-in threshold from validation, without a guarantee."
    wording = f"with confidence {bundle.confidence:g} the false-negative rate is at most {bundle.ceiling:g}"
    where = _where(bundle)
    if bundle.guarantee == "patient":
        return f"**Certified** by image and by patient: {wording}{where}, in each reading."
    return (
        f"**Certified by image only**: {wording}{where} if positive images were independent, which those of one "
        f"patient are not. {_why_not_by_patient(bundle)}"
    )


def _where(bundle: Bundle) -> str:
    """Return on which images the promise holds, where there are several kinds."""
    if not bundle.shifts:
        return ""
    names = ", ".join(name.replace("_", " ") for name in bundle.shifts)
    return (
        f" on images like those of the calibration, as they are and under each of {len(bundle.shifts)} changes alone "
        f"({names}); nothing is promised of other changes, nor of several at once"
    )


def _why_not_by_patient(bundle: Bundle) -> str:
    by_patient = bundle.certificates.get("patient")
    if by_patient is not None and by_patient.certified:
        return "There is no guarantee by patient: which images are of one patient is not known."
    return "By patient there are too few positives."


def _leaks(bundle: Bundle) -> bool:
    return not bundle.certifications and bool(bundle.fingerprint.get("split", {}).get("protocol") == "per_image_random")
