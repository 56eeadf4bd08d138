// Matrices of 3 x 3, row by row in Float64Arrays of 9, and quaternions wxyz: the small parts of deformation.js.

function identityInto(M) {
  M.fill(0);
  M[0] = M[4] = M[8] = 1;
}

function productInto(A, B, out) {
  for (let a = 0; a < 9; a += 3) for (let b = 0; b < 3; b++) {
    out[a + b] = A[a] * B[b] + A[a + 1] * B[3 + b] + A[a + 2] * B[6 + b];
  }
}

// A B^T
function timesTransposedInto(A, B, out) {
  for (let a = 0; a < 9; a += 3) for (let b = 0; b < 3; b++) {
    out[a + b] = A[a] * B[3 * b] + A[a + 1] * B[3 * b + 1] + A[a + 2] * B[3 * b + 2];
  }
}

// A^T B
function transposedTimesInto(A, B, out) {
  for (let a = 0; a < 3; a++) for (let b = 0; b < 3; b++) out[3 * a + b] = A[a] * B[b] + A[3 + a] * B[3 + b] + A[6 + a] * B[6 + b];
}

// Rotation of the quaternion that begins at `at`, of any length.
function matrixInto(quats, at, R) {
  let w = quats[at], x = quats[at + 1], y = quats[at + 2], z = quats[at + 3];
  const n = Math.max(Math.sqrt(w * w + x * x + y * y + z * z), 1e-12);
  w /= n; x /= n; y /= n; z /= n;
  R[0] = 1 - 2 * (y * y + z * z); R[1] = 2 * (x * y - w * z); R[2] = 2 * (x * z + w * y);
  R[3] = 2 * (x * y + w * z); R[4] = 1 - 2 * (x * x + z * z); R[5] = 2 * (y * z - w * x);
  R[6] = 2 * (x * z - w * y); R[7] = 2 * (y * z + w * x); R[8] = 1 - 2 * (x * x + y * y);
}

// Quaternion of a rotation, from its largest component (Shepperd 1978).
function quaternionInto(R, quat) {
  const w = R[0] + R[4] + R[8], [x, y, z] = [R[0], R[4], R[8]];
  const a = R[7] - R[5], b = R[2] - R[6], c = R[3] - R[1];
  if (w >= x && w >= y && w >= z) quat.set([1 + w, a, b, c]);
  else if (x >= y && x >= z) quat.set([a, 1 + 2 * x - w, R[3] + R[1], R[2] + R[6]]);
  else if (y >= z) quat.set([b, R[3] + R[1], 1 + 2 * y - w, R[7] + R[5]]);
  else quat.set([c, R[2] + R[6], R[7] + R[5], 1 + 2 * z - w]);
  normalise(quat);
}

function normalise(quat) {
  const n = Math.sqrt(quat[0] * quat[0] + quat[1] * quat[1] + quat[2] * quat[2] + quat[3] * quat[3]);
  for (let a = 0; a < 4; a++) quat[a] /= n;
}

// Turns `quat` to the sign that is nearer to `last`.
function signLike(quat, last) {
  if (quat[0] * last[0] + quat[1] * last[1] + quat[2] * last[2] + quat[3] * last[3] >= 0) return;
  for (let a = 0; a < 4; a++) quat[a] = -quat[a];
}

// Makes the symmetric M diagonal and V its eigenvectors, by cyclic Jacobi rotations of at most 45 degrees.
function jacobi(M, V) {
  identityInto(V);
  for (let sweep = 0; sweep < 6; sweep++) {
    const off = M[1] * M[1] + M[2] * M[2] + M[5] * M[5];
    if (off === 0 || off <= 1e-24 * (M[0] * M[0] + M[4] * M[4] + M[8] * M[8])) return;
    for (let pair = 0; pair < 3; pair++) {
      const p = pair === 2 ? 1 : 0, q = pair === 0 ? 1 : 2, r = 3 - p - q, b = M[3 * p + q];
      if (b === 0) continue;
      const half = 0.5 * (M[4 * q] - M[4 * p]), root = Math.abs(half) + Math.sqrt(half * half + b * b);
      const t = (half < 0 ? -b : b) / root, c = 1 / Math.sqrt(1 + t * t), s = t * c;
      M[4 * p] -= t * b;
      M[4 * q] += t * b;
      M[3 * p + q] = M[3 * q + p] = 0;
      const rp = M[3 * r + p], rq = M[3 * r + q];
      M[3 * r + p] = M[3 * p + r] = c * rp - s * rq;
      M[3 * r + q] = M[3 * q + r] = s * rp + c * rq;
      for (let a = 0; a < 9; a += 3) {
        const vp = V[a + p], vq = V[a + q];
        V[a + p] = c * vp - s * vq;
        V[a + q] = s * vp + c * vq;
      }
    }
  }
}

