import { execFile } from 'node:child_process';
import { join } from 'node:path';
import test from 'ava';
import { testGroups } from '../support/groups.ts';
import { projectRoot, readText } from './source-tree.ts';

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function testRun(environment: NodeJS.ProcessEnv, ...words: readonly string[]): Promise<Ran> {
  const script = join(projectRoot, 'test/support/run.sh');
  const env = { ...process.env, FCR_TEST_SKIP: '', ...environment };
  return new Promise((resolve) => {
    execFile('bash', [script, ...words], { env, timeout: 120_000 }, (error, out, err) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), out, err });
    });
  });
}

test('a group that does not exist cannot be left out', async (t) => {
  const { code, out, err } = await testRun({ FCR_TEST_SKIP: 'kernel,everything' });
  t.is(code, 1);
  t.regex(err, /'everything'; the groups are: /);
  t.regex(out, /\n0 passed, 1 failed\n$/);
});

test('a run in which no test ran has failed', async (t) => {
  const { code, out, err } = await testRun({ FCR_TEST_SKIP: testGroups.join(',') }, 'test/nothing.test.ts');
  t.is(code, 1);
  t.regex(err, /no test ran/);
  t.regex(out, /left out by FCR_TEST_SKIP: clients, .*\n0 passed, 1 failed\n$/);
});

test('what a group left out needs of the machine is not asked for, and its tests are counted as skipped', async (t) => {
  const { out } = await testRun({ FCR_TEST_SKIP: 'package' }, 'test/unit/systemd-units.test.ts');
  t.regex(out, /left out by FCR_TEST_SKIP: package\n\d+ passed, 0 failed, 2 skipped\n$/);
});

test('the script and the tests know the same groups', (t) => {
  const known = /^known_groups="(.*)"$/m.exec(readText('test/support/run.sh'))?.[1];
  t.deepEqual(known?.split(' '), [...testGroups]);
});
