import test from 'ava';
import { loopConfig, loopInfo64 } from '../../native-bindings/loop.ts';

function offsets(type: typeof loopInfo64): Record<string, number> {
  return Object.fromEntries(Object.entries(type.members ?? {}).map(([name, member]) => [name, member.offset]));
}

test('struct loop_info64 has the layout of linux/loop.h', (t) => {
  t.is(loopInfo64.size, 232);
  t.deepEqual(offsets(loopInfo64), {
    lo_device: 0,
    lo_inode: 8,
    lo_rdevice: 16,
    lo_offset: 24,
    lo_sizelimit: 32,
    lo_number: 40,
    lo_encrypt_type: 44,
    lo_encrypt_key_size: 48,
    lo_flags: 52,
    lo_file_name: 56,
    lo_crypt_name: 120,
    lo_encrypt_key: 184,
    lo_init: 216,
  });
});

test('struct loop_config has the layout of linux/loop.h', (t) => {
  t.is(loopConfig.size, 304);
  t.deepEqual(offsets(loopConfig), { fd: 0, block_size: 4, info: 8, __reserved: 240 });
});
