import contextlib
import io
import re
import sys

import numpy as np
import pytest
from PIL import Image

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
    if "PixelData" not in attributes:
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
        (
            {"PixelData": b""},
            "of 8 × 8 pixels .* whose PixelData is missing: export .* or leave it out",
        ),
        ({"Rows": None}, "without an image: it has no Rows; leave it out"),
        ({"Rows": 80}, "holds 128 bytes, but its Rows, Columns and BitsAllocated need 1280"),
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


def test_without_preamble() -> None:
    whole = image(RAMP)
    assert np.array_equal(reading.decode(whole[132:], channels=1), reading.decode(whole, channels=1))


def test_one_hot_pixel_does_not_set_the_range() -> None:
    stored = np.linspace(0, 4000, 128 * 128).round().astype(np.uint16).reshape(128, 128)
    expected = reading.decode(image(stored), channels=1)[1:].astype(int)
    stored[0, 0] = 65535
    assert np.abs(reading.decode(image(stored), channels=1)[1:].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_does_not_set_the_range(photometric: str) -> None:
    stored = RAMP.copy()
    stored[:, 0] = 65535
    decoded = reading.decode(image(stored, PixelPaddingValue=65535, PhotometricInterpretation=photometric), channels=1)[
        :, 1:, 0
    ]
    assert (decoded.min(), decoded.max()) == (0, 255)
    padded = reading.decode(image(stored, PixelPaddingValue=65535, PhotometricInterpretation=photometric), channels=1)
    assert padded[:, 0].max() == 0


WINDOW = {"WindowCenter": 1800, "WindowWidth": 600}


@pytest.mark.parametrize(
    ("attributes", "instead", "note"),
    [
        ({"RescaleSlope": None, "RescaleIntercept": None}, {}, "RescaleSlope is empty and taken as 1; RescaleInter"),
        ({"RescaleSlope": 0}, {}, "RescaleSlope is 0 and taken as 1"),
        ({"WindowCenter": 1800, "WindowWidth": 0}, {}, r"WindowCenter 1800, WindowWidth 0\) can't be followed"),
        ({"WindowCenter": 1800}, {}, r"WindowCenter 1800, WindowWidth missing\) can't be followed"),
        ({**WINDOW, "VOILUTFunction": "WAVY"}, WINDOW, "VOILUTFunction is unknown and taken as LINEAR"),
        ({"WindowCenter": 60000, "WindowWidth": 10}, {}, r"one grey only and is passed over \(WindowCenter 60000"),
    ],
)
def test_what_means_nothing_falls_back_with_a_note(
    attributes: dict[str, object], instead: dict[str, object], note: str
) -> None:
    shown, found = reading.decode_noted(image(RAMP, **attributes), channels=1)
    pixels = np.asarray(shown)[:, :, np.newaxis]
    assert np.array_equal(pixels, reading.decode(image(RAMP, **instead), channels=1))
    assert re.search(note, found)
    assert reading.decode_noted(image(RAMP, **WINDOW), channels=1)[1] == ""


@pytest.mark.parametrize("name", ["RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1e300", "1e999"])
def test_numbers_that_no_picture_has_are_refused(name: str, value: str) -> None:
    data = _with_text(image(RAMP, **{"WindowCenter": 1800, "WindowWidth": 600, name: "12345678"}), value)
    with pytest.raises(DataError, match=rf"{name} (is (nan|inf|-1e\+300), which no picture has|.*can't be read)"):
        reading.decode(data, channels=1)


def _with_text(data: bytes, value: str) -> bytes:
    return data.replace(b"12345678", value.ljust(8).encode())


def test_numbers_that_leave_no_differences_are_refused() -> None:
    with pytest.raises(DataError, match="RescaleSlope 1e-09 and RescaleIntercept 1e\\+11 leave no picture; correct"):
        reading.decode(image(RAMP, RescaleSlope="1e-9", RescaleIntercept="1e11"), channels=1)


def test_more_pixels_than_one_frame_has_are_read_silently(recwarn: pytest.WarningsRecorder) -> None:
    longer = np.concatenate([RAMP, RAMP])
    decoded = reading.decode(image(longer, Rows=8), channels=1)
    assert np.array_equal(decoded, reading.decode(image(RAMP), channels=1))
    assert not recwarn.list


def test_a_patient_identifier_of_an_unknown_kind_is_none_or_refused(capfd: pytest.CaptureFixture[str]) -> None:
    data = image(RAMP)
    at = data.index(b"\x10\x00\x20\x00LO")
    with contextlib.suppress(DataError):
        dicom.patient_digest(data[: at + 4] + b"??" + data[at + 6 :])
    assert "SECRET" not in "".join(capfd.readouterr())


def test_a_compressed_image_of_another_size_is_refused_before_it_is_decoded() -> None:
    data = compressed(RAMP.astype(np.uint8), inside=(3000, 2000))
    with pytest.raises(DataError, match=r"of 8 × 8 pixels \(Columns, Rows\) with a compressed image of 3000 × 2000"):
        reading.decode(data, channels=1)


def compressed(stored: np.ndarray, inside: tuple[int, int] | None = None) -> bytes:
    """Return a DICOM file whose JPEG is (width, height) `inside`, by default what the header says."""
    picture = Image.fromarray(stored) if inside is None else Image.new("L", inside)
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=95)
    dataset = pydicom.dcmread(io.BytesIO(image(stored)))
    dataset.PixelData = pydicom.encaps.encapsulate([jpeg.getvalue()])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


@needs_data
def test_real_compressed_radiographs() -> None:
    # the two files hold the same stored pixels and differ in the attribute alone
    one, two = (reading.decode(DATA / "dicom" / f"monochrome{n}.dcm", channels=1)[:, :, 0] for n in (1, 2))
    assert one.shape == (1024, 1024)
    assert np.array_equal(one, 255 - two)
