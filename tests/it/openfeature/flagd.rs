//! flagd's own reader and evaluator beside this server: the same files, the same contexts, the same answers. Where they
//! differ it is named here, with the reason; `docs/OPENFEATURE.md` and `docs/adr/0012-…` say it to users.

use std::fs::File;
use std::io::Write as _;
use std::process::Command;

use reqwest::{Client, StatusCode};
use serde_json::{Map, Value, json};
use tenantry::proto::v1;

use super::world::{World, setup};
use crate::support::programs::{go_program, must_run, root};
use crate::support::{Replica, Setup};

/// The ways to ask for a flag, and the rpc of each; by OFREP a flag is asked for without a type.
const TYPES: [(&str, &str); 5] = [
    ("boolean", "ResolveBoolean"),
    ("string", "ResolveString"),
    ("integer", "ResolveInt"),
    ("float", "ResolveFloat"),
    ("object", "ResolveObject"),
];

fn contexts() -> Vec<Value> {
    vec![
        json!({}),
        json!({ "targetingKey": "user-1", "email": "", "pick": "", "version": "2.1.0-rc.1" }),
        json!({
            "targetingKey": "ada", "email": "ada@example.com", "name": "ada", "age": 42, "half": 0.5, "plan": "vip",
            "version": "2.1.0", "flag": true, "list": ["a", "b"], "users": [{"role": "user"}, {"role": "admin"}],
            "user": {"name": "Ada"}, "n": 1, "pick": "größer"
        }),
        json!({
            "targetingKey": "5", "email": "x@y.z", "age": 17, "plan": "free", "version": "v2.2", "flag": false,
            "list": [], "users": [], "n": 1.5, "pick": "🚀", "$flagd": {"flagKey": "other", "timestamp": 5}
        }),
        json!({
            "email": "bob@example.com", "age": 65, "plan": "free", "version": "2.0.9+build", "flag": "no",
            "list": ["z"], "n": -1, "pick": "a b"
        }),
        json!({ "version": "3", "age": 1e2, "n": 1e21, "pick": "null", "email": "größe@example.com", "plan": "a" }),
        json!({ "version": "nonsense", "n": 0.0, "pick": "鍵", "plan": null, "flag": null, "list": "ab" }),
    ]
}

/// What a file's flags are asked for.
struct Question {
    file: String,
    /// Flags, and the context that each of them is asked for with.
    asks: Vec<(Vec<String>, Value)>,
}

