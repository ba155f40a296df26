//! `tenantry flag segment …`

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::{set, yaml};
use crate::cli::output::{Column, print, show, show_list};
use crate::cli::{Context, Failure};

/// Commands about segments.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Make a segment.
    Create {
        /// Its name.
        segment_name: String,
        /// What it is.
        #[command(flatten)]
        fields: Fields,
        /// Check all, change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Show a segment, and up to 100 flags that use it.
    Get {
        /// Which.
        segment_name: String,
    },
    /// List segments.
    List,
    /// Change what is given, for all flags that use it at once.
    Update {
        /// Which.
        segment_name: String,
        /// The new values.
        #[command(flatten)]
        fields: Fields,
        /// Refuse if it changed since.
        #[arg(long)]
        etag: Option<String>,
        /// Check all, change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Delete a segment that nothing uses.
    Delete {
        /// Which.
        segment_name: String,
        /// Refuse if it changed since.
        #[arg(long)]
        etag: Option<String>,
        /// Check all, change nothing.
        #[arg(long)]
        dry_run: bool,
    },
}

/// What a segment is.
#[derive(Debug, Clone, Args)]
pub struct Fields {
    /// What it is for.
    #[arg(long)]
    description: Option<String>,
    /// What has to hold, as in a file: `{attribute: region, operator: in, values: [eu-1]}`. May be given several times;
    /// all have to hold.
    #[arg(long = "condition", value_name = "CONDITION", conflicts_with = "logic")]
    conditions: Vec<String>,
    /// The same in flagd's JSONLogic, as JSON.
    #[arg(long, value_name = "JSON")]
    logic: Option<String>,
}

const COLUMNS: [Column; 4] =
    [("SEGMENT", "segmentName"), ("DESCRIPTION", "description"), ("LOGIC", "logic"), ("USED BY", "usedBy")];

impl Fields {
    fn given(self) -> Result<Map<String, Value>, Failure> {
        let conditions = self.conditions.iter().map(|text| condition(text)).collect::<Result<Vec<_>, _>>()?;
        let conditions = (!conditions.is_empty()).then(|| conditions.into());
        Ok(super::given([
            ("description", self.description.map(Value::from)),
            ("conditions", conditions),
            ("logic", self.logic.map(Value::from)),
        ]))
    }
}

/// A condition as a file has it, which is YAML or JSON.
fn condition(text: &str) -> Result<Value, Failure> {
    let read = yaml::read(text);
    let read = read.and_then(|read| set::written_out(read.value)).and_then(|condition| {
        if condition.is_object() { Ok(condition) } else { Err("it must be a map".to_owned()) }
    });
    read.map_err(|why| {
        let example = "{attribute: region, operator: in, values: [eu-1]}";
        Failure::usage(format!("--condition must be such as {example}; {why}"))
    })
}

pub(super) async fn run(command: Command, context: &Context<'_>) -> Result<(), Failure> {
    let output = context.connection.output;
    match command {
        Command::Create { segment_name, fields, dry_run } => {
            let mut segment = fields.given()?;
            segment.insert("segmentName".into(), segment_name.into());
            let request = json!({ "segment": segment, "validateOnly": dry_run });
            show(output, &context.change("FeatureFlags/CreateSegment", request).await?)
        }
        Command::Get { segment_name } => {
            let request = json!({ "segmentName": segment_name });
            show(output, &context.client.call("FeatureFlags/GetSegment", request).await?)
        }
        Command::List => {
            let response = context.client.list("FeatureFlags/ListSegments", json!({}), "segments").await?;
            show_list(output, &response, "segments", &COLUMNS)
        }
        Command::Update { segment_name, fields, etag, dry_run } => {
            let mut segment = fields.given()?;
            if segment.is_empty() {
                return Err(Failure::usage("give at least one attribute to change"));
            }
            let mask = segment.keys().cloned().collect::<Vec<_>>().join(",");
            segment.insert("segmentName".into(), segment_name.into());
            segment.insert("etag".into(), etag.unwrap_or_default().into());
            let request = json!({ "segment": segment, "updateMask": mask, "validateOnly": dry_run });
            show(output, &context.change("FeatureFlags/UpdateSegment", request).await?)
        }
        Command::Delete { segment_name, etag, dry_run } => {
            let request = json!({
                "segmentName": segment_name, "etag": etag.unwrap_or_default(), "validateOnly": dry_run,
            });
            context.change("FeatureFlags/DeleteSegment", request).await?;
            let done = if dry_run { "can be deleted" } else { "is deleted" };
            print(&format!("segment {segment_name} {done}\n"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_written_as_in_a_file() {
        let read = condition("{attribute: region, operator: starts with, values: [eu-]}").unwrap();
        let expected = json!({
            "attribute": "region", "operator": "CONDITION_OPERATOR_STARTS_WITH", "values": ["eu-"],
        });
        assert_eq!(read, expected);
        for wrong in ["region", "{operator: is}", "{", ""] {
            let why = condition(wrong).unwrap_err();
            assert!(
                why.message().starts_with("--condition must be such as {attribute: "),
                "{wrong}: {why:?}"
            );
        }
    }
}
