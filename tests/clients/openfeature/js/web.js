// OpenFeature's published providers for browsers, driven line by line. A browser has one context at a time, and a page
// may not do everything.
import { OpenFeature, ProviderEvents } from '@openfeature/web-sdk';
import { FlagdWebProvider } from '@openfeature/flagd-web-provider';
import { OFREPWebProvider } from '@openfeature/ofrep-web-provider';
import { answer, ask, listen, say, serve } from './lines.js';
import { pageOf } from './page.js';

globalThis.fetch = pageOf('https://app.example.com');

const provider = ({ kind, host, port }) =>
  kind === 'ofrep'
    ? new OFREPWebProvider({ baseUrl: `http://${host}:${port}`, cacheMode: 'disabled' })
    : new FlagdWebProvider({ host, port, tls: false, maxDelay: 500 });

let current = '{}';

await serve({
  async start(command) {
    listen(OpenFeature.getClient(command.domain), ProviderEvents, command.domain);
    try {
      if (command.context) {
        current = JSON.stringify(command.context);
        await OpenFeature.setContext(command.context);
      }
      await OpenFeature.setProviderAndWait(command.domain, provider(command));
      say({ started: true });
    } catch (error) {
      say({ started: false, error: String(error) });
    }
  },
  async get({ domain, flag, type, default: otherwise, context }) {
    const wanted = JSON.stringify(context ?? {});
    if (wanted !== current) {
      current = wanted;
      await OpenFeature.setContext(context ?? {});
    }
    say(answer(ask(OpenFeature.getClient(domain), type)(flag, otherwise)));
  },
});
