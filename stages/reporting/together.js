// Videos that play, stop and are scrubbed together: each runs through its whole length in the same time.
const PLAY = "M7 4l14 8-14 8z", PAUSE = "M6 4h4v16H6zM14 4h4v16h-4z", SPEEDS = [1, 2, 0.25, 0.5];
const HOLD = 0.5;  // seconds that the last frame stays

function videoUrl(id) {  // of the video that stands in the page under this id
  const element = document.getElementById(id);
  const bytes = Uint8Array.from(atob(element.textContent.trim()), (letter) => letter.charCodeAt(0));
  return URL.createObjectURL(new Blob([bytes], { type: element.dataset.mime }));
}

function together(videos, bar) {
  const part = (name) => bar.querySelector("." + name), scrub = part("scrub");
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  let time = 0, playing = false, speed = 0, last = 0, stopped = false;
  const ready = () => videos.filter((video) => video.duration > 0 && !video.error);
  const period = () => Math.max(0.1, ...ready().map((video) => video.duration));  // seconds at speed 1
  const place = (video) => Math.min(time, 1) * Math.max(0, video.duration - 0.02);
  const show = () => {
    scrub.value = Math.min(time, 1);
    part("count").textContent = Math.round(100 * Math.min(time, 1)) + " %";
  };
  const setPlaying = (wanted) => {
    playing = wanted;
    part("play").querySelector("path").setAttribute("d", playing ? PAUSE : PLAY);
    if (!playing) for (const video of ready()) { video.pause(); video.currentTime = place(video); }
  };
  const follow = () => {  // every video where the clock is
    for (const video of ready()) {
      video.playbackRate = SPEEDS[speed] * video.duration / period();
      if (Math.abs(video.currentTime - place(video)) > 0.12 * Math.max(1, video.playbackRate)) video.currentTime = place(video);
      if (video.paused && time < 1 && !video.ended) video.play().catch(() => setPlaying(false));
    }
  };
  const step = (stamp) => {
    if (stopped) return;
    const seconds = Math.min(0.1, (stamp - last) / 1000);
    last = stamp;
    if (playing && ready().length) {
      time += seconds * SPEEDS[speed] / period();
      if (time > 1 + HOLD / period()) {
        time = 0;
        for (const video of ready()) video.currentTime = 0;
      }
      follow();
      show();
    }
    requestAnimationFrame(step);
  };
  part("play").onclick = () => { if (!playing && time >= 1) time = 0; setPlaying(!playing); };
  part("speed").onclick = () => { speed = (speed + 1) % SPEEDS.length; part("speed").textContent = SPEEDS[speed] + "x"; };
  scrub.oninput = () => { time = Number(scrub.value); setPlaying(false); show(); };
  for (const video of videos) {
    video.onerror = () => { video.insertAdjacentHTML("afterend", '<p class="soft">This browser cannot play this video.</p>'); video.onerror = null; };
    video.src = videoUrl(video.dataset.clip);
  }
  setPlaying(!calm);
  show();
  requestAnimationFrame(step);
  return () => {  // let go of everything
    stopped = true;
    for (const video of videos) { video.pause(); URL.revokeObjectURL(video.src); }
  };
}
