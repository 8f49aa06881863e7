/**
 * The controller over REST. No single exchange takes longer than `answerMs`, so that a controller that is away is known
 * to be away by then; an operation that takes longer is followed, exchange by exchange.
 */
import { Failure } from '../domain/errors.ts';
import type { ControllerClient } from '../http/client.ts';
import type { ControllerPort } from './controller-port.ts';

/** Relies on the client's own deadline of one call being `answerMs`. */
export function restController(client: ControllerClient, answerMs: number): ControllerPort {
  const waitMs = answerMs / 2;
  const answered = <T>(call: Promise<T>) => answeredWithin(answerMs, call);
  return {
    hostRegister: (registration) => answered(client.hostRegister(registration)),
    volumeGet: (nameOrId) => answered(client.volumeGet(nameOrId)),
    attachmentCreate: (request) => answered(client.attachmentGrant(request, { waitMs })),
    attachmentGet: (id) => answered(client.attachmentGet(id)),
    attachmentList: (filter) => answered(client.attachmentList(filter)),
    attachmentDelete: (id, gone) =>
      answered(client.attachmentDelete(id, { waitMs: 0, ...(gone === undefined ? {} : { gone }) })),
    hostStateReport: (report) => answered(client.hostStateReport(report)),
    inventoryBegin: (host) => answered(client.inventoryBegin(host)),
    inventoryReport: (report) => answered(client.inventoryReport(report)),
  };
}

/** A call that ran out of its `answerMs` without a word failed because the controller is away. */
export async function answeredWithin<T>(answerMs: number, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    throw isSilence(error) ? silence(error, answerMs) : error;
  }
}

/** Out of time without a word; an operation that is known to run on is named in the failure. */
function isSilence(error: unknown): boolean {
  return error instanceof Failure && error.code === 'deadline-exceeded' && error.problem.related === undefined;
}

function silence(cause: unknown, answerMs: number): Failure {
  return new Failure('controller-unavailable', `The controller did not answer within ${answerMs} ms.`, { cause });
}
