// OpenFeature's published providers for servers, driven line by line.
import { OpenFeature, ProviderEvents } from '@openfeature/server-sdk';
import { FlagdProvider } from '@openfeature/flagd-provider';
import { OFREPProvider } from '@openfeature/ofrep-provider';
import { answer, ask, listen, say, serve } from './lines.js';

function provider({ kind, host, port, selector, cache, deadline_ms, grace_s }) {
  if (kind === 'ofrep') {
    return new OFREPProvider({ baseUrl: `http://${host}:${port}` });
  }
  return new FlagdProvider({
    host,
    port,
    selector,
    resolverType: kind,
    cache: cache ? 'lru' : 'disabled',
    deadlineMs: deadline_ms ?? 10000,
    retryGracePeriod: grace_s ?? 30,
    retryBackoffMs: 1000,
    retryBackoffMaxMs: 1000,
  });
}

await serve({
  async start(command) {
    listen(OpenFeature.getClient(command.domain), ProviderEvents, command.domain);
    try {
      await OpenFeature.setProviderAndWait(command.domain, provider(command));
      say({ started: true });
    } catch (error) {
      say({ started: false, error: String(error) });
    }
  },
  async get({ domain, flag, type, default: otherwise, context }) {
    say(answer(await ask(OpenFeature.getClient(domain), type)(flag, otherwise, context)));
  },
});
