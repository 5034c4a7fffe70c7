"""DICOM headers in the classic Siemens dialect: what the simulated scanner writes about a series and a slice.

The private elements are those that dcm2niix reads from single-frame Siemens images: block (0019,10xx)
``SIEMENS MR HEADER`` for diffusion and bandwidth, block (0021,11xx) ``SIEMENS MR SDI 02`` for the sign of the phase
encoding, and the protocol text (0021,1019) for the labelling times of ASL.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import UID, CTImageStorage, MRImageStorage
from pydicom.valuerep import DSfloat

from scan2map.phantom.dicom_geometry import RAS_TO_LPS, SliceGeometry, StoredPixels
from scan2map.phantom.series import AslTiming, Series

UID_NAMESPACE = uuid.UUID("5b0c3f5e-6c1d-5b0e-9d55-2d1c3f0a7e21")  # fixed: the same session gets the same UIDs
# A made-up date. It starts at midnight because dcm2niix holds a time of day, HHMMSS, as float32: at 09:00 slice times
# would be rounded to 8 ms, in the first minutes of the day to less than 0.1 ms.
STUDY_START = datetime(2020, 1, 2, 0, 0, 0)
SECONDS_PER_SERIES = 10
MEGAHERTZ_PER_TESLA = 42.577478518  # proton gyromagnetic ratio / 2 pi, CODATA 2018
SIEMENS_HEADER, SIEMENS_SDS, SIEMENS_SDI = "SIEMENS MR HEADER", "SIEMENS MR SDS 01", "SIEMENS MR SDI 02"


@dataclass(frozen=True)
class Patient:
    """The made-up person whose name stands in the headers, so that the ingest has something to remove."""

    identifier: str
    name: str = "Phantom^Digital"
    birth_date: str = "19850615"
    sex: str = "O"
    age_years: int = 34
    weight_kg: float = 70.0


@dataclass(frozen=True)
class Study:
    """One visit to the scanner.

    Attributes:
        patient: who was scanned.
        session: label of the visit.
        field_strength_t: T.
    """

    patient: Patient
    session: str = "01"
    field_strength_t: float = 3.0

    def uid(self, *parts) -> UID:
        """A UID that depends on the subject, the session and the parts alone (DICOM PS3.5 B.2)."""
        name = "/".join(map(str, (self.patient.identifier, self.session, *parts)))
        return UID(f"2.25.{uuid.uuid5(UID_NAMESPACE, name).int}")


def decimal(value: float) -> DSfloat:
    """A decimal string that keeps as many digits as its 16 characters hold."""
    return DSfloat(float(value), auto_format=True)


def decimals(values) -> list[DSfloat]:
    """Decimal strings of several values."""
    return [decimal(value) for value in values]


def series_start(series: Series) -> datetime:
    """When the made-up series began."""
    return STUDY_START + timedelta(seconds=SECONDS_PER_SERIES * series.number)


def _dicom_time(moment: datetime) -> str:
    return moment.strftime("%H%M%S.%f")


def _add_study(header: Dataset, study: Study) -> None:
    patient = study.patient
    header.PatientName, header.PatientID = patient.name, patient.identifier
    header.PatientBirthDate, header.PatientSex = patient.birth_date, patient.sex
    header.PatientAge, header.PatientWeight = f"{patient.age_years:03d}Y", decimal(patient.weight_kg)
    header.StudyInstanceUID, header.FrameOfReferenceUID = study.uid("study"), study.uid("frame")
    header.StudyID, header.AccessionNumber, header.ReferringPhysicianName = study.session, "", ""
    header.StudyDate, header.StudyTime = STUDY_START.strftime("%Y%m%d"), _dicom_time(STUDY_START)
    header.InstitutionName, header.DeviceSerialNumber = "Digital Phantom Lab", "00001"


def _add_series(header: Dataset, series: Series, study: Study) -> None:
    start = series_start(series)
    header.SOPClassUID = CTImageStorage if series.kind == "ct" else MRImageStorage
    header.Modality = "CT" if series.kind == "ct" else "MR"
    header.Manufacturer, header.ManufacturerModelName = "Siemens", "DigitalPhantom"
    header.SoftwareVersions = "scan2map phantom"
    header.SeriesInstanceUID, header.SeriesNumber = study.uid(series.number), series.number
    header.SeriesDescription = header.ProtocolName = series.description
    header.SeriesDate = header.AcquisitionDate = header.ContentDate = start.strftime("%Y%m%d")
    header.SeriesTime = _dicom_time(start)
    header.BodyPartExamined, header.PatientPosition, header.PositionReferenceIndicator = "HEAD", "HFS", ""
    header.ImageType = list(series.image_type or _image_type(series))


def _image_type(series: Series) -> tuple[str, ...]:
    return {
        "magnitude": ("ORIGINAL", "PRIMARY", "M", "ND"),
        "phase": ("ORIGINAL", "PRIMARY", "P", "ND"),
        "ct": ("ORIGINAL", "PRIMARY", "AXIAL"),
    }[series.kind]


def _add_pixel_description(header: Dataset, shape: tuple[int, ...], stored: StoredPixels) -> None:
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.Columns, header.Rows = shape[:2]
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, stored.bits, stored.bits - 1
    header.PixelRepresentation = 0
    if stored.write_rescale:
        header.RescaleSlope, header.RescaleIntercept = decimal(stored.slope), decimal(stored.intercept)


def _add_geometry(header: Dataset, geometry: SliceGeometry) -> None:
    header.ImageOrientationPatient = decimals(geometry.orientation)
    header.PixelSpacing = decimals(geometry.pixel_spacing_mm)
    header.SliceThickness = decimal(geometry.slice_spacing_mm)


def _add_ct(header: Dataset) -> None:
    header.KVP, header.XRayTubeCurrent, header.ConvolutionKernel = decimal(120), 200, "H30s"
    header.GantryDetectorTilt, header.RescaleType = decimal(0), "HU"


def _scanning_sequence(series: Series) -> list[str]:
    readout = "EP" if series.phase_encoding else "GR"
    return [readout, "IR"] if series.inversion_time_s else [readout]


def _add_mr(header: Dataset, series: Series, geometry: SliceGeometry, study: Study) -> None:
    header.SpacingBetweenSlices = decimal(geometry.slice_spacing_mm)
    header.ScanningSequence, header.SequenceVariant, header.ScanOptions = _scanning_sequence(series), "SK", ""
    header.MRAcquisitionType, header.SequenceName = "3D" if series.is_3d else "2D", series.sequence_name
    header.RepetitionTime, header.EchoTime = (
        decimal(1000 * series.repetition_time_s),
        decimal(1000 * series.echo_time_s),
    )
    header.FlipAngle, header.EchoNumbers = decimal(series.flip_angle_deg), 1
    if series.inversion_time_s:
        header.InversionTime = decimal(1000 * series.inversion_time_s)
    header.MagneticFieldStrength = decimal(study.field_strength_t)
    header.ImagingFrequency = decimal(study.field_strength_t * MEGAHERTZ_PER_TESLA)
    header.EchoTrainLength, header.NumberOfAverages = 1, decimal(1)


def _add_phase_encoding(header: Dataset, series: Series) -> None:
    """Phase encoding along the image columns; its sign and speed as Siemens writes them.

    Total readout time = (lines - 1) x echo spacing (FSL); bandwidth per pixel = 1 / (lines x echo spacing).
    Rows run against the second NIfTI axis, so that Siemens' positive direction is ``j-``.
    """
    lines = int(header.Rows)
    echo_spacing_s = series.total_readout_time_s / (lines - 1)
    header.InPlanePhaseEncodingDirection = "COL"
    header.AcquisitionMatrix = [0, int(header.Columns), lines, 0]
    header.NumberOfPhaseEncodingSteps = header.EchoTrainLength = lines
    header.private_block(0x0019, SIEMENS_HEADER, create=True).add_new(0x28, "FD", 1 / (echo_spacing_s * lines))
    block = header.private_block(0x0021, SIEMENS_SDI, create=True)
    block.add_new(0x1C, "IS", 1 if series.phase_encoding == "j-" else 0)


def _asl_protocol(asl: AslTiming) -> bytes:
    """The part of the Siemens protocol text that gives the labelling times, microseconds.

    dcm2niix reads LabelingDuration and the first PostLabelingDelay from it. It needs the opening lines.
    """
    delays_us = [round(1e6 * delay) for delay in asl.post_label_delays_s]
    lines = [
        "<XProtocol>",
        "{",
        '  <Name> "PhoenixMetaProtocol"',
        "### ASCCONV BEGIN ###",
        'tSequenceFileName\t = \t""%SiemensSeq%\\ep2d_asl""',
        f"sAsl.ulLabelingDuration\t = \t{round(1e6 * asl.label_duration_s)}",
        *(f"sAsl.sPostLabelingDelay[{index}]\t = \t{delay}" for index, delay in enumerate(delays_us)),
        "### ASCCONV END ###",
        "}",
    ]
    return "\n".join(lines).encode("ascii")


def _add_asl(header: Dataset, asl: AslTiming) -> None:
    if asl.labelling == "PCASL":
        header.ArterialSpinLabelingContrast = "PSEUDOCONTINUOUS"
    block = header.private_block(0x0021, SIEMENS_SDS, create=True)
    block.add_new(0x19, "OB", _asl_protocol(asl))


def series_header(series: Series, study: Study, geometry: SliceGeometry, stored: StoredPixels) -> Dataset:
    """All elements that every slice of a series shares."""
    header = Dataset()
    _add_study(header, study)
    _add_series(header, series, study)
    _add_pixel_description(header, stored.values.shape, stored)
    _add_geometry(header, geometry)
    if series.kind == "ct":
        _add_ct(header)
        return header
    _add_mr(header, series, geometry, study)
    if series.phase_encoding:
        _add_phase_encoding(header, series)
    if series.asl:
        _add_asl(header, series.asl)
    return header


def _slice_time_s(series: Series, slice_index: int, slices: int) -> float:
    """Time of a slice in its volume; without given times, 2-D slices follow each other evenly, bottom to top."""
    if series.slice_times_s is not None:
        return float(series.slice_times_s[slice_index])
    return 0.0 if series.is_3d else series.repetition_time_s * slice_index / slices


def _acquisition_time(series: Series, slice_index: int, volume: int) -> str:
    slice_s = _slice_time_s(series, slice_index, slices=series.data.shape[2])
    return _dicom_time(series_start(series) + timedelta(seconds=volume * series.repetition_time_s + slice_s))


def _add_diffusion(header: Dataset, b_value: float, direction_ras: np.ndarray) -> None:
    """The b-value in whole s/mm² (as Siemens stores it) and the gradient direction in patient axes (LPS)."""
    block = header.private_block(0x0019, SIEMENS_HEADER, create=True)
    block.add_new(0x0C, "IS", round(float(b_value)))
    weighted = b_value > 0
    block.add_new(0x0D, "CS", "DIRECTIONAL" if weighted else "NONE")
    if weighted:
        block.add_new(0x0E, "FD", (RAS_TO_LPS @ direction_ras).tolist())


def slice_header(series: Series, study: Study, geometry: SliceGeometry, slice_index: int, volume: int) -> Dataset:
    """The elements that differ from slice to slice."""
    header = Dataset()
    position = geometry.positions_mm[slice_index]
    number = volume * len(geometry.positions_mm) + slice_index + 1
    header.SOPInstanceUID = study.uid(series.number, number)
    header.InstanceNumber, header.AcquisitionNumber = number, volume + 1
    header.AcquisitionTime = header.ContentTime = _acquisition_time(series, slice_index, volume)
    header.ImagePositionPatient = decimals(position)
    header.SliceLocation = decimal(position @ geometry.normal)
    if series.b_values_s_per_mm2 is not None:
        _add_diffusion(header, series.b_values_s_per_mm2[volume], np.asarray(series.b_vectors[volume]))
    if series.asl:
        delay_ms = round(1000 * series.asl.post_label_delays_s[volume])
        header.ImageComments = f"{series.asl.context[volume]} PLD {delay_ms} ms"
    return header
