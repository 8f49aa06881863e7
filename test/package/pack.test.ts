/**
 * The package as somebody installs it: packed, installed from the tarball, and run under a PATH whose `node` is too old.
 * Needs npm, and a registry (or a filled cache) for the dependencies.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import anyTest, { type TestFn } from 'ava';
import { until } from '../support/daemon.ts';
import { isSkipped } from '../support/groups.ts';
import { projectRoot } from '../tidy/source-tree.ts';

interface Installed {
  directory: string;
  tarball: string;
  /** The program, as npm linked it. */
  fcr: string;
  environment: NodeJS.ProcessEnv;
}

const test = anyTest as TestFn<Installed>;
const declare = isSkipped('package') ? test.skip : test.serial;
const manifest: { readonly version: string } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8'));

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function run(
  program: string,
  words: readonly string[],
  options: { cwd: string; env: NodeJS.ProcessEnv },
): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(program, [...words], { ...options, timeout: 240_000, maxBuffer: 2 ** 24 }, (error, out, err) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 1;
      resolve({ code, out, err });
    });
  });
}

async function npm(cwd: string, ...words: readonly string[]): Promise<string> {
  const { code, out, err } = await run('npm', words, { cwd, env: process.env });
  if (code !== 0) throw new Error(`npm ${words.join(' ')} ended with ${code}:\n${out}${err}`);
  return out;
}

/** A `node` that says it is old, and does not run anything. */
function oldNode(directory: string): string {
  mkdirSync(directory);
  writeFileSync(join(directory, 'node'), '#!/bin/sh\n[ "$1" = --version ] && echo v20.20.2 || exit 99\n', {
    mode: 0o755,
  });
  return directory;
}

if (!isSkipped('package')) {
  test.before('the package is packed and installed', async (t) => {
    t.timeout(300_000);
    const directory = mkdtempSync(join(tmpdir(), 'fcr-test-package-'));
    await npm(projectRoot, 'pack', '--ignore-scripts=false', '--silent', '--pack-destination', directory);
    const tarball = join(directory, `fc-redirect-${manifest.version}.tgz`);
    const app = join(directory, 'app');
    mkdirSync(app);
    writeFileSync(join(app, 'package.json'), '{"private": true}');
    await npm(app, 'install', '--prefer-offline', '--no-audit', '--no-fund', tarball);
    const environment = {
      PATH: `${oldNode(join(directory, 'old-node'))}:/usr/bin:/bin`,
      HOME: directory,
      FCR_DATA_DIR: join(directory, 'data'),
      FCR_SOCKET_DIRECTORY: join(directory, 'data'),
    };
    Object.assign(t.context, { directory, tarball, fcr: join(app, 'node_modules/.bin/fcr'), environment });
  });

  test.after.always('the package is removed', (t) => {
    if (t.context.directory !== undefined) rmSync(t.context.directory, { recursive: true, force: true });
  });
}

declare('the installed program tells its version and its help', async (t) => {
  const { fcr, directory, environment } = t.context;
  const version = await run(fcr, ['--version'], { cwd: directory, env: environment });
  t.deepEqual(version, { code: 0, out: `${manifest.version}\n`, err: '' });
  const help = await run(fcr, ['volume', 'create', '--help'], { cwd: directory, env: environment });
  t.is(help.code, 0, help.err);
  t.regex(help.out, /fcr volume create data --size 10GiB/);
});

declare('the package ships JavaScript, the licence, the API and its documents, and no sources or tests', async (t) => {
  const { directory, tarball } = t.context;
  const { out } = await run('tar', ['-tzf', tarball], { cwd: directory, env: process.env });
  const files = out
    .trim()
    .split('\n')
    .map((file) => file.replace(/^package\//, ''));
  for (const file of [
    'fcr',
    'LICENSE',
    'CHANGELOG.md',
    'docs/OPERATING.md',
    'dist/src/bin/fcr.js',
    'dist/native-bindings/libc.js',
  ]) {
    t.true(files.includes(file), file);
  }
  t.true(files.some((file) => file.startsWith('dist/migrations/')));
  t.deepEqual(
    files.filter((file) => /^(?:src|test|bench)\/|\.ts$/.test(file)),
    [],
  );
});

declare('links in the documents of the package lead to files of the package', (t) => {
  const root = join(t.context.directory, 'app/node_modules/fc-redirect');
  const documents = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.md'));
  const links = documents.flatMap((path) => {
    const found = readFileSync(join(root, path), 'utf8').matchAll(/\]\((?!https?:|#)([^)\s#]+)/g);
    return [...found].map(([, link = '']) => join(dirname(path), link));
  });
  t.true(links.includes('CHANGELOG.md') && links.includes('docs/OPERATING.md'));
  t.deepEqual(
    links.filter((link) => !existsSync(join(root, link))),
    [],
  );
});

declare('symbolic links lead to the program', async (t) => {
  const { fcr, directory, environment } = t.context;
  const link = join(directory, 'link');
  symlinkSync('app/node_modules/.bin/fcr', link);
  symlinkSync(link, join(directory, 'link-to-link'));
  const { code, out } = await run(join(directory, 'link-to-link'), ['--version'], { cwd: '/', env: environment });
  t.is(code, 0);
  t.is(out, `${manifest.version}\n`);
  t.true(existsSync(fcr));
});

declare('without any usable Node the program says what it needs', async (t) => {
  const { directory, environment } = t.context;
  const alone = join(directory, 'alone');
  mkdirSync(alone);
  writeFileSync(join(alone, 'fcr'), readFileSync(join(projectRoot, 'fcr')), { mode: 0o755 });
  const { code, err } = await run(join(alone, 'fcr'), ['--version'], { cwd: alone, env: environment });
  t.is(code, 1);
  t.regex(err, /Node\.js 24 or later is needed.* is 20\.20\.2/);
});

declare('the installed program runs the whole product', async (t) => {
  const { fcr, directory, environment } = t.context;
  const env = { ...environment, FCR_LISTEN: '127.0.0.1:0', FCR_HOST_MODE: 'simulated' };
  const standalone = spawn(fcr, ['standalone'], { cwd: directory, env, stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = endOf(standalone);
  t.teardown(() => standalone.kill('SIGKILL'));
  await until(
    async () => (await run(fcr, ['pool', 'get', 'default'], { cwd: directory, env })).code === 0 || ended.code !== null,
    {
      what: 'the default pool is there',
      timeoutMs: 60_000,
      everyMs: 250,
    },
  );
  t.is(ended.code, null, ended.log);
  const created = await run(fcr, ['volume', 'create', 'data', '--json'], { cwd: directory, env });
  t.is(created.code, 0, created.err);
  t.is(JSON.parse(created.out).state, 'allocated');
  standalone.kill('SIGTERM');
  await until(() => ended.code !== null, { what: 'standalone has ended' });
  t.is(ended.code, 0, ended.log);
});

/** Filled when the process ends. */
function endOf(child: ChildProcess): { code: number | null; log: string } {
  const end: { code: number | null; log: string } = { code: null, log: '' };
  child.stderr?.on('data', (chunk: Buffer) => {
    end.log += chunk.toString();
  });
  child.once('exit', (code) => {
    end.code = code ?? -1;
  });
  return end;
}
