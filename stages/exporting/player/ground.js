// A checkerboard with a soft shadow, as in stages/raster/ground.py; header.ground is null where none is wanted.
const GROUND = header.ground, CELLS = 128, CELLS_A_TILE = 6;  // of the shadow, a square around the body
const GROUND_VERTEX = `#version 300 es
void main() { gl_Position = vec4(float(gl_VertexID & 1) * 4. - 1., float(gl_VertexID >> 1) * 4. - 1., 0., 1.); }`;
const GROUND_FRAGMENT = `#version 300 es
precision highp float;
uniform mat3 R; uniform vec3 eye, light, dark; uniform vec2 size, fade, corner; uniform float focal, height, tile, shadow;
uniform sampler2D shade;
out vec4 result;
vec2 integral(vec2 at) { return 1. - abs(mod(at, 2.) - 1.); }  // of a wave that is 1 and -1 in turn
void main() {
  vec3 ray = transpose(R) * vec3((gl_FragCoord.x - 0.5 * size.x) / focal, (0.5 * size.y - gl_FragCoord.y) / focal, 1.);
  float above = eye.y - height;
  if (above <= 0. || ray.y > -1e-6) discard;
  float far = above / -ray.y;
  vec2 away = far * ray.xz, point = eye.xz + away;
  vec3 a = vec3(R[0].x, R[1].x, R[2].x) / focal, b = vec3(R[0].y, R[1].y, R[2].y) / focal;  // a column and a row further
  vec2 width = far * (abs(a.xz - ray.xz * a.y / ray.y) + abs(b.xz - ray.xz * b.y / ray.y)) / tile;
  width = max(width, 1e-4);
  vec2 waves = (integral(point / tile + 0.5 * width) - integral(point / tile - 0.5 * width)) / width;
  vec3 rgb = mix(dark, light, 0.5 + 0.5 * waves.x * waves.y);
  vec2 at = (point - corner) / (tile * ${(CELLS / CELLS_A_TILE).toFixed(4)});
  if (all(greaterThan(at, vec2(0.))) && all(lessThan(at, vec2(1.)))) rgb *= 1. - shadow * texture(shade, at).r;
  float kept = 1. - smoothstep(fade.x, fade.y, length(away) / above);
  result = vec4(rgb * kept, kept);
}`;

function blurred(grid, deviation) {
  const half = Math.ceil(3 * deviation), kernel = [];
  for (let k = -half; k <= half; k++) kernel.push(Math.exp(-0.5 * (k / deviation) ** 2));
  const total = kernel.reduce((sum, value) => sum + value, 0);
  for (const stride of [1, CELLS]) {
    const out = new Float32Array(CELLS * CELLS);
    for (let i = 0; i < out.length; i++) {
      const place = stride === 1 ? i % CELLS : Math.floor(i / CELLS);
      let sum = 0;
      for (let k = Math.max(-half, -place); k <= Math.min(half, CELLS - 1 - place); k++) sum += kernel[k + half] * grid[i + k * stride];
      out[i] = sum / total;
    }
    grid = out;
  }
  return grid;
}

// The shadow from above as bytes [z][x], and the corner (x, z) where it begins; all arrays have four numbers a Gaussian.
function shadowOf(means, rotations, shapes) {
  const cell = GROUND.tile / CELLS_A_TILE, masses = GROUND.shades.map(() => new Float32Array(CELLS * CELLS));
  const corner = [0, 2].map((axis) => {
    const values = Float32Array.from({ length: N }, (_, i) => means[4 * i + axis]).sort();  // the median: a few are far
    return Math.floor(values[N >> 1] / cell) - CELLS / 2;
  });
  for (let i = 0; i < N; i++) {
    const [w, x, y, z] = rotations.subarray(4 * i, 4 * i + 4), n = w * w + x * x + y * y + z * z || 1;
    const alongX = [1 - 2 * (y * y + z * z) / n, 2 * (x * y - w * z) / n, 2 * (x * z + w * y) / n];
    const alongZ = [2 * (x * z - w * y) / n, 2 * (y * z + w * x) / n, 1 - 2 * (x * x + y * y) / n];
    let xx = 0, xz = 0, zz = 0;
    for (let c = 0; c < 3; c++) {
      const square = shapes[4 * i + c] ** 2;
      xx += square * alongX[c] ** 2; xz += square * alongX[c] * alongZ[c]; zz += square * alongZ[c] ** 2;
    }
    const area = 2 * Math.PI * Math.sqrt(Math.max(0, xx * zz - xz * xz)) / cell ** 2;
    const up = Math.max(0, means[4 * i + 1] - GROUND.height) / GROUND.tile;
    const u = means[4 * i] / cell - corner[0] - 0.5, v = means[4 * i + 2] / cell - corner[1] - 0.5;
    for (const dx of [0, 1]) for (const dz of [0, 1]) {
      const column = Math.floor(u) + dx, row = Math.floor(v) + dz;
      if (column < 0 || row < 0 || column >= CELLS || row >= CELLS) continue;
      const weight = shapes[4 * i + 3] * area * (1 - Math.abs(u - column)) * (1 - Math.abs(v - row));
      GROUND.shades.forEach(({ reach }, s) => { masses[s][row * CELLS + column] += weight * Math.exp(-up / reach); });
    }
  }
  const light = new Float32Array(CELLS * CELLS).fill(1);
  GROUND.shades.forEach(({ blur }, s) => {
    const covered = blurred(blurred(masses[s], 0.5).map((mass) => 1 - Math.exp(-mass)), blur * CELLS_A_TILE);
    for (let i = 0; i < light.length; i++) light[i] *= 1 - covered[i];
  });
  return { bytes: Uint8Array.from(light, (value) => Math.round(255 * (1 - value))), corner: corner.map((value) => value * cell) };
}

function groundPainter(gl) {  // of the texture unit after those of the splat
  const program = programOf(gl, GROUND_VERTEX, GROUND_FRAGMENT), unit = gl.TEXTURE6, texture = gl.createTexture();
  const uniform = (name) => gl.getUniformLocation(program, name);
  let corner = [0, 0];
  const setShadow = (...moment) => {
    const found = shadowOf(...moment);
    corner = found.corner;
    gl.activeTexture(unit);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.R8, CELLS, CELLS, 0, gl.RED, gl.UNSIGNED_BYTE, found.bytes);
    for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, name, gl.LINEAR);
    for (const name of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, name, gl.CLAMP_TO_EDGE);
  };
  const draw = (canvas, { eye, right, down, forward, focal }) => {
    gl.useProgram(program);
    gl.uniformMatrix3fv(uniform("R"), true, [...right, ...down, ...forward]);
    gl.uniform3fv(uniform("eye"), eye);
    gl.uniform3fv(uniform("light"), GROUND.colors[0]);
    gl.uniform3fv(uniform("dark"), GROUND.colors[1]);
    gl.uniform2f(uniform("size"), canvas.width, canvas.height);
    gl.uniform2fv(uniform("fade"), GROUND.fade);
    gl.uniform2fv(uniform("corner"), corner);
    for (const name of ["height", "tile", "shadow"]) gl.uniform1f(uniform(name), GROUND[name]);
    gl.uniform1f(uniform("focal"), focal);
    gl.uniform1i(uniform("shade"), 6);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  };
  return { setShadow, draw };
}
