/**
 * Fibre Channel port names: one normal form inside the product (lower case, colons), parsed once at the edge.
 *
 * Every other spelling (sysfs, configfs, switches) lives in the adapter that speaks it. Two spellings of one port that
 * both got inside would make two ports of it, and a flow policy would silently miss one.
 */
import { createHash } from 'node:crypto';
import { assert, Failure } from './errors.ts';

declare const brand: unique symbol;
export type Wwpn = string & { readonly [brand]: 'Wwpn' };

/**
 * Network address authorities of FC-FS-5 (name identifier formats) that name a port: IEEE 48-bit, extended, registered,
 * registered extended.
 */
const portNaas = '1256';

const accepted =
  '16 hex digits, bare, after 0x or in pairs with colons (NAA 1, 2, 5 or 6), e.g. 20:00:02:00:00:00:00:a0';
const digitsPattern = /^(?:0[xX])?([0-9a-fA-F]{16})$/;
const pairsPattern = /^[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){7}$/;

/** Answers the normal form. Throws `invalid-wwpn`, which names the field, the value and what is accepted. */
export function parseWwpn(text: unknown, field = 'wwpn'): Wwpn {
  const digits = digitsOf(text);
  if (digits === null) throw invalid(field, text, `accepted: ${accepted}`);
  if (!namesPort(digits)) throw invalid(field, text, `its NAA is ${digits[0]}; accepted: ${accepted}`);
  return withColons(digits);
}

export function isWwpn(text: unknown): text is Wwpn {
  const digits = digitsOf(text);
  return digits !== null && namesPort(digits) && withColons(digits) === text;
}

/** `port` tells several synthesized ports over one address apart (0 to 4095). */
export type WwpnSource = { readonly mac: string; readonly port?: number } | { readonly seed: string };

/**
 * A port name for a machine without FC hardware: NAA 2 over its MAC, or over a locally administered address derived
 * from a seed (e.g. a machine-id). The same source always gives the same name.
 */
export function synthesizeWwpn(source: WwpnSource): Wwpn {
  if ('seed' in source) return withColons(`2${seededDigits(source.seed)}`);
  const port = source.port ?? 0;
  assert(Number.isInteger(port) && port >= 0 && port <= 0xfff, 'wwpn-port-range');
  return withColons(`2${port.toString(16).padStart(3, '0')}${macDigits(source.mac)}`);
}

function digitsOf(text: unknown): string | null {
  if (typeof text !== 'string') return null;
  if (pairsPattern.test(text)) return text.replaceAll(':', '').toLowerCase();
  return digitsPattern.exec(text)?.[1]?.toLowerCase() ?? null;
}

function namesPort(digits: string): boolean {
  return portNaas.includes(digits.charAt(0));
}

function withColons(digits: string): Wwpn {
  assert(digits.length === 16, 'wwpn-digits');
  return digits.replace(/..(?!$)/g, '$&:') as Wwpn;
}

function macDigits(mac: string): string {
  const digits = mac.replaceAll(/[:-]/g, '').toLowerCase();
  if (/^[0-9a-f]{12}$/.test(digits) && digits !== '000000000000') return digits;
  throw invalid('mac', mac, 'accepted: six pairs of hex digits, not all zero');
}

/** Fifteen digits. The address part is marked as locally administered and unicast: no vendor's port can be equal. */
function seededDigits(seed: string): string {
  const bytes = createHash('sha256').update('fc-redirect port ').update(seed).digest();
  const vendor = bytes.readUInt16BE(0) & 0xfff;
  const first = ((bytes[2] ?? 0) & 0xfc) | 0x02;
  return vendor.toString(16).padStart(3, '0') + first.toString(16).padStart(2, '0') + bytes.toString('hex', 3, 8);
}

function invalid(field: string, value: unknown, why: string): Failure {
  const shown = typeof value === 'string' ? JSON.stringify(value.slice(0, 64)) : String(value).slice(0, 64);
  return new Failure('invalid-wwpn', `${field}: ${shown} is not a WWPN; ${why}.`, { field });
}
