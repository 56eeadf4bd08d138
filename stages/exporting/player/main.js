// The page: what is shown now, and the loop that shows it.

const player = {
  frames: [],  // those that the engine has derived, in order
  time: 0,  // in frames, from 0 to T - 1
  drawn: -1,  // the time of the picture that is seen; -1: the poster
  playing: false, looping: true, speed: 0, dirty: true,
  camera: START,
};

function setPlaying(wanted) {
  if (wanted && !player.looping && player.time >= T - 1) player.time = 0;
  player.playing = wanted && T > 1;
  $("icon").setAttribute("d", player.playing ? "M6 4h4v16H6zM14 4h4v16h-4z" : "M7 4l14 8-14 8z");
  $("play").setAttribute("aria-label", player.playing ? "Pause (space)" : "Play (space)");
}

function setTime(time) {
  player.time = clamped(time, 0, T - 1);
  player.dirty = true;
}

function goTo(frame) {
  setPlaying(false);
  setTime(frame);
}

function setCamera(camera) {
  player.camera = camera;
  player.dirty = true;
  $("hint").classList.add("gone");
}

function setLooping(wanted) {
  player.looping = wanted;
  $("loop").setAttribute("aria-pressed", String(wanted));
}

function nextSpeed() {
  player.speed = (player.speed + 1) % SPEEDS.length;
  $("speed").textContent = `${SPEEDS[player.speed]}x`;
}

function showHelp(wanted) {
  if (wanted) $("help").showModal();
  else $("help").close();
}

function say(text) {
  $("message").textContent = text;
  $("message").hidden = !text;
}

// frame=12&azimuth=90&elevation=10&zoom=2, each of them or none; a frame stands still
function readAddress(text) {
  const numbers = Object.fromEntries([...new URLSearchParams(text)].map(([name, value]) => [name, parseFloat(value)]));
  const known = (name) => Number.isFinite(numbers[name]);
  const { azimuth, elevation, zoom } = player.camera;
  if (["azimuth", "elevation", "zoom"].some(known)) {
    const start = { azimuth: known("azimuth") ? numbers.azimuth : azimuth, elevation: 0, zoom: 1 };
    setCamera(zoomed(turned(start, 0, known("elevation") ? numbers.elevation : elevation), known("zoom") ? numbers.zoom : zoom));
  }
  if (known("frame")) goTo(Math.round(numbers.frame));
  return known("frame");
}

function advance(seconds) {
  const next = player.time + seconds * header.fps * SPEEDS[player.speed];
  if (next <= Math.min(T, player.frames.length) - 1) return setTime(next);
  if (player.frames.length < T) return;  // the engine is not that far yet
  if (player.looping) return setTime(0);
  setTime(T - 1);
  setPlaying(false);
}

function draw(canvas, paint) {
  const density = Math.min(devicePixelRatio || 1, 2);
  const width = Math.max(1, Math.round(innerWidth * density)), height = Math.max(1, Math.round(innerHeight * density));
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
    player.dirty = true;
  }
  if (!player.dirty || player.frames.length <= Math.ceil(player.time)) return;
  if (player.drawn !== player.time) paint.setMoment(player.frames, player.time);
  paint.draw(shot(player.camera, header.body, width, height));
  if (player.drawn < 0) document.body.classList.add("drawn");
  player.drawn = player.time;
  player.dirty = false;
  const now = Math.round(player.time);
  $("scrub").value = player.time;
  $("scrub").setAttribute("aria-valuetext", `frame ${now} of 0 to ${T - 1}`);
  $("count").textContent = `${now} / ${T - 1}`;
}

function fail(error) {
  say(`This animation cannot be played: ${error.message}. This is its first picture.`);
  document.body.classList.add("failed");
}

function main() {
  $("title").textContent = header.title;
  $("credit").textContent = header.credit;
  $("scrub").max = T - 1;
  $("bar").hidden = T < 2;
  const canvas = $("view"), gl = canvas.getContext("webgl2", { antialias: false, premultipliedAlpha: true });
  if (!gl) return fail(new Error("this browser has no WebGL 2"));
  let paint = null, last = 0;
  listen(canvas);
  const still = [location.search, location.hash].map((part) => readAddress(part.slice(1))).includes(true);
  setPlaying(!still && !matchMedia("(prefers-reduced-motion: reduce)").matches);
  setLooping(true);
  const step = (stamp) => {
    const seconds = Math.min(0.1, (stamp - last) / 1000);
    last = stamp;
    if (player.playing && player.drawn >= 0) advance(seconds);
    draw(canvas, paint);
    requestAnimationFrame(step);
  };
  startEngine(packedClip(), (message) => {
    if (message.rest) {
      paint = painter(canvas, gl, message.rest);
      requestAnimationFrame(step);
    } else {
      player.frames[message.frame] = message;
      say(player.frames.length > Math.ceil(player.time) ? "" : `preparing frame ${player.frames.length} of ${Math.ceil(player.time)}`);
    }
  }, fail);
}

main();
