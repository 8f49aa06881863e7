// Loop devices by ioctl: linux/loop.h, drivers/block/loop.c. The layouts are the kernel's ABI for 64-bit machines.
// Relies on descriptors of /dev/loop-control and /dev/loopN that the caller opens and closes.

import koffi, { type TypeObject } from 'koffi';
import { ioctlBuffer, ioctlValue } from './libc.ts';

/** linux/loop.h */
const requests = {
  LOOP_CLR_FD: 0x4c01,
  LOOP_GET_STATUS64: 0x4c05,
  LOOP_CONFIGURE: 0x4c0a,
  LOOP_CTL_GET_FREE: 0x4c82,
} as const;

/** linux/loop.h */
export const loopFlags = { LO_FLAGS_READ_ONLY: 1, LO_FLAGS_AUTOCLEAR: 4, LO_FLAGS_DIRECT_IO: 16 } as const;

/** linux/major.h */
export const loopMajor = 7;

/** linux/loop.h: LO_NAME_SIZE, the closing zero included. */
const nameSizeBytes = 64;

/** struct loop_info64 of linux/loop.h */
export const loopInfo64 = koffi.struct({
  lo_device: 'uint64_t',
  lo_inode: 'uint64_t',
  lo_rdevice: 'uint64_t',
  lo_offset: 'uint64_t',
  lo_sizelimit: 'uint64_t',
  lo_number: 'uint32_t',
  lo_encrypt_type: 'uint32_t',
  lo_encrypt_key_size: 'uint32_t',
  lo_flags: 'uint32_t',
  lo_file_name: koffi.array('uint8_t', nameSizeBytes),
  lo_crypt_name: koffi.array('uint8_t', nameSizeBytes),
  lo_encrypt_key: koffi.array('uint8_t', 32),
  lo_init: koffi.array('uint64_t', 2),
});

/** struct loop_config of linux/loop.h */
export const loopConfig = koffi.struct({
  fd: 'uint32_t',
  block_size: 'uint32_t',
  info: loopInfo64,
  __reserved: koffi.array('uint64_t', 8),
});

export interface LoopStatus {
  readonly number: number;
  /** stat(2) of the backing file: st_dev and st_ino. */
  readonly backingDevice: bigint;
  readonly backingInode: bigint;
  readonly offsetBytes: bigint;
  readonly flags: number;
  /** What whoever made the device wrote into lo_file_name. */
  readonly mark: string;
}

export interface LoopConfiguration {
  readonly backingDescriptor: number;
  readonly flags: number;
  readonly mark: string;
}

/** The number of a loop device that is free now; it is made if there is none. Somebody else may take it first. */
export function loopGetFree(controlDescriptor: number): number {
  return ioctlValue(controlDescriptor, requests.LOOP_CTL_GET_FREE, 0, 'LOOP_CTL_GET_FREE');
}

/** Binds the device to the file in one step, its mark included. EBUSY: another one was faster. */
export function loopConfigure(descriptor: number, configuration: LoopConfiguration): void {
  ioctlBuffer(descriptor, requests.LOOP_CONFIGURE, encodeConfiguration(configuration), 'LOOP_CONFIGURE');
}

/** Null when the device is bound to nothing (ENXIO). */
export function loopStatus(descriptor: number): LoopStatus | null {
  const buffer = Buffer.alloc(loopInfo64.size);
  try {
    ioctlBuffer(descriptor, requests.LOOP_GET_STATUS64, buffer, 'LOOP_GET_STATUS64');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENXIO') return null;
    throw error;
  }
  return decodeStatus(buffer);
}

/** Unbinds; while others have the device open it only takes effect when the last one closes it. */
export function loopClear(descriptor: number): void {
  ioctlValue(descriptor, requests.LOOP_CLR_FD, 0, 'LOOP_CLR_FD');
}

function offsetOf(type: TypeObject, member: string): number {
  const offset = type.members?.[member]?.offset;
  if (offset === undefined) throw new Error(`the layout has no member ${member}`);
  return offset;
}

function encodeConfiguration(configuration: LoopConfiguration): Buffer {
  const mark = Buffer.from(configuration.mark, 'latin1');
  if (mark.length >= nameSizeBytes) throw new Error(`a loop device's mark has at most ${nameSizeBytes - 1} bytes`);
  const info = offsetOf(loopConfig, 'info');
  const buffer = Buffer.alloc(loopConfig.size);
  buffer.writeUInt32LE(configuration.backingDescriptor, offsetOf(loopConfig, 'fd'));
  buffer.writeUInt32LE(configuration.flags, info + offsetOf(loopInfo64, 'lo_flags'));
  mark.copy(buffer, info + offsetOf(loopInfo64, 'lo_file_name'));
  return buffer;
}

function decodeStatus(buffer: Buffer): LoopStatus {
  const name = offsetOf(loopInfo64, 'lo_file_name');
  const end = buffer.indexOf(0, name);
  return {
    number: buffer.readUInt32LE(offsetOf(loopInfo64, 'lo_number')),
    backingDevice: buffer.readBigUInt64LE(offsetOf(loopInfo64, 'lo_device')),
    backingInode: buffer.readBigUInt64LE(offsetOf(loopInfo64, 'lo_inode')),
    offsetBytes: buffer.readBigUInt64LE(offsetOf(loopInfo64, 'lo_offset')),
    flags: buffer.readUInt32LE(offsetOf(loopInfo64, 'lo_flags')),
    mark: buffer.toString('latin1', name, Math.min(end < 0 ? name + nameSizeBytes : end, name + nameSizeBytes)),
  };
}
