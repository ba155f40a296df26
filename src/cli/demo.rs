//! `tenantry demo`: a company's registry from the first tenant to the statistics, every answer checked.
//!
//! It can be repeated: what an earlier run left is brought back to where the story begins. Only archiving cannot be
//! taken back, so each run archives a legal department of its own. What others made is left alone (`demo/cast.rs`).

mod cast;

use std::io::Write;

use serde_json::{Value, json};

use self::cast::{Cast, FLAGS, marked};
use super::client::Client;
use super::exit::{Failure, class};
use super::output::{rows_table, text, trimmed};
use super::progress;
use super::tier::{catalogue, differences};

const GCC: &str = include_str!("../../catalogues/gcc.toml");
const WAIT: &str = "20s";

/// A business unit of the story.
struct Unit {
    id: String,
    name: &'static str,
    tier: &'static str,
    users: u32,
    documents: u32,
    queries: u32,
    sla: f64,
    support: &'static str,
}

fn units(cast: &Cast) -> [Unit; 5] {
    let unit = |id: &str, name, tier, (users, documents, queries), sla, support| Unit {
        id: id.to_owned(),
        name,
        tier,
        users,
        documents,
        queries,
        sla,
        support,
    };
    [
        unit(&cast.finance, "Finance Department", "platinum", (100, 50_000, 10_000), 0.9999, "24/7"),
        unit(&cast.legal, "Legal Department", "platinum", (50, 10_000, 5_000), 0.9999, "24/7"),
        unit(&cast.hr, "HR Operations", "gold", (30, 5_000, 2_000), 0.999, "business-hours"),
        unit(&cast.ops, "Global Operations", "gold", (50, 8_000, 3_000), 0.999, "business-hours"),
        unit(&cast.marketing, "Marketing", "silver", (20, 2_000, 500), 0.99, "email-only"),
    ]
}

/// Plays the story against a server and writes it to `out`; fails if one answer differs from what it must be. Tenants and
/// flags that the demo has not made are changed only with `take_over`; else nothing is.
pub async fn run(client: &Client, out: &mut (impl Write + Send), take_over: bool) -> Result<(), Failure> {
    let cast = Cast::find(client, take_over).await?;
    let units = units(&cast);
    let mut story = Story { client, out, checks: 0, differences: Vec::new(), cast, units };
    story.tenants().await?;
    story.lists().await?;
    story.flags().await?;
    story.lifecycle().await?;
    story.cascade().await?;
    story.health().await?;
    story.statistics().await?;
    let Story { checks, differences, out, .. } = story;
    if differences.is_empty() {
        writeln!(out, "\n{checks} answers checked, all as they must be.")?;
        return Ok(());
    }
    writeln!(out, "\n{} of {checks} answers differ:", differences.len())?;
    for difference in &differences {
        writeln!(out, "  {difference}")?;
    }
    Err(Failure::unsuccessful(format!("{} of {checks} answers differ", differences.len())))
}

struct Story<'a, W> {
    client: &'a Client,
    out: &'a mut W,
    checks: u32,
    differences: Vec<String>,
    cast: Cast,
    units: [Unit; 5],
}

