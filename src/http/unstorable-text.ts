/**
 * Text that JSON can carry and databases cannot hold: NUL, and halves of surrogate pairs. Both can only come as escapes,
 * so bodies without such an escape are not looked at twice.
 */
const suspicious = /\\u(?:0000|d[89a-f])/i;

/** What is no JSON at all is for the parser to refuse. */
export function holdsUnstorableText(json: string): boolean {
  if (!suspicious.test(json)) return false;
  let found = false;
  try {
    JSON.parse(json, (key, value: unknown) => {
      found ||= isUnstorable(key) || (typeof value === 'string' && isUnstorable(value));
      return value;
    });
  } catch {
    return false;
  }
  return found;
}

function isUnstorable(text: string): boolean {
  return text.includes('\u0000') || !text.isWellFormed();
}
