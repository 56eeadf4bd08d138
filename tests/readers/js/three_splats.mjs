// three.js' Gaussians: node three_splats.mjs FILE.{glb,ply,splat} CLIP '[seconds, ...]' -> their numbers, and where their
// nodes are at these times.
import { bytesOf, tell } from './output.mjs';

globalThis.self = globalThis;
const THREE = await import('three');
const { GLTFLoader } = await import('three/addons/loaders/GLTFLoader.js');
const { GLTFGaussianSplatLoaderExtension } = await import('three/addons/loaders/GLTFGaussianSplatLoaderExtension.js');
const { GaussianSplatPLYLoader } = await import('three/addons/loaders/GaussianSplatPLYLoader.js');
const { SPLATLoader } = await import('three/addons/loaders/SPLATLoader.js');
const { GaussianSplat } = await import('three/addons/objects/GaussianSplat.js');

const [, , path, clip, times] = process.argv;
const scene = new THREE.Scene(), mixer = new THREE.AnimationMixer(scene);
let clips = [];
if (path.endsWith('.glb')) {
  const loader = new GLTFLoader().register((parser) => new GLTFGaussianSplatLoaderExtension(parser));
  const gltf = await loader.parseAsync(bytesOf(path), '');
  scene.add(gltf.scene);
  clips = gltf.animations;
} else {
  const loader = path.endsWith('.splat') ? new SPLATLoader() : new GaussianSplatPLYLoader();
  scene.add(new GaussianSplat(loader.parse(bytesOf(path))));
}
if (clip) mixer.clipAction(THREE.AnimationClip.findByName(clips, clip)).play();
const splats = [];
scene.traverse((thing) => thing.isGaussianSplat && splats.push(thing));
const moments = JSON.parse(times).map((seconds) => {
  if (clip) mixer.setTime(seconds);
  scene.updateMatrixWorld(true);
  return splats.map(({ matrixWorld }) => matrixWorld.clone().transpose().toArray()); // row by row
});
const packed = ({ array }) => Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString('base64');
tell({
  version: THREE.REVISION,
  clips: clips.map(({ name }) => name),
  splats: splats.map(({ name, splatGeometry: { attributes } }, k) => ({
    name,
    worlds: moments.map((all) => all[k]),
    means: packed(attributes.position),
    covariances: packed(attributes.covariance),
    colors: packed(attributes.color),
  })),
});