impl Question {
    /// Every flag of a file, and one that is not there, with every context.
    fn every(file: String) -> Self {
        let parsed: Value = serde_json::from_str(&file).unwrap();
        let mut flags: Vec<String> = match &parsed["flags"] {
            Value::Object(flags) => flags.keys().cloned().collect(),
            Value::Array(flags) => {
                flags.iter().filter_map(|flag| flag["key"].as_str()).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        };
        flags.retain(|key| !key.is_empty());
        flags.push("no-such-flag".to_owned());
        Self { file, asks: contexts().into_iter().map(|context| (flags.clone(), context)).collect() }
    }
}

/// What flagd makes of files; none where there is no Go.
async fn flagd(questions: &[Question]) -> Option<Vec<Value>> {
    let program = go_program("openfeature-flagd", "tests/clients/openfeature/go/flagd").await?;
    let mut input = tempfile::NamedTempFile::new().unwrap();
    for Question { file, asks } in questions {
        let asks: Vec<Value> =
            asks.iter().map(|(flags, context)| json!({ "flags": flags, "context": context })).collect();
        writeln!(input, "{}", json!({ "file": file, "asks": asks })).unwrap();
    }
    let mut ask = Command::new(program);
    ask.stdin(File::open(input.path()).unwrap());
    let said = must_run(ask).await;
    Some(said.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect())
}

/// An answer, as the protocols have it: what is not there is null.
#[derive(Debug, Clone, PartialEq)]
struct Said {
    value: Value,
    variant: Value,
    reason: Value,
    error: Value,
    metadata: Map<String, Value>,
}

fn failed(error: &str) -> Said {
    let (value, variant, reason) = (Value::Null, Value::Null, Value::Null);
    Said { value, variant, reason, error: error.into(), metadata: Map::new() }
}

/// What flagd's server sends for what its evaluator says, but for where this one has reasons to say something else.
fn expected(flagd: &Value) -> Said {
    let text = |name: &str| flagd[name].as_str().unwrap_or_default();
    if !text("error").is_empty() {
        return failed(text("error"));
    }
    let mut metadata = flagd["metadata"].as_object().cloned().unwrap_or_default();
    // OpenFeature knows text, numbers and booleans there; its providers fail or drop the rest.
    metadata.retain(|_, value| !value.is_object() && !value.is_array());
    let (value, variant, reason) = match text("reason") {
        // Its word inside for that there is nothing to give.
        "FALLBACK" => (Value::Null, Value::Null, "DEFAULT"),
        "DISABLED" => (Value::Null, Value::Null, "DISABLED"),
        reason => (flagd["value"].clone(), text("variant").into(), reason),
    };
    Said { value, variant, reason: reason.into(), error: Value::Null, metadata }
}

/// Rules of flags of `operators.json` that flagd cannot evaluate without some attributes, or at all. Here a missing
/// attribute breaks no flag: JSONLogic's own answer stands, or the default.
const MILDER: [&str; 10] =
    ["by-zero", "divide", "filter", "log", "max", "minus", "none", "plus", "remainder", "times"];

/// The same for a flag that is asked for by type. A number that is no whole one of 64 bits is none here, where flagd cuts
/// its fraction off or gives the smallest there is; and one that is, is given to the digit. `one` is what OFREP gave.
fn typed(flagd: &Value, kind: &str, one: &Said) -> Said {
    let found = expected(&flagd[kind]);
    let Some(number) = flagd["any"]["value"].as_f64().filter(|_| kind == "integer") else { return found };
    let is_whole = number.fract() == 0.0 && number.abs() < 9_223_372_036_854_775_807.0;
    match &one.value {
        _ if is_whole => found,
        Value::Number(exact) if exact.is_i64() => Said { value: one.value.clone(), ..found },
        _ => failed("TYPE_MISMATCH"),
    }
}

/// Whether two values are the same to a client that has 64-bit floating point, as flagd has for every number.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|it| is_same(value, it)))
        }
        (one, other) => one == other,
    }
}

/// The ports of this server, asked in JSON.
struct Ours {
    http: Client,
    rpc: String,
    ofrep: String,
}

impl Ours {
    fn new(world: &World) -> Self {
        let base = |kind: &str| format!("http://{}", world.address(kind));
        Self { http: Client::new(), rpc: base("rpc"), ofrep: base("ofrep") }
    }

    async fn post(&self, url: &str, body: &Value) -> (StatusCode, Value) {
        let answer = self.http.post(url).header("content-type", "application/json").body(body.to_string());
        let answer = answer.send().await.unwrap();
        let status = answer.status();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
    }

    /// One flag of a type over flagd's own protocol.
    async fn resolve(&self, version: &str, rpc: &str, flag: &str, context: &Value) -> Said {
        let url = format!("{}/flagd.evaluation.{version}.Service/{rpc}", self.rpc);
        let (status, body) = self.post(&url, &json!({ "flagKey": flag, "context": context })).await;
        if !status.is_success() {
            let reason = body["details"][0]["debug"]["reason"].as_str().unwrap_or_default();
            let code = match reason {
                "FLAG_NOT_FOUND" => "not_found",
                "TYPE_MISMATCH" => "invalid_argument",
                "PARSE_ERROR" => "data_loss",
                _ => "internal",
            };
            assert_eq!(body["code"], code, "{body}");
            return failed(reason);
        }
        let mut value = body["value"].clone();
        let mut answer = body;
        if version == "v1" && answer["reason"] == "DISABLED" {
            // It has no word for no value.
            assert_eq!((&value, &answer["variant"]), (&zero(rpc), &json!("")), "{answer}");
            (value, answer["variant"]) = (Value::Null, Value::Null);
        }
        // 64 bits are text in JSON.
        if let (true, Value::String(digits)) = (rpc == "ResolveInt", &value) {
            value = digits.parse::<i64>().unwrap().into();
        }
        said(value, &answer)
    }

