// fetch as a page of another origin has it: the browser asks beforehand where it must, and hides what the server does not
// let the page see.
const SIMPLE_TYPES = ['application/x-www-form-urlencoded', 'multipart/form-data', 'text/plain'];
const SIMPLE_HEADERS = ['accept', 'accept-language', 'content-language'];
const ALWAYS_SEEN = ['cache-control', 'content-language', 'content-length', 'content-type', 'expires', 'last-modified', 'pragma'];

const list = (text) => (text ?? '').split(',').map((name) => name.trim().toLowerCase()).filter(Boolean);
const refuse = (why) => {
  throw new TypeError(`Failed to fetch: ${why}`);
};
const isSimpleMethod = (method) => ['GET', 'HEAD', 'POST'].includes(method);
const isSimple = (name, value) =>
  SIMPLE_HEADERS.includes(name) || (name === 'content-type' && SIMPLE_TYPES.includes(value.split(';')[0]));

async function askBeforehand(fetch, origin, url, method, names) {
  const headers = {
    origin,
    'access-control-request-method': method,
    'access-control-request-headers': names.join(','),
  };
  const asked = await fetch(url, { method: 'OPTIONS', headers });
  const allowed = list(asked.headers.get('access-control-allow-headers'));
  if (!asked.ok || asked.headers.get('access-control-allow-origin') !== origin) refuse(`${origin} may not call ${url}`);
  const methods = list(asked.headers.get('access-control-allow-methods'));
  if (!isSimpleMethod(method) && !methods.includes(method.toLowerCase())) refuse(`${method} is not allowed`);
  const refused = names.filter((name) => !allowed.includes(name));
  if (refused.length) refuse(`${refused} may not be sent to ${url}`);
}

export const pageOf = (origin, fetch = globalThis.fetch) => async (input, init) => {
  const isMade = input instanceof Request;
  const { url, method } = isMade ? input : new Request(input, init);
  // What the caller set, and not what fetch adds by itself.
  const headers = new Headers(init?.headers ?? (isMade ? input.headers : undefined));
  const names = [...headers].filter(([name, value]) => !isSimple(name, value)).map(([name]) => name);
  if (names.length || !isSimpleMethod(method)) await askBeforehand(fetch, origin, url, method, names);
  headers.set('origin', origin);
  const answer = await fetch(input, { ...init, headers });
  if (answer.headers.get('access-control-allow-origin') !== origin) refuse(`${origin} may not read ${url}`);
  const seen = [...ALWAYS_SEEN, ...list(answer.headers.get('access-control-expose-headers'))];
  const visible = [...answer.headers].filter(([name]) => seen.includes(name));
  const body = [101, 204, 205, 304].includes(answer.status) ? null : answer.body;
  return new Response(body, { status: answer.status, statusText: answer.statusText, headers: visible });
};
