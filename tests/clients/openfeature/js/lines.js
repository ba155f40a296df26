// Reads commands in JSON from standard input, one a line and one after the other, and writes answers in JSON.
import { createInterface } from 'node:readline';

export const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);

export async function serve(commands) {
  for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    await commands[command.do](command);
  }
  process.exit(0);
}

export const listen = (client, events, domain) => {
  for (const event of Object.values(events)) {
    client.addHandler(event, (details) => say({ event, domain, flags: details?.flagsChanged }));
  }
};

export const answer = (found) => ({
  value: found.value,
  variant: found.variant,
  reason: found.reason,
  error: found.errorCode,
  metadata: found.flagMetadata,
});

export const ask = (client, type) =>
  ({
    boolean: client.getBooleanDetails,
    string: client.getStringDetails,
    integer: client.getNumberDetails,
    float: client.getNumberDetails,
    object: client.getObjectDetails,
  })[type].bind(client);
