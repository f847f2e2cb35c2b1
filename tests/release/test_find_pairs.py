"""Partners among unpaired slices are found and registered, and no others are."""

import csv

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from cyclegan.model.head import foreground
from cyclegan.model.preprocess import Frame
from cyclegan.release.find_pairs import main
from cyclegan.release.pair_search import resample
from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import simulate_pair

HEADS = 5  # the first has a T1 only, the last a T2 only


def moved(image):
    """As another scan lies: turned by 4 degrees, 4 % larger, a few pixels off."""
    turned = ndimage.rotate(image, 4, reshape=False, order=3)
    return ndimage.affine_transform(turned, np.eye(2) / 1.04, offset=(1.0, 9.0), order=3).clip(0, 1)


def save(image, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((255 * image).round().astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def heads():
    drawn = [draw_slice(seed, 0.35 + 0.08 * seed, 256) for seed in range(HEADS)]
    return [simulate_pair(d, np.random.default_rng(k), clean=True) for k, d in enumerate(drawn)]


@pytest.fixture(scope="module")
def found(heads, tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    for k, head in enumerate(heads):
        if k < HEADS - 1:
            save(head.t1, folder / f"data/T1/ward_{k}.png")
        if k > 0:
            save(moved(head.t2), folder / f"data/T2/ward_{9 - k}.png")  # names tell nothing
    for k in (1, HEADS - 1):  # one that is in the data, too, and one that is not
        save(heads[k].t1, folder / f"known/T1/old_{k}.png")
        save(moved(heads[k].t2), folder / f"known/T2/old_{k}.png")
    search = ["--data", str(folder / "data"), "--pairs", str(folder / "known")]
    main([*search, "--out", str(folder / "out")])
    return folder


def likeness(a, b):
    inside = foreground(a) & foreground(b)
    return np.corrcoef(a[inside], b[inside])[0, 1]


def test_each_slice_gets_its_own_partner_once_and_lies_over_it(found, heads):
    names = sorted(path.name for path in (found / "out/T1").iterdir())
    assert names == ["old_0001.png"] + [f"ward_{k:04}.png" for k in (1, 2, 3)]
    whose = []
    for name in names:
        t1, t2 = (np.asarray(Image.open(found / f"out/{c}/{name}")) / 255 for c in ("T1", "T2"))
        both = [framed(head, name.startswith("old"), len(t1)) for head in heads]
        whose.append(int(np.argmax([likeness(t1, true) for true, _ in both])))
        true_t1, true_t2 = both[whose[-1]]
        assert likeness(t1, true_t1) > 0.99
        assert likeness(t2, true_t2) > 0.95
        assert likeness(moved(true_t2), true_t2) < 0.4
    assert sorted(whose) == [1, 2, 3, 4]
    assert whose[0] == 4  # the known pair that is in the data, too, is not there twice


def framed(head, known, size):
    """T1 and the T2 as it belongs over it, in the frame of the T1, or of both as pairs are read."""
    frame = Frame.fit(np.maximum(head.t1, moved(head.t2)) if known else head.t1, size)
    return frame.apply(np.stack([head.t1, head.t2]))[:, 0].numpy()


@pytest.mark.parametrize(
    ("transform", "square"),
    [
        ([[1, 0, 0.25], [0, 1, 0]], np.s_[28:36, 20:28]),  # looks further right, so it goes left
        ([[1, 0, 0], [0, 1, 0.25]], np.s_[20:28, 28:36]),
        ([[0, -1, 0], [1, 0, 0.25]], np.s_[28:36, 20:28]),  # turned
    ],
)
def test_a_transform_moves_a_slice_the_way_its_numbers_say(transform, square):
    image, expected = np.zeros((2, 64, 64), np.float32)
    image[28:36, 28:36] = expected[square] = 1
    moved = resample(image[None], np.array(transform, np.float32))[0]
    np.testing.assert_allclose(moved, expected, atol=1e-4)


def test_the_table_has_each_pair_the_least_sure_first(found):
    rows = list(csv.DictReader((found / "out/pairs.csv").open(newline="")))
    values = [float(row["agreement"]) for row in rows]
    assert values == sorted(values)
    assert 0.7 < values[0] < values[-1] <= 1
    assert {row["name"] for row in rows} == {p.name for p in (found / "out/T2").iterdir()}


def test_a_folder_that_is_there_is_left_alone(found, capsys):
    before = sorted(found.rglob("*"))
    with pytest.raises(SystemExit):
        main(["--data", str(found / "data"), "--out", str(found / "out")])
    assert "is there already; name a new folder" in capsys.readouterr().err
    assert sorted(found.rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--data", "nowhere"], "nowhere: no such folder"),
        (["--pairs", "nowhere"], "nowhere: no such folder"),
        (["--data", "{}/data", "--weights", "{}/none"], "none: no such weights folder"),
    ],
)
def test_what_cannot_be_searched_is_said_and_leaves_nothing(found, tmp_path, options, sentence):
    options = [option.format(found) for option in options]
    with pytest.raises(SystemExit, match=sentence):
        main([*options, "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
