// three.js: node three_glb.mjs FILE.glb CLIP '[seconds, ...]' -> meshes with their vertices in the world at these times.
import { bytesOf, tell } from './output.mjs';

globalThis.self = globalThis;
// A picture is kept as its bytes: whoever asked decodes it.
globalThis.createImageBitmap = async (blob) => ({ width: 1, height: 1, close() {}, bytes: Buffer.from(await blob.arrayBuffer()) });
const THREE = await import('three');
const { GLTFLoader } = await import('three/addons/loaders/GLTFLoader.js');

const [, , path, clip, times] = process.argv;
const gltf = await new GLTFLoader().parseAsync(bytesOf(path), '');
const mixer = new THREE.AnimationMixer(gltf.scene);
if (clip) mixer.clipAction(THREE.AnimationClip.findByName(gltf.animations, clip)).play();
const meshes = [];
gltf.scene.traverse((thing) => thing.isMesh && meshes.push(thing));

function vertices(mesh) {
  const found = [], point = new THREE.Vector3();
  for (let i = 0; i < mesh.geometry.attributes.position.count; i++) {
    mesh.getVertexPosition(i, point).applyMatrix4(mesh.matrixWorld);
    found.push(point.x, point.y, point.z);
  }
  return found;
}

function mean(attribute) {
  const sum = [0, 0, 0];
  for (let i = 0; i < attribute.count; i++) for (let k = 0; k < 3; k++) sum[k] += attribute.getComponent(i, k) / attribute.count;
  return sum;
}

function look({ material, geometry }) {
  const { map } = material, { color, uv } = geometry.attributes;
  const flat = [];
  if (map) for (let i = 0; i < uv.count; i++) flat.push(uv.getX(i), map.flipY ? 1 - uv.getY(i) : uv.getY(i));
  return {
    factor: material.color.toArray(),
    vertexColor: material.vertexColors ? mean(color) : null,
    picture: map ? { base64: map.image.bytes.toString('base64'), isDisplay: map.colorSpace === THREE.SRGBColorSpace } : null,
    uv: flat,
  };
}

const moments = JSON.parse(times).map((seconds) => {
  if (clip) mixer.setTime(seconds);
  gltf.scene.updateMatrixWorld(true);
  return meshes.map(vertices);
});
tell({
  version: THREE.REVISION,
  up: 'y',
  clips: gltf.animations.map(({ name }) => name),
  meshes: meshes.map((mesh, k) => ({ name: mesh.name, vertices: moments.map((all) => all[k]), look: look(mesh) })),
});
