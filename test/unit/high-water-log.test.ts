import { appendFile, mkdtemp, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { limits } from '../../src/config/limits.ts';
import { Failure } from '../../src/domain/errors.ts';
import { HighWaterLog } from '../../src/system/high-water-log.ts';

async function newPath(t: ExecutionContext): Promise<string> {
  const directory = await mkdtemp('/var/tmp/fc-high-water-');
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return join(directory, 'marks.log');
}

async function withLog<T>(path: string, use: (log: HighWaterLog) => Promise<T>): Promise<T> {
  const log = await HighWaterLog.open(path);
  try {
    return await use(log);
  } finally {
    await log.close();
  }
}

test('a raised mark is there after opening again, and never falls', async (t) => {
  const path = await newPath(t);
  await withLog(path, async (log) => {
    await log.raise([{ key: 'a', value: 5 }]);
    await log.raise([
      { key: 'a', value: 3 },
      { key: 'b', value: 1 },
    ]);
  });
  await withLog(path, async (log) => {
    t.is(log.get('a'), 5);
    t.is(log.get('b'), 1);
    t.is(log.get('c'), undefined);
    t.is(log.size, 2);
  });
});

test('concurrent raises share one append', async (t) => {
  const path = await newPath(t);
  await withLog(path, async (log) => {
    await Promise.all(Array.from({ length: 500 }, (_, n) => log.raise([{ key: `k${n}`, value: n }])));
    t.is(log.size, 500);
  });
  const lines = (await readFile(path, 'utf8')).trimEnd().split('\n');
  t.is(lines.length, 1);
});

test('concurrent raises of one key keep the highest, in whatever order they came', async (t) => {
  const path = await newPath(t);
  await withLog(path, async (log) => {
    await Promise.all([7, 9, 2].map((value) => log.raise([{ key: 'k', value }])));
    t.is(log.get('k'), 9);
  });
  await withLog(path, async (log) => t.is(log.get('k'), 9));
});

test('a forgotten key starts anew, also after opening again', async (t) => {
  const path = await newPath(t);
  await withLog(path, async (log) => {
    await log.raise([
      { key: 'a', value: 5 },
      { key: 'b', value: 6 },
    ]);
    await log.forget(['a']);
  });
  await withLog(path, async (log) => {
    t.is(log.get('a'), undefined);
    await log.raise([{ key: 'a', value: 1 }]);
    t.is(log.get('a'), 1);
    t.is(log.get('b'), 6);
  });
});

test('a tail torn at any byte is cut, and what was durable before it stays', async (t) => {
  const path = await newPath(t);
  await withLog(path, (log) => log.raise([{ key: 'kept', value: 1 }]));
  const before = (await readFile(path)).length;
  await withLog(path, (log) => log.raise([{ key: 'torn', value: 2 }]));
  const whole = await readFile(path);
  for (let length = before; length < whole.length; length += 1) {
    await writeFile(path, whole.subarray(0, length));
    await withLog(path, async (log) => {
      t.is(log.get('kept'), 1);
      t.is(log.get('torn'), undefined);
      await log.raise([{ key: 'next', value: 3 }]);
    });
    await withLog(path, async (log) => t.is(log.get('next'), 3));
  }
});

test('a last line whose bytes never reached the disk is cut', async (t) => {
  const path = await newPath(t);
  await withLog(path, (log) => log.raise([{ key: 'kept', value: 1 }]));
  const before = (await readFile(path)).length;
  await truncate(path, before + 4096);
  await withLog(path, async (log) => t.is(log.get('kept'), 1));
  t.is((await readFile(path)).length, before);
});

test('what a crash wrote of a line into the zeroes behind the last one is cut, whichever part it was', async (t) => {
  const path = await newPath(t);
  await withLog(path, (log) => log.raise([{ key: 'kept', value: 1 }]));
  const kept = await readFile(path);
  await withLog(path, (log) => log.raise([{ key: 'torn', value: 2 }]));
  const line = (await readFile(path)).subarray(kept.length);
  for (let from = 0; from < line.length; from += 1) {
    for (const until of [from + 1, line.length - 1, line.length]) {
      if (until <= from || (from === 0 && until === line.length)) continue;
      const torn = Buffer.alloc(line.length);
      line.copy(torn, from, from, until);
      await writeFile(path, Buffer.concat([kept, torn, Buffer.alloc(4096)]));
      await withLog(path, async (log) => {
        t.is(log.get('kept'), 1);
        t.is(log.get('torn'), undefined);
        await log.raise([{ key: 'next', value: 3 }]);
      });
      await withLog(path, async (log) => t.is(log.get('next'), 3));
    }
  }
});

test('a process that was killed leaves zeroes behind the last line, and the next one goes on in their place', async (t) => {
  const path = await newPath(t);
  const killed = await HighWaterLog.open(path);
  await killed.raise([{ key: 'a', value: 1 }]);
  await writeFile(`${path}.copy`, await readFile(path));
  await killed.close();
  await rename(`${path}.copy`, path);
  const size = (await readFile(path)).length;
  const log = await HighWaterLog.open(path);
  await log.raise([{ key: 'b', value: 2 }]);
  t.is((await readFile(path)).length, size);
  t.deepEqual([log.get('a'), log.get('b')], [1, 2]);
  await log.close();
});

test('damage before the last line is an error, not an empty log', async (t) => {
  const path = await newPath(t);
  for (const value of [1, 2, 3]) await withLog(path, (log) => log.raise([{ key: 'k', value }]));
  const content = await readFile(path);
  content.writeUInt8(content.readUInt8(12) ^ 1, 12);
  await writeFile(path, content);
  const error = await t.throwsAsync(HighWaterLog.open(path), { instanceOf: Failure });
  t.is(error.code, 'data-damaged');
  t.deepEqual(await readFile(path), content);
});

test('a valid line with records of another kind is an error', async (t) => {
  const path = await newPath(t);
  await withLog(path, (log) => log.raise([{ key: 'k', value: 1 }]));
  const { crc32 } = await import('node:zlib');
  const payload = '[{"other":1}]';
  await appendFile(path, `${crc32(payload).toString(16).padStart(8, '0')} ${payload}\n`);
  const error = await t.throwsAsync(HighWaterLog.open(path), { instanceOf: Failure });
  t.is(error.code, 'data-damaged');
});

test('an outdated file is rewritten, and keeps every mark', async (t) => {
  const path = await newPath(t);
  const rounds = limits.recordLogSlackRecords + 2;
  await withLog(path, async (log) => {
    await log.raise(Array.from({ length: rounds }, (_, value) => ({ key: 'k', value: value + 1 })));
    await log.raise([{ key: 'other', value: 1 }]);
  });
  t.true((await readFile(path)).length < 100);
  await withLog(path, async (log) => {
    t.is(log.get('k'), rounds);
    t.is(log.get('other'), 1);
  });
});

test('what a crash during a rewrite left behind is removed, and the old file counts', async (t) => {
  const path = await newPath(t);
  await withLog(path, (log) => log.raise([{ key: 'k', value: 4 }]));
  await writeFile(`${path}.new`, 'half a rewri');
  await withLog(path, async (log) => t.is(log.get('k'), 4));
  t.deepEqual(await readdir(join(path, '..')), ['marks.log']);
});

test('a closed log refuses', async (t) => {
  const path = await newPath(t);
  const log = await HighWaterLog.open(path);
  await log.close();
  await t.throwsAsync(log.raise([{ key: 'k', value: 1 }]), { instanceOf: Failure });
});
