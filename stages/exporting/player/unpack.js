// What encode.py stored. Its readable twin there is `decode`.

async function gunzip(packed) {
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Name -> array of [times][gaussian][column], Float64Array; "moves" as differences still.
function unpackTables(header, raw) {
  const tables = {};
  let offset = 0;
  for (const { name, shape: [times, count, columns], planes, low, step } of header.arrays) {
    const size = times * count * columns, values = name === "moves" ? new Int32Array(size) : new Float64Array(size);
    for (let t = 0; t < times; t++) for (let c = 0; c < columns; c++) for (let i = 0; i < count; i++) {
      const from = offset + (t * columns + c) * count + i;
      let integer = 0;
      for (let plane = planes - 1; plane >= 0; plane--) integer = integer * 256 + raw[from + plane * size];
      values[(t * count + i) * columns + c] = low ? low[c] + step[c] * integer : integer;
    }
    offset += size * planes;
    tables[name] = values;
  }
  return tables;
}

// Moves [times][gaussian][3] in place, of differences over frames and Gaussians, zigzag.
function undoDifferences(moves, times, count) {
  for (let t = 0; t < times; t++) {
    for (let c = 0; c < 3; c++) {
      let along = 0;
      for (let i = 0; i < count; i++) {
        const at = (t * count + i) * 3 + c, coded = moves[at];
        along += coded >>> 1 ^ -(coded & 1);
        moves[at] = along + (t ? moves[at - 3 * count] : 0);
      }
    }
  }
}
