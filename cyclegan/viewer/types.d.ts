// What the viewer's modules hand to each other, for `tsc --checkJs`; nothing of this reaches the browser.

/** A pixel, [column, row, slice]; 0.5 is the middle of the first. */
type Voxel = [number, number, number];
/** A place in a plane, [u, v] in its pixels. */
type Point = [number, number];
type Plane = "axial" | "coronal" | "sagittal";
type ImageName = "original" | "translated" | "reconstructed" | "cycleError" | "uncertainty" | "real" | "trueError";
/** Images that are seen through one window. */
type Group = "source" | "target" | "cycle" | "uncertainty" | "signed";
/** Centre and width in shares of the grey range. */
type GreyWindow = { center: number; width: number };
type Windows = Record<Group, GreyWindow>;
type Contrast = "T1" | "T2";

type SeriesLabel = { number: number; label: string; contrast: string | null; plane: string | null; slices: number | null };
type RealImage = { label: string; title: string; contrast: Contrast | null; registered: boolean; notes: string[]; warning: string | null };
type Saving = { kind: string; done: number; of: number; file: string | null; name: string; removed: string[]; error: string | null };

/** What the server says of a scan (cyclegan/server/state.py). */
interface Scan {
  server: string;
  scan: string;
  version: number;
  name: string;
  drawn: boolean;
  series: SeriesLabel[];
  chosen: number;
  slices: number;
  width: number;
  height: number;
  /** Height of a pixel over its width. */
  aspect: number;
  /** mm between slices, rows and columns. */
  spacing: [number, number, number] | null;
  /** Takes (column, row, slice, 1) to RAS+ mm. */
  affine: number[][] | null;
  /** What 0 and 1 of the grey range stand for. */
  units: [number, number] | null;
  /** The file's own window. */
  window: GreyWindow | null;
  /** Letters at the left, right, top and bottom of a slice. */
  directions: [string, string, string, string] | null;
  /** What the head takes of a slice: left, top, right, bottom. */
  box: Box | null;
  dicom: boolean;
  notes: string[];
  to: Contrast;
  styles: { name: string }[];
  style: string;
  /** Names the images of this series, direction, style and real image. */
  key: string;
  /** First and last of runs of translated slices. */
  ready: [number, number][];
  translating: boolean;
  place: number | null;
  seconds: number | null;
  /** Why translation does not run by itself. */
  halted: string | null;
  check: { label: string; word: string; sentence: string; switch_to: Contrast | null } | null;
  companion: { label: string } | null;
  real: RealImage | null;
  save: Saving | null;
  message: string | null;
}

/** What the server says of one slice. */
interface Findings {
  numbers: { title: string; value: number; text: string; short: string; worth: string; unusual: boolean }[];
  fits: { word: string; sentence: string } | null;
  interval_words: string | null;
  lesion_contrast: number | null;
  map: object | null;
  true_error: { ssim: number; psnr: number; mae: number } | null;
  true_warning: string;
  report: string;
  /** Half of the prediction interval, once it is here. */
  pixels?: Uint16Array;
  isWhole?: boolean;
}

type Box = [number, number, number, number];
/** The matrix of a plane: its size, its letters (left, right, top, bottom), what the head takes of it. */
type Frame = { plane: Plane; width: number; height: number; aspect: number; flip?: boolean; edges: string[]; box: Box };
/** An image of a plane; `missing` are rows that are not here. */
type Picture = { name: ImageName; group: Group; frame: Frame; pixels: Uint16Array | null; missing: number[] };
/** Canvas pixels per image pixel, and where the image's corner lies. */
type Placement = { x: number; y: number; left: number; top: number };
/** A canvas that remembers what was painted on it. */
type Raster = HTMLCanvasElement & { painted?: [Uint16Array, Int32Array] };
interface Panel {
  figure: HTMLElement;
  canvas: HTMLCanvasElement;
  select: HTMLSelectElement;
  empty: HTMLElement;
  name: ImageName;
  plane: Plane;
  rasters: Raster[];
}
/** A ruler, or a round region whose centre is `from`. `at`: the slice, row or column that it lies on. */
interface Measure {
  id: number;
  kind: "ruler" | "region";
  plane: Plane;
  at: number;
  from: Point;
  to: Point;
}
/** A button of the line of tools, with its key. `needs`: without it the tool is not there. */
interface Tool {
  id: string;
  title: string;
  icon: string;
  key?: string;
  act?: () => unknown;
  release?: () => void;
  pressed?: () => boolean;
  needs?: () => boolean;
  menu?: string;
  isAlways?: boolean;
}
/** What this user sees of the scan. */
interface Viewed {
  /** Of the slice. */
  index: number;
  /** Under the pointer, or the keys' cross-hair. */
  cursor: Voxel | null;
  /** Where the planes meet. */
  point: Voxel | null;
  /** Whether the arrow keys move the cross-hair. */
  steering: boolean;
  zoom: number;
  /** Of a panel's centre from the middle of what the head takes, in pixels. */
  pan: Record<Plane, Point>;
  /** What a drag does. */
  tool: "window" | "pan" | "ruler" | "region";
  /** Images on screen, unless one is enlarged. */
  count: number;
  /** Images in the order of the screen. */
  slots: ImageName[];
  /** The image that stands alone. */
  enlarged: ImageName | null;
  active: ImageName;
  planes: boolean;
  mode: "" | "swipe" | "overlay";
  blinked: boolean;
  /** Of the swipe, in shares of the panel. */
  line: number;
  /** Of the overlay. */
  opacity: number;
  hatched: boolean;
  /** The map of errors that lies over original and synthetic image. */
  map: ImageName | "";
  mapOpacity: number;
  inverted: boolean;
  preset: string;
  windows: Partial<Windows>;
  measures: Measure[];
}
type FileEntry = { file: File; path: string };
/** Files that were dropped on the page, with what they fell on, since its first moment: the script in app.py's HEAD. */
declare const drops: { target: EventTarget | null; entries: (FileSystemEntry | null)[]; files: File[] }[];
/** What the server has the page know, by the same script. */
declare const settings: { limits: { files: number; bytes: number }; examples: string[]; caveat: string };
