"""A scan: translated by itself, from the shown slice outwards, as the user chooses."""

import numpy as np
import pytest
from small_scans import Sees, assessment, busy, done, head, members, nifti, png, until, volume_of

from cyclegan.model.style import KnownStyles, Style
from cyclegan.reading.volume import ReadError
from cyclegan.server import limits
from cyclegan.server.errors import GoneError, NotReadyError, UserError
from cyclegan.server.models import OWN, SOURCE
from cyclegan.server.phases import MAY, Action, Phase
from cyclegan.server.scan import Scan
from cyclegan.server.state import state


@pytest.fixture
def noted(model, monkeypatch):
    """The numbers of the slices that are translated, told by their brightness, batch by batch."""
    order, cycle = [], model.cycle

    def note(pixels, *rest):
        order.append([round((image.max() / 0.9 - 0.7) / 0.3 * 100) for image in pixels])
        return cycle(pixels, *rest)

    monkeypatch.setattr(model, "cycle", note)
    return order


def numbers(order, slices):
    return [[round(each / 100 * slices) for each in batch] for batch in order]


def test_translation_runs_outwards_from_the_shown_slice(opened, noted):
    scan = done(opened(head(slices=7)))
    assert numbers(noted, 7) == [[3], [2, 4], [1, 5], [0, 6]]
    assert state(scan, "")["ready"] == [[0, 6]]
    result = scan.result(scan.key(), 5)
    pixels = scan.series.volume.pixels
    whole = scan.model.translator.cycle(pixels, to="T2")
    np.testing.assert_array_equal(result.source, whole.source[5])
    np.testing.assert_allclose(result.translated, whole.translated[5], atol=1e-3)
    np.testing.assert_allclose(result.reconstructed, whole.reconstructed[5], atol=1e-3)


def test_another_slice_on_screen_is_next(opened, noted, model):
    with busy(model):
        scan = opened(head(slices=9))
        scan.choose(index=0)
    done(scan)
    assert numbers(noted, 9)[:2] == [[0], [1, 2]]


def test_one_who_looks_goes_before_anothers_slices_that_nobody_looks_at(opened, noted, model):
    with busy(model):
        large = opened(head(slices=9))
    until(lambda: len(noted) > 1)
    with busy(model):
        before = len(noted)
        small = opened(head(slices=None, shift=0.0)[None] * 0.85)
        assert small.translation.is_running
    done(small)
    done(large)
    assert numbers(noted, 2)[before] == [1]  # of brightness 0.85


def test_who_waits_is_told_the_place(opened, model):
    with busy(model):
        opened(head(slices=3))
        scan = opened(head(slices=3))
        told = state(scan, "")
        assert told["translating"]
        assert told["place"] == 2
        assert told["seconds"] > 0
    done(scan)
    told = state(scan, "")
    assert (told["translating"], told["place"], told["seconds"]) == (False, None, None)


@pytest.mark.parametrize(
    ("label", "to", "word"),
    [
        ("T1", "T2", "fits"),
        ("T2", "T1", "fits"),
        ("other", "T2", "not what it learnt"),
        ("not a brain slice", "T2", "not what it learnt"),
    ],
)
def test_a_scan_is_translated_by_itself_unless_the_check_speaks_against_it(
    opened, model, label, to, word
):
    model.check = Sees(label)
    scan = done(opened(head()[None]))
    told = state(scan, "")
    assert (told["to"], told["check"]["word"], told["check"]["label"]) == (to, word, label)
    assert (told["halted"] is None) is (word == "fits")
    assert told["ready"] == ([[0, 0]] if word == "fits" else [])
    if word != "fits":
        assert "means nothing" in told["halted"]
        assert scan.phase() is Phase.HALTED
        scan.choose(translate=True)
        assert state(done(scan), "")["ready"] == [[0, 0]]


def test_the_other_direction_halts_and_offers_to_switch(opened):
    scan = done(opened(head()[None]))
    first = scan.key()
    scan.choose(to="T1")
    told = state(done(scan), "")
    assert told["key"] != first
    assert told["check"]["switch_to"] == "T2"
    assert "The chosen direction is T2 → T1" in told["halted"]
    scan.choose(to="T2")
    told = state(scan, "")
    assert told["key"] == first  # the same images
    assert told["ready"] == [[0, 0]]


