import test from 'ava';
import { TestCli } from '../support/cli.ts';
import type { Answered } from '../support/fake-http.ts';

function problemOf(code: string, status: number): Answered {
  return { status, body: { code, detail: `It is ${code}.`, status } };
}

const mounts = [
  { id: 'm1', volume: 'data', path: '/mnt/data', device: '/dev/loop1', attachment: 'a1' },
  { id: 'm2', volume: 'logs', path: '/mnt/logs', device: '/dev/loop2', attachment: 'a2' },
  { id: 'm3', volume: 'logs', path: '/mnt/more', device: '/dev/loop2', attachment: 'a2' },
];

test('mount makes a path absolute and answers where the volume is', async (t) => {
  const cli = new TestCli(t);
  const fake = await cli.agent(t, () => ({ status: 201, body: mounts[0] }));
  const { code, out } = await cli.run('mount', 'data', 'here', '--read-only', '--quiet');
  t.is(code, 0);
  t.is(out, '/mnt/data\n');
  t.deepEqual(fake.asked[0]?.body, { volume: 'data', path: '/work-directory/here', readOnly: true });
});

for (const [word, id] of [
  ['data', 'm1'],
  ['/mnt/more', 'm3'],
  ['m2', 'm2'],
] as const) {
  test(`umount ${word} means the mount ${id}`, async (t) => {
    const cli = new TestCli(t);
    const fake = await cli.agent(t, ({ method }) =>
      method === 'GET' ? { status: 200, body: { items: mounts } } : { status: 204 },
    );
    const { code } = await cli.run('umount', word);
    t.is(code, 0);
    t.is(fake.asked[1]?.url, `/v1/mounts/${id}`);
  });
}

test('umount --force says so to the agent', async (t) => {
  const cli = new TestCli(t);
  const fake = await cli.agent(t, ({ method }) =>
    method === 'GET' ? { status: 200, body: { items: mounts } } : { status: 204 },
  );
  t.is((await cli.run('umount', '--force', 'data')).code, 0);
  t.is(fake.asked[1]?.url, '/v1/mounts/m1?force=true');
});

test('an attachment that container engines need here is not deleted, and it is said what to do', async (t) => {
  const cli = new TestCli(t);
  const attachment = { id: 'a1', volume: 'data', volumeId: 'vol_1', host: 'node1', hostSide: 'attached' };
  const controller = await cli.controller(t, () => ({ status: 200, body: attachment }));
  await cli.agent(t, () => ({ status: 200, body: { items: [{ ...mounts[0], references: ['one', 'two'] }] } }));
  const { code, err } = await cli.run('attachment', 'delete', 'a1');
  t.is(code, 4);
  t.regex(
    err,
    /container engines on this machine have users of it on record, at \/mnt\/data\. Stop its containers \(docker ps/,
  );
  t.deepEqual(
    controller.asked.map(({ method }) => method),
    ['GET'],
  );
});

test('who waits for the host is told so, and who forces does not wait', async (t) => {
  const cli = new TestCli(t);
  const attachment = { id: 'a1', volume: 'data', volumeId: 'vol_1', host: 'node1', hostSide: 'attached' };
  await cli.controller(t, ({ method }) =>
    method === 'GET' ? { status: 200, body: attachment } : problemOf('cannot-fence', 409),
  );
  t.is((await cli.run('attachment', 'delete', '--force', 'a1')).out, '');
  t.is((await cli.run('attachment', 'delete', 'a1')).out, 'a1: waiting until host node1 has let go of it\n');
});

test('umount refuses a name that means two mounts, and one that means none', async (t) => {
  const cli = new TestCli(t);
  await cli.agent(t, () => ({ status: 200, body: { items: mounts } }));
  const twice = await cli.run('umount', 'logs');
  t.is(twice.code, 2);
  t.regex(twice.err, /name the path: \/mnt\/logs, \/mnt\/more\. /);
  t.is((await cli.run('umount', 'nothing')).code, 3);
});

test('no agent is exit code 6, and it is the agent that is named', async (t) => {
  const { code, err } = await new TestCli(t).run('mounts');
  t.is(code, 6);
  t.regex(err, /No agent answers at .*agent\.sock/);
});
