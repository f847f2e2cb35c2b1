"""Names of series and files: whole words, negations in many languages, nothing read into them; and
what a header says: right for common protocols, silent when unsure, other contrasts are named."""

import re

import pytest
from dicom_files import item

from cyclegan.reading.dicom.contrast import header_contrast
from cyclegan.reading.dicom.header import FrameHeader
from cyclegan.reading.sequence_names import contrast_in_name, negates_agent, read_name, read_names

T1 = """
AX T1 SE | t1_mprage_sag_p2_iso | T1w | 3DT1 | axT1 | T1SE | T1MPRAGE | MPRAGE | IR-FSPGR | BRAVO
sub-01_T1w.nii.gz | sub-01_ses-post_T1w | wT1.nii | UNIT1 | T1_masked | T1 phase enc AP
AX T1 FLAIR | T1FLAIR | OBL T1-FLAIR | t1_tirm_dark-fluid | T1 POSTERIOR FOSSA | T1 POST FOSSA
T1 fosse post | T1 POST-OP | T1 POST RT | T1 post-traumatic | T1 SURVEYOR | T1 PERFECT | T1 GDANSK
T1 KMH | T1 CENTER | T1 CEREBRUM | T1 SWITZERLAND | T1 MAPLE | T1 w/wo contrast
T1 mit und ohne KM | T1 avec et sans gado | T1 pre and post | T1 +/- C
"""
WITHOUT = """
T1 SANS GADO | T1 PRE GADO | T1 PRE-GAD | T1 W/O GD | T1_W_O_GD | t1_se_tra ohne KM | T1 oKM
T1 o. KM | T1 nativ | t1_nativ_tra | T1 natif | T1 non injecté | T1 avant injection
T1 sin contraste | T1 s/contraste | T1 senza mdc | T1 sem contraste | T1 zonder contrast
T1 bez kontrastu | T1 przed kontrastem | T1 utan kontrast | T1 før kontrast
T1 vor Kontrastmittelgabe | T1 NON-CONTRAST | T1 noncontrast | T1 unenhanced | T1 no iv contrast
T1 KM- | T1 -KM | T1 C- | T1 GD NEG | PreGado_T1 | Т1 без контраста | T1 造影前 | T1 平扫
T1 Gado sans | T1 without IV contrast | AX T1 PRE
"""
ENHANCED = """
AX T1 +C | AX T1 C+ | T1 GD+ | T1 KM+ | T1+Gd | t1ce | T1c | T1 CE | T1-Gd | T1 Gd-DTPA
MPRAGE GD | t1_mprage_post_KM | T1 POST | POST T1 | T1_POST2 | T1 post 5min | T1PostGado
t1_nachKM | T1 mKM | T1 Après Gd | T1 apres injection | T1 c/contraste | T1 con contraste
T1 dopo mdc | T1 pós contraste | T1 met contrast | T1 po kontraście | T1 med kontrast
T1 с контрастом | T1 造影後 | T1 增强 | sub-01_ce-gadolinium_T1w | T1_POST_FOSSA_GD |
T1 Dotarem 10ml | Ax T1 FLAIR Post | T1 contrast enhanced
"""
T2 = """
T2 TSE POST FOSSA 2mm | T2_FOSSA_POST | T2W_TSE | t2_tse_tra_512_p2 | AXT2TSE | sub-1_T2w.nii
anat_t2 | DIFFUSE AXONAL INJURY T2 | T2 TSE SWITZERLAND | DIFFERENT T2 | T2 TRACEY | T2 STIRLING
T2 SWIRL | T2 EPILEPSY | T2 HEMANGIOMA | CAVERNOUS ANGIOMA T2 | T2 TOFU | T2 STARTUP | T2 LOCATION
T2 SCOUTING | T2 BOLDER | T2 PDF | T2 RELAXED | T2 DUALITY | T2 ADCOCK | T2 PHASE SWAP
T2 post stroke | T2 Tesla
"""
OTHERS = {
    "FLAIR": "T2 FLAIR | FLAIR_T1 | t2_tirm_tra_dark-fluid | T2_SPACE_DA-FL | 3DFLAIR | flair3d",
    "diffusion-weighted": "ep2d_diff_3scan_trace_p2 | DWI b1000 | eADC | difusión | DTI_64dir",
    "angiography": "3D_TOF_multi-slab | tof3d | MRA head | Angiographie | MR Angio",
    "susceptibility-weighted": "T2* GRE | t2starw | T2-star | SWI_Images | t2_fl2d_tra_hemo",
    "proton density": "AX PD TSE | PDw | proton density",
    "perfusion": "ASL | DSC Perfusion | rCBV",
    "functional": "BOLD rest | rsfMRI",
    "localizer": "3-plane loc | Localizer | T1 Scout | survey | Lokalisator",
    "STIR": "COR STIR | T2 STIR",
    "map": "T1 map | T1map | gre_field_mapping | T2 Relaxometry",
    "subtraction": "T1 SUBTRACTION | Subtraktion",
}  # fmt: skip
NEITHER = "CT10 head | T1_T2 | t1_and_t2_dual | T1 FS | T2 FAT SAT | T1 Vibe Dixon | C7-T1 | scan"
LABELS = """
brainmask.nii.gz | aparc+aseg.nii.gz | wmparc | T1_brain_mask | sub-01_space-T1w_dseg.nii.gz | roi
T2_lesionMask | Segmentation | t1_seg.nii | labels | atlas_T1
"""