    /// One flag by OFREP.
    async fn evaluate(&self, flag: &str, context: &Value) -> Said {
        let key = percent_encoding::utf8_percent_encode(flag, percent_encoding::NON_ALPHANUMERIC);
        let url = format!("{}/ofrep/v1/evaluate/flags/{key}", self.ofrep);
        let (status, body) = self.post(&url, &json!({ "context": context })).await;
        assert_eq!(body["key"], flag, "{body}");
        let of_ofrep = ofrep(&body);
        let code = match of_ofrep.error.as_str() {
            None => 200,
            Some("FLAG_NOT_FOUND") => 404,
            Some(_) => 400,
        };
        assert_eq!(status.as_u16(), code, "{body}");
        of_ofrep
    }

    /// Every flag by OFREP, which must say the same as one by one.
    async fn evaluate_all(&self, context: &Value) -> Map<String, Value> {
        let (_, body) = self
            .post(&format!("{}/ofrep/v1/evaluate/flags", self.ofrep), &json!({ "context": context }))
            .await;
        let flags = body["flags"].as_array().unwrap().iter();
        flags.map(|flag| (flag["key"].as_str().unwrap().to_owned(), flag.clone())).collect()
    }

    /// Every flag by version 1.
    async fn resolve_all(&self, context: &Value) -> Value {
        let url = format!("{}/flagd.evaluation.v1.Service/ResolveAll", self.rpc);
        self.post(&url, &json!({ "context": context })).await.1["flags"].take()
    }
}

fn zero(rpc: &str) -> Value {
    match rpc {
        "ResolveBoolean" => json!(false),
        "ResolveString" => json!(""),
        "ResolveObject" => json!({}),
        // 64 bits are text.
        "ResolveInt" => json!("0"),
        _ => json!(0.0),
    }
}

fn ofrep(body: &Value) -> Said {
    if let Some(code) = body["errorCode"].as_str() {
        return failed(code);
    }
    said(body["value"].clone(), body)
}

fn said(value: Value, body: &Value) -> Said {
    let mut metadata = body["metadata"].as_object().cloned().unwrap_or_default();
    // How the answer came about, which flagd has no word for.
    metadata.retain(|name, _| !["layer", "revision", "rule", "expires"].contains(&name.as_str()));
    let variant = body["variant"].clone();
    // OFREP's variant is always there, since the published Python provider insists on it.
    let is_none = value.is_null() && variant == json!("");
    let variant = if is_none { Value::Null } else { variant };
    Said { value, variant, reason: body["reason"].clone(), error: Value::Null, metadata }
}

/// What differs, as a line; nothing where they agree.
fn difference(flagd: &Said, ours: &Said) -> Option<String> {
    let metadata = |said: &Said| Value::Object(said.metadata.clone());
    let is_it = is_same(&flagd.value, &ours.value)
        && (&flagd.variant, &flagd.reason, &flagd.error) == (&ours.variant, &ours.reason, &ours.error)
        && is_same(&metadata(flagd), &metadata(ours));
    (!is_it).then(|| format!("flagd {flagd:?}\n    ours  {ours:?}"))
}

