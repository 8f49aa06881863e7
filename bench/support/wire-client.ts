import { connect, type Socket } from 'node:net';

/**
 * One connection over a unix socket, one request after the other, as little as HTTP/1.1 needs: what is timed is the
 * product. Node's own client takes half a millisecond of each call for itself when it is called a few times a second.
 */
export class WireClient {
  readonly #socket: Socket;
  #received = '';
  #waiting: { readonly resolve: (answer: Answer) => void; readonly reject: (error: Error) => void } | null = null;

  constructor(socketPath: string) {
    this.#socket = connect(socketPath);
    this.#socket.setEncoding('utf8');
    this.#socket.on('data', (text: string) => this.#receive(text));
    this.#socket.on('error', (error) => this.#waiting?.reject(error));
    this.#socket.on('close', () => this.#waiting?.reject(new Error(`${socketPath} was closed`)));
  }

  /** Throws what the product answered when that is not a success. */
  async expect<T>(method: string, path: string, body?: unknown): Promise<T> {
    const { status, text } = await this.#send(method, path, body === undefined ? null : JSON.stringify(body));
    if (status >= 300) throw new Error(`${method} ${path}: ${status} ${text}`);
    return JSON.parse(text === '' ? 'null' : text) as T;
  }

  close(): void {
    this.#socket.destroy();
  }

  #send(method: string, path: string, body: string | null): Promise<Answer> {
    const content =
      body === null ? '' : `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n`;
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#socket.write(`${method} ${path} HTTP/1.1\r\nHost: localhost\r\n${content}\r\n${body ?? ''}`);
    });
  }

  #receive(text: string): void {
    this.#received += text;
    const answer = answerIn(this.#received);
    if (answer === null) return;
    this.#received = '';
    this.#waiting?.resolve(answer);
    this.#waiting = null;
  }
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

/** Null: there is more to come. The product states every answer's length. */
function answerIn(received: string): Answer | null {
  const headEnd = received.indexOf(headMark);
  if (headEnd < 0) return null;
  const head = received.slice(0, headEnd);
  const text = received.slice(headEnd + headMark.length);
  const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
  return Buffer.byteLength(text) < length ? null : { status: Number(head.split(' ', 2)[1]), text };
}

const headMark = '\r\n\r\n';
