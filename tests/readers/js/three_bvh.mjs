// three.js' BVHLoader: node three_bvh.mjs FILE.bvh '[seconds, ...]' -> where the bones begin at these times.
import { bytesOf, tell } from './output.mjs';
import * as THREE from 'three';
import { BVHLoader } from 'three/addons/loaders/BVHLoader.js';

const [, , path, times] = process.argv;
const { skeleton, clip } = new BVHLoader().parse(new TextDecoder().decode(bytesOf(path)));
const [root] = skeleton.bones, mixer = new THREE.AnimationMixer(root);
mixer.clipAction(clip).play();
const moments = JSON.parse(times).map((seconds) => {
  mixer.setTime(seconds);
  root.updateMatrixWorld(true);
  return skeleton.bones.map((bone) => new THREE.Vector3().setFromMatrixPosition(bone.matrixWorld).toArray());
});
tell({
  version: THREE.REVISION,
  up: 'y',
  bones: Object.fromEntries(skeleton.bones.map(({ name }, k) => [name, moments.map((all) => all[k])])),
});
