import test from 'ava';
import { exposureOf, hostLine } from '../../src/bin/compose/greeting.ts';
import { loadConfig } from '../../src/config/load.ts';

function configOf(flags: Readonly<Record<string, string>>) {
  const surroundings = { isRoot: true, home: '/root', hostName: 'node1', environment: {} };
  return loadConfig({ surroundings, flags, readFile: () => null }).config;
}

for (const listen of ['0.0.0.0:8080', '[::]:8080', '10.0.0.1:8080']) {
  test(`a start on ${listen} without TLS warns, and names the settings that help`, (t) => {
    t.regex(exposureOf(configOf({ listen })) ?? '', /without TLS.*FCR_TLS_CERT, FCR_TLS_KEY.*FCR_LISTEN/);
    t.is(exposureOf(configOf({ listen, 'tls.cert': '/tls.pem', 'tls.key': '/tls.key' })), null);
  });
}

test('loopback needs no TLS', (t) => {
  t.deepEqual(
    ['127.0.0.1:8080', '[::1]:8080', 'localhost:0'].map((listen) => exposureOf(configOf({ listen }))),
    [null, null, null],
  );
});

test('a simulated host says in one line what a mount is, and why', (t) => {
  const reasons = ['no loop devices (open: EACCES); real devices need root'];
  const capabilities = { simulated: true, loop: false, mount: false, fibreChannel: false, reasons };
  t.is(
    hostLine(configOf({}), { capabilities }),
    'host      node1: simulated, a mount is a link to a plain directory: no loop devices (open: EACCES); real devices need root',
  );
});
