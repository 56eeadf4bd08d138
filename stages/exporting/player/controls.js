// Fingers, mouse, keys and buttons: they change `player` through the functions of main.js, and nothing else.

const SPEEDS = [1, 2, 0.25, 0.5];

function listen(canvas) {
  listenToFingers(canvas);
  const clicks = {
    play: () => setPlaying(!player.playing),
    speed: nextSpeed,
    loop: () => setLooping(!player.looping),
    ask: () => showHelp(true),
    close: () => showHelp(false),
  };
  for (const [id, act] of Object.entries(clicks)) $(id).addEventListener("click", act);
  $("help").addEventListener("click", (event) => { if (event.target === $("help")) showHelp(false); });
  $("scrub").addEventListener("input", (event) => goTo(Number(event.target.value)));
  addEventListener("keydown", (event) => {
    const act = actionOf(event);
    if (!act) return;
    event.preventDefault();  // space would also press the button that has the focus, arrows move the slider
    if (!(event.repeat && event.key === " ")) act();
  });
  addEventListener("keyup", (event) => { if (event.key === " ") event.preventDefault(); });
  addEventListener("hashchange", () => readAddress(location.hash.slice(1)));
}

function actionOf(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return null;
  if ($("help").open) return ["?", "Escape", " "].includes(event.key) ? () => showHelp(false) : null;
  const turning = { ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, 10], ArrowDown: [0, -10] }[event.key];
  if (turning && (event.shiftKey || turning[1])) return () => setCamera(turned(player.camera, ...turning));
  return {
    " ": () => setPlaying(!player.playing),
    ArrowRight: () => goTo(Math.floor(player.time) + 1),
    ArrowLeft: () => goTo(Math.ceil(player.time) - 1),
    Home: () => goTo(0),
    End: () => goTo(T - 1),
    "+": () => setCamera(zoomed(player.camera, 1.2)),
    "=": () => setCamera(zoomed(player.camera, 1.2)),
    "-": () => setCamera(zoomed(player.camera, 1 / 1.2)),
    0: () => setCamera(START),
    l: () => setLooping(!player.looping),
    s: nextSpeed,
    "?": () => showHelp(true),
  }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
}

function listenToFingers(canvas) {
  const fingers = new Map();
  const spread = () => { const [a, b] = [...fingers.values()]; return Math.max(1, Math.hypot(a.x - b.x, a.y - b.y)); };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.isTrusted) canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  canvas.addEventListener("pointermove", (event) => {
    const finger = fingers.get(event.pointerId);
    if (!finger) return;
    const before = fingers.size === 2 ? spread() : 1, dx = event.clientX - finger.x, dy = event.clientY - finger.y;
    finger.x = event.clientX;
    finger.y = event.clientY;
    if (fingers.size === 1) setCamera(turned(player.camera, -0.35 * dx, 0.35 * dy));
    else if (fingers.size === 2) setCamera(zoomed(player.camera, spread() / before));
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => fingers.delete(event.pointerId));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    setCamera(zoomed(player.camera, Math.exp(-0.0015 * event.deltaY)));
  }, { passive: false });
  canvas.addEventListener("dblclick", () => setCamera(START));
}
