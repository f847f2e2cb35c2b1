// A bare page that shows the contract at work; the viewer takes its place.
export function start({ element, show: tell }) {
  const root = element.querySelector(".viewer");
  let state = null;
  const base = new URL(".", document.baseURI);
  const at = (path) => new URL(path, base);
  async function paint(name) {
    const answer = await fetch(at(`scans/${state.scan}/images/${state.key}/${name}/${Math.floor(state.slices / 2)}`));
    if (!answer.ok) return;
    const values = new Uint16Array(await answer.arrayBuffer());
    let canvas = root.querySelector(`canvas.${name}`);
    if (!canvas) {
      canvas = Object.assign(document.createElement("canvas"), { className: name });
      root.append(canvas);
    }
    canvas.width = state.width;
    canvas.height = state.height;
    const context = canvas.getContext("2d");
    const image = context.createImageData(state.width, state.height);
    values.forEach((value, i) => image.data.set([value >> 8, value >> 8, value >> 8, 255], 4 * i));
    context.putImageData(image, 0, 0);
  }
  async function show(answer) {
    state = await answer.json();
    if (!answer.ok) return (root.dataset.error = state.error);
    root.dataset.state = JSON.stringify(state);
    tell(state.scan);
    for (const name of ["original", "translated", "reconstructed"]) await paint(name);
    return true;
  }
  async function follow(answer) {
    if (!(await show(answer))) return;
    const { scan } = state;
    while (state.scan === scan) if (!(await show(await fetch(at(`scans/${scan}?after=${state.version}`))))) return;
  }
  const post = (path, body) => fetch(at(path), { method: "POST", body });
  window.viewer = {
    example: (n) => post(`examples/${n}`).then(follow),
    open: () => {
      const input = Object.assign(document.createElement("input"), { type: "file", multiple: true });
      input.onchange = () => {
        const body = new FormData();
        for (const file of input.files) body.append("files", file, file.webkitRelativePath || file.name);
        post("scans", body).then(follow);
      };
      input.click();
    },
  };
  window.viewer.example(0);
}
