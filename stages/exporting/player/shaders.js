// Gaussians projected as in EWA splatting (Zwicker et al. 2001; Kerbl et al. 2023), drawn from far to near.
const WIDTH = 2048;  // texels a row of every texture
const K = (header.sh_degree + 1) ** 2 - 1;  // harmonics above degree 0
const VERTEX = `#version 300 es
precision highp float; precision highp int; precision highp sampler2D;
in vec2 corner; in uint index;
uniform sampler2D positions, rotations, shapes, colors, harmonics, turns;
uniform mat3 R; uniform vec3 eye; uniform vec2 size; uniform float focal, near;
out vec2 at; out vec4 color;
vec4 texel(sampler2D t, int i) { return texelFetch(t, ivec2(i % ${WIDTH}, i / ${WIDTH}), 0); }
mat3 turn(vec4 q) { q = normalize(q); float w = q.x, x = q.y, y = q.z, z = q.w; return mat3(
  1. - 2.*(y*y + z*z), 2.*(x*y + w*z), 2.*(x*z - w*y),
  2.*(x*y - w*z), 1. - 2.*(x*x + z*z), 2.*(y*z + w*x),
  2.*(x*z + w*y), 2.*(y*z - w*x), 1. - 2.*(x*x + y*y)); }
vec3 seen(int i, vec3 d) {  // what the harmonics above degree 0 add, seen along d in the frame of the asset at rest
  vec3 sum = vec3(0.);
  float x = d.x, y = d.y, z = d.z;
  #define ADD(k, f) sum += (f) * texel(harmonics, i * ${K} + k).rgb
  ${K >= 3 ? "ADD(0, -0.4886025*y); ADD(1, 0.4886025*z); ADD(2, -0.4886025*x);" : ""}
  ${K >= 8 ? `ADD(3, 1.0925484*x*y); ADD(4, -1.0925484*y*z); ADD(5, 0.3153916*(2.*z*z - x*x - y*y));
  ADD(6, -1.0925484*x*z); ADD(7, 0.5462742*(x*x - y*y));` : ""}
  ${K >= 15 ? `ADD(8, -0.5900436*y*(3.*x*x - y*y)); ADD(9, 2.8906114*x*y*z); ADD(10, -0.4570458*y*(4.*z*z - x*x - y*y));
  ADD(11, 0.3731763*z*(2.*z*z - 3.*x*x - 3.*y*y)); ADD(12, -0.4570458*x*(4.*z*z - x*x - y*y));
  ADD(13, 1.4453057*z*(x*x - y*y)); ADD(14, -0.5900436*x*(x*x - 3.*y*y));` : ""}
  return sum;
}
void main() {
  int i = int(index);
  vec3 mean = texel(positions, i).xyz, p = R * (mean - eye);
  vec4 shape = texel(shapes, i);  // standard deviations, opacity
  gl_Position = vec4(0., 0., 2., 1.);
  if (p.z < near || shape.w < 1. / 255.) return;
  vec2 limit = 1.3 * 0.5 * size / focal, uv = clamp(p.xy / p.z, -limit, limit);
  mat3 M = R * turn(texel(rotations, i)) * mat3(shape.x, 0., 0., 0., shape.y, 0., 0., 0., shape.z);
  vec3 a = focal / p.z * (vec3(M[0].x, M[1].x, M[2].x) - uv.x * vec3(M[0].z, M[1].z, M[2].z));
  vec3 b = focal / p.z * (vec3(M[0].y, M[1].y, M[2].y) - uv.y * vec3(M[0].z, M[1].z, M[2].z));
  float xx = dot(a, a) + 0.3, xy = dot(a, b), yy = dot(b, b) + 0.3;  // square pixels; 0.3 is the low-pass
  float middle = 0.5 * (xx + yy), radius = length(vec2(0.5 * (xx - yy), xy));
  float l1 = middle + radius, l2 = max(middle - radius, 1e-6);
  vec2 axis = abs(xy) < 1e-9 ? (xx >= yy ? vec2(1., 0.) : vec2(0., 1.)) : normalize(vec2(xy, l1 - xx));
  at = corner * sqrt(2. * log(255. * shape.w));  // in standard deviations, to where alpha falls below 1/255
  vec2 pixel = focal * p.xy / p.z + at.x * sqrt(l1) * axis + at.y * sqrt(l2) * vec2(-axis.y, axis.x);
  gl_Position = vec4(2. * pixel / size * vec2(1., -1.), 0., 1.);
  vec3 rgb = texel(colors, i).rgb;
  ${K ? "rgb += seen(i, transpose(turn(texel(turns, i))) * normalize(mean - eye));" : ""}
  color = vec4(max(rgb, 0.), shape.w);
}`;
const FRAGMENT = `#version 300 es
precision highp float;
in vec2 at; in vec4 color; out vec4 result;
void main() {
  float alpha = min(0.999, color.a * exp(-0.5 * dot(at, at)));
  if (alpha < 1. / 255.) discard;
  result = vec4(color.rgb * alpha, alpha);
}`;
