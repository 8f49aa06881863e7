/** Why a connection could not be had, in words that lead to what has to be changed; the rest in the system's own. */

const speaksNoTls = /wrong version number|packet length too long|record layer failure/;
const untrusted = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/** `untried`: the URL's protocol while nothing has answered there yet; null: it is known to be right. */
export function connectionReason(error: unknown, untried: string | null): string {
  if (!(error instanceof Error)) return String(error);
  const message = (error.message || error.name).trim();
  const code = 'code' in error ? String(error.code) : '';
  if (speaksNoTls.test(message))
    return 'it speaks plain HTTP there: the URL begins with http://, or it needs tls.cert and tls.key';
  if (untrusted.has(code))
    return `its certificate is not trusted (${code}): serverCa (FCR_SERVER_CA) names whom to trust`;
  if (untried === 'http:' && code === 'ECONNRESET')
    return `${message}; if it speaks TLS there, the URL begins with https://`;
  return message;
}