/// Asks this server what flagd was asked, and collects where they differ.
async fn compare(world: &mut World, name: &str, question: &Question, flagd: &Value, wrong: &mut Vec<String>) {
    assert_eq!(flagd.get("refused"), None, "{name}: flagd refuses it");
    let request =
        v1::ImportFlagsRequest { content: question.file.clone(), prune: true, ..Default::default() };
    world.replica.flags.import_flags(request).await.unwrap();
    let ours = Ours::new(world);
    let theirs = flagd["said"].as_array().unwrap();
    for (place, ((flags, context), theirs)) in question.asks.iter().zip(theirs).enumerate() {
        // Of a thousand flags, each asked for with a context of its own, all are asked for now and then only.
        let all = if flags.len() > 1 || place % 100 == 0 {
            Some((ours.evaluate_all(context).await, ours.resolve_all(context).await))
        } else {
            None
        };
        for flag in flags {
            let mut look = |kind: &str, theirs: &Said, said: &Said| {
                if let Some(difference) = difference(theirs, said) {
                    wrong.push(format!("{name} {flag} {kind} {context}\n    {difference}"));
                }
            };
            if MILDER.contains(&flag.as_str()) && theirs["v2"][flag]["any"]["error"] == "PARSE_ERROR" {
                let one = ours.evaluate(flag, context).await;
                assert_eq!(one.error, Value::Null, "{name} {flag} {context}");
                continue;
            }
            let theirs_any = expected(&theirs["v2"][flag]["any"]);
            let one = ours.evaluate(flag, context).await;
            look("OFREP", &theirs_any, &one);
            if let Some(entry) = all.as_ref().and_then(|(bulk, _)| bulk.get(flag)) {
                look("OFREP, among all", &one, &ofrep(entry));
            }
            for (kind, rpc) in TYPES {
                let said = ours.resolve("v2", rpc, flag, context).await;
                look(&format!("{kind}, v2"), &typed(&theirs["v2"][flag], kind, &one), &said);
            }
            // Of version 1, what differs from version 2: it is asked for the flag's own type.
            let own =
                TYPES.into_iter().find(|(kind, _)| expected(&theirs["v2"][flag][*kind]).error.is_null());
            if let Some((kind, rpc)) = own {
                let said = ours.resolve("v1", rpc, flag, context).await;
                look(&format!("{kind}, v1"), &typed(&theirs["v1"][flag], kind, &one), &said);
                if let Some((_, all)) = &all {
                    look("ResolveAll", &expected(&theirs["v1"][flag]["any"]), &among(all, flag));
                }
            }
        }
    }
}

/// A flag of what version 1 gives of all. One that has nothing to give is left out, as is one that is broken: flagd gives
/// it its type's zero, and clients could not tell it from a value.
fn among(all: &Value, flag: &str) -> Said {
    let Some(entry) = all.get(flag) else { return failed("FLAG_NOT_FOUND") };
    let value = ["boolValue", "stringValue", "doubleValue", "objectValue"]
        .into_iter()
        .find_map(|name| entry.get(name))
        .cloned();
    said(value.unwrap_or_default(), entry)
}

fn files() -> Vec<(String, String)> {
    let folder = root().join("tests/clients/openfeature/files");
    let mut found: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    let read = |path: &std::path::PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read_to_string(path).unwrap())
    };
    found.iter().map(read).collect()
}

/// A server without flags, and without attributes that it lays over a client's.
async fn empty() -> World {
    let mut setup: Setup = setup();
    setup.settings.retain(|(key, _)| *key != "flags.context");
    World { replica: Replica::start(&setup).await }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_file_answers_as_flagd_answers() {
    let (names, questions): (Vec<_>, Vec<_>) =
        files().into_iter().map(|(name, file)| (name, Question::every(file))).unzip();
    let Some(flagd) = flagd(&questions).await else { return };
    let mut wrong = Vec::new();
    for ((name, question), flagd) in names.iter().zip(&questions).zip(&flagd) {
        let mut world = empty().await;
        compare(&mut world, name, question, flagd, &mut wrong).await;
        world.stop().await;
    }
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
}

/// A flag for each rule of the rule engine's list, whose variants are what flagd can make of it: the list holds what
/// flagd's operators say, and this that a flag on the wire says the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_rule_answers_on_the_wire_as_flagd_answers() {
    let list = std::fs::read_to_string(root().join("src/domain/rule/tests/flagd_answers.json")).unwrap();
    let list: Vec<(Value, Map<String, Value>, Value)> = serde_json::from_str(&list).unwrap();
    let (mut flags, mut asks) = (Map::new(), Vec::new());
    for (place, (rule, context, answer)) in list.into_iter().enumerate() {
        let key = format!("rule-{place}");
        let name = answer.to_string().replace('"', "");
        let mut variants = Map::from_iter([("default".to_owned(), json!("default"))]);
        variants.insert(name, answer.to_string().into());
        let flag = json!({ "state": "ENABLED", "variants": variants, "defaultVariant": "default", "targeting": rule });
        flags.insert(key.clone(), flag);
        asks.push((vec![key], Value::Object(context)));
    }
    let question = Question { file: json!({ "flags": flags }).to_string(), asks };
    let Some(answers) = flagd(std::slice::from_ref(&question)).await else { return };
    let (mut world, mut wrong) = (empty().await, Vec::new());
    compare(&mut world, "rules", &question, &answers[0], &mut wrong).await;
    world.stop().await;
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
}

