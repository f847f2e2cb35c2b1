// What the second answer adds to the slice on screen: numbers with their expected ranges, the
// uncertainty map, the true error and the report. Joined behind viewer.js into one function body.
//
// props.value: {key, run, index, report, findings: {readings: [{name, title, value, expected, weak,
//   unusual, text, worth}], missing, structure, mapWords, mapMeaning, mapRank, bandWords, lesionContrast,
//   lesionWords, uncertainty, trueError, trueWords}}; uncertainty is an image as in viewer.js, or null:
//   not there yet when mapRank says that there is a map of it; where mapRank is null, it is not worth one.
//   With bandWords it is the band around each value.

let mapless = false; // whether no uncertainty map is worth it; until that is known, its button keeps its place
const CYCLE_WORDS = root.querySelector(".map-words").innerHTML;

function acceptFindings(value) {
  // For a slice that is not on screen any more it comes too late.
  if (!shown || ["key", "run", "index"].some((part) => value[part] !== shown[part])) return;
  found = { ...value.findings, report: value.report };
  mapless = found.mapRank === null;
  if (found.uncertainty) found.pixels = decode(found.uncertainty);
  showMap();
  showFindings();
  arrange();
}

// The map of errors: cycle error, computed here, or the uncertainty.
function showMap() {
  const image = images.get("difference");
  const [original, reconstructed] = ["original", "reconstructed"].map((name) => images.get(name).pixels);
  if (!image.given || (found && found.mapRank === null)) map = "cycle";
  const words = root.querySelector(".map-words");
  if (map === "uncertainty") {
    image.pixels = found ? found.pixels || null : null;
    words.textContent = found ? found.mapMeaning + " Dark does not mean right." : "";
    return;
  }
  image.pixels =
    image.given && original && reconstructed
      ? original.map((v, i) => Math.abs(v - reconstructed[i]))
      : null;
  words.innerHTML = CYCLE_WORDS;
  if (found && found.mapRank === null) words.append(" " + found.mapWords);
}

function showFindings() {
  const section = root.querySelector(".viewer-findings");
  section.hidden = !shown.panels.translated;
  section.classList.toggle("pending", !found);
  const copy = section.querySelector("[data-do=copyReport]");
  copy.disabled = !found;
  copy.textContent = "Copy report";
  section.querySelector("[data-do=hatch]").disabled = !hatched && !canHatch();
  section.querySelector(".findings-words").textContent = found ? found.missing : "Being measured";
  if (found) {
    section.querySelector("ul").replaceChildren(...found.readings.map(reading));
    root.querySelector(".viewer-structure").textContent = found.structure;
    root.querySelector(".viewer-map-words").textContent = found.mapWords;
    root.querySelector(".viewer-band-words").textContent = found.bandWords || "Not known for these weights.";
    root.querySelector(".viewer-lesion").textContent = found.lesionContrast
      ? `${found.lesionContrast.toFixed(2)} of the grey range, ${found.lesionWords}`
      : "a lesion's contrast, which is not known for these weights";
  }
  root.dataset.found = found ? (found.mapRank === null || found.pixels ? "all" : "numbers") : "";

  root.querySelector(".viewer-truth").hidden = !shown.panels.truth;
  const numbers = root.querySelector(".truth-numbers");
  root.querySelector(".truth-warning").textContent = found ? found.trueWarning : "";
  const error = found && found.trueError;
  if (error) {
    const entries = [["SSIM", error.ssim.toFixed(3)], ["PSNR", error.psnr.toFixed(1) + " dB"],
      ["MAE", error.mae.toFixed(3)]];
    numbers.replaceChildren(...entries.map(([name, value]) => {
      const entry = element("div");
      entry.append(element("dt", name), element("dd", value));
      return entry;
    }));
  } else {
    numbers.textContent = found ? found.trueWords : "Being measured";
  }

  function element(tag, text = "") {
    const made = document.createElement(tag);
    made.textContent = text;
    return made;
  }
}

// One number: where it lies beside its expected range, and in words.
function reading({ name, title, value, expected, weak, unusual, text, worth: told }) {
  const item = document.createElement("li");
  item.dataset.name = name;
  item.classList.toggle("unusual", unusual);
  const head = document.createElement("strong");
  head.textContent = title;
  item.append(head);
  if (expected && !weak) {
    const [low, high] = expected;
    const rim = (high - low) / 2;
    const [from, to] = [Math.min(low, value) - rim, Math.max(high, value) + rim];
    const share = (v) => ((v - from) / (to - from)) * 100 + "%";
    const gauge = document.createElement("div");
    gauge.className = "gauge";
    gauge.setAttribute("aria-hidden", "true"); // the words say the same
    const band = document.createElement("i");
    band.style.left = share(low);
    band.style.right = "calc(100% - " + share(high) + ")";
    const dot = document.createElement("b");
    dot.style.left = share(value);
    gauge.append(band, dot);
    item.append(gauge);
  }
  const words = document.createElement("span");
  words.textContent = text;
  item.append(words);
  if (told) {
    const worth = document.createElement("small");
    worth.textContent = told;
    item.append(worth);
  }
  return item;
}

async function copyReport() {
  const button = root.querySelector("[data-do=copyReport]");
  const text = found.report;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without TLS there is no clipboard but this one.
    const area = document.createElement("textarea");
    area.value = text;
    root.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  button.textContent = "Copied";
  say("Report copied");
}

root.querySelector("[data-do=copyReport]").addEventListener("click", copyReport);
