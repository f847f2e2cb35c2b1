// The connection to the server. Gradio reloads the page when a request fails, and all on it is lost. So
// this stands in front of `fetch` before Gradio starts: what is listened to goes on where it was
// (web/streams.py), what was not sent is sent again, and the page says "reconnecting" meanwhile.

(() => {
  const send = window.fetch.bind(window);
  const RETRY_MS = 1000;
  const RESTARTED = "The server was restarted; please drop the file in again.";
  const FORGOTTEN = "The connection was away for too long; please drop the file in again.";
  const OPENING = /^(load|open_example)(_\d+)?$/; // events that need no scan
  const STREAM = /\/gradio_api\/(heartbeat\/|queue\/data)/;
  const SENT = /\/gradio_api\/(queue\/join|run\/predict|cancel|upload)(\?|$)/;

  const LOADING = /^load/; // events that read what was sent: a scan, a real image, a look

  const waiting = new Map(); // events that were joined, and have no answer yet, and the servers that know them
  const loading = new Set(); // of them, those of LOADING
  let isMore = false; // whether an event was joined since a stream was last begun anew
  let tab = "";
  let lost = ""; // why the server has no scan of this tab any more
  let returning = null;

  // Without an origin: behind a proxy the server may not know by which one the browser came.
  const address = (path) => new URL(window.gradio_config.root).pathname.replace(/[/]+$/, "") + path;
  const name = () => [...crypto.getRandomValues(new Uint32Array(4))].map((n) => n.toString(36)).join("");
  const pause = (time) => new Promise((done) => setTimeout(done, time));

  function tell(words, role = "status") {
    let line = document.querySelector("#connection");
    if (!line) {
      line = document.createElement("p");
      line.id = "connection";
      document.body.append(line);
    }
    line.setAttribute("role", role);
    line.textContent = words;
  }

  // Resolves once the server answers again; all that wait share one round of questions.
  function reconnected() {
    returning ??= (async () => {
      tell("The connection is lost; reconnecting. What is on the page stays.");
      for (;;) {
        try {
          const signal = AbortSignal.timeout(5000);
          const answer = await send(address("/gradio_api/app_id"), { cache: "no-store", signal });
          if (answer.ok) {
            const { app_id: server } = await answer.json();
            if (server !== window.gradio_config.app_id) {
              window.gradio_config.app_id = server;
              forgotten(RESTARTED);
            } else {
              tell(lost, "alert");
            }
            break;
          }
        } catch {
          // Not yet.
        }
        await pause(RETRY_MS);
      }
      returning = null;
    })();
    return returning;
  }

  // The scan is gone from the server. What is on screen can still be read.
  function forgotten(why) {
    if (!document.querySelector(".viewer[data-key]")) return tell("");
    lost = why;
    tell(why, "alert");
  }

  // Gradio shows the last only of answers that come close to each other, and on a busy machine an older one may
  // overtake: the viewer would miss a translation. So the next event waits until the viewer has seen this one's
  // part, if it has one, and for a task of its own else, which is what a timer of a hidden tab would be late for.
  const FOR_VIEWER = /"(panels|findings)"/;
  const SEEN_MS = 1000; // at most: the viewer is not told what it was told before
  const inSteps = new Set(); // events whose end repeats the last step
  let seen = () => {};

  function shown(event, kind, id) {
    if (kind === "process_generating") inSteps.add(id);
    const repeats = kind === "process_completed" && inSteps.delete(id);
    return new Promise((done) => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = done;
      if (repeats || !FOR_VIEWER.test(event)) return port2.postMessage(null);
      seen = () => port2.postMessage(null);
      setTimeout(seen, SEEN_MS);
    });
  }

  // A word of an event's own, which Gradio writes before those of its answer.
  const field = (event, name) => (event.match('"' + name + '": ?"(\\w+)"') || [])[1];

  const encode = (said) => new TextEncoder().encode("data: " + JSON.stringify(said) + "\n\n");

  // What Gradio is told of events that will have no answer any more: those that were waited for when `asked`
  // was noted, and those of a server before. What the reader did since then goes on.
  function* failures(asked) {
    for (const [event_id, server] of waiting) {
      if (!asked.has(event_id) && server === window.gradio_config.app_id) continue;
      noteDone(event_id);
      const output = { error: lost || FORGOTTEN, visible: true, duration: 10, title: "Not done" };
      yield encode({ msg: "process_completed", event_id, success: false, output });
    }
    if (!waiting.size) yield encode({ msg: "close_stream" });
  }

  function noteDone(id) {
    waiting.delete(id);
    if (loading.delete(id)) arrived();
  }

  // ---------------------------------------------------------------- files on their way

  // The scan before is greyed, and can't be translated, until the files are read.
  function leaving(share) {
    const isScan = window.incoming?.isScan();
    document.body.classList.toggle("arriving", isScan);
    const work = document.querySelector("#work");
    if (work) work.inert = isScan;
    tell(share < 1 ? "Sending the files: " + Math.floor(100 * share) + " %" : "Reading the files.", "note");
  }

  function arrived() {
    document.body.classList.remove("arriving");
    const work = document.querySelector("#work");
    if (work) work.inert = false;
    const note = window.incoming?.note;
    tell(lost || note, lost ? "alert" : "status");
  }

  // As fetch, which cannot tell how far an upload is.
  function upload(url, { headers, body }) {
    return new Promise((done, failed) => {
      const request = new XMLHttpRequest();
      request.open("POST", url);
      new Headers(headers).forEach((value, key) => request.setRequestHeader(key, value));
      request.upload.onprogress = ({ loaded, total }) => leaving(loaded / (total || loaded || 1));
      request.upload.onload = () => leaving(1);
      request.onload = () => done(new Response(request.response, { status: request.status }));
      request.onerror = () => failed(new TypeError("The connection was cut."));
      leaving(0);
      request.send(body);
    }).then((answer) => {
      if (!answer.ok) arrived();
      return answer;
    });
  }

  // A stream that seems never to break: whole events, each once.
  function lasting(request) {
    const { url, signal } = request;
    const isBeat = url.includes("/heartbeat/");
    let [stream, arrived] = [name(), 0];
    const beginAnew = () => ([stream, arrived] = [name(), 0]);
    let asked = new Set(); // events that were waited for when it was last asked for
    let before = null; // until what was passed on is shown

    async function listen(out) {
      asked = new Set(waiting.keys());
      const headers = { Accept: "text/event-stream", "X-Stream": stream, "X-Arrived": String(arrived) };
      const answer = await send(url, { headers, signal, cache: "no-store" });
      if (answer.status === 410) {
        forgotten(lost || FORGOTTEN);
        beginAnew();
        return "gone";
      }
      if (!answer.ok) throw new Error(answer.status);
      const reader = answer.body.getReader();
      const decoder = new TextDecoder();
      for (let left = ""; ; ) {
        const { done, value } = await reader.read();
        if (done) return "ended";
        left += decoder.decode(value, { stream: true });
        const events = left.split("\n\n");
        left = events.pop();
        for (const event of events) {
          arrived += 1;
          if (event.includes('"session_not_found":true')) return "gone";
          const kind = field(event, "msg");
          const id = field(event, "event_id");
          // The end is passed on at once, or Gradio would ask for more of a stream that has ended.
          if (kind !== "close_stream") await before;
          // That of what was asked for so far is not that of what was asked for meanwhile.
          else if (waiting.size && isMore) {
            isMore = false;
            return "anew";
          }
          if (kind === "process_completed") noteDone(id);
          before = shown(event, kind, id);
          out.enqueue(new TextEncoder().encode(event + "\n\n"));
        }
      }
    }

    // Tells Gradio of the failures; whether there is nothing more to listen to then.
    function fail(out) {
      for (const failure of failures(asked)) out.enqueue(failure);
      if (waiting.size) beginAnew();
      return !waiting.size;
    }

    async function start(out) {
      for (;;) {
        try {
          const how = await listen(out);
          if (how === "anew") {
            beginAnew();
            continue;
          }
          if (how === "gone" && (isBeat || !fail(out))) continue;
          if (!isBeat) return out.close();
        } catch {
          // The connection was cut, or the server has ended.
        }
        if (signal.aborted) return out.error(signal.reason);
        await reconnected();
        await pause(100);
        if (lost === RESTARTED && !isBeat && fail(out)) return out.close();
      }
    }

    const body = new ReadableStream({ start: (out) => void start(out) });
    return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
  }

  // The name of the handler that a request asks for.
  function handler(body) {
    try {
      const { fn_index: number } = JSON.parse(body);
      return window.gradio_config.dependencies.find((each) => each.id === number).api_name;
    } catch {
      return "";
    }
  }

  async function surely(url, options) {
    const isJoin = url.includes("/queue/join");
    const isUpload = /[/]upload([?]|$)/.test(url);
    const headers = new Headers(options.headers);
    if (isJoin) headers.set("X-Attempt", name());
    if (isUpload && tab) headers.set("X-Tab", tab); // whose files these are, if nothing opens them any more
    for (;;) {
      await returning; // it may be another server that answers then
      if (lost && isJoin && !OPENING.test(handler(options.body))) {
        tell(lost, "alert");
        return new Response(JSON.stringify({ detail: lost }), { status: 409 });
      }
      const { app_id: server } = window.gradio_config;
      if (isJoin) headers.set("X-Server", server);
      try {
        const answer = await (isUpload ? upload : send)(url, { ...options, headers });
        if (isJoin && answer.ok) {
          const { event_id: id } = await answer.clone().json();
          waiting.set(id, server);
          isMore = true;
          if (LOADING.test(handler(options.body))) loading.add(id);
        }
        // Another server than this page is from, which nothing has told yet: the computer slept.
        if (!isJoin || answer.status !== 409) return answer;
        await reconnected();
        if (window.gradio_config.app_id === server) return answer;
      } catch (fault) {
        if (options.signal?.aborted) throw fault;
        await reconnected();
      }
    }
  }

  window.fetch = (input, options = {}) => {
    const url = String(input.url || input);
    if (STREAM.test(url)) {
      tab ||= (url.match(/\/heartbeat\/(\w+)/) || [])[1] || "";
      return Promise.resolve(lasting(input instanceof Request ? input : new Request(input, options)));
    }
    return SENT.test(url) && !(input instanceof Request) ? surely(url, options) : send(input, options);
  };

  // The viewer calls `opened` when another scan is on the page, `received` after each answer.
  window.connection = {
    received: () => seen(),
    opened() {
      if (lost) tell(window.incoming.note);
      lost = "";
    },
  };

  addEventListener("offline", () => void reconnected());
  addEventListener("beforeunload", (event) => {
    if (document.querySelector(".viewer[data-key]")) event.preventDefault();
  });
  addEventListener("pagehide", () => {
    if (tab) navigator.sendBeacon(address("/leaving/" + tab));
  });
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload(); // what it showed was forgotten when it was left
  });
})();
