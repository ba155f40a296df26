// The same scenario through every transport that is published: Connect, gRPC-Web and gRPC of connect-node over HTTP/1.1
// and HTTP/2, Connect and gRPC-Web of connect-web over fetch, each with JSON and with protobuf where it can be chosen.
import assert from "node:assert/strict";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import * as node from "@connectrpc/connect-node";
import * as web from "@connectrpc/connect-web";
import { TenantRegistry } from "./node_modules/.stubs/tenantry/v1/tenant_registry_pb.js";

const baseUrls = process.argv.slice(2);
function* transports(baseUrl) {
  for (const useBinaryFormat of [false, true]) {
    const codec = useBinaryFormat ? "proto" : "json";
    for (const httpVersion of ["1.1", "2"]) {
      for (const gzip of [false, true]) {
        const compression = gzip ? { sendCompression: node.compressionGzip, compressMinBytes: 0 } : { acceptCompression: [] };
        const options = { baseUrl, httpVersion, useBinaryFormat, ...compression };
        const how = `over HTTP/${httpVersion}, ${codec}, ${gzip ? "gzip" : "plain"}`;
        yield [`connect-node ${how}`, node.createConnectTransport({ ...options, useHttpGet: true })];
        yield [`connect-node gRPC-Web ${how}`, node.createGrpcWebTransport(options)];
        if (httpVersion === "2") yield [`connect-node gRPC ${how}`, node.createGrpcTransport(options)];
      }
    }
    const options = { baseUrl, useBinaryFormat };
    yield [`connect-web, ${codec}`, web.createConnectTransport({ ...options, useHttpGet: true })];
    yield [`connect-web gRPC-Web, ${codec}`, web.createGrpcWebTransport(options)];
  }
}

async function refused(call, code, reason) {
  const error = await call.then(
    () => assert.fail("it must be refused"),
    (error) => error,
  );
  assert.ok(error instanceof ConnectError, `${error}`);
  assert.equal(error.code, code, `${error}`);
  const info = error.details.find((detail) => (detail.type ?? detail.desc?.typeName) === "google.rpc.ErrorInfo");
  assert.ok(info, `${error}: no ErrorInfo`);
  const readable = info.debug ?? {};
  const text = Buffer.from(info.value ?? []).toString("latin1");
  assert.ok(readable.reason === reason || text.includes(reason), `${error}: ${JSON.stringify(readable)}`);
}

async function play(name, transport, number) {
  const registry = createClient(TenantRegistry, transport);
  const tenantId = `web-${number}`;
  const made = await registry.createTenant({
    tenant: { tenantId, displayName: `Größe ${number} 🚀`, tier: "gold", labels: { client: "js" } },
  });
  assert.equal(made.tenantId, tenantId);
  let caching = "";
  const headers = { "tenantry-consistency": "latest" };
  const got = await registry.getTenant({ tenantId }, { headers, onHeader: (it) => (caching = it.get("cache-control")) });
  assert.equal(got.displayName, `Größe ${number} 🚀`);
  assert.equal(typeof got.revision, "bigint");
  // The server says so of answers to GET, and of no others.
  if (/^connect-(node over|web,)/.test(name)) assert.equal(caching, "no-store", `${name}: reads go by GET`);
  let revision = "";
  const onHeader = (headers) => (revision = headers.get("tenantry-revision"));
  const listed = await registry.listTenants({ filter: 'labels.client = "js"', pageSize: 1000 }, { onHeader });
  assert.ok(listed.tenants.some((tenant) => tenant.tenantId === tenantId));
  assert.match(revision, /^[0-9a-f-]+$/, `${name}: metadata comes through`);
  await refused(registry.getTenant({ tenantId: "nobody" }), Code.NotFound, "TENANT_NOT_FOUND");
  await refused(registry.getTenant({}), Code.InvalidArgument, "INVALID_FIELD");

  // A stream: what is there, then a change made while it is open, then the client's own deadline.
  const stop = new AbortController();
  const seenTenants = [];
  for await (const message of registry.watchTenants({ initialSnapshot: true }, { signal: stop.signal })) {
    seenTenants.push(JSON.stringify(message, (_key, value) => (typeof value === "bigint" ? `${value}` : value)));
    if (seenTenants.some((text) => text.includes(tenantId))) break;
  }
  const late = registry.watchTenants({}, { timeoutMs: 300 });
  const ended = (async () => {
    for await (const _message of late);
  })();
  await assert.rejects(ended, (error) => error instanceof ConnectError && error.code === Code.DeadlineExceeded);
}

let number = 0;
for (const baseUrl of baseUrls) {
  for (const [name, transport] of transports(baseUrl)) {
    try {
      await play(name, transport, (number += 1));
    } catch (error) {
      console.error(`${name} at ${baseUrl}`);
      throw error;
    }
  }
}
console.log(`${number} transports played, all as they must be.`);
process.exit(0);
