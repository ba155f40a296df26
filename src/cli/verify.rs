//! `tenantry tenant verify`: a look at every target of a tenant.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::output::{Column, Format, show, show_list, text};
use super::{Context, Failure, progress};

/// A look at every target.
#[derive(Debug, Clone, Args)]
pub struct Verify {
    /// Which tenant.
    tenant_id: String,
    /// Only look.
    #[arg(long)]
    validate_only: bool,
    /// What becomes of a target that drifted; as the server is configured where not given.
    #[arg(long, value_enum)]
    drift: Option<Drift>,
}

/// What becomes of a target that drifted.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Drift {
    /// It is made true again.
    Repair,
    /// An operation tells an operator.
    Report,
}

/// What a look shows of each target.
const CHECKS: [Column; 5] = [
    ("TARGET", "target"),
    ("SHOULD BE", "desired"),
    ("IS", "observed"),
    ("RESULT", "result"),
    ("ERROR", "error"),
];

pub(super) async fn verify(context: &Context<'_>, verify: Verify) -> Result<(), Failure> {
    let output = context.connection.output;
    let mut request = json!({ "tenantId": verify.tenant_id, "validateOnly": verify.validate_only });
    if let Some(drift) = verify.drift {
        request["drift"] = format!("DRIFT_POLICY_{drift:?}").to_uppercase().into();
    }
    let answer = context.change("Lifecycle/VerifyTenant", request).await?;
    if output == Format::Table {
        show_list(output, &answer, "targets", &CHECKS)?;
    } else {
        show(output, &answer)?;
    }
    let Some(id) = answer["operation"]["operationId"].as_str() else {
        return as_looked(&answer);
    };
    let ended = progress::follow(&context.client, id, output != Format::Table).await?;
    // What could not be looked at may have been reached since, by the repair of all.
    let is_seen = |target: &Value| {
        let mut steps = ended["targets"].as_array().into_iter().flatten();
        steps.any(|step| step["target"] == *target && step["state"] == "TARGET_STATE_VERIFIED")
    };
    let untold = targets_that(&answer, |target| is_untold(target) && !is_seen(&target["target"]));
    let verdict = progress::verdict(&ended);
    let Some((targets, names)) = untold else { return verdict };
    let untold = format!("{targets} cannot be judged now ({names})");
    match verdict {
        Ok(()) => Err(Failure::unreached(untold)),
        Err(failure) => {
            let sentence = format!("{untold}; {}", failure.message());
            Err(failure.reworded(sentence))
        }
    }
}

/// Says what is not as it should be, where nothing was done about it.
fn as_looked(answer: &Value) -> Result<(), Failure> {
    let mut sentences = Vec::new();
    if let Some((targets, names)) = targets_that(answer, |target| target["result"] == "CHECK_RESULT_DRIFTED")
    {
        sentences.push(format!("{targets} drifted ({names})"));
    }
    if let Some((targets, names)) = targets_that(answer, |target| target["result"] == "CHECK_RESULT_AHEAD") {
        let ahead = "there is a newer generation than the registry has asked for";
        sentences.push(format!("in {targets} {ahead} ({names})"));
    }
    let is_wrong = !sentences.is_empty();
    if let Some((targets, names)) = targets_that(answer, is_untold) {
        sentences.push(format!("{targets} cannot be judged now ({names})"));
    }
    let said = sentences.join(", ");
    match (is_wrong, said.is_empty()) {
        (true, _) => Err(Failure::unsuccessful(said)),
        (false, false) => Err(Failure::unreached(said)),
        (false, true) => Ok(()),
    }
}

fn is_untold(target: &Value) -> bool {
    let told = ["CHECK_RESULT_AS_DESIRED", "CHECK_RESULT_DRIFTED", "CHECK_RESULT_AHEAD"];
    !told.iter().any(|result| target["result"] == *result)
}

/// How many targets are so, in words, and their names; `None` where none is.
fn targets_that(answer: &Value, are_meant: impl Fn(&Value) -> bool) -> Option<(String, String)> {
    let targets = answer["targets"].as_array().into_iter().flatten();
    let names: Vec<String> =
        targets.filter(|target| are_meant(target)).map(|target| text(&target["target"])).collect();
    let count = match names.len() {
        0 => return None,
        1 => "1 target".to_owned(),
        count => format!("{count} targets"),
    };
    Some((count, names.join(", ")))
}
