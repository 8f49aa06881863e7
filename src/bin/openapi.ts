/** Writes the OpenAPI document that is checked in: `npm run openapi`. */
import { writeFileSync } from 'node:fs';
import { openApiText } from '../http/openapi-document.ts';

writeFileSync(new URL('../../openapi/openapi.json', import.meta.url), await openApiText());
