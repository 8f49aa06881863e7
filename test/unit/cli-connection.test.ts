/** The command line before servers that are silent, or speak something else. */
import test from 'ava';
import { TestCli } from '../support/cli.ts';
import { FakeHttp } from '../support/fake-http.ts';

test('a controller that is silent is named after the request timeout, with what to look at', async (t) => {
  const cli = new TestCli(t);
  await cli.controller(t, () => 'silent');
  for (const words of [['volume', 'list'], ['volume', 'delete', 'data'], ['events']]) {
    const { code, err } = await cli.run(...words, '--request-timeout', '1s');
    t.is(code, 6);
    t.regex(
      err,
      /^fcr: The controller at \S+controller\.sock has not answered \S+ \S+ within 1 s\..* --request-timeout/,
    );
    t.is(/outcome is unknown/.test(err), words.includes('delete'));
  }
});

test('an agent that is silent is named likewise', async (t) => {
  const cli = new TestCli(t);
  await cli.agent(t, () => 'silent');
  const { code, err } = await cli.run('mounts', '--request-timeout', '1s');
  t.is(code, 6);
  t.regex(err, /The agent at \S+agent\.sock has not answered GET \/v1\/mounts within 1 s\./);
});

test('with a short request timeout the controller answers that the operation is under way', async (t) => {
  const cli = new TestCli(t);
  const operation = { id: 'b-0', batch: 'b', type: 'volume.create', state: 'running' };
  const fake = await cli.controller(t, ({ method }) => ({ status: method === 'POST' ? 202 : 200, body: operation }));
  const { code, err } = await cli.run('volume', 'create', 'data', '--request-timeout', '1s');
  t.is(code, 6);
  t.regex(err, /Operation b-0 was accepted and has not ended yet\. fcr operation get b-0 shows how it is\./);
  t.is(fake.asked[0]?.headers.prefer, 'respond-async');
});

test('by itself a verb lets the controller wait as long as it does, and a batch as long as was said', async (t) => {
  const cli = new TestCli(t);
  cli.input = '{"operations": []}';
  const fake = await cli.controller(t, () => ({ status: 200, body: { id: 'b', state: 'ended', operations: [] } }));
  await cli.run('volume', 'delete', 'data');
  await cli.run('operation', 'submit', '--file', '-', '--wait', '20s', '--request-timeout', '1s');
  t.deepEqual(
    fake.asked.map(({ headers }) => headers.prefer),
    [undefined, 'wait=20'],
  );
});

test('https:// to a controller that speaks plain HTTP says so, in one line', async (t) => {
  const cli = new TestCli(t);
  const fake = await FakeHttp.onPort(() => ({ status: 200 }));
  t.teardown(() => fake.close());
  const { code, err } = await cli.run('pool', 'list', '--server', fake.url.replace('http:', 'https:'));
  t.is(code, 6);
  t.regex(err, /^fcr: [^\n]*it speaks plain HTTP there: the URL begins with http:\/\/[^\n]*\n$/);
});
