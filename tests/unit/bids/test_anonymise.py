"""The patient is gone from every byte of the result."""

import gzip
import json

import nibabel as nib
import numpy as np
import pytest
import tiny_session
from pydicom.dataset import Dataset

from scan2map.bids.anonymise import clean_sidecar, compress_image, files_naming_patient, patient_identifiers

NAMES = (b"musterfrau", b"erika", b"hosp-778899", b"19640812", b"1964-08-12")
PLACES = (b"digital phantom lab", b'00001"')


def decompressed(path):
    return gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()


def test_the_dicom_files_do_name_the_patient(tiny):
    raw = next(tiny.dicom.rglob("*.dcm")).read_bytes().lower()
    assert all(name in raw for name in NAMES[:4])


def test_no_byte_of_the_result_names_the_patient(tiny):
    for path in tiny.out.rglob("*"):
        if path.is_file() and tiny.dicom not in path.parents:
            content = decompressed(path).lower() + str(path.relative_to(tiny.out)).lower().encode()
            assert not [name for name in (*NAMES, *PLACES) if name in content], path


def test_no_sidecar_tells_when_or_where(tiny):
    for path in tiny.bids.rglob("*.json"):
        keys = set(json.loads(path.read_text()))
        assert not {key for key in keys if "Institution" in key or (key.startswith("Acquisition") and "Time" in key)}
        assert not keys & {"DeviceSerialNumber", "StationName", "PatientName", "PatientID"}


def test_headers_hold_no_text(tiny):
    for path in tiny.bids.rglob("*.nii.gz"):
        header = nib.load(path).header
        assert all(header[field].item() == b"" for field in ("descrip", "aux_file", "db_name"))


def header(**values):
    dataset = Dataset()
    for name, value in values.items():
        setattr(dataset, name, value)
    return dataset


def test_identifiers_of_a_header():
    found = patient_identifiers(
        [
            header(
                PatientName="Doe^Jonathan",
                PatientID="01",
                PatientBirthDate="19991231",
                OtherPatientIDs=["X-12345", "7"],
            )
        ]
    )
    # "Doe", "01" and "7" are too short to search for.
    assert found.exact == {"doe^jonathan", "doe jonathan", "19991231", "1999-12-31", "x-12345"}
    assert found.name_parts == {"jonathan"}


def test_values_that_name_the_patient_go_with_their_keys():
    identifiers = patient_identifiers([header(PatientName="Head^Erika", PatientID="H-123")])
    sidecar = {"A": "scan of ERIKA_1", "B": 0.1, "StationName": "MR1", "C": ["a", "h-123"], "Coil": "HeadNeck_64"}
    assert clean_sidecar(sidecar, {"StationName"}, identifiers) == {"B": 0.1, "Coil": "HeadNeck_64"}


def test_a_label_that_the_study_chose_is_no_leak():
    identifiers = patient_identifiers([header(PatientID="P0001", PatientName="Doe^Jonathan")])
    assert identifiers.without("sub-P0001_ses-01").exact == {"doe^jonathan", "doe jonathan"}


def test_compression_keeps_the_image_and_gives_the_same_bytes(tmp_path):
    data = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    image = nib.Nifti1Image(data, np.diag([2, 2, 2, 1]))
    image.header["descrip"] = b"TE=2;Time=121417.020"
    nib.save(image, tmp_path / "a.nii")
    nib.save(image, tmp_path / "b.nii")
    for name in ("a", "b"):
        compress_image(tmp_path / f"{name}.nii", tmp_path / f"{name}.nii.gz")
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    loaded = nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(loaded.get_fdata(), data)
    np.testing.assert_array_equal(loaded.affine, image.affine)
    assert b"1214" not in gzip.decompress((tmp_path / "a.nii.gz").read_bytes())


@pytest.mark.parametrize("name", ["x.json", "hosp-778899.tsv"])
def test_what_is_left_is_found(tmp_path, name):
    (tmp_path / name).write_text('{"a": "HOSP-778899"}' if name == "x.json" else "")
    found = files_naming_patient(tmp_path, patient_identifiers([header(PatientID=tiny_session.PATIENT.identifier)]))
    assert [path.name for path in found] == [name]