def test_a_header_that_disagrees_makes_it_doubtful(opened):
    told = state(done(opened(head()[None], contrast_hint="T2")), "")
    assert told["check"]["word"] == "doubtful"
    assert "The header suggests T2" in told["halted"]


def test_without_a_check_the_header_says_which_way(opened, model):
    model.check = None
    told = state(done(opened(head()[None], contrast_hint="T2")), "")
    assert told["to"] == "T1"
    assert "Not checked" in told["check"]["sentence"]


def test_until_the_pixels_were_looked_at_the_original_is_there(scans):
    scan = scans.hold(Scan(scans.model, head_volume()))
    told = state(scan, "")
    assert told["check"] is None
    assert scan.phase() is Phase.CHECKING
    np.testing.assert_allclose(scan.series.original(0), head(), atol=1e-6)
    with pytest.raises(NotReadyError):
        scan.result(scan.key(), 0)


def test_a_direction_that_is_chosen_before_the_check_is_done_stays(scans):
    scan = scans.hold(Scan(scans.model, head_volume()))
    scan.choose(to="T1")
    scan.translation.check()
    told = state(scan, "")
    assert told["to"] == "T1"
    assert told["check"]["switch_to"] == "T2"


def test_once_it_is_checked_everybody_hears_that_it_is_translated(scans, model, monkeypatch):
    scan = scans.hold(Scan(model, head_volume()))
    told = []
    monkeypatch.setattr(scan.changes, "announce", lambda: told.append(scan.translation.is_running))
    with busy(model):
        scan.translation.check()
        assert told[-1]


def test_waiting_for_a_file_does_not_keep_everybody_awake(scans, model, opened):
    import asyncio

    from cyclegan.server.saving import order, save

    scan = done(opened(head(slices=3)))
    kind, made = order(scan, {"kind": "nifti"})

    async def wait():
        with busy(model):
            scan.series.results.clear()
            task = asyncio.create_task(save(scan, kind, made, None))
            await asyncio.sleep(0.2)
            version = scan.changes.version
            await asyncio.sleep(0.2)
            assert scan.changes.version == version
        await task

    asyncio.run(wait())
    assert scan.save.file


def head_volume():
    return volume_of(head()[None])


def test_a_large_scan_is_translated_where_it_is_looked_at(opened, noted, monkeypatch):
    monkeypatch.setattr("cyclegan.server.series.WHOLE_VOXELS", 64 * 64 * 3)
    scan = done(opened(head(slices=7)))
    assert numbers(noted, 7) == [[3]]
    scan.choose(index=6)
    assert state(done(scan), "")["ready"] == [[3, 3], [6, 6]]


def test_a_style_is_followed_at_once_and_back_is_as_before(opened, model):
    named = Style("T2", (0.9, -0.9, 0.9, 0.9), model.translator.checksum, "fast spin echo, 3 T")
    model.styles = KnownStyles((named,), {"T2": (0.0,) * 4}, {"T2": (1e-3,) * 4})
    scan = done(opened(head()[None]))
    plain, key = scan.result(scan.key(), 0).translated, scan.key()
    assert [each["name"] for each in state(scan, "")["styles"]] == [SOURCE, "fast spin echo, 3 T"]
    scan.choose(style="fast spin echo, 3 T")
    assert state(scan, "")["style"] == "fast spin echo, 3 T"
    done(scan)
    assert scan.key() != key
    assert np.abs(scan.result(scan.key(), 0).translated - plain).max() > 0.01
    made = scan.series.view.made
    assert "fast spin echo, 3 T" in str(scan.series.provenance(model, made))
    scan.choose(style=SOURCE)
    assert scan.key() == key
    np.testing.assert_array_equal(scan.result(key, 0).translated, plain)
    with pytest.raises(UserError, match="no such style"):
        scan.choose(style="unheard of")
    scan.choose(to="T1")
    assert [each["name"] for each in state(scan, "")["styles"]] == [SOURCE]


