//! A server with OpenFeature's ports, and the flags of the scenario.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tenantry::proto::v1;

use crate::support::programs::root;
use crate::support::{Replica, Setup};

/// What tests lean on.
pub(crate) struct World {
    pub(crate) replica: Replica,
}

/// The settings of a server with OpenFeature's ports.
pub(crate) fn setup() -> Setup {
    let settings = ["evaluation", "sync", "ofrep"].map(|protocol| {
        let key = match protocol {
            "evaluation" => "openfeature.evaluation_listen",
            "sync" => "openfeature.sync_listen",
            _ => "openfeature.ofrep_listen",
        };
        (key, "127.0.0.1:0".to_owned())
    });
    let mut settings = settings.to_vec();
    settings.push(("flags.context", "environment=test".to_owned()));
    // Where the page of the clients for browsers comes from.
    settings.push(("server.cors_origins", "https://app.example.com".to_owned()));
    Setup { no_targets: true, settings, ..Setup::default() }
}

fn file(name: &str) -> Value {
    let path = root().join("tests/clients/openfeature").join(name);
    serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap()
}

/// The list of cases.
pub(crate) fn cases() -> Vec<Value> {
    file("cases.json").as_array().unwrap().clone()
}

impl World {
    /// A server with the flags of the scenario.
    pub(crate) async fn start() -> Self {
        Self::with(&setup()).await
    }

    /// The same, with flags that are broken: their segment is not there, as only a flag file can have it.
    pub(crate) async fn with_broken_flags() -> Self {
        let mut world = Self::start().await;
        world.load(&file("broken.json")).await;
        world
    }

    /// The same, set up otherwise.
    pub(crate) async fn with(setup: &Setup) -> Self {
        let mut world = Self { replica: Replica::start(setup).await };
        world.load(&file("flags.json")).await;
        world
    }

    pub(crate) async fn stop(self) {
        self.replica.stop().await;
    }

    /// Where a kind of provider asks.
    pub(crate) fn address(&self, kind: &str) -> SocketAddr {
        let at = &self.replica.server.openfeature;
        let address = match kind {
            "in-process" => at.sync,
            "ofrep" => at.ofrep,
            _ => at.evaluation,
        };
        address.expect("it is served")
    }

    /// The options of a provider.
    pub(crate) fn options(&self, kind: &str, domain: &str) -> Value {
        json!({ "kind": kind, "domain": domain, "port": self.address(kind).port() })
    }

    pub(crate) async fn tenant(&mut self, tenant_id: &str) {
        self.replica.tenant(tenant_id).await;
    }

    /// Makes a boolean flag.
    pub(crate) async fn flag(&mut self, key: &str, default: &str) {
        self.create(boolean_flag(key, default)).await;
    }

    pub(crate) async fn create(&mut self, flag: v1::Flag) {
        let request = v1::CreateFlagRequest { flag: Some(flag), ..Default::default() };
        self.replica.flags.create_flag(request).await.unwrap();
    }

    /// Changes a flag's global default.
    pub(crate) async fn set_default(&mut self, key: &str, variant: &str) {
        let flag =
            v1::Flag { flag_key: key.to_owned(), default_variant: variant.to_owned(), ..Default::default() };
        let request = v1::UpdateFlagRequest {
            flag: Some(flag),
            update_mask: Some(prost_types::FieldMask { paths: vec!["default_variant".to_owned()] }),
            ..Default::default()
        };
        self.replica.flags.update_flag(request).await.unwrap();
    }

    pub(crate) async fn override_for(&mut self, tenant: &str, key: &str, variant: &str) {
        let request = v1::SetTenantOverrideRequest {
            flag_key: key.to_owned(),
            tenant_id: tenant.to_owned(),
            variant: variant.to_owned(),
            ..Default::default()
        };
        self.replica.flags.set_tenant_override(request).await.unwrap();
    }

