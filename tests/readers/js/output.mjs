// What every reader here says: one JSON on stdout, and nothing else of the program's.
import fs from 'node:fs';
import { createRequire } from 'node:module';

export const require = createRequire(import.meta.url);
for (const name of ['log', 'info', 'warn', 'debug']) console[name] = (...words) => process.stderr.write(`${words.join(' ')}\n`);

export function bytesOf(path) {
  const data = fs.readFileSync(path);
  return data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength);
}

export function tell(value) {
  process.stdout.write(JSON.stringify(value), () => process.exit(0));
}
