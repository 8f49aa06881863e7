/** The OpenAPI document of the local API without an agent: the routes are made, nothing is served. */
import { type AgentParts, agentApp } from './server.ts';

export async function agentOpenApiDocument(): Promise<object> {
  const app = agentApp({
    get agent(): AgentParts['agent'] {
      throw new Error('routes looked at the agent while they were made');
    },
    get metrics(): AgentParts['metrics'] {
      throw new Error('routes looked at the metrics while they were made');
    },
  });
  await app.ready();
  const document = app.swagger();
  await app.close();
  return document;
}
