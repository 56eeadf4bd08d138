// What the page holds of the clip, and how the engine is asked to derive the rest of it.

const $ = (id) => document.getElementById(id);
const header = JSON.parse($("header").textContent);
const N = header.gaussians, T = header.frames;

function packedClip() {
  const text = $("payload").textContent;
  $("payload").remove();
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

// Calls `receive` with what the engine emits: from a Web Worker, or where none can be had from here, between pictures.
function startEngine(packed, receive, fail) {
  if (typeof DecompressionStream === "undefined") return fail(new Error("this browser is older than 2023"));
  let answers = 0;
  const here = () => produce(header, packed, receive, () => new Promise((done) => setTimeout(done))).catch(fail);
  try {
    const source = [$("engine").textContent, "\nserve(self);"], url = URL.createObjectURL(new Blob(source, { type: "text/javascript" }));
    const worker = new Worker(url);
    worker.onmessage = ({ data }) => {
      answers++;
      if (data.error) return fail(new Error(data.error));
      receive(data);
      if (data.frame === T - 1) worker.terminate();
    };
    worker.onerror = (event) => {
      event.preventDefault();
      if (!answers) here();
      else fail(new Error(event.message));
    };
    worker.postMessage({ header, packed });
  } catch {
    here();
  }
}