// The best rotation for B as a quaternion: the largest root of the characteristic polynomial of Horn's matrix K by
// Newton's method, the adjugate matrix there (Horn 1987, Theobald 2005). Says whether one is better than all others.
function bestTurnInto(B, K, quat) {
  let size = 0;
  for (let a = 0; a < 9; a++) size += B[a] * B[a];
  size = Math.sqrt(size);
  if (!(size > 1e-150)) return false;
  const s = 1 / size, xx = s * B[0], yx = s * B[1], zx = s * B[2];
  const xy = s * B[3], yy = s * B[4], zy = s * B[5], xz = s * B[6], yz = s * B[7], zz = s * B[8];
  const det = xx * (yy * zz - zy * yz) - yx * (xy * zz - zy * xz) + zx * (xy * yz - yy * xz);
  K[0] = xx + yy + zz; K[5] = xx - yy - zz; K[10] = yy - xx - zz; K[15] = zz - xx - yy;
  K[1] = K[4] = yz - zy; K[2] = K[8] = zx - xz; K[3] = K[12] = xy - yx;
  K[6] = K[9] = xy + yx; K[7] = K[13] = zx + xz; K[11] = K[14] = yz + zy;
  const constant = (K[0] * K[5] - K[1] * K[4]) * (K[10] * K[15] - K[11] * K[14])  // |K| by its 2 x 2 minors
    - (K[0] * K[6] - K[2] * K[4]) * (K[9] * K[15] - K[11] * K[13])
    + (K[0] * K[7] - K[3] * K[4]) * (K[9] * K[14] - K[10] * K[13])
    + (K[1] * K[6] - K[2] * K[5]) * (K[8] * K[15] - K[11] * K[12])
    - (K[1] * K[7] - K[3] * K[5]) * (K[8] * K[14] - K[10] * K[12])
    + (K[2] * K[7] - K[3] * K[6]) * (K[8] * K[13] - K[9] * K[12]);
  let root = 1.7320508075688772;  // no root is larger
  for (let n = 0; n < 60; n++) {
    const slope = (4 * root * root - 4) * root - 8 * det;
    if (!(slope > 0)) return false;
    const step = (((root * root - 2) * root - 8 * det) * root + constant) / slope;
    root -= step;
    if (!(step > 1e-15)) break;
  }
  if (!((4 * root * root - 4) * root - 8 * det > TURN_MIN)) return false;
  for (let a = 0; a < 16; a += 5) K[a] -= root;
  let best = 0, largest = 0;
  for (let a = 0; a < 4; a++) {
    const found = Math.abs(cofactor(K, a, a));
    if (found > largest) { best = a; largest = found; }
  }
  for (let a = 0; a < 4; a++) quat[a] = cofactor(K, best, a);
  normalise(quat);
  return true;
}

function cofactor(K, row, column) {
  const r0 = row === 0 ? 4 : 0, r1 = row <= 1 ? 8 : 4, r2 = row <= 2 ? 12 : 8;
  const c0 = column === 0 ? 1 : 0, c1 = column <= 1 ? 2 : 1, c2 = column <= 2 ? 3 : 2;
  const minor = K[r0 + c0] * (K[r1 + c1] * K[r2 + c2] - K[r1 + c2] * K[r2 + c1])
    - K[r0 + c1] * (K[r1 + c0] * K[r2 + c2] - K[r1 + c2] * K[r2 + c0])
    + K[r0 + c2] * (K[r1 + c0] * K[r2 + c1] - K[r1 + c1] * K[r2 + c0]);
  return (row + column) % 2 ? -minor : minor;
}
