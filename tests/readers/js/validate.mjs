// Khronos' validator: node validate.mjs FILE.glb -> [[severity, code, pointer], ...]; 0 is an error, 1 a warning.
import { bytesOf, require, tell } from './output.mjs';

const validator = require('gltf-validator');
const report = await validator.validateBytes(new Uint8Array(bytesOf(process.argv[2])), { maxIssues: 0 });
tell(report.issues.messages.map(({ severity, code, pointer }) => [severity, code, pointer]));
