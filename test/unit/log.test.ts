import test from 'ava';
import type { LogConfig } from '../../src/config/config.ts';
import { createLog, type Log, silentLog } from '../../src/telemetry/log.ts';

function logged(config: LogConfig, isTerminal: boolean, write: (log: Log) => void): string {
  const lines: string[] = [];
  const log = createLog(config, { program: 'controller', isTerminal, output: { write: (line) => lines.push(line) } });
  write(log);
  return lines.join('');
}

const json: LogConfig = { level: 'info', format: 'auto' };

test('a line is JSON with level, time, program and fields', (t) => {
  const entry = JSON.parse(logged(json, false, (log) => log.child({ pool: 'a' }).info({ free: 3 }, 'pool refilled')));
  t.like(entry, { level: 'info', msg: 'pool refilled', pool: 'a', free: 3, program: 'controller' });
  t.false(Number.isNaN(Date.parse(entry.time)));
});

test('on a terminal a line is for people', (t) => {
  const line = logged(json, true, (log) => log.warn({ pool: 'a b', free: 3 }, 'pool is low'));
  t.regex(line, /^\d\d:\d\d:\d\d\.\d{3} warn {2}pool is low {2}pool="a b" {2}free=3\n$/);
});

test('a terminal does not change a format that was asked for', (t) => {
  t.notThrows(() => JSON.parse(logged({ level: 'info', format: 'json' }, true, (log) => log.info({}, 'x'))));
});

test('what is below the level is not written', (t) => {
  t.is(
    logged({ level: 'warn', format: 'json' }, false, (log) => log.info({}, 'x')),
    '',
  );
  t.notThrows(() => silentLog.error({}, 'x'));
});

test('the stack of an error is kept', (t) => {
  const write = (log: Log) => log.error({ err: new Error('it broke') }, 'failed');
  t.regex(JSON.parse(logged(json, false, write)).err.stack, /it broke\n\s+at /);
  t.regex(logged(json, true, write), /failed\n {2}Error: it broke\n\s+at /);
});

const secret = 'hunter2hunter2';
const leaks: Readonly<Record<string, (log: Log) => void>> = {
  'a field': (log) => log.info({ token: secret }, 'x'),
  'a nested field': (log) => log.info({ request: { headers: { Authorization: secret } } }, 'x'),
  'a field in a list': (log) => log.info({ users: [{ password: secret }] }, 'x'),
  'a field of a child': (log) => log.child({ adminToken: secret }).info({}, 'x'),
  'a URL in a message': (log) => log.info({}, `cannot reach postgres://fcr:${secret}@db/fcr`),
  'a URL in an error': (log) => log.error({ err: new Error(`redis://:${secret}@127.0.0.1:6379`) }, 'x'),
  'a header whose token begins with that word': (log) => log.info({ line: `Bearer token.${secret}` }, 'x'),
  'a header in a text': (log) => log.info({ line: `Bearer ${secret}` }, 'x'),
  'a parameter of a URL': (log) => log.info({ url: `/v1/events?token=${secret}&a=1` }, 'x'),
};
for (const [where, write] of Object.entries(leaks)) {
  test(`a secret in ${where} is not written`, (t) => {
    for (const isTerminal of [false, true]) {
      const line = logged(json, isTerminal, write);
      t.false(line.includes(secret));
      t.true(line.includes('********'));
    }
  });
}

test('a sentence about bearer tokens is written whole', (t) => {
  const title = 'A valid bearer token is needed';
  const rest = 'Send a bearer token. Bearer tokens expire; "bearer token"';
  for (const isTerminal of [false, true]) {
    const line = logged(json, isTerminal, (log) => log.info({ title, rest: 1 }, rest));
    t.true(line.includes(title));
    t.false(line.includes('********'));
  }
});
