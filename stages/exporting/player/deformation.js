// How each Gaussian turns and stretches, from where it and its neighbours have gone: the rule, and the numbers, of
// stages/gaussians/deformation.py, step by step as deformation_cpu.py does it. Everything is double.

const NEIGHBOURS = 24, KEPT = 0.05, KEPT_STRETCH = 1, RIDGE = 0.05, FLAT = 0.3, STRETCH_MIN = 0.5, STRETCH_MAX = 2;
const TURN_MIN = 1e-3, APART = 0.005;
const SAME_NAMES = 1 + Math.SQRT2;  // trace of a turn by 45 degrees: axes that have turned by less keep their names

// rest: Float64Array [N * 3] positions; quats [N * 4] and scales [N * 3] at rest. Returns a function that takes
// positions [N * 3] of one frame after the other and gives what has become of each Gaussian: how its neighbourhood has
// turned `turns` [N * 4], its axes `quats` [N * 4] and standard deviations `scales` [N * 3], Float32Arrays.
function makeDeformation(rest, quats, scales) {
  const N = rest.length / 3, { k, indices, distances } = nearestNeighbours(rest, NEIGHBOURS);
  const weights = fallingWeights(N, k, distances), before = new Float64Array(9 * N), ranks = new Uint8Array(3 * N);
  const [B, C, D, G, M, R, S, U, V, W, axesAtRest, named] = Array.from({ length: 12 }, () => new Float64Array(9));
  const K = new Float64Array(16), turn = new Float64Array(4), axes = new Float64Array(4);
  const lastTurns = new Float64Array(4 * N), lastQuats = new Float64Array(4 * N);
  for (let i = 0; i < N; i++) {
    before[9 * i] = before[9 * i + 4] = before[9 * i + 8] = lastTurns[4 * i] = 1;
    for (let c = 0; c < 3; c++) ranks[3 * i + c] = rankOf(scales, 3 * i, c);
  }
  lastQuats.set(quats);

  return (moved) => {
    const out = { turns: new Float32Array(4 * N), quats: new Float32Array(4 * N), scales: new Float32Array(3 * N) };
    for (let i = 0; i < N; i++) {
      const own = before.subarray(9 * i, 9 * i + 9);
      if (momentsInto(i, moved, rest, indices, weights, k, B, D, C)) {
        identityInto(own);
        lastTurns.set([1, 0, 0, 0], 4 * i);
        lastQuats.set(quats.subarray(4 * i, 4 * i + 4), 4 * i);
        out.scales.set(scales.subarray(3 * i, 3 * i + 3), 3 * i);
      } else {
        if (bestTurnInto(B, K, turn)) {
          matrixInto(turn, 0, R);
          stretchInto(R, D, C, G, M, U, W, S);
        } else {
          turn.set([1, 0, 0, 0]);
          identityInto(R);
          identityInto(S);
        }
        matrixInto(quats, 4 * i, axesAtRest);
        productInto(S, axesAtRest, W);
        transposedTimesInto(axesAtRest, W, G);
        for (let a = 0; a < 9; a++) G[a] *= scales[3 * i + a % 3];  // G G^T: the covariance in the axes at rest
        covarianceInto(G, ranks, 3 * i, M);
        jacobi(M, V);
        nameLike(V, own, W, named);
        own.set(named);
        for (let a = 0; a < 3; a++) {
          let variance = 0;
          for (let b = 0; b < 3; b++) variance += (G[b] * named[a] + G[3 + b] * named[3 + a] + G[6 + b] * named[6 + a]) ** 2;
          out.scales[3 * i + a] = Math.sqrt(variance);
        }
        productInto(axesAtRest, named, W);
        productInto(R, W, G);
        quaternionInto(G, axes);
        signLike(turn, lastTurns.subarray(4 * i, 4 * i + 4));
        signLike(axes, lastQuats.subarray(4 * i, 4 * i + 4));
        lastTurns.set(turn, 4 * i);
        lastQuats.set(axes, 4 * i);
      }
    }
    out.turns.set(lastTurns);
    out.quats.set(lastQuats);
    return out;
  };
}

// exp(-(d / mean d)^2), [N * k]
function fallingWeights(N, k, distances) {
  const weights = new Float64Array(N * k);
  for (let i = 0; i < N; i++) {
    let mean = 0;
    for (let n = 0; n < k; n++) mean += distances[i * k + n] / k;
    for (let n = 0; n < k; n++) weights[i * k + n] = Math.exp(-((distances[i * k + n] / Math.max(mean, 1e-30)) ** 2));
  }
  return weights;
}

// Of three values from `at` on: how many come before the one at `c` in order of size.
function rankOf(values, at, c) {
  let rank = 0;
  for (let a = 0; a < 3; a++) if (values[at + a] < values[at + c] || (values[at + a] === values[at + c] && a < c)) rank++;
  return rank;
}

// G G^T, its columns told apart by a hair in the order of the scales at rest.
function covarianceInto(G, ranks, at, M) {
  M.fill(0);
  for (let c = 0; c < 3; c++) {
    const wide = (1 + APART * ranks[at + c]) ** 2;
    for (let a = 0; a < 3; a++) for (let b = 0; b < 3; b++) M[3 * a + b] += wide * G[3 * a + c] * G[3 * b + c];
  }
}