def names(table):
    return [name.strip() for name in table.replace("\n", "|").split("|") if name.strip()]


@pytest.mark.parametrize("name", names(T1) + names(WITHOUT))
def test_a_plain_t1(name):
    assert contrast_in_name(name) == "T1"
    assert read_name(name).rank == 0


@pytest.mark.parametrize("name", names(WITHOUT))
def test_no_agent(name):
    assert read_name(name).agent is False


@pytest.mark.parametrize("name", names(ENHANCED))
def test_after_the_agent(name):
    facts = read_name(name)
    assert (facts.agent, facts.contrast, facts.rank) == (True, None, 2)


@pytest.mark.parametrize("name", names(T2))
def test_a_plain_t2(name):
    assert contrast_in_name(name) == "T2"
    assert read_name(name).agent is None


@pytest.mark.parametrize(("other", "table"), OTHERS.items())
def test_other_contrasts_by_name(other, table):
    for name in names(table):
        facts = read_name(name)
        assert (name, facts.others[:1], facts.contrast, facts.rank) == (name, (other,), None, 2)


@pytest.mark.parametrize("name", names(NEITHER) + names(LABELS))
def test_what_is_no_plain_t1_or_t2(name):
    assert contrast_in_name(name) is None


@pytest.mark.parametrize("name", names(LABELS))
def test_masks_and_label_maps_by_name(name):
    assert read_name(name).is_label_map


SIMPLE = [name for name in names(T1 + T2 + ENHANCED) if re.fullmatch(r"[A-Za-z0-9 ]+", name)]


@pytest.mark.parametrize("name", [n for n in SIMPLE if not re.search("[a-z][A-Z]", n)])
def test_case_and_underscores_change_nothing(name):
    same = read_name(name)
    for other in (name.upper(), name.lower(), name.replace(" ", "_"), name.replace(" ", "-")):
        facts = read_name(other)
        assert (other, facts.contrast, facts.agent) == (other, same.contrast, same.agent)


def test_the_first_name_that_tells_is_believed():
    assert read_names(["AX T2", "BRAIN W DWI TOF"]).contrast == "T2"
    assert read_names(["T1", "BRAIN W/WO CONTRAST"]).contrast == "T1"
    assert read_names(["T1", "BRAIN WITH CONTRAST"]).agent is True
    assert read_names(["T1 PRE", "BRAIN WITH CONTRAST"]).contrast == "T1"
    assert read_names(["", "head"]).rank == 1


