// Everything that a page shows, from what is stored: run by a Web Worker, by the page itself where there is none, by node.

// Calls `emit(message, buffers)` with what never changes ({ rest }), then with every frame in order ({ frame, ... });
// `pause` is awaited in between. Positions are in the clip's own units, Float32Array [N * 3].
async function produce(header, packed, emit, pause) {
  const tables = unpackTables(header, await gunzip(packed)), N = header.gaussians, T = header.frames;
  undoDifferences(tables.moves, T, N);
  for (let i = 0; i < N; i++) normalise(tables.quats.subarray(4 * i, 4 * i + 4));
  emit({
    rest: {
      opacities: Float32Array.from(tables.opacities),
      colors: Float32Array.from(tables.colors),
      harmonics: header.sh_degree ? Float32Array.from(tables.harmonics) : null,
    },
  }, []);
  const deform = makeDeformation(tables.rest, tables.quats, tables.log_scales.map(Math.exp));
  const coarse = 2 ** header.shift, moved = new Float64Array(3 * N);
  for (let t = 0; t < T; t++) {
    const positions = new Float32Array(3 * N);
    for (let n = 0; n < 3 * N; n++) {
      moved[n] = tables.rest[n] + coarse * tables.moves[t * 3 * N + n];
      positions[n] = header.origin[n % 3] + header.step * moved[n];
    }
    const { turns, quats, scales } = deform(moved);
    const frame = { frame: t, positions, quats, scales, turns: header.sh_degree ? turns : null };
    emit(frame, [positions, quats, scales, ...(frame.turns ? [turns] : [])].map((array) => array.buffer));
    await pause();
  }
}

// What a Web Worker does: one question, then answers.
function serve(worker) {
  worker.onmessage = ({ data: { header, packed } }) => produce(
    header, packed, (message, buffers) => worker.postMessage(message, buffers), () => null,
  ).catch((error) => worker.postMessage({ error: String(error.message || error) }));
}
