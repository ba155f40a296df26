// What a page can do with flagd's services: every published transport for browsers, behind what browsers allow.
// `node flags.mjs EVALUATION SYNC`, the addresses of the two ports.
import assert from "node:assert/strict";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import * as web from "@connectrpc/connect-web";
import { pageOf } from "../openfeature/js/page.js";
import { FeatureFlags, FlagType } from "./node_modules/.stubs/tenantry/v1/feature_flags_pb.js";
import { Service as V1 } from "./node_modules/.stubs/flagd/evaluation/v1/evaluation_pb.js";
import { Service as V2 } from "./node_modules/.stubs/flagd/evaluation/v2/evaluation_pb.js";
import { FlagSyncService } from "./node_modules/.stubs/flagd/sync/v1/sync_pb.js";

const [evaluation, sync, registry] = process.argv.slice(2);
const app = "https://app.example.com";
const fetch = pageOf(app);

function* transports(baseUrl, fetch) {
  for (const useBinaryFormat of [false, true]) {
    const codec = useBinaryFormat ? "proto" : "json";
    const options = { baseUrl, useBinaryFormat, fetch };
    yield [`Connect, ${codec}`, web.createConnectTransport(options)];
    yield [`gRPC-Web, ${codec}`, web.createGrpcWebTransport(options)];
  }
}

async function refused(call, code, reason) {
  const error = await call.then(
    () => assert.fail("it must be refused"),
    (error) => error,
  );
  assert.ok(error instanceof ConnectError && error.code === code, `${error}`);
  const info = error.details.find((detail) => (detail.type ?? detail.desc?.typeName) === "google.rpc.ErrorInfo");
  assert.ok(info && Buffer.from(info.value).toString("latin1").includes(reason), `${error}: ${JSON.stringify(error.details)}`);
}

async function evaluate(service, transport) {
  const flags = createClient(service, transport);
  const ask = (flagKey, context = {}) => ({ flagKey, context });
  const known = await flags.resolveBoolean(ask("boolean"));
  assert.deepEqual([known.value, known.variant, known.reason], [true, "on", "STATIC"]);
  const vip = await flags.resolveString(ask("targeted", { plan: "vip" }));
  assert.deepEqual([vip.value, vip.variant, vip.reason], ["welcome back", "vip", "TARGETING_MATCH"]);
  const whole = await flags.resolveInt(ask("integer"));
  assert.equal(whole.value, 10n);
  const half = await flags.resolveFloat(ask("float"));
  assert.equal(half.value, 0.5);
  const object = await flags.resolveObject(ask("object"));
  assert.deepEqual(object.value, { title: "A", count: 2, deep: { on: true } });
  assert.deepEqual([object.metadata.team, object.metadata.weight], ["search", 0.5]);
  const disabled = await flags.resolveBoolean(ask("disabled"));
  assert.deepEqual([disabled.value, disabled.reason], [service === V1 ? false : undefined, "DISABLED"]);
  await refused(flags.resolveBoolean(ask("nobody")), Code.NotFound, "FLAG_NOT_FOUND");
  await refused(flags.resolveBoolean(ask("string")), Code.InvalidArgument, "TYPE_MISMATCH");
  await refused(flags.resolveBoolean(ask("dangling")), Code.DataLoss, "PARSE_ERROR");
  await refused(flags.resolveBoolean(ask("no-such-variant", { plan: "vip" })), Code.Internal, "GENERAL");
  await refused(flags.resolveBoolean(ask("boolean", { tenantId: "nobody" })), Code.NotFound, "TENANT_NOT_FOUND");
  if (service === V1) {
    const all = await flags.resolveAll({ context: { plan: "vip" } });
    assert.deepEqual(all.flags.targeted.value, { case: "stringValue", value: "welcome back" });
  }
}

async function hears(service, transport, makeFlag) {
  const flags = createClient(service, transport);
  const stop = new AbortController();
  let made;
  for await (const event of flags.eventStream({}, { signal: stop.signal })) {
    if (!made) {
      assert.equal(event.type, "provider_ready");
      made = await makeFlag();
    } else if (event.type === "configuration_change" && event.data.flags[made]) {
      assert.equal(event.data.flags[made].type, "write");
      break;
    }
  }
  const late = (async () => {
    for await (const _event of flags.eventStream({}, { timeoutMs: 300 }));
  })();
  await assert.rejects(late, (error) => error instanceof ConnectError && error.code === Code.DeadlineExceeded);
}

async function fetchSet(transport) {
  const flags = createClient(FlagSyncService, transport);
  const { flagConfiguration } = await flags.fetchAllFlags({});
  assert.equal(JSON.parse(flagConfiguration).flags.boolean.defaultVariant, "on");
  for await (const set of flags.syncFlags({})) {
    assert.ok(JSON.parse(set.flagConfiguration).flags.boolean);
    break;
  }
}

const flags = createClient(FeatureFlags, web.createConnectTransport({ baseUrl: registry }));
let number = 0;
async function makeFlag() {
  const flagKey = `page-${(number += 1)}`;
  await flags.createFlag({ flag: { flagKey, type: FlagType.BOOLEAN } });
  return flagKey;
}

let played = 0;
for (const [name, transport] of transports(evaluation, fetch)) {
  for (const service of [V1, V2]) {
    try {
      await evaluate(service, transport);
      await hears(service, transport, makeFlag);
    } catch (error) {
      console.error(`${name}, ${service.typeName}`);
      throw error;
    }
    played += 1;
  }
}
for (const [name, transport] of transports(sync, fetch)) {
  try {
    await fetchSet(transport);
  } catch (error) {
    console.error(`${name}, sync`);
    throw error;
  }
  played += 1;
}
for (const [, transport] of transports(evaluation, pageOf("https://evil.example"))) {
  const call = createClient(V2, transport).resolveBoolean({ flagKey: "boolean" });
  await assert.rejects(call, (error) => `${error}`.includes("may not call"));
}
console.log(`${played} transports played, all as they must be.`);
process.exit(0);
