"""The report of a run: what is in it, that it asks for nothing, and that names stay names."""

import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from accelerate import Accelerator
from PIL import Image

import train
from cyclegan.data.inventory import take_inventory
from cyclegan.report import __main__ as report_command
from cyclegan.report.run_report import curves, write_report
from cyclegan.report.runlog import CsvLog, RecordError, RunOutput, record_run
from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import simulate_pair
from cyclegan.training.config import PAIRS, SIMULATED, UNPAIRED, TrainConfig, resolved
from cyclegan.training.objective import Objective

TINY = ["--size", "32", "--start-size", "32", "--batch", "1", "--steps", "2", "--precision", "no"]
TINY += ["--log-every", "1", "--save-every", "1"]
TAG = "<script>alert(1)<"  # a file name on most systems


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((255 * image).round().astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def heads():
    """Four simulated heads, T1 and T2, 128 x 128."""
    labels = [draw_slice(seed, level=0.55, size=128) for seed in range(4)]
    return [simulate_pair(m, np.random.default_rng(10)) for m in labels]  # brains of usual contrast


@pytest.fixture(scope="module")
def folders(heads, tmp_path_factory):
    """Training data, and pairs: one a copy of it, one a smaller copy, one of another subject."""
    root = tmp_path_factory.mktemp("data")
    for i, head in enumerate(heads[:3]):
        for contrast in ("T1", "T2"):
            save(root / f"mine/{contrast}/{TAG}_{i}.png", getattr(head, contrast.lower()))
    (root / "mine/T1/broken.png").write_bytes(b"not a picture")
    for contrast in ("T1", "T2"):
        save(root / f"pairs/{contrast}/copy_0.png", getattr(heads[0], contrast.lower()))
        save(root / f"pairs/{contrast}/other_0.png", getattr(heads[3], contrast.lower()))
        small = Image.open(root / f"mine/{contrast}/{TAG}_1.png").resize((100, 100))
        small.save(root / f"pairs/{contrast}/small_0.png")
    return root


@pytest.fixture(scope="module")
def run(folders, tmp_path_factory):
    """The folder of a finished run, with the report that the command writes."""
    out = tmp_path_factory.mktemp("runs") / "a<b>run"
    data, val = str(folders / "mine"), str(folders / "pairs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "write_report", lambda run: None)  # at every save: most of the time
        assert train.main(["--data", data, "--val", val, "--out", str(out), *TINY]) == 0
    assert report_command.main([str(out)]) == 0
    return out


class Page(HTMLParser):
    """Tags with their attributes, and text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += f" {data}"

    def every(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


@pytest.fixture(scope="module")
def page(run):
    return Page((run / "report.html").read_text("utf-8"))


def test_the_report_asks_for_nothing_from_outside(page):
    assert page.every("img")
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object")
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            assert re.match(r"data:|#|$", attributes.get(name) or ""), (tag, attributes)
    assert len(page.every("script")) == 1
    (policy,) = [m for m in page.every("meta") if m.get("http-equiv")]
    assert policy["content"].startswith("default-src 'none'")


def test_names_stay_names_and_folders_of_this_machine_are_not_told(run, folders, page):
    assert f"mine/T1/{TAG}_1.png" in page.text
    assert "Training report: a<b>run" in page.text
    assert "alert(1)" not in [a.get("alt") for a in page.every("img")]
    text = (run / "report.html").read_text("utf-8")
    assert not [folder for folder in (folders, run.parent) if str(folder) in text]
    assert "train.py --data mine --val pairs --out a<b>run --size 32" in page.text


def test_every_picture_and_chart_says_what_it_shows(page):
    assert all(image.get("alt") for image in page.every("img"))
    charts = page.every("svg")
    assert charts
    assert all(c["role"] == "img" and c["aria-label"] for c in charts)
    assert [t for t, _ in page.tags if re.fullmatch("h[1-6]", t)][:2] == ["h1", "h2"]
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert {a["href"][1:] for a in page.every("a")} <= set(ids)


def test_what_the_run_wrote_is_there(page):
    assert len([i for i in page.every("img") if "data-sheet" in i]) == 2
    assert {"cycle", "loss_D", "idt", "weight_cycle"} <= set(page.text.split())
    assert f"Intensities of mine/{TAG.split('_')[0]}" in str(page.every("svg"))
    text = " ".join(page.text.split())
    assert "1 file could not be used" in text
    assert text.count(": SSIM ") == 6  # worst cases


def test_absolute_paths_are_recorded_by_their_last_part(tmp_path):
    arguments = [
        "/home/x/data/",
        "--data=/home/x/data",
        "../data",
        "~/data",
        r"C:\Users\x\data",
        "u/m",
    ]
    record_run(tmp_path, {}, Accelerator(cpu=True), arguments)
    (start,) = json.loads((tmp_path / "run.json").read_text())["starts"]
    assert start["command"] == "train.py data --data=data ../data data data u/m"


def test_words_are_of_losses_of_the_objective(tmp_path):
    config = resolved(TrainConfig(steps=1), (UNPAIRED, PAIRS, SIMULATED))
    generators = {c: SimpleNamespace(error_head=1) for c in ("T1", "T2")}
    goal = SimpleNamespace(config=config, published=False, kinds=(), generators=generators)
    table = Objective.weights(goal) | Objective.supervised_weights(goal)
    assert {"cycle_ssim", "error"} <= set(table)
    CsvLog(tmp_path / "log.csv").append({"step": 1} | dict.fromkeys([*table, "loss_D"], 0.5))
    text = write_report(tmp_path).read_text("utf-8")
    notes = re.findall(r"<h3>(\w+)</h3>.*?<figcaption>(.*?)</figcaption>", text, re.DOTALL)
    assert {"cycle_ssim", "error", "loss_D"} <= {name for name, note in notes if note}


def test_copies_between_training_and_pairs_are_leaks(run, page):
    data = json.loads((run / "data.json").read_text())
    leaks = {leak["pair"]: leak for leak in data["leaks"]}
    assert set(leaks) == {f"pairs/{c}/{n}_0.png" for c in ("T1", "T2") for n in ("copy", "small")}
    assert leaks["pairs/T1/copy_0.png"]["same_bytes"]
    assert leaks["pairs/T1/small_0.png"]["training"] == f"mine/T1/{TAG}_1.png"
    assert not leaks["pairs/T1/small_0.png"]["same_bytes"]
    assert sum(group["leak"] for group in data["copies"]) == 2
    assert "Leak: 4 slices" in page.text


def test_clean_data_raises_no_alarm_and_one_picture_as_both_contrasts_does(heads, tmp_path):
    for i, head in enumerate(heads):
        folder = "pairs" if i == 3 else "mine"
        save(tmp_path / folder / "T1" / f"x_{i}.png", head.t1)
        save(tmp_path / folder / "T2" / f"x_{i}.png", head.t2)
    inventory = take_inventory([tmp_path / "mine"], tmp_path / "pairs", tmp_path / "run")
    assert inventory["counts"] == {"copies": 0, "leaks": 0}
    by_contrast = {s["contrast"]: s for s in inventory["sources"] if not s["judged"]}
    assert by_contrast["T1"]["files"] == by_contrast["T1"]["slices"] == 3
    assert by_contrast["T1"]["matrices"] == {"128 x 128": 3}
    assert sum(by_contrast["T2"]["histogram"]) == pytest.approx(1, abs=1e-3)
    assert Image.open(tmp_path / "run" / by_contrast["T1"]["examples"]).size == (3 * 96, 96)
    save(tmp_path / "mine/T2/copy.png", heads[0].t1)
    (copy,) = take_inventory([tmp_path / "mine"], None, tmp_path / "run")["copies"]
    assert (copy["contrasts"], copy["leak"]) == (True, False)


def test_a_young_run_and_no_run_are_said(tmp_path, capsys):
    (tmp_path / "log.csv").write_text("step,minutes,pairs\n")
    text = write_report(tmp_path).read_text("utf-8")
    assert "Nothing logged yet" in text
    assert "No sample sheet yet" in text
    with pytest.raises(RecordError, match="not the folder of a run"):
        write_report(tmp_path / "none")
    assert report_command.main([str(tmp_path / "none")]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_a_log_with_unfinished_and_infinite_cells_is_drawn(tmp_path):
    (tmp_path / "log.csv").write_text("step,minutes,pairs,$x^$\n1,0.1,0.5,\n2,0.2,inf,0.4\n3,0.")
    labels = [c["aria-label"] for c in Page(write_report(tmp_path).read_text()).every("svg")]
    assert labels == ["Loss pairs: values from 0.5 to 0.5", "Loss $x^$: values from 0.4 to 0.4"]
    rows = [{"step": 1, "x": 0.1}, {"step": 2, "x": 0.2}]
    assert "$x^$" in curves("a", rows, {"$x^$": "x"})  # no formula


def test_a_report_that_cannot_be_written_does_not_end_the_run(tmp_path, monkeypatch, capsys):
    def disk_full(run):
        assert run == str(tmp_path / "run")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(train, "write_report", disk_full)
    monkeypatch.setattr(train, "PHANTOMS", 2)
    arguments = ["--labelmaps", "phantom", "--out", str(tmp_path / "run")]
    assert train.main([*arguments, *TINY]) == 0
    assert "no report this time" in capsys.readouterr().err


def test_trackers_get_the_curves(tmp_path):
    tracked = []
    accelerator = SimpleNamespace(
        is_main_process=True, log=lambda values, step: tracked.append((step, values))
    )
    output = RunOutput(tmp_path, accelerator)
    output.log_losses(1, 60, {"pairs": 0.5})
    output.log_scores(2, 90, {"T2 ssim": 0.7})
    assert tracked == [(1, {"log/pairs": 0.5}), (2, {"validation/T2_ssim": 0.7})]


def test_what_is_missing_is_said_before_training(folders, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train, "get_available_trackers", list)
    monkeypatch.setattr("cyclegan.report.publish.get_token", lambda: None)
    arguments = ["--data", str(folders / "mine"), "--out", str(tmp_path / "run"), *TINY]
    for more, message in (
        (["--val", str(folders / "none")], "none: no folder T1/"),
        (["--push-to-hub", "user/model"], "no Hub token on this machine"),
        (["--track", "wandb"], "train.py: --track wandb: not installed; pip install wandb\n"),
    ):
        assert train.main([*arguments, *more]) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_slider_shows_one_sheet_at_a_time_and_fits_a_phone(run, chromium):
    with chromium.new_page(viewport={"width": 390, "height": 800}) as page:
        asked, errors = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(error))
        page.goto((run / "report.html").as_uri())
        sheets = page.locator("[data-sheet]")
        assert [sheet.is_visible() for sheet in sheets.all()] == [False, True]
        page.locator("#sheet").press("Home")
        assert [sheet.is_visible() for sheet in sheets.all()] == [True, False]
        assert page.inner_text("#sheet-step") == "1"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate("[...document.images].every(i => i.hidden || i.naturalWidth > 0)")
        assert [url for url in asked if not url.startswith("data:")] == asked[:1]
        assert errors == []


def test_a_log_that_a_spreadsheet_has_saved_goes_on(tmp_path):
    log = CsvLog(tmp_path / "log.csv")
    for step in (1, 2, 3):
        log.append({"step": step, "loss": 0.5 * step})
    plain = log.path.read_bytes()
    saved = "\ufeff" + plain.decode().replace(",", ";").replace(".", ",").replace("\r\n", "\n")
    log.path.write_text(saved.replace("\n", "\r\n"), "utf-8", newline="")
    assert [row["loss"] for row in log.rows()] == ["0.5", "1", "1.5"]
    assert "<svg" in write_report(tmp_path).read_text("utf-8")
    log.append({"step": 4, "loss": 2.0})  # of the run that is going on meanwhile
    log.truncate(2)
    log.append({"step": 3, "loss": 1.5})
    assert log.path.read_bytes() == plain


def test_a_damaged_record_is_named(tmp_path, capsys):
    (tmp_path / "run.json").write_text('{"config": ')
    assert report_command.main([str(tmp_path)]) == 1
    assert "run.json: this file is damaged; delete it" in capsys.readouterr().err