    pub(crate) async fn tier_default(&mut self, tier: &str, key: &str, variant: &str) {
        let request = v1::SetTierDefaultRequest {
            flag_key: key.to_owned(),
            tier_id: tier.to_owned(),
            variant: variant.to_owned(),
            ..Default::default()
        };
        self.replica.flags.set_tier_default(request).await.unwrap();
    }

    /// Moves a tenant to another tier.
    pub(crate) async fn tier(&mut self, tenant_id: &str, tier: &str) {
        let request = v1::ChangeTierRequest {
            tenant_id: tenant_id.to_owned(),
            tier: tier.to_owned(),
            wait: Some(prost_types::Duration { seconds: 20, nanos: 0 }),
            ..Default::default()
        };
        let operation = self.replica.lifecycle.change_tier(request).await.unwrap().into_inner();
        assert_eq!(operation.state(), v1::OperationState::Succeeded, "{operation:?}");
    }

    /// Makes a boolean flag that is off but for what a rule says.
    pub(crate) async fn rule(&mut self, key: &str, logic: Value) {
        let flag = json!({
            "state": "ENABLED", "variants": { "on": true, "off": false }, "defaultVariant": "off",
            "targeting": logic,
        });
        self.create(flag_of(key, &flag)).await;
    }

    /// Imports a flagd file.
    pub(crate) async fn load(&mut self, file: &Value) {
        let request = v1::ImportFlagsRequest { content: file.to_string(), ..Default::default() };
        self.replica.flags.import_flags(request).await.unwrap();
    }
}

/// A boolean flag.
pub(crate) fn boolean_flag(key: &str, default: &str) -> v1::Flag {
    v1::Flag {
        flag_key: key.to_owned(),
        r#type: v1::FlagType::Boolean.into(),
        variants: [("on", true), ("off", false)].map(|(name, on)| (name.to_owned(), boolean(on))).into(),
        default_variant: default.to_owned(),
        ..Default::default()
    }
}

fn boolean(value: bool) -> prost_types::Value {
    prost_types::Value { kind: Some(prost_types::value::Kind::BoolValue(value)) }
}

fn flag_of(key: &str, flag: &Value) -> v1::Flag {
    let variants = flag["variants"].as_object().unwrap();
    let r#type = match variants.values().next().unwrap() {
        Value::Bool(_) => v1::FlagType::Boolean,
        Value::String(_) => v1::FlagType::String,
        Value::Object(_) => v1::FlagType::Object,
        _ if variants.values().any(Value::is_f64) => v1::FlagType::Double,
        _ => v1::FlagType::Integer,
    };
    let logic = |source: &Value| v1::TargetingRule { logic: source.to_string(), ..Default::default() };
    let state = if flag["state"] == "DISABLED" { v1::FlagState::Disabled } else { v1::FlagState::Enabled };
    v1::Flag {
        flag_key: key.to_owned(),
        r#type: r#type.into(),
        variants: variants.iter().map(|(name, value)| (name.clone(), proto(value))).collect(),
        default_variant: flag["defaultVariant"].as_str().unwrap_or_default().to_owned(),
        state: state.into(),
        rules: flag.get("targeting").map(logic).into_iter().collect(),
        metadata: flag.get("metadata").map(|metadata| match proto(metadata).kind {
            Some(prost_types::value::Kind::StructValue(fields)) => fields,
            _ => panic!("metadata is an object"),
        }),
        ..Default::default()
    }
}

/// JSON as `google.protobuf.Value`.
pub(crate) fn proto(json: &Value) -> prost_types::Value {
    use prost_types::value::Kind;
    let kind = match json {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(items) => {
            Kind::ListValue(prost_types::ListValue { values: items.iter().map(proto).collect() })
        }
        Value::Object(map) => Kind::StructValue(prost_types::Struct {
            fields: map.iter().map(|(name, value)| (name.clone(), proto(value))).collect(),
        }),
    };
    prost_types::Value { kind: Some(kind) }
}
