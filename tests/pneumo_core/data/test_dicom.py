import io
import sys

import numpy as np
import pytest

from pneumo_core.data import dicom, reading
from pneumo_core.errors import DataError
from tests.pneumo_core.pictures import DATA, needs_data

pydicom = pytest.importorskip("pydicom", reason="needs the extra `dicom`")

SECRET = "Doe^Jane"


def image(stored: np.ndarray, **attributes: object) -> bytes:
    """Return an uncompressed DICOM file of `stored` (h, w) uint8 or uint16."""
    from pydicom.dataset import Dataset, FileMetaDataset

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.PatientName, dataset.PatientID = SECRET, "SECRET-7"
    bits = stored.dtype.itemsize * 8
    facts = {"Rows": stored.shape[0], "Columns": stored.shape[1], "BitsAllocated": bits, "BitsStored": bits}
    facts |= {"HighBit": bits - 1, "PixelRepresentation": 0, "SamplesPerPixel": 1}
    for name, value in {**facts, "PhotometricInterpretation": "MONOCHROME2", **attributes}.items():
        setattr(dataset, name, value)
    dataset.PixelData = stored.tobytes()
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


RAMP = np.arange(64, dtype=np.uint16).reshape(8, 8) * 60  # 0..3780


def test_deep_pixels_are_scaled_by_their_range() -> None:
    decoded = reading.decode(image(RAMP, BitsStored=12, HighBit=11), channels=1)[:, :, 0]
    assert np.array_equal(decoded, np.rint(RAMP / 3780 * 255))


def test_eight_bits_stay_as_they_are() -> None:
    stored = np.arange(100, 164, dtype=np.uint8).reshape(8, 8)
    assert np.array_equal(reading.decode(image(stored), channels=1)[:, :, 0], stored)


def test_monochrome1_is_inverted() -> None:
    plain = reading.decode(image(RAMP), channels=1).astype(int)
    inverted = reading.decode(image(RAMP, PhotometricInterpretation="MONOCHROME1"), channels=1)
    assert np.array_equal(255 - plain, inverted)


def test_window_saturates_what_is_outside() -> None:
    decoded = reading.decode(image(RAMP, WindowCenter=1800, WindowWidth=600), channels=1)[:, :, 0]
    assert decoded[RAMP < 1500].max() == 0
    assert decoded[RAMP > 2100].min() == 255
    assert 100 < decoded[RAMP == 1800][0] < 155


def test_modality_rescale_comes_before_the_window() -> None:
    changes = {"RescaleSlope": 2, "RescaleIntercept": -1000, "RescaleType": "US"}
    decoded = reading.decode(image(RAMP, WindowCenter=2600, WindowWidth=1200, **changes), channels=1)
    assert np.array_equal(decoded, reading.decode(image(RAMP, WindowCenter=1800, WindowWidth=600), channels=1))


def test_header_and_patient() -> None:
    data = image(RAMP)
    assert reading.header(data) == reading.Header(width_px=8, height_px=8, mode="I;16", format="DICOM")
    assert dicom.patient_digest(data) == dicom.patient_digest(image(RAMP, PatientName="other"))
    assert dicom.patient_digest(data) != dicom.patient_digest(image(RAMP, PatientID="SECRET-8"))
    assert dicom.patient_digest(image(RAMP, PatientID="")) == ""


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"NumberOfFrames": 2}, "2 frames"),
        ({"Rows": 60_000, "Columns": 60_000}, "60000 × 60000 pixels"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "kind that is not read"),
        ({"Rows": 80}, "can't be decoded"),
    ],
)
def test_refusals_never_name_the_patient(attributes: dict[str, object], reason: str) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        reading.decode(image(RAMP, **attributes), channels=1)
    assert "Jane" not in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_without_pydicom_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(DataError, match=r"pneumo-search\[dicom\]"):
        reading.decode(image(RAMP), channels=1)


@needs_data
def test_real_compressed_radiographs() -> None:
    # the two files hold the same stored pixels and differ in the attribute alone
    one, two = (reading.decode(DATA / "dicom" / f"monochrome{n}.dcm", channels=1)[:, :, 0] for n in (1, 2))
    assert one.shape == (1024, 1024)
    assert np.array_equal(one, 255 - two)