def test_a_slice_of_mine_gives_its_style(opened, model):
    model.styles = KnownStyles((), {"T2": (0.0,) * 4}, {"T2": (1e-3,) * 4})
    scan = done(opened(head()[None]))
    before = scan.key()
    with pytest.raises(UserError, match="looks like T1, not like T2"):
        scan.take_style(members(("MEYER.png", png(head()))))
    assert scan.key() == before
    model.check = Sees("T2")
    scan.take_style(members(("MEYER.png", png(np.sqrt(head())))))
    told = state(done(scan), "")
    assert told["style"] == OWN
    assert told["styles"][-1]["name"] == OWN
    assert "far from all" in told["message"]  # the known styles here are tiny
    assert told["ready"] == [[0, 0]]
    assert "MEYER" not in str(scan.series.provenance(model, scan.series.view.made))


def test_of_several_series_the_best_is_opened_and_the_others_keep_what_they_have(scans):
    files = members(("T1.nii", nifti(head(slices=3))), ("T2.nii", nifti(head(slices=2))))
    scan = scans.hold(Scan.open(scans.model, files))
    scan.translation.check()
    told = state(done(scan), "")
    first = told["key"]
    assert [(s["label"], s["contrast"], s["slices"], s["size"]) for s in told["series"]] == [
        ("T1.nii", "T1", 3, (64, 64)),
        ("T2.nii", "T2", 2, (64, 64)),
    ]
    assert (told["chosen"], told["slices"], told["companion"]) == (0, 3, {"label": "T2.nii"})
    scan.choose(series=1)
    told = state(done(scan), "")
    assert (told["chosen"], told["slices"], told["key"] != first) == (1, 2, True)
    scan.choose(series=0)
    told = state(scan, "")
    assert (told["key"], told["ready"]) == (first, [[0, 2]])
    with pytest.raises(UserError, match="no such series"):
        scan.choose(series=2)


def test_a_small_picture_of_a_series_is_read_once(scans, monkeypatch):
    files = members(("T1.nii", nifti(head(slices=3))), ("T2.nii", nifti(head(slices=2))))
    scan = Scan.open(scans.model, files)
    reads, selection = [], scan.selection
    read = type(selection).read

    def noting(self, number):
        reads.append(number)
        return read(self, number)

    monkeypatch.setattr(type(selection), "read", noting)
    held = scan.held_bytes
    pictures = [scan.thumbnail(number) for number in (0, 1, 1)]
    assert all(each.startswith(b"\x89PNG") for each in pictures)
    assert scan.held_bytes == held + 2 * 64 * 64 * 4
    scan.choose(series=1)
    assert reads == [1]
    with pytest.raises(GoneError):
        scan.thumbnail(2)


def test_the_real_image_comes_from_the_same_files(scans, model):
    real = np.sqrt(head(slices=3))
    files = members(("T1.nii", nifti(head(slices=3))), ("T2.nii", nifti(real)))
    scan = scans.hold(Scan.open(model, files))
    scan.translation.check()
    key = done(scan).key()
    scan.take_companion()
    told = state(scan, "")
    assert told["key"] != key
    assert told["ready"] == [[0, 2]]  # nothing is translated anew
    assert told["companion"] is None
    assert told["real"]["label"] == "T2.nii"
    assert told["real"]["registered"]
    assert told["real"]["warning"].startswith("It should be a T2. Looks like T1.")
    assert told["real"]["contrast"] == "T1"
    scan.choose(register=False)
    told = state(scan, "")
    assert not told["real"]["registered"]
    scan.choose(to="T1")
    assert state(scan, "")["real"] is None  # it is a T2
    scan.choose(to="T2")
    assert state(scan, "")["real"]
    scan.remove_real()
    told = state(scan, "")
    assert (told["key"], told["real"]) == (key, None)
    with pytest.raises(UserError, match="no real image"):
        scan.choose(register=True)


def test_a_real_image_that_cannot_be_laid_over_changes_nothing(opened):
    scan = done(opened(head()[None]))
    key = scan.key()
    for name, data, words in (
        ("real.png", png(head(48)), r"its matrix is 1 × 48 × 48"),
        ("real.txt", b"none", "not an image"),
    ):
        with pytest.raises((UserError, ReadError), match=words):
            scan.take_real(members((name, data)))
    assert scan.key() == key


