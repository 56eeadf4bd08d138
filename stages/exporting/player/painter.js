function programOf(gl, vertex, fragment) {
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  return program;
}

// Draws on `canvas` what is known of the clip's Gaussians at `rest` and in its frames.
function painter(canvas, gl, rest) {
  canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
  canvas.addEventListener("webglcontextrestored", () => location.reload());
  const ground = GROUND ? groundPainter(gl) : null, program = programOf(gl, VERTEX, FRAGMENT);
  gl.useProgram(program);
  const uniform = (name) => gl.getUniformLocation(program, name);
  const table = (unit, name, texels) => {  // a texture of `texels` RGBA values; returns a function that fills it
    const rows = Math.ceil(texels / WIDTH), data = new Float32Array(rows * WIDTH * 4);
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA32F, WIDTH, rows);
    gl.uniform1i(uniform(name), unit);
    return (fill) => {
      fill(data);
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, WIDTH, rows, gl.RGBA, gl.FLOAT, data);
    };
  };
  const setPositions = table(0, "positions", N), setRotations = table(1, "rotations", N);
  const setShapes = table(2, "shapes", N);
  const rgb = (source) => (data) => {
    for (let i = 0, count = source.length / 3; i < count; i++) for (let c = 0; c < 3; c++) data[4 * i + c] = source[3 * i + c];
  };
  table(3, "colors", N)(rgb(rest.colors));
  if (K) table(4, "harmonics", N * K)(rgb(rest.harmonics));
  const setTurns = K ? table(5, "turns", N) : null;
  const buffer = (name, values, usage, size, divisor) => {
    const place = gl.getAttribLocation(program, name), id = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, id);
    gl.bufferData(gl.ARRAY_BUFFER, values, usage);
    gl.enableVertexAttribArray(place);
    if (values instanceof Uint32Array) gl.vertexAttribIPointer(place, size, gl.UNSIGNED_INT, 0, 0);
    else gl.vertexAttribPointer(place, size, gl.FLOAT, false, 0, 0);
    gl.vertexAttribDivisor(place, divisor);
    return id;
  };
  buffer("corner", new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]), gl.STATIC_DRAW, 2, 0);
  const order = new Uint32Array(N), orderBuffer = buffer("index", order, gl.DYNAMIC_DRAW, 1, 1);
  const depths = new Float32Array(N), bins = new Uint32Array(65537), keys = new Uint16Array(N);
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);  // premultiplied, from far to near

  const now = new Float32Array(4 * N);  // xyz_ of the moment that is shown
  const turned = new Float32Array(4 * N), shaped = new Float32Array(4 * N);  // its rotations, and its shapes
  const setMoment = (frames, time) => {
    const first = Math.min(Math.floor(time), T - 1), second = Math.min(Math.ceil(time), T - 1), share = time - first;
    const mix = (name, width, data) => {
      const from = frames[first][name], to = frames[second][name];
      for (let i = 0; i < N; i++) for (let c = 0; c < width; c++) {
        const value = from[i * width + c];
        data[4 * i + c] = value + share * (to[i * width + c] - value);
      }
    };
    mix("positions", 3, now);
    setPositions((data) => data.set(now));
    mix("quats", 4, turned);
    setRotations((data) => data.set(turned));
    mix("scales", 3, shaped);
    const floor = GROUND ? GROUND.height - 0.005 * GROUND.tile : -Infinity;  // what is below is not seen; positions are rounded
    for (let i = 0; i < N; i++) shaped[4 * i + 3] = now[4 * i + 1] < floor ? 0 : rest.opacities[i];
    setShapes((data) => data.set(shaped));
    if (ground) ground.setShadow(now, turned, shaped);
    if (K) setTurns((data) => mix("turns", 4, data));
  };
  const sort = (eye, forward) => {  // counting sort of 16-bit depths, far first
    let near = Infinity, far = -Infinity;
    for (let i = 0; i < N; i++) {
      const depth = depths[i] = forward[0] * now[4 * i] + forward[1] * now[4 * i + 1] + forward[2] * now[4 * i + 2];
      if (depth < near) near = depth;
      if (depth > far) far = depth;
    }
    const scale = 65535 / Math.max(far - near, 1e-12);
    bins.fill(0);
    for (let i = 0; i < N; i++) {
      keys[i] = (far - depths[i]) * scale;
      bins[keys[i] + 1]++;
    }
    for (let b = 0; b < 65536; b++) bins[b + 1] += bins[b];
    for (let i = 0; i < N; i++) order[bins[keys[i]]++] = i;
    gl.bindBuffer(gl.ARRAY_BUFFER, orderBuffer);
    gl.bufferSubData(gl.ARRAY_BUFFER, 0, order);
  };
  const draw = (view) => {
    const { eye, right, down, forward, focal } = view;
    sort(eye, forward);
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    if (ground) ground.draw(canvas, view);
    gl.useProgram(program);
    gl.uniformMatrix3fv(uniform("R"), true, [...right, ...down, ...forward]);
    gl.uniform3fv(uniform("eye"), eye);
    gl.uniform2f(uniform("size"), canvas.width, canvas.height);
    gl.uniform1f(uniform("focal"), focal);
    gl.uniform1f(uniform("near"), 0.005 * header.body.around);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, N);
  };
  return { setMoment, draw };
}
