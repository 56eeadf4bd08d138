// The k nearest other points of each point, by a k-d tree: indices Int32Array [N * k] and distances Float64Array
// [N * k], near ones first, as stages/gaussians/neighbours.py finds them.

const LEAF = 12;  // points that are tried one by one

function nearestNeighbours(points, wanted) {
  const count = points.length / 3, k = Math.max(0, Math.min(wanted, count - 1));
  const indices = new Int32Array(count * k), distances = new Float64Array(count * k);
  if (k === 0) return { k, indices, distances };
  const order = Int32Array.from({ length: count }, (_, i) => i), axes = new Map();

  // Order `order[first..last]` so that those left of `middle` are no larger along `axis` (Hoare's selection).
  const select = (first, last, middle, axis) => {
    while (first < last) {
      const pivot = points[3 * order[first + last >> 1] + axis];
      let i = first, j = last;
      while (i <= j) {
        while (points[3 * order[i] + axis] < pivot) i++;
        while (points[3 * order[j] + axis] > pivot) j--;
        if (i > j) break;
        const held = order[i];
        order[i++] = order[j];
        order[j--] = held;
      }
      if (middle <= j) last = j;
      else if (middle >= i) first = i;
      else return;
    }
  };
  const build = (first, last) => {
    if (last - first < LEAF) return;
    const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
    for (let n = first; n <= last; n++) for (let c = 0; c < 3; c++) {
      const value = points[3 * order[n] + c];
      if (value < low[c]) low[c] = value;
      if (value > high[c]) high[c] = value;
    }
    const widths = low.map((value, c) => high[c] - value), axis = widths.indexOf(Math.max(...widths));
    const middle = first + last >> 1;
    select(first, last, middle, axis);
    axes.set(middle, axis);
    build(first, middle - 1);
    build(middle + 1, last);
  };
  build(0, count - 1);

  const best = new Float64Array(k), names = new Int32Array(k);  // squared distances, near ones first
  let x = 0, y = 0, z = 0, self = 0;
  const offer = (j) => {
    if (j === self) return;
    const dx = points[3 * j] - x, dy = points[3 * j + 1] - y, dz = points[3 * j + 2] - z;
    const square = dx * dx + dy * dy + dz * dz;
    if (!(square < best[k - 1])) return;
    let place = k - 1;
    for (; place > 0 && best[place - 1] > square; place--) {
      best[place] = best[place - 1];
      names[place] = names[place - 1];
    }
    best[place] = square;
    names[place] = j;
  };
  const search = (first, last) => {
    if (last - first < LEAF) {
      for (let n = first; n <= last; n++) offer(order[n]);
      return;
    }
    const middle = first + last >> 1, axis = axes.get(middle), j = order[middle];
    const away = (axis === 0 ? x : axis === 1 ? y : z) - points[3 * j + axis];
    offer(j);
    if (away < 0) search(first, middle - 1); else search(middle + 1, last);
    if (away * away >= best[k - 1]) return;
    if (away < 0) search(middle + 1, last); else search(first, middle - 1);
  };
  for (self = 0; self < count; self++) {
    x = points[3 * self];
    y = points[3 * self + 1];
    z = points[3 * self + 2];
    best.fill(Infinity);
    search(0, count - 1);
    for (let n = 0; n < k; n++) {
      indices[self * k + n] = names[n];
      distances[self * k + n] = Math.sqrt(best[n]);
    }
  }
  return { k, indices, distances };
}