// Fills B = sum w X P^T, D = sum v X P^T and C = sum v P P^T of Gaussian i; says whether no neighbour has moved.
function momentsInto(i, moved, rest, indices, weights, k, B, D, C) {
  B.fill(0);
  D.fill(0);
  C.fill(0);
  let still = true;
  const px = rest[3 * i], py = rest[3 * i + 1], pz = rest[3 * i + 2];
  const mx = moved[3 * i], my = moved[3 * i + 1], mz = moved[3 * i + 2];
  for (let n = i * k; n < i * k + k; n++) {
    const j = 3 * indices[n];
    const p0 = rest[j] - px, p1 = rest[j + 1] - py, p2 = rest[j + 2] - pz;
    const x0 = moved[j] - mx, x1 = moved[j + 1] - my, x2 = moved[j + 2] - mz;
    still = still && x0 === p0 && x1 === p1 && x2 === p2;
    const before = Math.sqrt(p0 * p0 + p1 * p1 + p2 * p2), now = Math.sqrt(x0 * x0 + x1 * x1 + x2 * x2);
    const change = Math.abs(now - before) / Math.max(1e-30, Math.min(now, before));
    const w = weights[n] / (1 + (change / KEPT) ** 2) ** 2, v = weights[n] / (1 + (change / KEPT_STRETCH) ** 2) ** 2;
    let q0 = w * p0, q1 = w * p1, q2 = w * p2;
    B[0] += x0 * q0; B[1] += x0 * q1; B[2] += x0 * q2;
    B[3] += x1 * q0; B[4] += x1 * q1; B[5] += x1 * q2;
    B[6] += x2 * q0; B[7] += x2 * q1; B[8] += x2 * q2;
    q0 = v * p0; q1 = v * p1; q2 = v * p2;
    D[0] += x0 * q0; D[1] += x0 * q1; D[2] += x0 * q2;
    D[3] += x1 * q0; D[4] += x1 * q1; D[5] += x1 * q2;
    D[6] += x2 * q0; D[7] += x2 * q1; D[8] += x2 * q2;
    C[0] += p0 * q0; C[1] += p0 * q1; C[2] += p0 * q2;
    C[4] += p1 * q1; C[5] += p1 * q2; C[8] += p2 * q2;
  }
  C[3] = C[1];
  C[6] = C[2];
  C[7] = C[5];
  return still;
}

// Fills S, the stretch after which R turns; the other matrices are scratch, and C is lost.
function stretchInto(R, D, C, G, M, U, W, S) {
  transposedTimesInto(R, D, G);
  jacobi(C, U);
  const c = [C[0], C[4], C[8]], largest = Math.max(...c), ridge = 2 * RIDGE * largest;
  for (let a = 0; a < 3; a++) for (let b = 0; b < 3; b++) M[3 * a + b] = G[3 * a + b] + G[3 * b + a];
  productInto(M, U, W);
  transposedTimesInto(U, W, G);  // in the axes of C
  for (let a = 0; a < 3; a++) for (let b = 0; b < 3; b++) {
    const at = 3 * a + b;
    M[at] = a === b
      ? 1 + Math.min(1, c[a] / (largest * FLAT)) * ((G[at] + ridge) / (2 * c[a] + ridge) - 1)
      : G[at] / (c[a] + c[b] + ridge) * c[a] * c[b] / (largest * largest);
  }
  productInto(U, M, W);
  timesTransposedInto(W, U, S);  // and back
  let inside = true;  // Gershgorin: every principal stretch lies in one of these
  for (let a = 0; a < 3; a++) {
    const around = Math.abs(S[3 * a + (a + 1) % 3]) + Math.abs(S[3 * a + (a + 2) % 3]);
    inside = inside && S[4 * a] - around >= STRETCH_MIN && S[4 * a] + around <= STRETCH_MAX;
  }
  if (inside) return;
  for (let a = 0; a < 3; a++) for (let b = 0; b < 3; b++) M[3 * a + b] = 0.5 * (S[3 * a + b] + S[3 * b + a]);
  jacobi(M, U);
  for (let a = 0; a < 3; a++) {
    const value = Math.min(STRETCH_MAX, Math.max(STRETCH_MIN, M[4 * a]));
    for (let b = 0; b < 3; b++) W[3 * b + a] = U[3 * b + a] * value;
  }
  timesTransposedInto(W, U, S);
}

// Fills `named` with the columns of V, named and pointed as those of `before` are; W is scratch.
function nameLike(V, before, W, named) {
  transposedTimesInto(V, before, W);
  let order = [0, 1, 2], signs = [1, 1, 1];
  if (!(W[0] + W[4] + W[8] >= SAME_NAMES)) {
    let best = -4;
    for (const [a, b, c, parity] of [[0, 1, 2, 1], [0, 2, 1, -1], [1, 2, 0, 1], [1, 0, 2, -1], [2, 0, 1, 1], [2, 1, 0, -1]]) {
      for (const [sa, sb] of [[1, 1], [1, -1], [-1, 1], [-1, -1]]) {
        const sc = parity * sa * sb, agreement = sa * W[3 * a] + sb * W[3 * b + 1] + sc * W[3 * c + 2];
        if (agreement > best) { best = agreement; order = [a, b, c]; signs = [sa, sb, sc]; }
      }
    }
  }
  for (let a = 0; a < 9; a += 3) for (let b = 0; b < 3; b++) named[a + b] = signs[b] * V[a + order[b]];
}
