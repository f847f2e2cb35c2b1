"""The header's hint: right for common protocols, silent when unsure; other contrasts are named."""

import pytest
from dicom_files import item

from cyclegan.reading.dicom.contrast import header_contrast
from cyclegan.reading.dicom.header import FrameHeader

LONG = {"EchoTime": 100, "RepetitionTime": 4000, "ScanningSequence": "SE"}
SHORT = {"EchoTime": 12, "RepetitionTime": 500, "ScanningSequence": "SE"}
T1_FLAIR = {"EchoTime": 10, "RepetitionTime": 2400, "InversionTime": 860}
FLAIR = {"EchoTime": 120, "RepetitionTime": 9000, "InversionTime": 2500}
AGENT = {"ContrastBolusAgent": "Gadovist"}
ENHANCED, PROTON_DENSITY = "post-contrast", "proton density"


@pytest.mark.parametrize(
    ("hint", "other", "name", "header"),
    [
        ("T1", None, "t1_mprage_sag_p2_iso", {"ScanningSequence": ["GR", "IR"]}),
        ("T1", None, "AX T1 SE", {"EchoTime": 12, "RepetitionTime": 550}),
        ("T1", None, None, SHORT),
        ("T1", None, None, {"EchoTime": 3, "RepetitionTime": 2300, "InversionTime": 900}),
        ("T1", None, "t1_fl2d", {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"]}),
        (None, None, "t1_fl2d", {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}),
        ("T1", None, "T1 SE SANS GADO", SHORT),
        ("T1", None, "AX T1 FLAIR", T1_FLAIR),
        ("T1", None, "AX FLAIR", T1_FLAIR),  # times decide
        ("T1", None, "AX T1", {"ProtocolName": "BRAIN W/WO CONTRAST"}),
        ("T1", None, "AX T1", {"ContrastBolusAgent": "NONE"}),
        ("T2", None, None, {"ProtocolName": "T2W_TSE", **LONG}),
        ("T2", None, None, {"EchoTime": 95, "RepetitionTime": 5000, "ScanningSequence": "SE"}),
        ("T2", None, None, {"AcquisitionContrast": "T2"}),
        ("T2", None, "T2 TSE POST FOSSA 2mm", LONG),
        ("T2", None, "T2 DIFFUSE AXONAL INJURY", LONG),
        ("T2", None, "T2 TSE", {"ProtocolName": "SWITZERLAND"}),
        ("T2", None, "AX T2", {"ProtocolName": "STROKE DWI TOF"}),
        ("T2", None, "AX PD/T2", LONG),  # the second echo
        (None, PROTON_DENSITY, "AX PD/T2", {**LONG, "EchoTime": 15}),
        (None, PROTON_DENSITY, None, {**LONG, "EchoTime": 15}),
        (None, PROTON_DENSITY, "AX PD TSE", {}),
        (None, "FLAIR", "t2_flair_tra", {}),
        (None, "FLAIR", "T2 FLAIR", LONG),
        (None, "FLAIR", "AX T1 FLAIR", FLAIR),
        (None, "FLAIR", "AX T2", FLAIR),
        (None, "FLAIR", None, FLAIR),
        (None, "FLAIR", None, {"AcquisitionContrast": "FLUID_ATTENUATED"}),
        (None, ENHANCED, "AX T1 +C", {}),
        (None, ENHANCED, "t1_se_tra", AGENT),
        (None, ENHANCED, "AX T1 FLAIR POST", T1_FLAIR),
        (None, ENHANCED, "AX T1", {"ProtocolName": "BRAIN W CONTRAST"}),
        (None, None, "AX T1 PRE", AGENT),  # unsure
        (None, "susceptibility-weighted", "T2* GRE", {"EchoTime": 25, "RepetitionTime": 700}),
        (None, "diffusion-weighted", "ep2d_diff_3scan_trace", {}),
        (None, "angiography", None, {"ProtocolName": "TOF_3D_multi-slab"}),
        (None, "map", "T1 map", {}),
        (None, None, None, {}),
        (None, None, "CT10 head", {}),
        (None, None, "t1_and_t2_dual", {}),
        (None, None, "T1 SE", {"EchoTime": 100, "RepetitionTime": 4500}),
        (None, None, None, {**LONG, "ScanningSequence": ["EP", "SE"]}),
        (None, None, None, {"EchoTime": 4, "RepetitionTime": 25, "ScanningSequence": "GR"}),
        (
            *("T2", None, None),
            {
                "SharedFunctionalGroupsSequence": [
                    item(
                        MREchoSequence=[item(EffectiveEchoTime=100.0)],
                        MRTimingAndRelatedParametersSequence=[item(RepetitionTime=4000)],
                    )
                ]
            },
        ),
    ],
)
def test_contrast_of_a_header(hint, other, name, header):
    contrast = header_contrast(FrameHeader(item(SeriesDescription=name, **header)))
    assert (contrast.hint, contrast.other) == (hint, other)
