// Babylon.js without a screen: node babylon.mjs FILE.glb CLIP '[seconds, ...]' -> its meshes with their vertices in the
// world at these times, or its Gaussians. Its axes are left-handed, with glTF's x to the other side: turned back here.
import { bytesOf, tell } from './output.mjs';

// Gaussians are sorted by a worker, which nobody needs who does not look at them.
globalThis.Worker = class { postMessage() {} terminate() {} addEventListener() {} };
const { NullEngine } = await import('@babylonjs/core/Engines/nullEngine.js');
const { Scene } = await import('@babylonjs/core/scene.js');
const { FreeCamera } = await import('@babylonjs/core/Cameras/freeCamera.js');
const { Vector3 } = await import('@babylonjs/core/Maths/math.vector.js');
const { ImportMeshAsync } = await import('@babylonjs/core/Loading/sceneLoader.js');
const { GaussianSplattingMesh } = await import('@babylonjs/core/Meshes/GaussianSplatting/gaussianSplattingMesh.js');
const { NullEngine: { Version } } = await import('@babylonjs/core/Engines/nullEngine.js');
await import('@babylonjs/core/Materials/standardMaterial.js');
await import('@babylonjs/core/Materials/Textures/Loaders/index.js');
await import('@babylonjs/loaders/glTF/2.0/index.js');
await import('@babylonjs/loaders/SPLAT/index.js');

const [, , path, clip, times] = process.argv;
const given = new Map(); // what its loaders hand to each splat mesh: 32 bytes a Gaussian, as in a .splat
for (const name of ['updateData', 'updateDataAsync']) {
  const original = GaussianSplattingMesh.prototype[name];
  GaussianSplattingMesh.prototype[name] = function (data, sh, options, ...more) {
    given.set(this, { data: new Uint8Array(data).slice(), flipY: options?.flipY ?? false });
    return original?.call(this, data, sh, options, ...more);
  };
}

const scene = new Scene(new NullEngine());
new FreeCamera('camera', new Vector3(0, 0, -5), scene);
const url = `data:application/octet-stream;base64,${Buffer.from(bytesOf(path)).toString('base64')}`;
const loaded = await ImportMeshAsync(url, scene, {
  pluginExtension: path.slice(path.lastIndexOf('.')),
  pluginOptions: { splat: { spzLibraryUrl: '' } }, // its own reader, not a library from the web
});
const group = clip ? loaded.animationGroups.find(({ name }) => name === clip) : null;
loaded.animationGroups.forEach((one) => one.stop());
group?.start(true);
group?.pause();

function placed(points, matrix) {
  const found = [];
  for (let i = 0; i < points.length; i += 3) {
    const there = Vector3.TransformCoordinates(Vector3.FromArray(points, i), matrix);
    found.push(-there.x, there.y, there.z);
  }
  return found;
}

function rows(matrix) {
  const all = matrix.transpose().asArray();
  return Array.from(all, (value, i) => (i < 4 ? -value : value));
}

function look(mesh) {
  const { material } = mesh, colors = mesh.getVerticesData('color'), texture = material.albedoTexture;
  const width = colors ? colors.length / mesh.getTotalVertices() : 0, mean = [0, 0, 0];
  for (let i = 0; i < mesh.getTotalVertices() && colors; i++) for (let k = 0; k < 3; k++) mean[k] += colors[i * width + k] / mesh.getTotalVertices();
  const uv = Array.from(mesh.getVerticesData('uv') ?? []);
  const picture = texture && Buffer.from(texture._buffer.buffer ?? texture._buffer, texture._buffer.byteOffset, texture._buffer.byteLength);
  return {
    factor: material.albedoColor.asArray(),
    vertexColor: colors && mesh.useVertexColors ? mean : null,
    picture: texture ? { base64: picture.toString('base64'), isDisplay: texture.gammaSpace } : null,
    uv: texture?.invertY ? uv.map((value, i) => (i % 2 ? 1 - value : value)) : uv,
  };
}

const meshes = loaded.meshes.filter((mesh) => !given.has(mesh) && mesh.getTotalVertices() > 0);
const splats = [...given.keys()];
const moments = JSON.parse(times).map((seconds) => {
  group?.goToFrame(seconds * 60); // the loader keeps 60 frames a second
  scene.render();
  const nodes = splats.map((mesh) => rows(mesh.computeWorldMatrix(true)));
  return { nodes, vertices: meshes.map((mesh) => placed(mesh.getPositionData(true, true), mesh.computeWorldMatrix(true))) };
});
tell({
  version: Version,
  up: 'y',
  clips: loaded.animationGroups.map(({ name }) => name),
  meshes: meshes.map((mesh, k) => ({ name: mesh.name, vertices: moments.map((at) => at.vertices[k]), look: look(mesh) })),
  splats: splats.map((mesh, k) => {
    const { data, flipY } = given.get(mesh);
    return { name: mesh.name, worlds: moments.map((at) => at.nodes[k]), rows: Buffer.from(data).toString('base64'), flipY };
  }),
});
