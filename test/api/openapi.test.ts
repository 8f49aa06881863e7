import { readFileSync } from 'node:fs';
import test from 'ava';
import { documents, documentText } from '../../src/bin/openapi.ts';
import { errorCatalogue } from '../../src/domain/errors.ts';
import { access } from '../../src/http/access.ts';
import { openApi } from '../support/control-plane-world.ts';

interface Document {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly description?: string }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> };
  readonly responses: Readonly<Record<string, { readonly description: string; readonly content?: object }>>;
}

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly oneOf?: readonly Schema[];
  readonly description?: string;
  readonly $ref?: string;
}

const document = documents['openapi.json']() as Promise<Document>;
const all = Object.entries(documents).map(([file, make]) => [file, make() as Promise<Document>] as const);

for (const [file, made] of all) {
  test(`openapi/${file} that is checked in is what the routes make`, async (t) => {
    const checkedIn = readFileSync(new URL(`../../openapi/${file}`, import.meta.url), 'utf8');
    t.true(checkedIn === documentText(await made), 'run `npm run openapi`');
  });
}

test('it is OpenAPI 3.1 and describes every route', async (t) => {
  const { openapi, paths } = await document;
  t.is(openapi, '3.1.0');
  const described = Object.entries(paths).flatMap(([path, item]) =>
    Object.keys(item).map((method) => `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`),
  );
  const routes = Object.keys(access).filter((route) => route !== 'GET /openapi.json');
  t.deepEqual(described.sort(), routes.sort());
});

for (const [file, made] of all) {
  test(`${file}: every route has a summary, a name of its own, a problem, and a schema for each answer with a body`, async (t) => {
    const names = new Set<string>();
    for (const [path, item] of Object.entries((await made).paths)) {
      for (const [method, operation] of Object.entries(item)) {
        const where = `${method} ${path}`;
        t.truthy(operation.summary, where);
        t.false(names.has(operation.operationId), where);
        names.add(operation.operationId);
        t.true('default' in operation.responses, where);
        for (const [status, response] of Object.entries(operation.responses)) {
          t.truthy(response.description, `${where} ${status}`);
          t.is(response.content !== undefined, status !== '204', `${where} ${status}`);
        }
      }
    }
  });

  test(`${file}: every field of every request and answer is described`, async (t) => {
    const { paths, components } = await made;
    const missing: string[] = [];
    for (const [name, schema] of Object.entries(components.schemas)) undescribed(schema, name, missing);
    for (const [path, item] of Object.entries(paths)) {
      for (const [method, operation] of Object.entries(item)) {
        const body = operation.requestBody?.content['application/json']?.schema;
        if (body !== undefined) undescribed(body, `${method} ${path}`, missing);
        for (const { name, description } of operation.parameters ?? []) {
          if (!description) missing.push(`${method} ${path} ${name}`);
        }
      }
    }
    t.deepEqual(missing, []);
  });
}

function undescribed(schema: Schema, where: string, missing: string[]): void {
  for (const [name, field] of Object.entries(schema.properties ?? {})) {
    const at = `${where}.${name}`;
    if (field.description === undefined && field.$ref === undefined && field.properties === undefined) missing.push(at);
    undescribed(field, at, missing);
  }
  if (schema.items !== undefined) undescribed(schema.items, `${where}[]`, missing);
  for (const one of schema.oneOf ?? []) undescribed(one, `${where}|`, missing);
}

test('sizes, times and counts say their unit in name or description', async (t) => {
  const { components } = await document;
  const { sizeBytes, createdAt } = components.schemas.Volume?.properties ?? {};
  t.regex(sizeBytes?.description ?? '', /bytes/);
  t.regex(createdAt?.description ?? '', /milliseconds/);
});

test('the codes of problems are the catalogue', async (t) => {
  const { components } = await document;
  const code = components.schemas.Problem?.properties?.code as { readonly enum?: readonly string[] } | undefined;
  t.deepEqual(code?.enum, Object.keys(errorCatalogue));
});

test('the document and a page that shows it are served without a token', async (t) => {
  const { api } = await openApi(t);
  const served = await api.ask({ method: 'GET', url: '/openapi.json', token: null });
  t.deepEqual(served.body as unknown, JSON.parse(documentText(await document)));
  const page = await api.ask({ method: 'GET', url: '/docs', token: null });
  t.is(page.status, 200);
  t.regex(page.text, /swagger-ui/);
  // Over plain HTTP a browser would look for the page's scripts at HTTPS.
  const policy = String(page.headers['content-security-policy']);
  t.regex(policy, /default-src 'self'/);
  t.notRegex(policy, /upgrade-insecure-requests/);
  const script = await api.ask({ method: 'GET', url: '/docs/static/swagger-initializer.js', token: null });
  t.regex(script.text, /"validatorUrl":\s*null/);
  const parts = [...page.text.matchAll(/(?:src|href)="\.?([^"]+)"/g)].map(([, path]) => `${path}`);
  t.true(parts.length > 4);
  for (const url of parts) t.is((await api.ask({ method: 'GET', url, token: null })).status, 200, url);
});
