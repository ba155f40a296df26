//! Random changes of every kind on two replicas at once: the log stays dense and every view is what the tables say.

mod meanwhile;

use std::time::Duration;

use tenantry::participants::stub::Stub;
use tenantry::proto::v1;
use tenantry::proto::v1::feature_flags_client::FeatureFlagsClient;
use tenantry::proto::v1::lifecycle_client::LifecycleClient;
use tenantry::proto::v1::tenant_health_client::TenantHealthClient;
use tenantry::proto::v1::tenant_registry_client::TenantRegistryClient;
use tenantry::proto::v1::tiers_client::TiersClient;
use tenantry::view::Snapshot;
use tonic::Status;
use tonic::transport::Channel;

use crate::support::{Replica, Setup, new_tenant, reason, tier};

const WRITERS: u64 = 8;
const CHANGES: usize = 200;
const TENANTS: [&str; 5] = ["a", "b", "c", "d", "e"];
const TIERS: [&str; 4] = ["silver", "gold", "platinum", "bronze"];
const FLAGS: [&str; 3] = ["search", "export", "beta"];
/// What became of a change, and what its writer may hear when others are at the same things.
type Heard = (Result<(), Status>, &'static [&'static str]);

struct Writer {
    chance: fastrand::Rng,
    tenants: TenantRegistryClient<Channel>,
    tiers: TiersClient<Channel>,
    flags: FeatureFlagsClient<Channel>,
    lifecycle: LifecycleClient<Channel>,
    health: TenantHealthClient<Channel>,
}

impl Writer {
    fn new(seed: u64, at: &Replica) -> Self {
        Self {
            chance: fastrand::Rng::with_seed(seed),
            tenants: at.tenants.clone(),
            tiers: at.tiers.clone(),
            flags: at.flags.clone(),
            lifecycle: at.lifecycle.clone(),
            health: at.health.clone(),
        }
    }

    fn one_of(&mut self, names: &[&str]) -> String {
        names[self.chance.usize(..names.len())].to_owned()
    }

    async fn change(&mut self) -> Heard {
        match self.chance.u8(..9) {
            8 => self.take_back().await,
            6 => self.change_segment().await,
            7 => self.apply_flags().await,
            0 => self.change_tenant().await,
            1 => self.change_tier().await,
            2 => self.change_flag().await,
            3 => self.set_a_flag().await,
            4 => self.move_tenant().await,
            _ => self.report_health().await,
        }
    }

    async fn change_tenant(&mut self) -> Heard {
        let (tenant_id, tier, parent) = (self.one_of(&TENANTS), self.one_of(&TIERS), self.one_of(&TENANTS));
        let owner = self.chance.u32(..).to_string();
        let tenant = Some(v1::Tenant { tenant_id, tier, parent, owner, ..new_tenant("x") });
        if self.chance.u8(..3) == 0 {
            let mut tenant = tenant;
            if let Some(tenant) = &mut tenant {
                tenant.parent.clear();
            }
            let request = v1::CreateTenantRequest { tenant, ..Default::default() };
            let made = self.tenants.create_tenant(request).await.map(drop);
            return (made, &["TENANT_EXISTS", "TIER_NOT_FOUND"]);
        }
        let paths = ["owner", "tier", "parent"].map(str::to_owned).into();
        let update_mask = Some(prost_types::FieldMask { paths });
        let request = v1::UpdateTenantRequest { tenant, update_mask, ..Default::default() };
        let reasons =
            &["TENANT_NOT_FOUND", "TIER_NOT_FOUND", "USE_CHANGE_TIER", "PARENT_CYCLE", "PARENT_NOT_FOUND"];
        (self.tenants.update_tenant(request).await.map(drop), reasons)
    }

