// Rulers and round regions. Each belongs to a slice or a plane's cut and stays with it: {id, kind: "ruler" or
// "region", plane, at, from, to}, `at` being the slice, column or row that it lies on, from and to [u, v] in
// pixels of that plane; a region's `from` is its centre. Nothing here touches the page.

const REACH = 9; // CSS pixels around a handle

export const distance = ([x, y], [u, v], aspect) => Math.hypot(u - x, (v - y) * aspect);

// Of a plane's frame, in mm for a pixel's width; null where the file does not tell.
export function millimetres(scan, frame) {
  if (!scan.spacing) return null;
  return scan.spacing[frame.plane === "sagittal" ? 1 : 2];
}

export function rulerWords(scan, frame, { from, to }) {
  const length = distance(from, to, frame.aspect);
  const mm = millimetres(scan, frame);
  return mm ? `${(length * mm).toFixed(1)} mm` : `${length.toFixed(1)} pixels`;
}

// Mean and standard deviation of the pixels whose centres lie in the circle, in shares, and how many they are.
export function regionOf({ from, to }, { pixels, width, height, aspect, share }) {
  const [cx, cy] = from;
  const radius = distance(from, to, aspect);
  const high = radius / aspect;
  let [n, sum, squares] = [0, 0, 0];
  for (let y = Math.max(Math.floor(cy - high), 0); y <= Math.min(cy + high, height - 1); y++) {
    for (let x = Math.max(Math.floor(cx - radius), 0); x <= Math.min(cx + radius, width - 1); x++) {
      if (distance(from, [x + 0.5, y + 0.5], aspect) > radius) continue;
      const value = share(pixels[y * width + x]);
      n++;
      sum += value;
      squares += value * value;
    }
  }
  if (!n) return null;
  const mean = sum / n;
  return { n, mean, deviation: Math.sqrt(Math.max(squares / n - mean * mean, 0)) };
}

export function areaWords(scan, frame, n) {
  const mm = millimetres(scan, frame);
  return mm ? `${(n * mm * mm * frame.aspect).toFixed(0)} mm²` : `${n} pixels`;
}

// The measure and which of its ends lies under a point, [measure, "from" | "to"]; null for none. `scale` is
// canvas pixels per image pixel along x.
export function endAt(measures, point, aspect, scale) {
  for (const each of [...measures].reverse()) {
    for (const end of ["to", "from"]) {
      if (distance(each[end], point, aspect) * scale <= REACH) return [each, end];
    }
  }
  return null;
}

// The measure whose end was moved to `point`. A region's centre takes the circle along.
export function moved(measure, end, point) {
  if (measure.kind === "ruler" || end === "to") return { ...measure, [end]: point };
  const by = [0, 1].map((i) => point[i] - measure.from[i]);
  return { ...measure, from: point, to: [0, 1].map((i) => measure.to[i] + by[i]) };
}
