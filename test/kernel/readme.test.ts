/**
 * The commands of README.md, as a reader would type them, against a real standalone: what a page promises must happen.
 * Places of the machine (sockets, data, port, mount points) are the test's own.
 */
import assert from 'node:assert';
import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { markedBlocks, scriptOf } from '../support/document-commands.ts';
import { testOf } from '../support/groups.ts';
import { loopsBelow, mountsBelow } from '../support/linux-host-harness.ts';
import { StandaloneMachine } from '../support/standalone-machine.ts';
import { projectRoot, readText } from '../tidy/source-tree.ts';

const test = testOf('kernel');
const run = promisify(execFile);
const runDeadlineMs = 150_000;

function onMachine(script: string, { directory, logTail }: StandaloneMachine): string {
  // The greeting says where it listens.
  const port = /http:\/\/127\.0\.0\.1:(\d+)\/v1/.exec(logTail)?.[1];
  assert(port !== undefined, logTail);
  const places: readonly (readonly [string, string])[] = [
    ['127.0.0.1:8080', `127.0.0.1:${port}`],
    ['/var/lib/fc-redirect', join(directory, 'data')],
    ['/run/fc-redirect', directory],
    ['/mnt/', `${join(directory, 'mounts')}/`],
  ];
  return places.reduce((text, [from, to]) => text.replaceAll(from, to), script);
}

/** Answers what was printed; a command that fails or prints something else fails the test, with the trace of the shell. */
async function shell(machine: StandaloneMachine, script: string): Promise<string> {
  const env = {
    ...process.env,
    FCR_DATA_DIR: join(machine.directory, 'data'),
    FCR_SOCKET_DIRECTORY: machine.directory,
  };
  const { stdout } = await run('bash', ['-x', '-c', onMachine(script, machine)], {
    cwd: projectRoot,
    env,
    timeout: runDeadlineMs,
  });
  return stdout;
}

test.serial('the commands of the README do what it says, and leave nothing behind', async (t) => {
  t.timeout(runDeadlineMs);
  const blocks = markedBlocks('README.md');
  t.true(blocks.length >= 5);
  const machine = await StandaloneMachine.start(t);
  mkdirSync(machine.mountPath(''), { recursive: true });
  await t.notThrowsAsync(shell(machine, scriptOf(blocks)));
  t.deepEqual([mountsBelow(machine.directory), loopsBelow(machine.directory)], [[], []]);
  const volumes: readonly { readonly name: string | null }[] = JSON.parse(
    await shell(machine, './fcr volume list --json'),
  );
  t.deepEqual(
    volumes.filter(({ name }) => name !== null),
    [],
  );
});

test.serial('the metrics that the documents name are served', async (t) => {
  const machine = await StandaloneMachine.start(t);
  const ask = (socket: string) => `curl -sS --unix-socket /run/fc-redirect/${socket} http://localhost/metrics`;
  const served = await shell(machine, `${ask('controller.sock')}; ${ask('agent.sock')}`);
  const named = ['README.md', 'docs/OPERATING.md'].flatMap((document) => readText(document).match(/\bfcr_\w+/g) ?? []);
  t.true(named.length > 5);
  t.deepEqual(
    [...new Set(named)].filter((name) => !served.includes(`# TYPE ${name.replace(/_(?:bucket|count|sum)$/, '')} `)),
    [],
  );
});