    async fn change_tier(&mut self) -> Heard {
        let tier_id = self.one_of(&TIERS);
        match self.chance.u8(..3) {
            0 => {
                let request = v1::DeleteTierRequest { tier_id, ..Default::default() };
                (self.tiers.delete_tier(request).await.map(drop), &["TIER_NOT_FOUND", "TIER_IN_USE"])
            }
            1 => {
                let tier = Some(tier(&tier_id, self.chance.usize(..9)));
                let update_mask = Some(prost_types::FieldMask { paths: vec!["rank".to_owned()] });
                let request = v1::UpdateTierRequest { tier, update_mask, ..Default::default() };
                (self.tiers.update_tier(request).await.map(drop), &["TIER_NOT_FOUND"])
            }
            _ => {
                let request = v1::CreateTierRequest { tier: Some(tier(&tier_id, 1)), ..Default::default() };
                (self.tiers.create_tier(request).await.map(drop), &["TIER_EXISTS"])
            }
        }
    }

    async fn change_flag(&mut self) -> Heard {
        let flag_key = self.one_of(&FLAGS);
        let flag = v1::Flag {
            flag_key: flag_key.clone(),
            r#type: v1::FlagType::Boolean.into(),
            description: self.chance.u32(..).to_string(),
            ..Default::default()
        };
        match self.chance.u8(..4) {
            0 => {
                let request = v1::DeleteFlagRequest { flag_key, ..Default::default() };
                let reasons = &["FLAG_NOT_FOUND", "DEPENDENTS_WOULD_BREAK"];
                (self.flags.delete_flag(request).await.map(drop), reasons)
            }
            1 => {
                let update_mask = Some(prost_types::FieldMask { paths: vec!["description".to_owned()] });
                let request = v1::UpdateFlagRequest { flag: Some(flag), update_mask, ..Default::default() };
                (self.flags.update_flag(request).await.map(drop), &["FLAG_NOT_FOUND"])
            }
            _ => {
                let request = v1::CreateFlagRequest { flag: Some(flag), ..Default::default() };
                (self.flags.create_flag(request).await.map(drop), &["FLAG_EXISTS"])
            }
        }
    }

    async fn change_segment(&mut self) -> Heard {
        let segment_name = self.one_of(&["eu", "pilots"]);
        if self.chance.u8(..3) == 0 {
            let request = v1::DeleteSegmentRequest { segment_name, ..Default::default() };
            return (self.flags.delete_segment(request).await.map(drop), &["SEGMENT_NOT_FOUND"]);
        }
        let description = self.chance.u32(..).to_string();
        let segment =
            Some(v1::Segment { segment_name, description, logic: "true".to_owned(), ..Default::default() });
        if self.chance.bool() {
            let request = v1::CreateSegmentRequest { segment, ..Default::default() };
            return (self.flags.create_segment(request).await.map(drop), &["SEGMENT_EXISTS"]);
        }
        let update_mask = Some(prost_types::FieldMask { paths: vec!["description".to_owned()] });
        let request = v1::UpdateSegmentRequest { segment, update_mask, ..Default::default() };
        (self.flags.update_segment(request).await.map(drop), &["SEGMENT_NOT_FOUND"])
    }

