// Where the picture is taken from: on a sphere around the body; y up, azimuth 0 in front of the asset, which faces +z.

const FOV = 35 * Math.PI / 180, START = { azimuth: 35, elevation: 15, zoom: 1 };  // poster.py has the same numbers

const clamped = (value, low, high) => Math.max(low, Math.min(high, value));

function turned({ azimuth, elevation, zoom }, right, up) {
  return { azimuth: azimuth + right, elevation: clamped(elevation + up, -89, 89), zoom };
}

function zoomed({ azimuth, elevation, zoom }, factor) {
  return { azimuth, elevation, zoom: clamped(zoom * factor, 0.3, 12) };
}

// header.body: centre of the box that the whole motion of the body takes, and the upright cylinder around it
function shot({ azimuth, elevation, zoom }, body, width, height) {
  const a = azimuth * Math.PI / 180, e = elevation * Math.PI / 180;
  const outward = [Math.sin(a) * Math.cos(e), Math.sin(e), Math.cos(a) * Math.cos(e)];
  const forward = outward.map((value) => -value), right = [Math.cos(a), 0, -Math.sin(a)];
  const down = [  // forward x right
    forward[1] * right[2] - forward[2] * right[1],
    forward[2] * right[0] - forward[0] * right[2],
    forward[0] * right[1] - forward[1] * right[0]];
  const focal = 0.5 * Math.min(width, height) / Math.tan(FOV / 2);
  const fit = Math.max(  // so far that the cylinder takes 0.75 of the height or 0.9 of the width, from every side
    body.around + body.half / (0.75 * 0.5 * height / focal), body.around * Math.hypot(1, 1 / (0.9 * 0.5 * width / focal)));
  const eye = body.centre.map((value, c) => value + fit / zoom * outward[c]);
  return { eye, right, down, forward, focal };
}
