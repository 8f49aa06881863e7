/**
 * The smallest Debian that an image can be built on without pulling one: programs of this machine with their libraries,
 * npm, and the certificates that the machine trusts. The packages that a Dockerfile asks apt-get for have to be among
 * them: its apt-get only says yes, because a package database of this machine would be no smaller than the machine.
 */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { debianPath } from './docker-engine.ts';

const programs = [
  ...['sh', 'env', 'uname', 'dirname', 'readlink', 'rm', 'mkdir', 'cat'],
  ...['mkfs.ext4', 'mkfs.xfs', 'mount', 'umount', 'losetup'],
];
const certificates = '/etc/ssl/certs/ca-certificates.crt';

/** Of the imported image, for `docker import --change`. */
export const debianBaseChanges: readonly string[] = [
  `ENV PATH=${debianPath}`,
  `ENV NODE_EXTRA_CA_CERTS=${certificates}`,
];

export function installDebianBase(root: string): void {
  installPrograms(root, programs);
  copyProgram(root, process.execPath, '/usr/bin/node');
  copyNpm(root);
  for (const file of [certificates, '/etc/mke2fs.conf']) copy(root, file, file);
  mkdirSync(join(root, 'var/lib/apt'), { recursive: true });
  writeFileSync(join(root, 'usr/bin/apt-get'), '#!/bin/sh\nexit 0\n', { mode: 0o755 });
}

/** Programs by their names, with their libraries, in a root that has nothing else but the users of this machine. */
export function installPrograms(root: string, names: readonly string[]): void {
  for (const directory of ['usr/bin', 'usr/sbin', 'usr/lib', 'usr/lib64', 'usr/local/bin', 'etc']) {
    mkdirSync(join(root, directory), { recursive: true });
  }
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) symlinkSync(`usr/${name}`, join(root, name));
  mkdirSync(join(root, 'tmp'));
  chmodSync(join(root, 'tmp'), 0o1777);
  for (const file of ['/etc/passwd', '/etc/group']) copy(root, file, file);
  for (const name of names) copyProgram(root, located(name), located(name));
}

export function copyProgram(root: string, program: string, at: string): void {
  copy(root, program, at);
  const linked = execFileSync('ldd', [program], { encoding: 'utf8' });
  for (const [, library = ''] of linked.matchAll(/(\/\S+) \(0x/g)) copy(root, library, library);
}

/** Where npm is one package of a tree that belongs to Debian, it needs the rest of that tree. */
function copyNpm(root: string): void {
  const npm = realpathSync(located('npm'));
  const tree = npm.startsWith('/usr/share/nodejs/') ? '/usr/share/nodejs' : dirname(dirname(npm));
  cpSync(tree, join(root, tree), { recursive: true, verbatimSymlinks: true });
  symlinkSync(npm, join(root, 'usr/bin/npm'));
}

function copy(root: string, file: string, at: string): void {
  const target = join(root, at);
  if (existsSync(target)) return;
  mkdirSync(dirname(target), { recursive: true });
  copyFileSync(file, target);
}

function located(program: string): string {
  const path = debianPath.split(':').find((directory) => existsSync(join(directory, program)));
  if (path === undefined) throw new Error(`${program} is missing`);
  return join(path, program);
}
