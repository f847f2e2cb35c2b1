// Files on their way in: dropped anywhere on the page, folders and all, or a folder that is chosen. They
// go into Gradio's own file input. Of more than the server takes at once, such as a patient's CD, whole MR
// series are sent, those that their headers call T1 or T2 first.

(() => {
  const MOST_FILES = 1000; // web/limits.py, UPLOAD_FILES
  const HEADER_BYTES = 65536;
  const JUNK = /(^|\/)(\.|__MACOSX\/|Thumbs\.db$|DICOMDIR$|autorun\.inf$)|\.(exe|dll|html?|js|css|pdf|ini|inf|txt|xml|jar|app)$/i;
  const LONG = new Set(["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"]);
  const WANTED = { 0x00080060: "modality", 0x0008103e: "title", 0x0020000e: "series" };
  const SWITCH = "#at-once input"; // its state is the one thing that this browser is asked to keep
  const KEPT = "translate-at-once";
  const AREAS = { "#truth-upload": "#truth", "#look-upload": "#look-area" };
  let forScan = true; // or a real image or a look for the scan that is there

  const mostBytes = () => window.gradio_config.max_file_size || 256 * 2 ** 20;

  // ---------------------------------------------------------------- folders

  // Every file below an entry of a drop, with its path in it.
  async function walk(entry) {
    if (entry.isFile) {
      const file = await new Promise((done, failed) => entry.file(done, failed));
      return [{ file, path: entry.fullPath.replace(/^\//, "") }];
    }
    const reader = entry.createReader();
    const found = [];
    for (;;) {
      const some = await new Promise((done, failed) => reader.readEntries(done, failed));
      if (!some.length) return found;
      for (const each of some) found.push(...(await walk(each)));
    }
  }

  // Where files of different folders have one name, the folder becomes a part of it.
  function named(found) {
    const names = new Map();
    for (const { file } of found) names.set(file.name, (names.get(file.name) || 0) + 1);
    return found.map(({ file, path }) => {
      const folder = path.split("/").slice(-2, -1)[0];
      const isAlone = names.get(file.name) === 1 || !folder;
      return isAlone ? file : new File([file], folder + " - " + file.name, { type: file.type });
    });
  }

  // ---------------------------------------------------------------- of a CD, what can be used

  // Modality, description and series of a DICOM file; null for what is none. PS3.10 7.1, PS3.5 7.1.
  function header(buffer) {
    const view = new DataView(buffer);
    const text = (at, length) => String.fromCharCode(...new Uint8Array(buffer, at, length)).replace(/[\0 ]+$/, "");
    if (view.byteLength < 140 || text(128, 4) !== "DICM") return null;
    const found = {};
    let implicit = false;
    let depth = 0;
    for (let at = 132; at + 12 <= view.byteLength; ) {
      const group = view.getUint16(at, true);
      const tag = group * 65536 + view.getUint16(at + 2, true);
      if (depth === 0 && tag > 0x0020000e) break;
      let length, start;
      if (group === 0xfffe || (implicit && group !== 2)) {
        [length, start] = [view.getUint32(at + 4, true), at + 8];
      } else if (LONG.has(text(at + 4, 2))) {
        [length, start] = [view.getUint32(at + 8, true), at + 12];
      } else {
        [length, start] = [view.getUint16(at + 6, true), at + 8];
      }
      if (tag === 0xfffee0dd) depth -= 1;
      else if (length === 0xffffffff) depth += group === 0xfffe ? 0 : 1;
      const isInside = length === 0xffffffff || group === 0xfffe;
      if (!isInside && start + length <= view.byteLength) {
        if (tag === 0x00020010) implicit = text(start, length) === "1.2.840.10008.1.2";
        if (depth === 0 && WANTED[tag]) found[WANTED[tag]] = text(start, length);
      }
      at = isInside ? start : start + length;
    }
    return found;
  }

  // T1 and T2 come first, and what the model does not know last; then by size.
  function rank({ title }) {
    const words = (title || "").toLowerCase();
    if (/flair|diff|dwi|adc|swi|tof|angio|perf|bold|scout|local|survey|post|gad|\bkm\b|\bce\b/.test(words)) return 2;
    return /t1|t2|mprage|spgr|bravo/.test(words) ? 0 : 1;
  }

  async function choose(found) {
    const series = new Map();
    for (const each of found) {
      const told = header(await each.file.slice(0, HEADER_BYTES).arrayBuffer());
      if (!told || (told.modality && told.modality !== "MR")) continue;
      const key = told.series || each.path;
      if (!series.has(key)) series.set(key, { title: told.title, files: [], bytes: 0 });
      const group = series.get(key);
      group.files.push(each);
      group.bytes += each.file.size;
    }
    const groups = [...series.values()].sort((a, b) => rank(a) - rank(b) || b.files.length - a.files.length);
    const taken = [];
    let bytes = 0;
    for (const group of groups) {
      if (taken.length + group.files.length > MOST_FILES || bytes + group.bytes > mostBytes()) continue;
      taken.push(...group.files);
      bytes += group.bytes;
      group.sent = true;
    }
    const left = groups.filter((group) => !group.sent).map((group) => group.title || "without a name");
    return { taken, left };
  }

  // ---------------------------------------------------------------- into Gradio's file input

  // The input, when it is there: the page may be still being drawn, and a closed area is opened first.
  async function inputOf(selector) {
    const area = AREAS[selector];
    if (area) document.querySelector(area + " > .label-wrap:not(.open)")?.click();
    for (let tries = 0; tries < 300; tries += 1) {
      const input = document.querySelector(selector + " input[type=file]");
      if (input) return input;
      await new Promise((done) => setTimeout(done, 100));
    }
    return null;
  }

  async function give(found, selector) {
    const input = await inputOf(selector);
    if (!input) return;
    let sent = found.length > 1 ? found.filter(({ path }) => !JUNK.test(path)) : found;
    let words = "";
    const bytes = sent.reduce((sum, { file }) => sum + file.size, 0);
    if (sent.length > MOST_FILES || (sent.length > 1 && bytes > mostBytes())) {
      const { taken, left } = await choose(sent);
      if (taken.length) {
        sent = taken;
        words = left.length ? "Not sent, as it is too much at once: " + left.join("; ") + "." : "";
      }
    }
    if (!sent.length) return;
    const transfer = new DataTransfer();
    for (const file of named(sent)) transfer.items.add(file);
    input.files = transfer.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    window.incoming.note = words;
  }

  const place = (target) => {
    if (target.closest?.("#truth, .viewer-truth")) return "#truth-upload";
    return target.closest?.("#look-area") ? "#look-upload" : "#upload";
  };
  const hasFiles = (event) => [...(event.dataTransfer?.types || [])].includes("Files");

  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    document.body.classList.add("dropping");
  }, true);
  for (const name of ["dragleave", "dragend", "drop"]) {
    addEventListener(name, (event) => {
      if (name !== "dragleave" || !event.relatedTarget) document.body.classList.remove("dropping");
    }, true);
  }
  addEventListener("drop", async (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.stopPropagation(); // Gradio's own zone takes files only
    const where = place(event.target);
    // Both are empty once this handler has returned.
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const files = [...event.dataTransfer.files];
    const found = entries.length
      ? (await Promise.all(entries.map(walk))).flat()
      : files.map((file) => ({ file, path: file.name }));
    await give(found, where);
  }, true);

  addEventListener("click", (event) => {
    const button = event.target.closest?.(".pick-folder");
    if (!button) return;
    const picker = document.createElement("input");
    picker.type = "file";
    picker.webkitdirectory = true;
    picker.onchange = () =>
      give([...picker.files].map((file) => ({ file, path: file.webkitRelativePath })), "#upload");
    picker.click();
  });
  addEventListener("change", ({ target }) => {
    if (target.matches(SWITCH)) keep(target.checked);
    if (target.type !== "file") return;
    forScan = Boolean(target.closest("#upload"));
    window.incoming.note = ""; // of the files before
  }, true);

  // Whether this reader has each scan translated when it is opened. What is kept decides, since the switch
  // is drawn, and set, after a file can be dropped in.
  function isAtOnce(shown) {
    try {
      return localStorage.getItem(KEPT) === null;
    } catch {
      return shown; // a browser that is told to keep nothing
    }
  }
  function keep(isWanted) {
    try {
      if (isWanted) localStorage.removeItem(KEPT);
      else localStorage.setItem(KEPT, "no");
    } catch {
      // The switch goes for this page alone.
    }
  }

  addEventListener("storage", ({ key }) => {
    const box = document.querySelector(SWITCH); // the reader used the one of another tab
    if (key === KEPT && box && box.checked !== isAtOnce(box.checked)) box.click();
  });

  window.incoming = { isScan: () => forScan, isAtOnce, give, note: "" };

  // Whoever serves the page sees the files; on this computer that is nobody else.
  const isHere = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
  document.documentElement.classList.toggle("at-home", isHere);
})();