def test_a_failure_is_one_sentence_and_poisons_nothing(opened, model, monkeypatch, caplog):
    patient = "Doe"
    with monkeypatch.context() as patch:
        patch.setattr(model, "cycle", lambda *_: (_ for _ in ()).throw(MemoryError(patient)))
        scan = opened(head(slices=5))
        until(lambda: scan.message)
        assert "fault of ours" in state(scan, "")["message"]
    assert "MemoryError in translation" in caplog.text
    assert patient not in caplog.text
    scan.choose(translate=True)
    told = state(done(scan), "")
    assert (told["ready"], told["message"]) == ([[0, 4]], None)


def test_a_closed_scan_is_gone_and_nothing_goes_on(opened, model, noted):
    with busy(model):
        scan = opened(head(slices=5))
        key = scan.key()
        scan.close()
    model.queue.run(lambda: None)
    assert noted == []
    assert scan.held_bytes == 0
    for act in (scan.key, lambda: scan.result(key, 0), lambda: state(scan, ""), scan.choose):
        with pytest.raises(GoneError):
            act()


def test_a_scan_that_is_closed_while_it_is_translated_keeps_nothing(opened, model, monkeypatch):
    cycle = model.cycle
    scan = None

    def closing(*given):
        result = cycle(*given)
        scan.close()
        return result

    with busy(model):
        scan = opened(head(slices=5))
        series = scan.series
        monkeypatch.setattr(model, "cycle", closing)
    until(lambda: not scan.translation.is_running)
    assert series.results.nbytes == 0


def test_results_are_bounded_and_those_used_last_stay(opened, monkeypatch):
    monkeypatch.setattr("cyclegan.server.results.SCAN_RESULT_BYTES", 2 * 2 * 4 * 64 * 64)
    monkeypatch.setattr("cyclegan.server.series.WHOLE_VOXELS", 1)
    scan = opened(head(slices=4))
    for index in (0, 1, 0, 3):
        scan.choose(index=index)
        done(scan)
        scan.result(scan.key(), index)
    assert scan.series.results.indices(scan.series.view.made) == {0, 3}
    assert scan.result_bytes == 2 * 2 * 4 * 64 * 64


# What may happen when.


def in_phase(phase, opened, model, scans):
    """A scan in a phase, which the model is held in."""
    if phase is Phase.CHECKING:
        return scans.hold(Scan(model, head_volume()))
    if phase is Phase.HALTED:
        model.check = Sees("other")
    return opened(head()[None])


DO = {
    Action.SERIES: lambda scan: scan.choose(series=1),
    Action.DIRECTION: lambda scan: scan.choose(to="T1"),
    Action.STYLE: lambda scan: scan.choose(style=SOURCE),
    Action.TRANSLATE: lambda scan: scan.choose(translate=True),
    Action.REAL: lambda scan: scan.take_real(members(("real.png", png(head())))),
    Action.SAVE: lambda scan: __import__("cyclegan.server.saving").server.saving.order(
        scan, {"kind": "png"}
    ),
}


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("action", Action)
def test_what_may_happen_in_which_state(phase, action, opened, model, scans):
    with busy(model):
        scan = in_phase(phase, opened, model, scans)
        if phase is not Phase.TRANSLATED:
            assert scan.phase() is phase
            refused = _tried(scan, action)
    if phase is Phase.TRANSLATED:
        assert done(scan).phase() is phase
        refused = _tried(scan, action)
    assert refused == (
        "" if action in MAY[phase] else "There is no translation to save yet; let it"
    )
    told = state(scan, "")  # whatever happened, there is one state, and it can be told
    assert set(told) == KEYS


def _tried(scan, action):
    try:
        DO[action](scan)
    except UserError as refusal:
        if "no such series" in str(refusal):
            return ""
        return str(refusal)[:43]
    return ""


KEYS = {
    "server",
    "scan",
    "version",
    "name",
    "drawn",
    "series",
    "chosen",
    "slices",
    "width",
    "height",
    "aspect",
    "spacing",
    "affine",
    "units",
    "window",
    "directions",
    "box",
    "dicom",
    "notes",
    "to",
    "styles",
    "style",
    "key",
    "ready",
    "translating",
    "place",
    "seconds",
    "halted",
    "check",
    "companion",
    "real",
    "save",
    "message",
}


def test_every_phase_and_action_is_in_the_table():
    assert set(MAY) == set(Phase)
    assert set(DO) == set(Action)
    assert {action for actions in MAY.values() for action in actions} == set(Action)
    assert assessment("T1").to == "T2"
    assert limits.WHOLE_VOXELS == 2**25
