"""Nothing is lost: a connection that is cut, a server that is restarted, a page that is left."""

import nibabel as nib
import numpy as np
import pytest
from cuttable import Cuttable
from frames import wait_until_ready
from serve import serve, weights_folder

# Events as a proxy, or a busy machine, hands them on: nothing for a while, then all at once.
IN_LUMPS = """(() => {
  const send = window.fetch.bind(window);
  window.lumps = 0;
  window.fetch = async (input, options) => {
    const answer = await send(input, options);
    if (!/queue\\/data/.test(String(input.url || input))) return answer;
    const reader = answer.body.getReader();
    let [held, ended, fault] = [[], false, null];
    (async () => {
      for (let read; !(read = await reader.read()).done; ) held.push(read.value);
    })().catch((cut) => (fault = cut)).then(() => (ended = true));
    const hand = (out) => setTimeout(async () => {
      const lump = new Blob(held.splice(0));
      const isLast = ended;
      if ((await lump.text()).split("\\n\\n").length > 3) window.lumps += 1;
      if (lump.size) out.enqueue(new Uint8Array(await lump.arrayBuffer()));
      if (isLast && fault) out.error(fault);
      else if (isLast) out.close();
      else hand(out);
    }, EVERY);
    const [{ status, headers }, body] = [answer, new ReadableStream({ start: hand })];
    return new Response(body, { status, headers });
  };
})()"""


def in_lumps(milliseconds):
    return IN_LUMPS.replace("EVERY", str(milliseconds))


@pytest.fixture
def cuttable(url):
    with Cuttable(url) as cuttable:
        yield cuttable


@pytest.fixture
def through(chromium, cuttable, request):
    """A page that reaches the server through `cuttable`, with a mark that a reload would remove."""
    context = chromium.new_context(viewport={"width": 1400, "height": 900})
    context.add_init_script(getattr(request, "param", ""))
    yield marked(context.new_page(), cuttable.url)
    context.close()


def marked(page, url):
    page.set_default_timeout(90_000)  # two busy cores
    page.goto(url)
    wait_until_ready(page)
    page.evaluate("window.mark = true")
    return page


def connection_says(page, words):
    page.wait_for_function(
        "(words) => (document.querySelector('#connection')?.innerText ?? '').includes(words)",
        arg=words,
    )


def connection_is_quiet(page):
    page.wait_for_function("document.querySelector('#connection').innerText === ''")


@pytest.fixture(scope="module")
def volume_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "volume.nii"
    rows, columns = np.mgrid[-1:1:64j, -1:1:64j]
    slices = [np.hypot(rows, columns) < 0.5 + 0.05 * index for index in range(6)]
    array = np.stack(slices, axis=-1) * np.random.default_rng(0).uniform(200, 900, (64, 64, 6))
    nib.save(nib.Nifti1Image(array.astype(np.int16), np.diag([3.0, 3.0, 5.0, 1.0])), path)
    return path


def test_a_cut_connection_keeps_the_page_and_its_work_goes_on(through, cuttable, volume_file):
    page = through
    page.set_input_files("#upload input[type=file]", str(volume_file))
    page.get_by_role("button", name="All 6 slices").click()
    page.wait_for_selector("[data-panel=translated].filled")
    cuttable.cut()
    connection_says(page, "reconnecting")
    page.wait_for_timeout(4000)
    assert page.locator("[data-panel=translated].filled").count() == 1
    cuttable.mend()
    connection_is_quiet(page)
    page.locator("#status [role=status]:has-text('all 6 slices')").wait_for()

    cuttable.cut()
    page.get_by_label("T2 → T1", exact=True).check()  # pressed while nothing answers
    connection_says(page, "reconnecting")
    page.get_by_role("button", name="Translate", exact=True).click()
    page.wait_for_timeout(1000)
    cuttable.mend()
    page.get_by_role("heading", name="Synthetic T1").wait_for()
    connection_is_quiet(page)
    assert page.evaluate("window.mark")
    assert volume_file.name in page.inner_text(".viewer-caption")


@pytest.mark.parametrize(
    "through", ["", in_lumps(900)], indirect=True, ids=["events as they come", "events in lumps"]
)
def test_after_a_restart_the_page_stays_readable_and_says_what_to_do(
    through, cuttable, tmp_path, volume_file
):
    page = through
    page.set_input_files("#upload input[type=file]", str(volume_file))
    page.get_by_role("button", name="Translate", exact=True).click()
    page.wait_for_selector("[data-panel=translated].filled")
    cuttable.cut()
    page.get_by_label("T2 → T1", exact=True).check()  # pressed while nothing answers
    connection_says(page, "reconnecting")
    # A new process knows nothing of the old one's tabs; neither does another page of this one.
    joined = []
    page.on("response", lambda answer: "queue/join" in answer.url and joined.append(answer.url))
    with serve(weights_folder(tmp_path), tmp_path / "uploads") as restarted:
        cuttable.target = restarted
        cuttable.mend()
        sentence = "The server was restarted; please drop the file in again."
        connection_says(page, sentence)
        page.get_by_role("button", name="Translate", exact=True).click()
        page.get_by_text(sentence).nth(1).wait_for()  # what Gradio shows of it
        assert joined == []  # what the old server was asked is not for this one
        assert "cannot be understood" not in page.inner_text("body")
        assert page.locator("[data-panel=translated].filled").count() == 1
        page.set_input_files("#upload input[type=file]", str(volume_file))
        connection_is_quiet(page)
        page.get_by_role("button", name="Translate", exact=True).click()
        page.wait_for_selector("[data-panel=translated].filled")
        assert page.evaluate("window.mark")


def test_a_page_that_slept_through_a_restart_is_told_so(page, volume_file):
    page.set_input_files("#upload input[type=file]", str(volume_file))
    page.get_by_role("button", name="Translate", exact=True).click()
    page.wait_for_selector("[data-panel=translated].filled")
    # Nothing was seen to break, and yet it is another server that answers.
    page.evaluate("window.gradio_config.app_id = 1")
    page.get_by_label("T2 → T1", exact=True).check()
    connection_says(page, "The server was restarted; please drop the file in again.")
    assert "cannot be understood" not in page.inner_text("body")
    assert page.locator("[data-panel=translated].filled").count() == 1
    page.evaluate("window.gradio_config.app_id = 1")  # and once more, before the file
    page.set_input_files("#upload input[type=file]", str(volume_file))
    connection_is_quiet(page)
    page.get_by_role("button", name="Translate", exact=True).click()
    page.wait_for_selector("[data-panel=translated].filled")


def test_answers_that_arrive_together_are_all_shown(chromium, url, volume_file):
    context = chromium.new_context(viewport={"width": 1400, "height": 900})
    context.add_init_script(in_lumps(2000))
    page = marked(context.new_page(), url)
    page.set_input_files("#upload input[type=file]", str(volume_file))
    page.get_by_role("button", name="All 6 slices").click()
    page.locator("#status [role=status]:has-text('all 6 slices')").wait_for()
    page.wait_for_selector("[data-panel=translated].filled")
    page.wait_for_selector(".viewer[data-found=all]")
    assert page.evaluate("window.lumps") > 0  # or this tests nothing
    context.close()


def test_leaving_asks_first_when_there_is_work_on_the_page(through):
    asked = []
    through.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    through.reload()
    wait_until_ready(through)
    assert asked == []
    through.get_by_role("button", name="Simulated T1", exact=True).click()
    through.wait_for_selector(".viewer[data-found=all]")
    through.reload()
    wait_until_ready(through)
    assert asked == ["beforeunload"]
