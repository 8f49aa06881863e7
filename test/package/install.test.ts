/** What `npm ci` asks of a machine: Node.js and npm, and nothing that compiles. */
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { testOf } from '../support/groups.ts';
import { projectRoot } from '../tidy/source-tree.ts';

const test = testOf('package').serial;
const execute = promisify(execFile);
/** npm's own needs; no compiler, no make, no Python. */
const programs = ['node', 'npm', 'sh', 'env', 'uname', 'readlink', 'dirname', 'rm', 'mkdir'];

test('the dependencies are installed, and load, on a machine without a compiler', async (t) => {
  t.timeout(300_000);
  const directory = mkdtempSync(join(tmpdir(), 'fcr-test-install-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const bin = join(directory, 'bin');
  mkdirSync(bin);
  for (const program of programs) symlinkSync(await pathOf(program), join(bin, program));
  const project = join(directory, 'project');
  mkdirSync(project);
  for (const file of ['.npmrc', 'package.json', 'package-lock.json'])
    cpSync(join(projectRoot, file), join(project, file));
  const options = { cwd: project, env: { PATH: bin, HOME: process.env.HOME }, maxBuffer: 2 ** 24 };
  await execute(join(bin, 'npm'), ['ci', '--prefer-offline', '--no-audit', '--no-fund'], options);
  const loads = `new (require('better-sqlite3'))(':memory:').close(); require('koffi'); console.log('loaded')`;
  const { stdout } = await execute(process.execPath, ['-e', loads], options);
  t.is(stdout, 'loaded\n');
  t.regex(readFileSync(join(project, '.npmrc'), 'utf8'), /^ignore-scripts=true$/m);
});

/** The machine's own, not those that this run put first on the PATH. */
async function pathOf(program: string): Promise<string> {
  const path = (process.env.PATH ?? '').split(':').filter((part) => !part.includes('node_modules'));
  const { stdout } = await execute('/bin/sh', ['-c', `command -v ${program}`], { env: { PATH: path.join(':') } });
  return realpathSync(stdout.trim());
}
