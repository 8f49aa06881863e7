import test from 'ava';
import { flagOf, settingKeys } from '../../src/config/settings.ts';
import { globalSettings, programSettings } from '../../src/frontends/cli/service.ts';
import { TestCli } from '../support/cli.ts';

for (const [program, keys] of Object.entries(programSettings)) {
  test(`fcr ${program} lists the settings that it reads and refuses the flags of the others`, async (t) => {
    const cli = new TestCli(t);
    const { out } = await cli.run(program, '--help');
    const listed = settingKeys.filter((key) => new RegExp(`^  ${flagOf(key)} <value>`, 'm').test(out));
    t.deepEqual(
      listed,
      settingKeys.filter((key) => keys.includes(key)),
    );
    for (const key of settingKeys.filter((each) => !listed.includes(each) && !globalSettings.includes(each))) {
      t.is((await cli.run(program, flagOf(key), 'value')).code, 2, key);
    }
    t.deepEqual(cli.started, []);
  });
}

test('every setting is read by some program, or by every verb', (t) => {
  const read = new Set([...Object.values(programSettings).flat(), ...globalSettings]);
  t.deepEqual(
    settingKeys.filter((key) => !read.has(key)),
    [],
  );
});
