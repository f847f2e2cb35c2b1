"""The header's hint: right for common protocols, silent when unsure."""

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from cyclegan.reading.dicom.contrast import header_contrast
from cyclegan.reading.dicom.header import FrameHeader

LONG = {"EchoTime": 100, "RepetitionTime": 4000, "ScanningSequence": "SE"}
SHORT = {"EchoTime": 12, "RepetitionTime": 500, "ScanningSequence": "SE"}
T1_FLAIR = {"EchoTime": 10, "RepetitionTime": 2400, "InversionTime": 860}
FLAIR = {"EchoTime": 120, "RepetitionTime": 9000, "InversionTime": 2500}


@pytest.mark.parametrize(
    ("hint", "header"),
    [
        ("T1", {"SeriesDescription": "t1_mprage_sag_p2_iso", "ScanningSequence": ["GR", "IR"]}),
        ("T1", {"SeriesDescription": "AX T1 SE", "EchoTime": 12, "RepetitionTime": 550}),
        ("T1", {"ScanningSequence": "SE", "EchoTime": 12, "RepetitionTime": 550}),
        ("T1", {"EchoTime": 3, "RepetitionTime": 2300, "InversionTime": 900}),
        ("T2", {"ProtocolName": "T2W_TSE", "EchoTime": 100, "RepetitionTime": 4500}),
        ("T2", {"EchoTime": 95, "RepetitionTime": 5000, "ScanningSequence": "SE"}),
        ("T2", {"AcquisitionContrast": "T2"}),
        (None, {}),
        (None, {"SeriesDescription": "t2_flair_tra"}),
        (None, {"EchoTime": 120, "RepetitionTime": 9000, "InversionTime": 2500}),
        (None, {"SeriesDescription": "T2* GRE", "EchoTime": 25, "RepetitionTime": 700}),
        (None, {"SeriesDescription": "AX T1 +C"}),
        (None, {"SeriesDescription": "t1_se_tra", "ContrastBolusAgent": "Gadovist"}),
        (None, {"SeriesDescription": "t1_and_t2_dual"}),
        (None, {"SeriesDescription": "T1 SE", "EchoTime": 100, "RepetitionTime": 4500}),
        (None, {"EchoTime": 90, "RepetitionTime": 5000, "ScanningSequence": ["EP", "SE"]}),
        (None, {"EchoTime": 15, "RepetitionTime": 3000, "ScanningSequence": "SE"}),
        (None, {"EchoTime": 4, "RepetitionTime": 25, "ScanningSequence": "GR"}),
        (None, {"AcquisitionContrast": "FLUID_ATTENUATED"}),
        (None, {"SeriesDescription": "T1 map"}),
        ("T1", {"SeriesDescription": "t1_fl2d", "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"]}),
        (None, {"SeriesDescription": "t1_fl2d", "ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}),
        (None, {"SeriesDescription": "CT10 head"}),
        ("T2", {"SeriesDescription": "T2 TSE POST FOSSA 2mm", **LONG}),
        ("T1", {"SeriesDescription": "T1 SE SANS GADO", **SHORT}),
        ("T1", {"SeriesDescription": "AX T1 FLAIR", **T1_FLAIR}),
        ("T1", {"SeriesDescription": "AX FLAIR", **T1_FLAIR}),  # times decide
        (None, {"SeriesDescription": "AX T1 FLAIR", **FLAIR}),
        ("T2", {"SeriesDescription": "T2 DIFFUSE AXONAL INJURY", **LONG}),
        ("T2", {"SeriesDescription": "T2 TSE", "ProtocolName": "SWITZERLAND"}),
        ("T1", {"SeriesDescription": "AX T1", "ProtocolName": "BRAIN W/WO CONTRAST"}),
        ("T2", {"SeriesDescription": "AX T2", "ProtocolName": "STROKE DWI TOF"}),
        ("T1", {"SeriesDescription": "AX T1", "ContrastBolusAgent": "NONE"}),
        (None, {"SeriesDescription": "AX T1 PRE", "ContrastBolusAgent": "Gadovist"}),  # unsure
        ("T2", {"SeriesDescription": "AX PD/T2", **LONG}),  # the second echo
        (None, {"SeriesDescription": "AX PD/T2", **LONG, "EchoTime": 15}),
        (None, {"SeriesDescription": "T2 FLAIR", **LONG}),
    ],
)
def test_hint(hint, header):
    dataset = Dataset()
    for keyword, value in header.items():
        setattr(dataset, keyword, value)
    assert header_contrast(FrameHeader(dataset)).hint == hint


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("FLAIR", {"SeriesDescription": "t2_flair_tra"}),
        ("FLAIR", {"AcquisitionContrast": "FLUID_ATTENUATED"}),
        ("post-contrast", {"SeriesDescription": "AX T1 +C"}),
        ("post-contrast", {"SeriesDescription": "t1_se_tra", "ContrastBolusAgent": "Gadovist"}),
        ("diffusion-weighted", {"SeriesDescription": "ep2d_diff_3scan_trace"}),
        ("angiography", {"ProtocolName": "TOF_3D_multi-slab"}),
        ("proton density", {"SeriesDescription": "AX PD TSE"}),
        ("susceptibility-weighted", {"SeriesDescription": "T2* GRE"}),
        (None, {"SeriesDescription": "t1_mprage_sag_p2_iso"}),
        (None, {"ProtocolName": "T2W_TSE", "EchoTime": 100, "RepetitionTime": 4500}),
        (None, {}),
        (None, {"SeriesDescription": "T2 TSE POST FOSSA 2mm", **LONG}),
        (None, {"SeriesDescription": "T1 SE SANS GADO", **SHORT}),
        (None, {"SeriesDescription": "AX T1 FLAIR", **T1_FLAIR}),
        ("FLAIR", {"SeriesDescription": "AX T1 FLAIR", **FLAIR}),
        ("FLAIR", {"SeriesDescription": "AX T2", **FLAIR}),
        ("post-contrast", {"SeriesDescription": "AX T1 FLAIR POST", **T1_FLAIR}),
        ("post-contrast", {"SeriesDescription": "AX T1", "ProtocolName": "BRAIN W CONTRAST"}),
        ("proton density", {"SeriesDescription": "AX PD/T2", **LONG, "EchoTime": 15}),
        (None, {"SeriesDescription": "AX T1 PRE", "ContrastBolusAgent": "Gadovist"}),
        (None, {"SeriesDescription": "T2 DIFFUSE AXONAL INJURY", **LONG}),
    ],
)
def test_other_contrasts_are_named(name, header):
    dataset = Dataset()
    for keyword, value in header.items():
        setattr(dataset, keyword, value)
    assert header_contrast(FrameHeader(dataset)).other == name


def test_enhanced_times_are_found_in_their_groups():
    dataset, shared, echo, timing = Dataset(), Dataset(), Dataset(), Dataset()
    echo.EffectiveEchoTime = 100.0
    timing.RepetitionTime = 4000
    shared.MREchoSequence = Sequence([echo])
    shared.MRTimingAndRelatedParametersSequence = Sequence([timing])
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    assert header_contrast(FrameHeader(dataset)).hint == "T2"
