import { request as httpRequest } from 'node:http';

export interface Call {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

const callTimeoutMs = 60_000;

/** One request over a unix socket, never repeated. Null: there is no (whole) answer, and nobody knows what became of it. */
export function call(socketPath: string, { method, path, body, headers = {} }: Call): Promise<Answer | null> {
  const text = body === undefined ? null : JSON.stringify(body);
  const typed = text === null ? headers : { ...headers, 'content-type': 'application/json' };
  return new Promise((resolve) => {
    const request = httpRequest(
      { socketPath, method, path, headers: typed, agent: false, timeout: callTimeoutMs },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', () => resolve(null));
        response.on('aborted', () => resolve(null));
        response.on('end', () => resolve(wholeAnswer(response.statusCode ?? 0, Buffer.concat(chunks).toString())));
      },
    );
    request.on('error', () => resolve(null));
    request.on('timeout', () => request.destroy());
    request.end(text ?? undefined);
  });
}

function wholeAnswer(status: number, text: string): Answer | null {
  try {
    return { status, body: text === '' ? null : JSON.parse(text) };
  } catch {
    return plainText(status, text);
  }
}

/** Metrics are not JSON; a JSON text that was cut off is no answer. */
function plainText(status: number, text: string): Answer | null {
  return text.startsWith('{') || text.startsWith('[') ? null : { status, body: text };
}

/** A field of an answer's object, whatever it is. */
export function fieldOf(body: unknown, name: string): unknown {
  return typeof body === 'object' && body !== null ? Reflect.get(body, name) : undefined;
}

export function textOf(body: unknown, name: string): string {
  const value = fieldOf(body, name);
  return typeof value === 'string' ? value : '';
}

export function listOf(body: unknown, name: string): readonly unknown[] {
  const value = fieldOf(body, name);
  return Array.isArray(value) ? value : [];
}
