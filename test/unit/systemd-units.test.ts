import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';
import { testOf } from '../support/groups.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const units = ['fc-redirect-controller.service', 'fc-redirect-agent.service'];
const analyze = '/usr/bin/systemd-analyze';

function textOf(unit: string): string {
  return readFileSync(join(root, 'packaging/systemd', unit), 'utf8');
}

/** `[name, value]` of each setting, comments left out. */
function settingsOf(unit: string): Map<string, string> {
  const lines = textOf(unit).split('\n');
  return new Map(
    lines.flatMap((line) => [...line.matchAll(/^(\w+)=(.*)$/g)].map(([, name = '', value = '']) => [name, value])),
  );
}

/** systemd.exec(5): each of these gives a service a mount namespace of its own, or hides devices from it. */
const privateView =
  /^(?:ProtectSystem|ProtectHome|ProtectKernel\w+|ProtectControlGroups|ProtectProc|ProtectClock|ProcSubset|PrivateTmp|PrivateIPC|PrivateUsers|DynamicUser|Root\w+|Bind\w*Paths|ReadWritePaths|ReadOnlyPaths|InaccessiblePaths|ExecPaths|NoExecPaths|TemporaryFileSystem|MountAPIVFS|DeviceAllow|DevicePolicy)$/;

for (const unit of units) {
  test(`${unit} comes back whatever ended it`, (t) => {
    t.is(settingsOf(unit).get('Restart'), 'always');
    t.is(settingsOf(unit).get('StartLimitIntervalSec'), '0');
  });

  test(`${unit} has the machine's own mounts and devices`, (t) => {
    const settings = settingsOf(unit);
    t.deepEqual(
      [...settings.keys()].filter((name) => privateView.test(name)),
      [],
    );
    for (const name of ['PrivateMounts', 'PrivateDevices']) t.true([undefined, 'no'].includes(settings.get(name)));
    t.true([undefined, 'shared'].includes(settings.get('MountFlags')));
  });

  test(`${unit} keeps the other program's socket when it stops`, (t) => {
    t.is(settingsOf(unit).get('RuntimeDirectoryPreserve'), 'yes');
  });

  test(`${unit} starts a program that exists`, (t) => {
    const [program, verb] = settingsOf(unit).get('ExecStart')?.split(' ') ?? [];
    t.is(program, '/opt/fc-redirect/fcr');
    t.regex(readFileSync(join(root, 'src/frontends/cli/service.ts'), 'utf8'), new RegExp(`\\.command\\('${verb}'\\)`));
  });

  testOf('package')(`systemd finds nothing wrong with ${unit}`, async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'fcr-unit-'));
    t.teardown(() => rmSync(directory, { recursive: true }));
    const path = join(directory, unit);
    writeFileSync(path, textOf(unit).replaceAll('/opt/fc-redirect', root.replace(/\/$/, '')));
    const { stdout, stderr } = await promisify(execFile)(analyze, [
      'verify',
      '--man=no',
      '--recursive-errors=no',
      path,
    ]);
    t.is(`${stdout}${stderr}`, '');
  });
}

test('the agent may set any mode that a volume is asked for with', (t) => {
  t.false(settingsOf('fc-redirect-agent.service').has('RestrictSUIDSGID'));
});

test('what the agent has mounted, or has begun to format, stays when it ends', (t) => {
  t.is(settingsOf('fc-redirect-agent.service').get('KillMode'), 'process');
});
