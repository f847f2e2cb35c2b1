// Files of a drop or a dialog: folders are walked through, and of more than the server takes at once, such as a
// patient's CD, whole MR series are sent, those that their headers call T1 or T2 first. Files are {file, path}.

const HEADER_BYTES = 65536;
const JUNK = /(^|\/)(\.|__MACOSX\/|Thumbs\.db$|DICOMDIR$|autorun\.inf$)|\.(exe|dll|html?|js|css|pdf|ini|inf|txt|xml|jar|app)$/i;
const LONG = new Set(["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"]);
const FIELDS = new Map([[0x00080060, "modality"], [0x0008103e, "title"], [0x0020000e, "series"]]);
const LAST = 0x0020000e; // the fields that are read end here

// ---------------------------------------------------------------- what was dropped or chosen

/** @param {any} entry of a drop: a file, or a folder @returns {Promise<FileEntry[]>} */
async function walk(entry) {
  if (entry.isFile) {
    /** @type {File} */
    const file = await new Promise((done, failed) => entry.file(done, failed));
    return [{ file, path: entry.fullPath.replace(/^\//, "") }];
  }
  const reader = entry.createReader();
  /** @type {FileEntry[]} */
  const files = [];
  for (;;) {
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) return files;
    for (const each of some) files.push(...(await walk(each)));
  }
}

// All files of a drop, folders and all. Both are empty once the event's handler has returned.
/** @param {{entries: (FileSystemEntry | null)[], files: File[]}} drop @returns {Promise<FileEntry[]>} */
export async function dropped({ entries, files }) {
  const there = entries.filter(Boolean);
  if (there.length) return (await Promise.all(there.map(walk))).flat();
  return files.map((file) => ({ file, path: file.name }));
}

// Ask the user for files, or with `isFolder` for a folder.
/** @param {boolean} isFolder @param {(files: FileEntry[]) => void} take */
export function pick(isFolder, take) {
  const picker = Object.assign(document.createElement("input"), { type: "file", multiple: true, webkitdirectory: isFolder });
  picker.onchange = () =>
    picker.files?.length && take([...picker.files].map((file) => ({ file, path: file.webkitRelativePath || file.name })));
  picker.click();
}

// ---------------------------------------------------------------- what of it is sent

// Modality, description and series of a DICOM file; null for what is none. PS3.10 7.1, PS3.5 7.1.
/** @param {ArrayBuffer} buffer @returns {Record<string, string> | null} */
export function header(buffer) {
  const view = new DataView(buffer);
  /** @param {number} at @param {number} length */
  const text = (at, length) => String.fromCharCode(...new Uint8Array(buffer, at, length)).replace(/[\0 ]+$/, "");
  if (view.byteLength < 140 || text(128, 4) !== "DICM") return null;
  /** @type {Record<string, string>} */
  const fields = {};
  let isImplicit = false;
  let depth = 0;
  for (let at = 132; at + 12 <= view.byteLength; ) {
    const group = view.getUint16(at, true);
    const tag = group * 65536 + view.getUint16(at + 2, true);
    if (depth === 0 && tag > LAST) break;
    let length, start;
    if (group === 0xfffe || (isImplicit && group !== 2)) {
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
      if (tag === 0x00020010) isImplicit = text(start, length) === "1.2.840.10008.1.2";
      const field = FIELDS.get(tag);
      if (depth === 0 && field) fields[field] = text(start, length);
    }
    at = isInside ? start : start + length;
  }
  return fields;
}

// T1 and T2 come first, and what the model does not know last.
export function rank(title = "") {
  const words = title.toLowerCase();
  if (/flair|diff|dwi|adc|swi|tof|angio|perf|bold|scout|local|survey|post|gad|\bkm\b|\bce\b/.test(words)) return 2;
  return /t1|t2|mprage|spgr|bravo/.test(words) ? 0 : 1;
}

/** @param {FileEntry[]} files */
async function seriesOf(files) {
  /** @type {Map<string, {title: string, files: FileEntry[], bytes: number}>} */
  const series = new Map();
  for (const each of files) {
    const fields = header(await each.file.slice(0, HEADER_BYTES).arrayBuffer());
    if (!fields || (fields.modality && fields.modality !== "MR")) continue;
    const key = fields.series || each.path;
    const one = series.get(key) ?? { title: fields.title, files: [], bytes: 0 };
    series.set(key, one);
    one.files.push(each);
    one.bytes += each.file.size;
  }
  return [...series.values()].sort((a, b) => rank(a.title) - rank(b.title) || b.files.length - a.files.length);
}

// What is sent of the files, and a sentence about the rest. `limits`: {files, bytes} of one upload.
/** @param {FileEntry[]} files @param {{files: number, bytes: number}} limits */
export async function select(files, limits) {
  const useful = files.length > 1 ? files.filter(({ path }) => !JUNK.test(path)) : files;
  const bytes = useful.reduce((sum, { file }) => sum + file.size, 0);
  const fits = useful.length <= limits.files && (useful.length === 1 || bytes <= limits.bytes);
  if (fits) return { files: useful.length ? useful : files, text: "" };
  /** @type {{files: FileEntry[], bytes: number}} */
  const taken = { files: [], bytes: 0 };
  const left = [];
  for (const one of await seriesOf(useful)) {
    if (taken.files.length + one.files.length > limits.files || taken.bytes + one.bytes > limits.bytes) {
      left.push(one.title || "a series without a name");
      continue;
    }
    taken.files.push(...one.files);
    taken.bytes += one.bytes;
  }
  if (!taken.files.length) return { files: useful, text: "" };
  return { files: taken.files, text: left.length ? `Too much to send at once, left out: ${left.join("; ")}.` : "" };
}
