import numpy as np
import pytest
from scipy import ndimage

from cyclegan.evaluation.metrics import (
    SHOWN_BY_SOURCE,
    bright_spots,
    lesion_fidelity,
    lesion_report,
    measure_lesions,
)

SIZE = 96


def disc(row, column, radius):
    rows, columns = np.indices((SIZE, SIZE))
    return np.hypot(rows - row, columns - column) < radius


def ratios(*images):
    return [lesion.ratio for lesion in measure_lesions(*images)]


def test_lesions_are_kept_lost_or_inverted():
    head = disc(48, 48, 44) * 0.5
    places = {"kept": (48, 20), "lost": (20, 48), "inverted": (48, 76)}
    contrast = {"kept": 0.3, "lost": 0.03, "inverted": -0.2}
    truth, predicted, lesion = head.copy(), head.copy(), np.zeros_like(head)
    for what, place in places.items():
        inside = disc(*place, 5)
        truth[inside] += 0.3
        predicted[inside] += contrast[what]
        lesion[inside] = 255
    lesion[76:78, 48:50] = 255  # 4 pixels are no lesion to measure
    faint = disc(70, 30, 4)  # in the mask, but does not stand out in the truth
    truth[faint] += 0.01
    lesion[faint] = 255

    lesions = measure_lesions(predicted, truth, head, lesion)
    assert [one.size for one in lesions] == [disc(48, 48, 5).sum()] * 3
    fidelity = lesion_fidelity(one.ratio for one in lesions)
    assert fidelity["lesions"] == 3
    for what in places:
        assert fidelity[what] == pytest.approx(1 / 3)
    assert 0 < fidelity["median_ratio"] < 0.2  # that of the lost one


def test_lesion_contrast_is_relative_to_the_style_of_the_picture():
    head, lesion = disc(48, 48, 44) * 0.5, disc(48, 30, 6)
    truth = head + 0.3 * lesion
    for predicted in (truth, truth * 0.6):
        assert ratios(predicted, truth, head, lesion) == [pytest.approx(1)]


def test_lesions_that_the_source_shows_are_counted_by_themselves():
    head, lesion = disc(48, 48, 44) * 0.5, disc(48, 30, 6)
    truth, faint = head + 0.3 * lesion, head + 0.1 * lesion
    shown = measure_lesions(faint, truth, head - 0.2 * lesion, lesion)
    hidden = measure_lesions(truth, truth, head, lesion)
    assert shown[0].source_contrast < SHOWN_BY_SOURCE < hidden[0].source_contrast
    report = lesion_report(shown + hidden)
    assert report["lesions"] == 2
    assert report["kept"] == 0.5  # the faint output keeps less than half
    assert report["in_source"]["lesions"] == 1
    shares = ("kept", "lost", "inverted", "median_ratio")
    assert lesion_report(hidden)["in_source"] == {"lesions": 0} | dict.fromkeys(shares)


def test_lesions_are_counted_by_size():
    head = disc(48, 48, 44) * 0.5
    small, large = disc(48, 24, 3.5), disc(48, 70, 9)
    source = head - 0.2 * (small | large)
    truth = head + 0.1 * small + 0.4 * large
    predicted = head + 0.01 * small + 0.4 * large
    report = lesion_report(measure_lesions(predicted, truth, source, small | large))
    counts = {name: part["lesions"] for name, part in report["by_size"].items()}
    assert counts == {"below 50": 1, "50 to 99": 0, "100 to 199": 0, "200 and more": 1}
    assert report["by_size"]["below 50"]["lost"] == 1
    assert report["by_size"]["200 and more"]["kept"] == 1


def test_spots_that_only_one_image_has():
    head = disc(48, 48, 44)
    flat = head * 0.4

    def spot(row, column):
        return 0.3 * ndimage.gaussian_filter(disc(row, column, 3).astype(float), 1)

    truth = flat + spot(48, 36) + spot(30, 48)
    predicted = flat + spot(49, 37) + spot(60, 48) + spot(7, 48)  # the last lies at the outline
    counts = {"shown": 2, "invented": 1, "true": 2, "missing": 1}
    assert bright_spots(predicted, truth, head) == counts
    assert bright_spots(1 - truth, truth, head)["shown"] == 0  # dark spots are none
    assert bright_spots(flat, flat, head) == dict.fromkeys(counts, 0)
