// Builds the bundle in dist, which the kedge binary embeds, and records there which sources it was made of.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';

const node = (...args) => execFileSync(process.execPath, args, { stdio: 'inherit' });

for (const made of ['dist', 'lib']) {
  rmSync(made, { recursive: true, force: true });
}
node('node_modules/typescript/bin/tsc');
node('node_modules/@jupyter/builder/lib/build-labextension.js', '--core-package-file',
  'node_modules/@jupyterlab/core-meta/core.package.json', '.');

const sources = ['build.mjs', 'package-lock.json', 'package.json', 'tsconfig.json',
  ...['schema', 'src', 'style'].flatMap(dir => readdirSync(dir).map(name => `${dir}/${name}`))].sort();
const digest = createHash('sha256');
for (const name of sources) {
  const data = readFileSync(name);
  digest.update(`${name} ${data.length}\n`).update(data);
}
writeFileSync('dist/sources.sha256', digest.digest('hex') + '\n');