/// Whether flagd takes a file, and what this server makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Nothing of it is taken.
    Refused,
    /// It is taken, and the flag `f` answers PARSE_ERROR, alone.
    Broken,
    /// It is taken.
    Taken,
}

const FATES: &[(&str, Fate, Fate)] = &[
    ("", Fate::Refused, Fate::Refused),
    ("{", Fate::Refused, Fate::Refused),
    ("[]", Fate::Refused, Fate::Refused),
    ("null", Fate::Refused, Fate::Refused),
    ("flags", Fate::Refused, Fate::Refused),
    ("{}", Fate::Refused, Fate::Refused),
    (r#"{"flags": {}} x"#, Fate::Refused, Fate::Refused),
    (r#"{"flags": {},}"#, Fate::Refused, Fate::Refused),
    ("{\"flags\": {} // none\n}", Fate::Refused, Fate::Refused),
    (r#"{"flags": 1}"#, Fate::Refused, Fate::Refused),
    (r#"{"flags": [1]}"#, Fate::Refused, Fate::Refused),
    (r#"{"flags": [{"key": 1}]}"#, Fate::Refused, Fate::Refused),
    (r#"{"flags": {}, "metadata": 1}"#, Fate::Refused, Fate::Refused),
    (r#"{"flags": {}, "$evaluators": []}"#, Fate::Refused, Fate::Refused),
    (r#"{"flags": {"f": {"variants": {"a": 1e400}}}}"#, Fate::Refused, Fate::Refused),
    // flagd refuses all of the file for one flag; here the flag alone says so.
    (r#"{"flags": {"f": 1}}"#, Fate::Refused, Fate::Broken),
    (r#"{"flags": {"f": {"state": 1}}}"#, Fate::Refused, Fate::Broken),
    (r#"{"flags": {"f": {"variants": []}}}"#, Fate::Refused, Fate::Broken),
    (r#"{"flags": {"f": {"metadata": "m"}}}"#, Fate::Refused, Fate::Broken),
    (r#"{"flags": {"f": {"variants": {"a": 1}, "defaultVariant": "b"}}}"#, Fate::Refused, Fate::Broken),
    (r#"{"flags": {"f": {"variants": {"a": 1}, "defaultVariant": 1}}}"#, Fate::Refused, Fate::Broken),
    // flagd needs two characters of a segment.
    (r#"{"flags": {"f": {}}, "$evaluators": {"e": 1}}"#, Fate::Refused, Fate::Taken),
    (r#"{"flags": {"f": {}}, "$evaluators": null, "metadata": null}"#, Fate::Taken, Fate::Taken),
    (r#"{"flags": null}"#, Fate::Taken, Fate::Taken),
    (r#"{"flags": []}"#, Fate::Taken, Fate::Taken),
    // What cannot be kept or given back as it is.
    (r#"{"FLAGS": {"f": {}}}"#, Fate::Taken, Fate::Refused),
    (r#"{"flags": {"f": {"variants": {"a": "\u0000"}}}}"#, Fate::Taken, Fate::Refused),
    (r#"{"flags": {"f": {"variants": {"a": "\ud800"}}}}"#, Fate::Taken, Fate::Refused),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_flagd_refuses_is_refused_or_spoils_one_flag() {
    let question = |(file, ..): &(&str, Fate, Fate)| Question { file: (*file).to_owned(), asks: Vec::new() };
    let Some(answers) = flagd(&FATES.iter().map(question).collect::<Vec<_>>()).await else { return };
    let world = empty().await;
    let ours = Ours::new(&world);
    let mut flags = world.replica.flags.clone();
    for ((file, by_flagd, here), answer) in FATES.iter().zip(answers) {
        let fate = if answer.get("refused").is_some() { Fate::Refused } else { Fate::Taken };
        assert_eq!(fate, *by_flagd, "flagd: {file}: {answer}");
        let request =
            v1::ImportFlagsRequest { content: (*file).to_owned(), prune: true, ..Default::default() };
        let fate = match flags.import_flags(request).await {
            Err(_) => Fate::Refused,
            Ok(_) if ours.evaluate("f", &json!({})).await.error == "PARSE_ERROR" => Fate::Broken,
            Ok(_) => Fate::Taken,
        };
        assert_eq!(fate, *here, "{file}");
    }
    world.stop().await;
}
