//! The published flagd provider for Rust, driven line by line: commands in JSON on standard input, answers in JSON on
//! standard output.

use std::collections::HashMap;
use std::fmt::Display;
use std::io::{BufRead as _, stdin};

use open_feature::provider::{FeatureProvider as _, ResolutionDetails};
use open_feature::{EvaluationContext, EvaluationError, FlagMetadata, FlagMetadataValue, StructValue, Value};
use open_feature_flagd::{CacheSettings, FlagdOptions, FlagdProvider, ResolverType};
use serde_json::{Map, Value as Json, json};

fn text(command: &Json, name: &str) -> String {
    command[name].as_str().unwrap_or_default().to_owned()
}

async fn start(command: &Json) -> Result<FlagdProvider, String> {
    let resolver_type = match command["kind"].as_str() {
        Some("in-process") => ResolverType::InProcess,
        Some("ofrep") => ResolverType::Rest,
        _ => ResolverType::Rpc,
    };
    let options = FlagdOptions {
        host: text(command, "host"),
        port: u16::try_from(command["port"].as_u64().unwrap_or_default()).unwrap_or_default(),
        resolver_type,
        selector: command["selector"].as_str().map(str::to_owned),
        deadline_ms: u32::try_from(command["deadline_ms"].as_u64().unwrap_or(10_000)).unwrap_or_default(),
        retry_backoff_ms: 100,
        retry_backoff_max_ms: 500,
        retry_grace_period: 3,
        cache_settings: command["cache"].as_bool().unwrap_or_default().then(CacheSettings::default),
        ..FlagdOptions::default()
    };
    FlagdProvider::new(options).await.map_err(|error| error.to_string())
}

fn context(command: &Json) -> EvaluationContext {
    let mut context = EvaluationContext::default();
    for (name, value) in command["context"].as_object().into_iter().flatten() {
        context = match value {
            Json::String(key) if name == "targetingKey" => context.with_targeting_key(key.as_str()),
            Json::String(text) => context.with_custom_field(name, text.as_str()),
            Json::Bool(value) => context.with_custom_field(name, *value),
            Json::Number(number) => match number.as_i64() {
                Some(whole) => context.with_custom_field(name, whole),
                None => context.with_custom_field(name, number.as_f64().unwrap_or_default()),
            },
            _ => context,
        };
    }
    context
}

/// What the application sees: its own default where the provider has nothing.
fn answer<T>(
    command: &Json,
    found: Result<ResolutionDetails<T>, EvaluationError>,
    json: impl Fn(T) -> Json,
) -> Json {
    match found {
        Ok(found) => json!({
            "value": json(found.value),
            "variant": found.variant,
            "reason": found.reason.map(|reason| reason.to_string()),
            "metadata": found.flag_metadata.map(metadata),
        }),
        Err(error) => {
            json!({ "value": command["default"], "error": error.code.to_string(), "message": error.message })
        }
    }
}

fn metadata(metadata: FlagMetadata) -> Json {
    let json = |value| match value {
        FlagMetadataValue::Bool(value) => json!(value),
        FlagMetadataValue::Int(number) => json!(number),
        FlagMetadataValue::Float(number) => json!(number),
        FlagMetadataValue::String(text) => json!(text),
    };
    Json::Object(metadata.values.into_iter().map(|(name, value)| (name, json(value))).collect())
}

fn object(value: StructValue) -> Json {
    let fields: Map<String, Json> = value.fields.into_iter().map(|(name, value)| (name, plain(value))).collect();
    Json::Object(fields)
}

fn plain(value: Value) -> Json {
    match value {
        Value::Bool(value) => json!(value),
        Value::Int(number) => json!(number),
        Value::Float(number) => json!(number),
        Value::String(text) => json!(text),
        Value::Array(items) => Json::Array(items.into_iter().map(plain).collect()),
        Value::Struct(fields) => object(fields),
    }
}

async fn get(provider: &FlagdProvider, command: &Json) -> Json {
    let (flag, context) = (text(command, "flag"), context(command));
    match command["type"].as_str() {
        Some("boolean") => answer(command, provider.resolve_bool_value(&flag, &context).await, Json::from),
        Some("string") => answer(command, provider.resolve_string_value(&flag, &context).await, Json::from),
        Some("integer") => answer(command, provider.resolve_int_value(&flag, &context).await, Json::from),
        Some("float") => answer(command, provider.resolve_float_value(&flag, &context).await, Json::from),
        _ => answer(command, provider.resolve_struct_value(&flag, &context).await, object),
    }
}

fn say(what: &impl Display) {
    println!("{what}");
}

#[tokio::main]
async fn main() {
    let mut providers = HashMap::new();
    for line in stdin().lock().lines() {
        let command: Json = serde_json::from_str(&line.expect("a line")).expect("JSON");
        let domain = text(&command, "domain");
        if command["do"] == "start" {
            match start(&command).await {
                Ok(provider) => {
                    providers.insert(domain, provider);
                    say(&json!({ "started": true }));
                }
                Err(error) => say(&json!({ "started": false, "error": error })),
            }
        } else {
            let provider = providers.get(&domain).expect("a provider was started");
            say(&get(provider, &command).await);
        }
    }
}
