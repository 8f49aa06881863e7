/**
 * Ids, serials and WWIDs.
 *
 * An id is `<prefix>_<ULID>`: it sorts by the time it was made, also as text in every database, is unique over
 * processes without asking anybody, and has no dash (an operation's id is its batch's id, a dash and a number).
 * A serial is random and new for every owner of a volume: one that came back would let a stale device pass the proof.
 */
import { createHash, randomBytes } from 'node:crypto';
import { assert } from './errors.ts';

const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const idPattern = /^[a-z]+_[0-7][0-9A-HJKMNP-TV-Z]{25}$/;
const randomBits = 80n;

let lastMs = 0;
let lastRandom = 0n;

/** Ids of one process rise strictly, within a millisecond and when the clock is set back. */
export function newId(prefix: string, nowMs: number = Date.now()): string {
  assert(/^[a-z]+$/.test(prefix), 'id-prefix');
  if (nowMs > lastMs) {
    lastMs = nowMs;
    lastRandom = freshRandom();
  } else {
    lastRandom += 1n;
  }
  return `${prefix}_${base32((BigInt(lastMs) << randomBits) | lastRandom)}`;
}

export function isId(text: string): boolean {
  return idPattern.test(text);
}

/** 32 hex digits: a unit serial number (VPD page 0x80). */
export function newSerial(): string {
  return randomHex(16);
}

const serialDigits = 25;

/**
 * The NAA 6 designator (VPD page 0x83) of a serial, `naa.` and 32 hex digits: what LIO shows for a device with that
 * unit serial (its company id 0x001405, then the serial's first 25 digits; spc_gen_naa_6h_vendor_specific), so that
 * the store's word and the device's agree. A text that is not such a serial is hashed to one.
 */
export function wwidOf(serial: string): string {
  const digits = /^[0-9a-f]{25,}$/.test(serial) ? serial : createHash('sha256').update(serial).digest('hex');
  return `naa.6001405${digits.slice(0, serialDigits)}`;
}

/** The highest bit stays zero: no number of ids in one millisecond overflows into the time. */
function freshRandom(): bigint {
  return BigInt(`0x${randomHex(10)}`) >> 1n;
}

const drawnBytes = 4_096;
let drawn = Buffer.alloc(0);
let used = 0;

/** Bytes are drawn in advance: a call to the generator costs far more than what it answers. Each is used once. */
function randomHex(bytes: number): string {
  if (used + bytes > drawn.length) {
    drawn = randomBytes(drawnBytes);
    used = 0;
  }
  used += bytes;
  return drawn.toString('hex', used - bytes, used);
}

function base32(value: bigint): string {
  let text = '';
  for (let rest = value, digit = 0; digit < 26; digit += 1, rest >>= 5n) {
    text = `${alphabet[Number(rest & 31n)]}${text}`;
  }
  return text;
}
