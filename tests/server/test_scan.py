"""A scan: checked, translated by itself from the shown slice outwards, as the user chooses."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from small_scans import Sees, busy, done, head, members, nifti, png, run, until, volume_of

from cyclegan.model.style import KnownStyles, Style
from cyclegan.server import limits
from cyclegan.server.errors import GoneError, UserError
from cyclegan.server.models import OWN, SOURCE
from cyclegan.server.saving import SaveRequest, order, save
from cyclegan.server.scan import Scan
from cyclegan.server.series import Series, View
from cyclegan.server.state import state


@pytest.fixture
def batches(model, monkeypatch):
    """The slices that are translated, batch by batch: shares of the stack, by their brightness."""
    order, cycle = [], model.translator.cycle

    def note(pixels, *rest, **options):
        order.append([(image.max() / 0.9 - 0.7) / 0.3 for image in pixels])
        return cycle(pixels, *rest, **options)

    monkeypatch.setattr(model.translator, "cycle", note)
    return order


def numbers(batches, slices):
    return [[round(share * slices) for share in batch] for batch in batches]


def unchecked(scans, **known):
    return scans.hold(Scan(Series(scans.model, volume_of(head()[None], **known))))


def test_translation_runs_outwards_from_the_shown_slice(opened, batches, model):
    scan = done(opened(head(slices=7)))
    assert numbers(batches, 7) == [[3], [2, 4], [1, 5], [0, 6]]
    assert state(scan)["ready"] == [[0, 6]]
    del batches[:]
    with busy(model):
        scan = opened(head(slices=9))
        scan.choose(index=0)
    done(scan)
    assert numbers(batches, 9)[:2] == [[0], [1, 2]]


def test_a_slice_on_screen_goes_before_anothers_slices_that_nobody_sees(opened, batches, model):
    with busy(model):
        large = opened(head(slices=9))
    until(lambda: len(batches) > 1)
    with busy(model):
        before = len(batches)
        small = opened(head()[None] * 0.85)
        assert small.is_translating
    done(small)
    done(large)
    assert numbers(batches, 2)[before] == [1]  # of brightness 0.85


def test_before_the_check_the_original_is_there_and_a_chosen_direction_stays(scans):
    scan = unchecked(scans)
    assert state(scan)["check"] is None
    np.testing.assert_allclose(scan.view(scan.key()).image("original", 0), head(), atol=1e-6)
    with pytest.raises(UserError, match="not translated yet"):
        scan.view(scan.key()).result(0)
    with pytest.raises(UserError, match="no translation to save yet"):
        order(scan, SaveRequest(kind="png"))
    scan.choose(to="T1")
    scan.check()
    now = state(scan)
    assert (now["to"], now["check"]["switch_to"]) == ("T1", "T2")


def test_the_news_of_the_check_comes_once_the_translation_runs(scans, model, monkeypatch):
    scan, running = unchecked(scans), []
    monkeypatch.setattr(scan.updates, "announce", lambda: running.append(scan.is_translating))
    with busy(model):
        scan.check()
        assert running[-1]


def test_waiting_for_a_file_announces_nothing(scans, model, opened):
    scan = done(opened(head(slices=3)))
    new = order(scan, SaveRequest(kind="nifti"))

    async def wait():
        with busy(model):
            scan.series.results.clear()
            task = asyncio.create_task(save(scan, new, None))
            await asyncio.sleep(0)
            version = scan.updates.version
            for _ in range(20):
                await asyncio.sleep(0)
            assert scan.updates.version == version
        await task

    run(wait())
    assert scan.save.file


def test_a_file_whose_slices_were_dropped_is_not_made(opened):
    class Forgetting(ThreadPoolExecutor):
        def submit(self, *work):
            scan.series.results.clear()
            return super().submit(*work)

    scan = done(opened(head(slices=3)))
    run(save(scan, order(scan, SaveRequest(kind="nifti")), Forgetting(1)))
    assert scan.save.error.startswith("Memory was short")


def test_of_a_large_scan_only_what_is_on_screen_is_translated(opened, batches, monkeypatch):
    monkeypatch.setattr("cyclegan.server.series.WHOLE_VOXELS", 64 * 64 * 3)
    scan = done(opened(head(slices=7)))
    assert numbers(batches, 7) == [[3]]
    scan.choose(index=6)
    assert state(done(scan))["ready"] == [[3, 3], [6, 6]]


def test_a_style_is_followed_at_once_and_back_is_as_before(opened, model):
    named = Style("T2", (0.9, -0.9, 0.9, 0.9), model.translator.checksum, "fast spin echo, 3 T")
    model.styles = KnownStyles((named,), {"T2": (0.0,) * 4}, {"T2": (1e-3,) * 4})
    scan = done(opened(head()[None]))
    plain, key = scan.view(scan.key()).result(0).translated, scan.key()
    assert [each["name"] for each in state(scan)["styles"]] == [SOURCE, named.name]
    scan.choose(style=named.name)
    assert state(done(scan))["style"] == named.name
    assert scan.key() != key
    assert np.abs(scan.view(scan.key()).result(0).translated - plain).max() > 0.01
    assert named.name in str(scan.series.provenance(scan.series.target))
    scan.choose(style=SOURCE)
    np.testing.assert_array_equal(scan.view(key).result(0).translated, plain)
    assert scan.key() == key
    with pytest.raises(UserError, match="no such style"):
        scan.choose(style="unheard of")
    scan.choose(to="T1")
    assert [each["name"] for each in state(scan)["styles"]] == [SOURCE]
    scan.choose(to="T2")
    assert (scan.key(), state(scan)["ready"]) == (key, [[0, 0]])  # the same images


def test_a_slice_of_ones_own_gives_its_style(opened, model):
    model.styles = KnownStyles((), {"T2": (0.0,) * 4}, {"T2": (1e-3,) * 4})
    scan = done(opened(head()[None]))
    before = scan.key()
    with pytest.raises(UserError, match="looks like T1, not like T2"):
        scan.take_style(members(("MEYER.png", png(head()))))
    assert scan.key() == before
    model.check = Sees("T2")
    scan.take_style(members(("MEYER.png", png(np.sqrt(head())))))
    now = state(done(scan))
    assert (now["style"], now["styles"][-1]["name"], now["ready"]) == (OWN, OWN, [[0, 0]])
    assert "far from all" in now["message"]  # the known styles here are tiny
    assert "MEYER" not in str(scan.series.provenance(scan.series.target))


def two_series(scans, real=None):
    real = head(slices=2) if real is None else real
    files = members(("T1.nii", nifti(head(slices=3))), ("axial T2.nii", nifti(real)))
    scan = scans.hold(Scan.open(scans.model, files))
    scan.check()
    return scan


def test_of_several_series_the_best_is_opened_and_each_keeps_its_images(scans, monkeypatch):
    scan, reads = two_series(scans), []
    read = type(scan.selection).read
    monkeypatch.setattr(
        type(scan.selection), "read", lambda self, n: reads.append(n) or read(self, n)
    )
    now = state(done(scan))
    first, held = now["key"], scan.held_bytes
    columns = ("label", "contrast", "plane", "slices", "size")
    assert [[series[name] for name in columns] for series in now["series"]] == [
        ["T1.nii", "T1", None, 3, (64, 64)],
        ["axial T2.nii", "T2", "axial", 2, (64, 64)],
    ]
    assert (now["chosen"], now["slices"], now["companion"]) == (0, 3, {"label": "axial T2.nii"})
    assert all(scan.thumbnail(number).startswith(b"\x89PNG") for number in (0, 1, 1))
    assert scan.held_bytes == held + 2 * 64 * 64 * 4  # what was read ahead stays
    scan.choose(series=1)
    assert reads == [1]
    now = state(done(scan))
    assert (now["chosen"], now["slices"], now["key"] != first) == (1, 2, True)
    scan.choose(series=0)
    now = state(scan)
    assert (now["key"], now["ready"]) == (first, [[0, 2]])
    with pytest.raises(UserError, match="no such series"):
        scan.choose(series=2)
    with pytest.raises(GoneError):
        scan.thumbnail(2)


def test_series_beyond_the_room_for_thumbnails_are_read_again_when_chosen(scans, monkeypatch):
    monkeypatch.setattr(limits, "READ_AHEAD_BYTES", 0)
    scan = done(two_series(scans))
    held = scan.held_bytes
    scan.thumbnail(1)
    assert scan.held_bytes == held
    scan.choose(series=1)
    assert state(done(scan))["slices"] == 2


def test_the_real_image_comes_from_the_same_files(scans):
    scan = two_series(scans, np.sqrt(head(slices=3)))
    key = done(scan).key()
    scan.take_other_contrast()
    now = state(scan)
    assert now["key"] != key
    assert (now["ready"], now["companion"]) == ([[0, 2]], None)
    real = now["real"]
    assert (real["label"], real["registered"], real["contrast"]) == ("axial T2.nii", True, "T1")
    assert real["warning"].startswith("It should be a T2. Looks like T1.")
    assert real["title"] == "compared image, looks like T1"  # not "real T2"
    scan.choose(register=False)
    assert not state(scan)["real"]["registered"]
    scan.choose(to="T1")
    assert state(scan)["real"] is View.of(scan.series).real is None  # it was given as a T2
    scan.choose(to="T2")
    assert state(scan)["real"]
    scan.remove_real()
    now = state(scan)
    assert (now["key"], now["real"]) == (key, None)
    with pytest.raises(UserError, match="no real image"):
        scan.choose(register=True)


def test_a_failure_is_one_sentence_and_spoils_nothing(opened, model, monkeypatch, caplog):
    patient = "Doe"

    def broken(*_, **__):
        raise MemoryError(patient)

    with monkeypatch.context() as patch:
        patch.setattr(model.translator, "cycle", broken)
        scan = opened(head(slices=5))
        until(lambda: scan.message)
        assert "fault of ours" in state(scan)["message"]
    assert "MemoryError in translation" in caplog.text
    assert patient not in caplog.text
    scan.choose(translate=True)
    now = state(done(scan))
    assert (now["ready"], now["message"]) == ([[0, 4]], None)


def test_a_closed_scan_is_gone_and_nothing_goes_on(opened, model, batches):
    with busy(model):
        scan = opened(head(slices=5))
        key = scan.key()
        scan.close()
    model.queue.run(lambda: None)
    assert batches == []
    assert scan.held_bytes == 0
    for act in (scan.key, lambda: scan.view(key), lambda: state(scan), scan.choose):
        with pytest.raises(GoneError):
            act()


def test_a_scan_that_is_closed_while_it_is_translated_keeps_nothing(opened, model, monkeypatch):
    cycle = model.translator.cycle
    monkeypatch.setattr(
        model.translator, "cycle", lambda *a, **o: (cycle(*a, **o), scan.close())[0]
    )
    with busy(model):
        scan = opened(head(slices=5))
        series = scan.series
    until(lambda: not scan.is_translating)
    assert series.results.nbytes == 0


def test_results_are_bounded_and_those_used_last_stay(opened, monkeypatch):
    two = 2 * 2 * 4 * 64 * 64
    monkeypatch.setattr("cyclegan.server.images.SERIES_RESULT_BYTES", two)
    monkeypatch.setattr("cyclegan.server.series.WHOLE_VOXELS", 1)
    scan = opened(head(slices=4))
    for index in (0, 1, 0, 3):
        scan.choose(index=index)
        done(scan)
        scan.view(scan.key()).result(index)
    assert scan.series.results.indices(scan.series.target) == {0, 3}
    assert scan.result_bytes == two
