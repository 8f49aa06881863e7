import test from 'ava';
import { limits } from '../../src/config/limits.ts';
import type { Asked } from '../support/api.ts';
import { openApi } from '../support/control-plane-world.ts';
import { sharedApi } from '../support/shared-api.ts';

const pool = { name: 'fast', backend: 'file', volumeSizeBytes: '1GiB', minFree: 1, maxVolumes: 10 };
const flow = { action: 'permit' };
const create = (params: unknown) => ({ operations: [{ type: 'volume.create', params }] });

/** What is wrong, the request, the status, the code, and what the detail must say. */
const rows: readonly (readonly [
  string,
  Omit<Asked, 'method'> & { method?: Asked['method'] },
  number,
  string,
  RegExp,
])[] = [
  ['malformed JSON', { url: '/v1/pools', raw: '{"name":' }, 400, 'malformed-body', /cannot be read/],
  ['a poisoned prototype', { url: '/v1/pools', raw: '{"__proto__":{"a":1}}' }, 400, 'malformed-body', /cannot be read/],
  [
    'half a surrogate pair',
    { url: '/v1/volumes', raw: '{"name":"a","labels":{"k":"\\ud800"}}' },
    400,
    'invalid-request',
    /surrogate/,
  ],
  ['a NUL', { url: '/v1/volumes', raw: '{"name":"a","labels":{"k\\u0000":"v"}}' }, 400, 'invalid-request', /NUL/],
  ['no body', { url: '/v1/pools' }, 400, 'invalid-request', /nothing was sent/],
  ['no body for an operation', { url: '/v1/volumes' }, 400, 'invalid-request', /body: nothing/],
  ['a list for an object', { url: '/v1/pools', body: [] }, 400, 'invalid-request', /a list of 0 .* must be object/],
  [
    'another content type',
    { url: '/v1/pools', raw: 'name: fast', headers: { 'content-type': 'application/yaml' } },
    415,
    'unsupported-media-type',
    /application\/json/,
  ],
  [
    'an unknown field',
    { url: '/v1/pools', body: { ...pool, size: 1 } },
    400,
    'invalid-request',
    /^size is not a known field/,
  ],
  ['a missing field', { url: '/v1/pools', body: { name: 'x' } }, 400, 'invalid-request', /^backend is missing/],
  [
    'a wrong type',
    { url: '/v1/pools', body: { ...pool, minFree: '3' } },
    400,
    'invalid-request',
    /minFree: "3" .* integer/,
  ],
  [
    'a negative count',
    { url: '/v1/pools', body: { ...pool, minFree: -1 } },
    400,
    'invalid-request',
    /minFree: -1 .* >= 0/,
  ],
  ['a fraction', { url: '/v1/pools', body: { ...pool, minFree: 0.5 } }, 400, 'invalid-request', /minFree: 0.5/],
  [
    'no size',
    { url: '/v1/pools', body: { ...pool, volumeSizeBytes: 'big' } },
    400,
    'invalid-size',
    /volumeSizeBytes: "big"/,
  ],
  [
    'a size that mkfs refuses',
    { url: '/v1/pools', body: { ...pool, volumeSizeBytes: '64MiB', filesystem: 'xfs' } },
    400,
    'invalid-size',
    /volumeSizeBytes: "64MiB" .* with xfs at least 300MiB/,
  ],
  ['a tiny size', { url: '/v1/volumes', body: { name: 'a', sizeBytes: 1 } }, 400, 'invalid-size', /at least 16MiB/],
  ['a bad name', { url: '/v1/volumes', body: { name: '../etc' } }, 400, 'invalid-name', /letters, digits/],
  ['a long name', { url: '/v1/volumes', body: { name: 'x'.repeat(129) } }, 400, 'invalid-name', /1 to 128/],
  [
    'a number as label',
    { url: '/v1/volumes', body: { name: 'a', labels: { k: 1 } } },
    400,
    'invalid-request',
    /labels.k: 1/,
  ],
  [
    'an unknown filesystem',
    { url: '/v1/pools', body: { ...pool, filesystem: 'zfs' } },
    400,
    'invalid-request',
    /"ext4", "xfs"/,
  ],
  [
    'half a WWPN',
    { url: '/v1/flow-policies', body: { ...flow, initiatorWwpn: '20:00' } },
    400,
    'invalid-wwpn',
    /initiatorWwpn: "20:00"/,
  ],
  [
    'a WWPN of NAA 3',
    { url: '/v1/flow-policies', body: { ...flow, targetWwpn: '3000000000000000' } },
    400,
    'invalid-wwpn',
    /NAA is 3/,
  ],
  [
    'a WWPN as number',
    { url: '/v1/flow-policies', body: { ...flow, targetWwpn: 5 } },
    400,
    'invalid-request',
    /targetWwpn: 5/,
  ],
  [
    'an unknown action',
    { url: '/v1/flow-policies', body: { action: 'allow' } },
    400,
    'invalid-request',
    /"permit", "deny", "redirect"/,
  ],
  [
    'an unknown operation',
    { url: '/v1/operation-batches', body: { operations: [{ type: 'x', params: {} }] } },
    400,
    'invalid-request',
    /operations\[0\]\.type: "x"/,
  ],
  ['an empty batch', { url: '/v1/operation-batches', body: { operations: [] } }, 400, 'invalid-request', /operations/],
  [
    'too many operations',
    { url: '/v1/operation-batches', body: { operations: Array(1001).fill(create({}).operations[0]) } },
    400,
    'invalid-request',
    /1000 items/,
  ],
  [
    'a bad operation of a batch',
    { url: '/v1/operation-batches', body: create({ name: 5 }) },
    400,
    'invalid-request',
    /operations\[0\]\.params\.name: 5/,
  ],
  [
    'a minimum above the maximum',
    { url: '/v1/qos-policies', body: { name: 'q', minIopsPerContainer: 9, maxIopsPerContainer: 5 } },
    400,
    'invalid-request',
    /minIopsPerContainer/,
  ],
  [
    'an unknown query field',
    { method: 'GET', url: '/v1/volumes?colour=red' },
    400,
    'invalid-request',
    /colour is not a known field/,
  ],
  [
    'a query where none is known, which would be taken for heeded',
    { method: 'DELETE', url: '/v1/volumes/data?force=true' },
    400,
    'invalid-request',
    /force is not a known field/,
  ],
  ['a bad page size', { method: 'GET', url: '/v1/volumes?pageSize=many' }, 400, 'invalid-request', /pageSize: "many"/],
  [
    'a page token of another list',
    { method: 'GET', url: '/v1/operations?pageToken=junk' },
    400,
    'invalid-request',
    /pageToken/,
  ],
  ['a NUL in a page token', { method: 'GET', url: '/v1/volumes?pageToken=AA' }, 400, 'invalid-request', /pageToken/],
  ['a bad filter', { method: 'GET', url: '/v1/volumes?state=gone' }, 400, 'invalid-request', /state: "gone"/],
  ['a bad cursor', { method: 'GET', url: '/v1/events?after=x' }, 400, 'invalid-request', /after/],
  ['a name that cannot be', { method: 'GET', url: '/v1/volumes/%00' }, 400, 'invalid-request', /name/],
  ['a URL that cannot be decoded', { method: 'GET', url: '/v1/volumes/%zz' }, 400, 'malformed-body', /cannot be read/],
  [
    'an unknown route',
    { method: 'GET', url: '/v2/volumes' },
    404,
    'route-not-found',
    /GET \/v2\/volumes; \/docs shows/,
  ],
  ['the root', { method: 'GET', url: '/' }, 404, 'route-not-found', /GET \/; \/docs shows/],
  ['an unknown method', { method: 'PUT', url: '/v1/volumes' }, 404, 'route-not-found', /PUT/],
  [
    'a bad idempotency key',
    { url: '/v1/volumes', body: { name: 'a' }, headers: { 'idempotency-key': 'k'.repeat(256) } },
    400,
    'invalid-request',
    /Idempotency-Key/,
  ],
  [
    'a token in the wrong scheme',
    { url: '/v1/volumes', body: { name: 'a' }, token: null, headers: { authorization: 'Basic YTpi' } },
    401,
    'unauthenticated',
    /bearer/,
  ],
];