@pytest.mark.parametrize(
    "text", ["", "NONE", "No", "none given contrast", "n/a", "0", "ohne", "w/o"]
)
def test_a_field_may_say_that_there_was_no_agent(text):
    assert negates_agent(text) == (text != "none given contrast")
    assert not negates_agent("Gadovist 1.0")


# What a header says beside the names

LONG = {"EchoTime": 100, "RepetitionTime": 4000, "ScanningSequence": "SE"}
SHORT = {"EchoTime": 12, "RepetitionTime": 500, "ScanningSequence": "SE"}
T1_FLAIR = {"EchoTime": 10, "RepetitionTime": 2400, "InversionTime": 860}
FLAIR = {"EchoTime": 120, "RepetitionTime": 9000, "InversionTime": 2500}
AGENT = {"ContrastBolusAgent": "Gadovist"}
ECHO = [item(EffectiveEchoTime=100.0)]
TIMING = {"MRTimingAndRelatedParametersSequence": [item(RepetitionTime=4000)]}


@pytest.mark.parametrize(
    ("hint", "other", "name", "header"),
    [
        ("T1", None, "AX T1 SE", {"EchoTime": 12, "RepetitionTime": 550}),
        ("T1", None, None, SHORT),
        ("T1", None, None, {"EchoTime": 3, "RepetitionTime": 2300, "InversionTime": 900}),
        ("T1", None, "t1_fl2d", {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"]}),
        (None, None, "t1_fl2d", {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}),
        ("T1", None, "AX T1 FLAIR", T1_FLAIR),
        ("T1", None, "AX FLAIR", T1_FLAIR),  # times decide
        ("T1", None, "AX T1", {"ProtocolName": "BRAIN W/WO CONTRAST"}),
        ("T1", None, "AX T1", {"ContrastBolusAgent": "NONE"}),
        ("T2", None, None, {"ProtocolName": "T2W_TSE", **LONG}),
        ("T2", None, None, {"EchoTime": 95, "RepetitionTime": 5000, "ScanningSequence": "SE"}),
        ("T2", None, None, {"AcquisitionContrast": "T2"}),
        ("T2", None, "AX T2", {"ProtocolName": "STROKE DWI TOF"}),
        ("T2", None, "AX PD/T2", LONG),  # the second echo
        (None, "proton density", "AX PD/T2", {**LONG, "EchoTime": 15}),
        (None, "proton density", None, {**LONG, "EchoTime": 15}),
        (None, "FLAIR", "T2 FLAIR", LONG),
        (None, "FLAIR", "AX T1 FLAIR", FLAIR),
        (None, "FLAIR", "AX T2", FLAIR),
        (None, "FLAIR", None, FLAIR),
        (None, "FLAIR", None, {"AcquisitionContrast": "FLUID_ATTENUATED"}),
        (None, "post-contrast", "t1_se_tra", AGENT),
        (None, "post-contrast", "AX T1 FLAIR POST", T1_FLAIR),
        (None, "post-contrast", "AX T1", {"ProtocolName": "BRAIN W CONTRAST"}),
        (None, None, "AX T1 PRE", AGENT),  # unsure
        (None, "susceptibility-weighted", "T2* GRE", {"EchoTime": 25, "RepetitionTime": 700}),
        (None, "angiography", None, {"ProtocolName": "TOF_3D_multi-slab"}),
        (None, None, None, {}),
        (None, None, "T1 SE", {"EchoTime": 100, "RepetitionTime": 4500}),
        (None, None, None, {**LONG, "ScanningSequence": ["EP", "SE"]}),
        (None, None, None, {"EchoTime": 4, "RepetitionTime": 25, "ScanningSequence": "GR"}),
        (
            *("T2", None, None),
            {"SharedFunctionalGroupsSequence": [item(MREchoSequence=ECHO, **TIMING)]},
        ),
    ],
)
def test_contrast_of_a_header(hint, other, name, header):
    contrast = header_contrast(FrameHeader(item(SeriesDescription=name, **header)))
    assert (contrast.hint, contrast.other) == (hint, other)