    /// Two flags at once, one of which may need a third, and sometimes nothing but them.
    async fn apply_flags(&mut self) -> Heard {
        let mut flags: Vec<v1::Flag> = Vec::new();
        for flag_key in [self.one_of(&FLAGS), self.one_of(&FLAGS)] {
            let needed = self.one_of(&FLAGS);
            let needs = v1::Prerequisite { flag_key: needed.clone(), variants: vec!["on".to_owned()] };
            let prerequisites =
                if self.chance.bool() && needed != flag_key { vec![needs] } else { Vec::new() };
            let owner = self.chance.u32(..).to_string();
            if flags.iter().all(|flag| flag.flag_key != flag_key) {
                let r#type = v1::FlagType::Boolean.into();
                flags.push(v1::Flag { flag_key, r#type, owner, prerequisites, ..Default::default() });
            }
        }
        let prune = self.chance.u8(..8) == 0;
        let force = self.chance.bool();
        let request = v1::ApplyFlagsRequest { flags, prune, force, ..Default::default() };
        let reasons = &["FLAG_NOT_FOUND", "DEPENDENCY_CYCLE", "DEPENDENTS_WOULD_BREAK"];
        (self.flags.apply_flags(request).await.map(drop), reasons)
    }

    async fn set_a_flag(&mut self) -> Heard {
        let (flag_key, variant) = (self.one_of(&FLAGS), self.one_of(&["on", "off", ""]));
        if self.chance.bool() {
            let tier_id = self.one_of(&TIERS);
            let request = v1::SetTierDefaultRequest { flag_key, tier_id, variant, ..Default::default() };
            let set = self.flags.set_tier_default(request).await.map(drop);
            return (set, &["FLAG_NOT_FOUND", "TIER_NOT_FOUND"]);
        }
        let tenant_id = self.one_of(&TENANTS);
        let request = v1::SetTenantOverrideRequest { flag_key, tenant_id, variant, ..Default::default() };
        let set = self.flags.set_tenant_override(request).await.map(drop);
        (set, &["FLAG_NOT_FOUND", "TENANT_NOT_FOUND"])
    }

    async fn move_tenant(&mut self) -> Heard {
        // Never that a tenant's own tier is missing: nobody takes it away from under a tenant.
        const REASONS: &[&str] = &["TENANT_NOT_FOUND", "ILLEGAL_TRANSITION", "OPERATION_IN_PROGRESS"];
        let tenant_id = self.one_of(&TENANTS);
        match self.chance.u8(..3) {
            0 => {
                let request = v1::SuspendTenantRequest { tenant_id, ..Default::default() };
                (self.lifecycle.suspend_tenant(request).await.map(drop), REASONS)
            }
            1 => {
                let request = v1::ActivateTenantRequest { tenant_id, ..Default::default() };
                (self.lifecycle.activate_tenant(request).await.map(drop), REASONS)
            }
            _ => {
                let tier = self.one_of(&TIERS);
                let request = v1::ChangeTierRequest { tenant_id, tier, ..Default::default() };
                // The one that it is to lead to may be missing.
                let reasons =
                    &["TENANT_NOT_FOUND", "TIER_NOT_FOUND", "ILLEGAL_TRANSITION", "OPERATION_IN_PROGRESS"];
                (self.lifecycle.change_tier(request).await.map(drop), reasons)
            }
        }
    }

    /// Aborts what a tenant has open, a change of tier among others.
    async fn take_back(&mut self) -> Heard {
        let request = v1::GetTenantRequest { tenant_id: self.one_of(&TENANTS) };
        let open = match self.tenants.get_tenant(request).await {
            Ok(tenant) => tenant.into_inner().operation_id,
            Err(error) => return (Err(error), &["TENANT_NOT_FOUND"]),
        };
        if open.is_empty() {
            return (Ok(()), &[]);
        }
        let request = v1::AbortOperationRequest { operation_id: open, ..Default::default() };
        let aborted = self.lifecycle.abort_operation(request).await.map(drop);
        (aborted, &["OPERATION_ENDED", "POINT_OF_NO_RETURN"])
    }

    async fn report_health(&mut self) -> Heard {
        let signals = v1::Signals {
            latency_p95_ms: Some(self.chance.f64() * 1_500.0),
            error_rate: Some(0.0),
            query_success_rate: Some(1.0),
            storage_utilization: Some(0.5),
        };
        let tenant_id = self.one_of(&TENANTS);
        let request = v1::ReportSignalsRequest { tenant_id, signals: Some(signals), ..Default::default() };
        (self.health.report_signals(request).await.map(drop), &["TENANT_NOT_FOUND"])
    }
}

/// Everything a snapshot holds, but for what is derived.
fn contents(snapshot: &Snapshot) -> Vec<String> {
    let mut lines = vec![format!("{} {}", snapshot.epoch, snapshot.revision)];
    lines.extend(snapshot.tenants.iter().map(|(id, record)| format!("tenant {id} {record:?}")));
    lines.extend(snapshot.tiers.iter().map(|(id, tier)| format!("tier {id} {tier:?}")));
    for flag in snapshot.flags.flags() {
        lines.push(format!("flag {flag:?}"));
        lines.extend(
            snapshot.flags.tier_defaults(flag.key().as_str()).map(|default| format!("default {default:?}")),
        );
        lines.extend(
            snapshot.flags.overrides_of_flag(flag.key().as_str()).map(|own| format!("override {own:?}")),
        );
    }
    lines.extend(snapshot.flags.segments().map(|segment| format!("segment {segment:?}")));
    lines.extend(snapshot.operations.values().map(|operation| format!("operation {operation:?}")));
    lines.push(format!("{:?}", snapshot.statistics()));
    // A flag's overrides are kept in no particular order.
    lines.sort_unstable();
    lines
}

async fn assert_dense(database_url: &str) {
    let (client, connection) = tokio_postgres::connect(database_url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let row = client
        .query_one(
            "SELECT count(*) = max(revision), max(revision) = (SELECT revision FROM log_head), count(*) FROM log",
            &[],
        )
        .await
        .unwrap();
    assert!(row.get::<_, bool>(0) && row.get::<_, bool>(1), "no gap, no row beyond the head");
    assert!(row.get::<_, i64>(2) > 100, "enough was changed to mean something");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_random_changes_on_two_replicas_every_view_is_what_the_tables_say() {
    let seed = std::env::var("TEST_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    // With a real target, so that the engine writes too, and one that takes its time, so that operations stay open.
    let stub = Stub::start(Duration::from_millis(3)).await.unwrap();
    let settings = vec![("cascade.apply_deadline", "10s".to_owned())];
    let setup = Setup { stubs: vec![("cache", stub)], settings, ..Setup::default() };
    let first = Replica::start(&setup).await;
    let second = Replica::on(&first.database_url, &setup).await;
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..WRITERS {
        let at = if number % 2 == 0 { &first } else { &second };
        let mut writer = Writer::new(seed.wrapping_add(number), at);
        writers.spawn(async move {
            for _ in 0..CHANGES {
                let (made, reasons) = writer.change().await;
                if let Err(error) = made {
                    let expected = reasons.contains(&reason(&error).as_str());
                    assert!(expected, "TEST_SEED={seed}: {error:?}");
                    assert!(!error.message().contains("which does not exist"), "TEST_SEED={seed}: {error:?}");
                }
            }
        });
    }
    while let Some(written) = writers.join_next().await {
        written.unwrap();
    }
    let mut reading = Replica::on(&first.database_url, &setup).await;
    for tenant_id in TENANTS {
        let request = v1::GetTenantRequest { tenant_id: tenant_id.to_owned() };
        if reading.tenants.get_tenant(request).await.is_ok() {
            reading.settled(tenant_id).await;
        }
    }
    assert_dense(&first.database_url).await;
    // Loaded from the tables alone, without having seen one event.
    let fresh = Replica::on(&first.database_url, &setup).await;
    let wanted = fresh.server.registry.view.snapshot().unwrap();
    for (tenant_id, record) in &wanted.tenants {
        let tier = &record.tenant.profile.tier;
        assert!(
            wanted.tiers.contains_key(tier),
            "TEST_SEED={seed}: {tenant_id} is on {tier}, which is not there"
        );
    }
    for replica in [&first, &second, &reading] {
        let view = &replica.server.registry.view;
        let followed = view.at_least(wanted.revision, Duration::from_secs(5)).await.unwrap();
        for (line, wanted) in contents(&followed).iter().zip(contents(&wanted)) {
            assert_eq!(*line, wanted, "TEST_SEED={seed}");
        }
        assert_eq!(contents(&followed).len(), contents(&wanted).len(), "TEST_SEED={seed}");
    }
    for replica in [first, second, reading, fresh] {
        replica.stop().await;
    }
}