const shared = sharedApi();

for (const [what, asked, status, code, detail] of rows) {
  test.serial(`${what} is refused with ${status} ${code}, and nothing changes`, async (t) => {
    const { world, api } = await shared();
    const before = await world.state();
    const answer = await api.ask({ method: 'POST', ...asked });
    t.like(answer, { status, body: { status, code } }, answer.text);
    t.regex(String(answer.body.detail), detail);
    t.is(answer.headers['content-type'], 'application/problem+json');
    t.is(await world.state(), before);
  });
}

test('a body over the limit is refused with 413', async (t) => {
  const { api } = await openApi(t);
  const raw = JSON.stringify({ name: 'x'.repeat(limits.bodyBytes) });
  const answer = await api.ask({ method: 'POST', url: '/v1/pools', raw });
  t.like(answer, { status: 413, body: { code: 'body-too-large' } });
});

test('an error that nobody foresaw is 500 without its message', async (t) => {
  const poolList = () => Promise.reject(new Error('secret path /var/lib'));
  const { api } = await openApi(t, () => ({ store: { poolList } }));
  const answer = await api.ask({ method: 'GET', url: '/v1/pools' });
  t.like(answer, { status: 500, body: { code: 'internal' } });
  t.false(answer.text.includes('secret'));
});

test('a wait that breaks after acceptance is 202, never an error', async (t) => {
  const waitEnded = () => Promise.reject(new Error('the worker is gone'));
  const { api } = await openApi(t, () => ({ intake: { waitEnded } }));
  const answer = await api.ask({ method: 'POST', url: '/v1/volumes', body: { name: 'a', sizeBytes: '1GiB' } });
  t.is(answer.status, 202);
  const operation = await api.ask({ method: 'GET', url: String(answer.headers.location) });
  t.like(operation, { status: 200, body: { type: 'volume.create' } });
});
