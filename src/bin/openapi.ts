/** The OpenAPI documents that are checked in; `npm run openapi` writes them. */
import { writeFileSync } from 'node:fs';
import { agentOpenApiDocument } from '../agent/openapi-document.ts';
import { openApiDocument } from '../http/openapi-document.ts';

export const documents = {
  'openapi.json': openApiDocument,
  'agent.json': agentOpenApiDocument,
} as const;

export function documentText(document: object): string {
  return `${JSON.stringify(document, null, 2)}\n`;
}

if (import.meta.main) {
  for (const [file, make] of Object.entries(documents)) {
    writeFileSync(new URL(`../../openapi/${file}`, import.meta.url), documentText(await make()));
  }
}