impl<W: Write + Send> Story<'_, W> {
    fn chapter(&mut self, title: &str) -> Result<(), Failure> {
        Ok(writeln!(self.out, "\n── {title} ──")?)
    }

    /// Writes what came back, and whether it is what it must be.
    fn check(&mut self, what: &str, got: &str, wanted: &str) -> Result<(), Failure> {
        self.checks += 1;
        if got == wanted {
            return Ok(writeln!(self.out, "  ✓ {what}: {got}")?);
        }
        self.differences.push(format!("{what}: {got}, and should be {wanted}"));
        Ok(writeln!(self.out, "  ✗ {what}: {got}, and should be {wanted}")?)
    }

    async fn call(&self, method: &str, request: Value) -> Result<Value, Failure> {
        self.client.call(method, request).await
    }

    async fn tenant(&self, id: &str) -> Result<Value, Failure> {
        self.call("TenantRegistry/GetTenant", json!({ "tenantId": id })).await
    }

    /// Makes what is not there, leaves what is.
    async fn ensure(&self, method: &str, request: Value) -> Result<(), Failure> {
        match self.call(method, request).await {
            Err(failure) if failure.code() == class::CONFLICT => Ok(()),
            made => made.map(drop),
        }
    }

    async fn tenants(&mut self) -> Result<(), Failure> {
        self.chapter("Five tenants on three tiers")?;
        for tier in catalogue(GCC)? {
            self.ensure("Tiers/CreateTier", json!({ "tier": tier })).await?;
            let there = self.call("Tiers/GetTier", json!({ "tierId": tier["tierId"] })).await?;
            let differences = differences(&tier, &there);
            if !differences.is_empty() {
                writeln!(
                    self.out,
                    "  tier {} is not the story's, and is left as it is: {}",
                    text(&tier["tierId"]),
                    differences.join("; ")
                )?;
            }
        }
        for index in 0..self.units.len() {
            let Unit { id, name, tier, users, documents, queries, sla, support } = &self.units[index];
            let limit = |value: &u32| json!({ "value": value.to_string() });
            let mut tenant = json!({
                "tenantId": id,
                "displayName": name,
                "labels": marked(&Value::Null),
                "businessUnit": name,
                "tier": tier,
                "slaTarget": sla,
                "supportLevel": support,
                "limitOverrides": { "users": limit(users), "documents": limit(documents), "queries": limit(queries) },
            });
            let (id, tier) = (id.clone(), *tier);
            self.ensure("TenantRegistry/CreateTenant", json!({ "tenant": tenant })).await?;
            self.bring_back(&id).await?;
            let there = self.tenant(&id).await?;
            if there["tier"] != tier {
                // One that was taken over.
                let request = json!({ "tenantId": id, "tier": tier, "wait": WAIT });
                self.call("Lifecycle/ChangeTier", request).await?;
            }
            tenant["labels"] = marked(&there);
            let mask = "displayName,businessUnit,tier,slaTarget,supportLevel,limitOverrides,labels";
            let request = json!({ "tenant": tenant, "updateMask": mask });
            self.call("TenantRegistry/UpdateTenant", request).await?;
            let tenant = self.tenant(&id).await?;
            let got = format!("{} on {}", text(&tenant["status"]), text(&tenant["tier"]));
            self.check(&id, &got, &format!("ACTIVE on {tier}"))?;
        }
        Ok(())
    }

    /// Waits for what is under way, and lets a tenant in that an earlier run locked out.
    async fn bring_back(&self, id: &str) -> Result<(), Failure> {
        let mut tenant = self.tenant(id).await?;
        if let Some(operation) = tenant["operationId"].as_str().filter(|id| !id.is_empty()) {
            let ended = progress::follow(self.client, operation, true).await?;
            if let Some(why) = progress::held_up(&ended) {
                return Err(Failure::unsuccessful(format!("{id} is not brought back yet: {why}")));
            }
            tenant = self.tenant(id).await?;
        }
        let method = match text(&tenant["status"]).as_str() {
            "SUSPENDED" => "Lifecycle/ActivateTenant",
            "MIGRATING" => "Lifecycle/FinishMigration",
            _ => return Ok(()),
        };
        self.call(method, json!({ "tenantId": id, "wait": WAIT })).await.map(drop)
    }

    async fn lists(&mut self) -> Result<(), Failure> {
        self.chapter("Reading and listing")?;
        let finance = self.tenant(&self.cast.finance).await?;
        self.check("finance's SLA target", &text(&finance["slaTarget"]), "0.9999")?;
        self.check("finance's support", &text(&finance["supportLevel"]), "24/7")?;
        let users =
            finance["limits"].as_array().into_iter().flatten().find(|limit| limit["metric"] == "users");
        let users = users.map(|limit| format!("{} ({})", limit["limit"]["value"], text(&limit["source"])));
        self.check("finance's limit of users", &users.unwrap_or_default(), "100 (OVERRIDE)")?;
        let ids: Vec<String> = self.units.iter().map(|unit| unit.id.clone()).collect();
        for (what, filter) in
            [("active", "status = ACTIVE"), ("platinum", "tier = \"platinum\" AND status = ACTIVE")]
        {
            // Others may have tenants here too, and more than fit a page.
            let five = ids.iter().map(|id| format!("tenant_id = \"{id}\"")).collect::<Vec<_>>().join(" OR ");
            let filter = format!("{filter} AND ({five})");
            let request = json!({ "filter": filter, "orderBy": "tenant_id" });
            let listed = self.call("TenantRegistry/ListTenants", request).await?;
            let ours = listed["tenants"].as_array().cloned().unwrap_or_default();
            let columns =
                [("ID", "tenantId"), ("NAME", "displayName"), ("TIER", "tier"), ("HEALTH", "healthScore")];
            writeln!(self.out, "{}", trimmed(&rows_table(&ours, &columns)))?;
            let wanted = if what == "active" { 5 } else { 2 };
            self.check(&format!("{what} ones of the five"), &ours.len().to_string(), &wanted.to_string())?;
        }
        Ok(())
    }

    async fn flags(&mut self) -> Result<(), Failure> {
        self.chapter("Feature flags: tenant override > tier default > global default")?;
        for (key, default) in FLAGS {
            let mut flag = json!({ "flagKey": key, "type": "FLAG_TYPE_BOOLEAN", "defaultVariant": default });
            flag["labels"] = marked(&Value::Null);
            self.ensure("FeatureFlags/CreateFlag", json!({ "flag": flag })).await?;
            let there = self.call("FeatureFlags/GetFlag", json!({ "flagKey": key })).await?;
            let flag = json!({ "flagKey": key, "labels": marked(&there) });
            if flag["labels"] != there["labels"] {
                let request = json!({ "flag": flag, "updateMask": "labels" });
                self.call("FeatureFlags/UpdateFlag", request).await?;
            }
        }
        let tiers: [(&str, &[(&str, &str)]); 3] = [
            (
                "platinum",
                &[
                    ("advanced_analytics", "on"),
                    ("dedicated_namespace", "on"),
                    ("priority_support", "on"),
                    ("api_access", "on"),
                ],
            ),
            ("gold", &[("advanced_analytics", "on"), ("shared_namespace", "on"), ("api_access", "on")]),
            ("silver", &[("advanced_analytics", "off"), ("shared_namespace", "on"), ("api_access", "off")]),
        ];
        for (tier, defaults) in tiers {
            for (key, variant) in defaults {
                let request = json!({ "flagKey": key, "tierId": tier, "variant": variant });
                self.call("FeatureFlags/SetTierDefault", request).await?;
            }
        }
        let Cast { finance, hr, marketing, .. } = &self.cast;
        let [finance, hr, marketing] = [finance, hr, marketing].map(Clone::clone);
        for key in ["advanced_analytics", "api_access"] {
            let request = json!({ "flagKey": key, "tenantId": marketing, "variant": "on", "reason": "a campaign needs it" });
            self.call("FeatureFlags/SetTenantOverride", request).await?;
        }
        for (tenant, key, value, layer) in [
            (&finance, "advanced_analytics", true, "TIER_DEFAULT"),
            (&hr, "advanced_analytics", true, "TIER_DEFAULT"),
            (&marketing, "advanced_analytics", true, "TENANT_OVERRIDE"),
            (&finance, "dedicated_namespace", true, "TIER_DEFAULT"),
            (&hr, "dedicated_namespace", false, "GLOBAL_DEFAULT"),
            (&marketing, "basic_search", true, "GLOBAL_DEFAULT"),
            (&hr, "no_such_flag", false, "UNKNOWN_FLAG"),
        ] {
            let request = json!({ "tenantId": tenant, "flagKey": key });
            let answer = self.call("FeatureFlags/EvaluateFlag", request).await?;
            let got = format!("{} by {}", answer["value"], text(&answer["layer"]));
            self.check(&format!("{key} for {tenant}"), &got, &format!("{value} by {layer}"))?;
        }
        Ok(())
    }

    /// Asks for a move, waits, and checks where it led.
    async fn go(&mut self, method: &str, id: &str, reason: &str, wanted: &str) -> Result<Value, Failure> {
        let request = json!({ "tenantId": id, "reason": reason, "wait": WAIT });
        let operation = self.call(&format!("Lifecycle/{method}"), request).await?;
        let status = text(&self.tenant(id).await?["status"]);
        self.check(&format!("{method} {id}"), &status, wanted)?;
        Ok(operation)
    }

    async fn lifecycle(&mut self) -> Result<(), Failure> {
        self.chapter("The lifecycle, and what it refuses")?;
        let Cast { legal, hr, marketing, .. } = &self.cast;
        let [legal, hr, marketing] = [legal, hr, marketing].map(Clone::clone);
        let legal = legal.as_str();
        self.go("SuspendTenant", &hr, "Budget review", "SUSPENDED").await?;
        self.go("ActivateTenant", &hr, "Budget approved", "ACTIVE").await?;
        let refused = self.call("Lifecycle/DeleteTenant", json!({ "tenantId": marketing })).await;
        let got = refused.map_or_else(|failure| failure.message().to_owned(), |_| "it was done".to_owned());
        self.check(
            "DeleteTenant marketing",
            &got,
            "a tenant that is ACTIVE cannot take DeleteTenant: from there it can move to SUSPENDED or MIGRATING \
             [ILLEGAL_TRANSITION]",
        )?;
        self.go("SuspendTenant", legal, "Closing the department", "SUSPENDED").await?;
        self.go("ArchiveTenant", legal, "Closed", "ARCHIVED").await?;
        let response = self.call("Lifecycle/ListTransitions", json!({ "tenantId": legal })).await?;
        let to: Vec<String> =
            response["transitions"].as_array().into_iter().flatten().map(|to| text(&to["to"])).collect();
        self.check("allowed from ARCHIVED", &to.join(", "), "DELETED")
    }

    async fn cascade(&mut self) -> Result<(), Failure> {
        self.chapter("Suspended and activated in every system at once")?;
        let finance = self.cast.finance.clone();
        for (method, reason, status, desired) in [
            ("SuspendTenant", "Monthly maintenance", "SUSPENDED", "SUSPENDED"),
            ("ActivateTenant", "Maintenance complete", "ACTIVE", "ACTIVE"),
        ] {
            let operation = self.go(method, &finance, reason, status).await?;
            self.check("the operation", &text(&operation["state"]), "SUCCEEDED")?;
            let steps: Vec<Value> = operation["targets"].as_array().cloned().unwrap_or_default();
            if steps.len() < 5 {
                writeln!(
                    self.out,
                    "  (this server has {} target systems; `tenantry dev` has five)",
                    steps.len()
                )?;
            }
            for step in steps {
                let got = format!("{}, {}", text(&step["observed"]), text(&step["state"]));
                self.check(&format!("  {}", text(&step["target"])), &got, &format!("{desired}, VERIFIED"))?;
            }
        }
        Ok(())
    }

    async fn health(&mut self) -> Result<(), Failure> {
        self.chapter("Health from four signals")?;
        writeln!(
            self.out,
            "  −10 for each 100 ms above 500 ms, −20 for each 1 % of errors, −30 below 95 % of queries"
        )?;
        writeln!(self.out, "  succeeding, −20 above 90 % of storage: proportional, from 100 down to 0.")?;
        let Cast { finance, hr, marketing, .. } = &self.cast;
        let [finance, hr, marketing] = [finance, hr, marketing].map(Clone::clone);
        for (tenant, signals, wanted) in [
            // 0.5 % of errors cost 10.
            (&finance, (350.0, 0.005, 0.98, 0.70), "90 HEALTHY"),
            // 200 ms cost 20, 2 % of errors 40, the queries 30.
            (&hr, (700.0, 0.02, 0.93, 0.85), "10 CRITICAL"),
            // 700 ms cost 70, 10 % of errors 200: the score does not go below 0.
            (&marketing, (1_200.0, 0.10, 0.80, 0.95), "0 CRITICAL"),
        ] {
            let (latency, errors, success, storage) = signals;
            let signals = json!({
                "latencyP95Ms": latency,
                "errorRate": errors,
                "querySuccessRate": success,
                "storageUtilization": storage,
            });
            let request = json!({ "tenantId": tenant, "signals": signals });
            let answer = self.call("TenantHealth/ReportSignals", request).await?;
            let score = answer["healthScore"].as_u64().unwrap_or_default();
            let what =
                format!("{tenant} ({latency} ms, {errors} errors, {success} success, {storage} storage)");
            self.check(&what, &format!("{score} {}", text(&answer["healthLevel"])), wanted)?;
        }
        let filter = format!(
            "health_score < 50 AND (tenant_id = \"{hr}\" OR tenant_id = \"{marketing}\" OR tenant_id = \"{finance}\")"
        );
        let request = json!({ "filter": filter });
        let listed = self.call("TenantRegistry/ListTenants", request).await?;
        self.check("of these below 50", &listed["totalSize"].to_string(), "2")
    }

    async fn statistics(&mut self) -> Result<(), Failure> {
        self.chapter("Statistics")?;
        let counts = self.call("TenantRegistry/GetStatistics", json!({})).await?;
        for field in ["byStatus", "byTier"] {
            let names = counts[field].as_object().into_iter().flatten();
            let line: Vec<String> = names.map(|(name, count)| format!("{name} {count}")).collect();
            writeln!(self.out, "  {field}: {}", line.join(", "))?;
        }
        writeln!(self.out, "  average health: {}", counts["averageHealthScore"])?;
        let listed = self.call("TenantRegistry/ListTenants", json!({ "pageSize": 1 })).await?;
        self.check("tenants in all", &counts["total"].to_string(), &listed["totalSize"].to_string())?;
        let on_tiers: u64 =
            counts["byTier"].as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum();
        self.check("tenants on tiers", &on_tiers.to_string(), &counts["total"].to_string())
    }
}
