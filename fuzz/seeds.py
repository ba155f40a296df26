"""Writes what a fuzzer may begin with into corpus/: the rules, files, contexts and bodies of the tests, in each manner."""
import base64, gzip, hashlib, json, pathlib

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent
# Fields 1 of `google.protobuf.Struct`: {"a": 1.5}, {"b": "x"}, {"c": [null, true]}, {"d": {}}.
STRUCTS = [
    b"",
    b"\x0a\x0e\x0a\x01a\x12\x09\x11\x00\x00\x00\x00\x00\x00\xf8\x3f",
    b"\x0a\x08\x0a\x01b\x12\x03\x1a\x01x",
    b"\x0a\x0f\x0a\x01c\x12\x0a\x32\x08\x0a\x02\x08\x00\x0a\x02\x20\x01",
    b"\x0a\x07\x0a\x01d\x12\x02\x2a\x00",
]


def keep(target, data):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"seed-{hashlib.sha256(data).hexdigest()[:16]}").write_bytes(data)


def text(what):
    return json.dumps(what, ensure_ascii=False).encode()


def rules():
    for rule, context, _ in json.loads((ROOT / "src/domain/rule/tests/flagd_answers.json").read_text()):
        keep("rule", text({**context, "rule": rule}))
        keep("context", text(context))


def flag_files():
    for path in (ROOT / "tests/clients/openfeature").glob("*.json"):
        found = json.loads(path.read_text())
        if "flags" not in found:
            continue
        keep("flagd", text(found))
        for key, flag in found["flags"].items():
            keep("flagd", text({**found, "flags": {key: flag}}))
            keep("flagd", text({**found, "flags": [{"key": key, **flag}]}))
            if "targeting" in flag:
                keep("rule", text({"rule": flag["targeting"], "$evaluators": found.get("$evaluators", {})}))


def bodies():
    messages = STRUCTS + [b"{}", b'{"a":1.5,"b":["x",null,{"c":true}]}']
    for bits in range(32):
        is_bare, is_text, is_compressed, is_json = (bits >> place & 1 for place in range(4))
        for message in messages:
            if message.startswith(b"{") != bool(is_json):
                continue
            body = gzip.compress(message, mtime=0) if is_compressed else message
            if not is_bare:
                body = bytes([is_compressed]) + len(body).to_bytes(4, "big") + body
                if is_text:
                    body = base64.b64encode(body)
            for piece in (1, 7):
                keep("framing", bytes([bits, piece]) + body)


for message in STRUCTS:
    keep("context", message)
rules()
flag_files()
bodies()
