//! What is printed: tables for people, JSON and YAML for scripts.

use std::io::{self, Write};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use super::exit::Failure;

/// The form of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// The API's own JSON.
    Json,
    /// The same as YAML.
    Yaml,
}

/// A column: its heading, and the field's name in JSON.
pub(super) type Column = (&'static str, &'static str);

/// Writes text; a reader that has gone away (`| head`) is no failure.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    match io::Write::write_all(&mut anstream::stdout(), text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// Writes one thing.
pub(super) fn show(format: Format, thing: &Value) -> Result<(), Failure> {
    match structured(format, thing)? {
        Some(text) => print(&text),
        None => print(&format!("{}\n", details(thing))),
    }
}

/// Writes a list of things, each a row; `field` is where the response has them.
pub(super) fn show_list(
    format: Format,
    response: &Value,
    field: &str,
    columns: &[Column],
) -> Result<(), Failure> {
    if let Some(text) = structured(format, response)? {
        return print(&text);
    }
    let none = Vec::new();
    let rows = response[field].as_array().unwrap_or(&none);
    let mut text = format!("{}\n", trimmed(&rows_table(rows, columns)));
    let token = response["nextPageToken"].as_str().unwrap_or_default();
    if !token.is_empty() {
        let total = response["totalSize"].as_u64().filter(|total| *total > rows.len() as u64);
        let total = total.map_or_else(String::new, |total| format!(" of {total}"));
        text.push_str(&format!("{}{total}; the next page: --page-token {token}\n", rows.len()));
    }
    print(&text)
}

fn structured(format: Format, value: &Value) -> Result<Option<String>, Failure> {
    Ok(match format {
        Format::Table => None,
        Format::Json => Some(format!(
            "{}\n",
            serde_json::to_string_pretty(value).map_err(|error| Failure::internal(&error))?
        )),
        Format::Yaml => Some(serde_norway::to_string(value).map_err(|error| Failure::internal(&error))?),
    })
}

/// Things as rows.
pub(super) fn rows_table(rows: &[Value], columns: &[Column]) -> Table {
    let mut table = empty_table();
    table.set_header(columns.iter().map(|(heading, _)| *heading));
    for row in rows {
        table.add_row(columns.iter().map(|(_, field)| text(&row[*field])));
    }
    table
}

/// What people look for first.
const FIRST: [&str; 8] =
    ["tenantId", "tierId", "flagKey", "operationId", "displayName", "status", "state", "tier"];

/// One thing as names and values; what is not set is left out.
fn details(thing: &Value) -> String {
    let mut table = empty_table();
    let mut fields: Vec<(&String, &Value)> = thing.as_object().into_iter().flatten().collect();
    fields.sort_by_key(|(name, _)| FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()));
    for (name, value) in fields {
        let value = text(value);
        if !value.is_empty() && !value.ends_with("UNSPECIFIED") {
            table.add_row([words(name), value]);
        }
    }
    trimmed(&table)
}

/// A table's text without the blanks that fill its last column.
pub(super) fn trimmed(table: &Table) -> String {
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

fn empty_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    if table.width().is_none() {
        // Not a terminal: whoever reads it can wrap it.
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    table
}

/// `displayName` as people write it: `display name`.
fn words(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            text.push(' ');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

/// A value in one cell. Enums lose the type's name before their own: everybody sees what `TENANT_STATUS_ACTIVE` is.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => enum_name(text).to_owned(),
        Value::Array(items) => {
            let separator = if items.iter().any(Value::is_object) { "\n" } else { ", " };
            items.iter().map(text_inner).collect::<Vec<_>>().join(separator)
        }
        Value::Object(_) => text_inner(value),
        other => other.to_string(),
    }
}

fn text_inner(value: &Value) -> String {
    let Some(fields) = value.as_object() else { return text(value) };
    let field = |name: &str| fields.get(name).map(text);
    if let (Some(units), Some(currency)) = (field("units"), field("currencyCode")) {
        return format!("{units} {currency}");
    }
    // A limit, and one in force.
    if let Some(limit) = field("value").filter(|_| fields.len() == 1) {
        return limit;
    }
    if fields.len() == 1 && fields.contains_key("unlimited") {
        return "unlimited".to_owned();
    }
    if let (Some(metric), Some(limit), Some(source)) = (field("metric"), field("limit"), field("source")) {
        return format!("{metric} {limit} ({})", source.to_lowercase());
    }
    let fields =
        fields.iter().map(|(name, value)| (name, text(value))).filter(|(_, value)| !value.is_empty());
    fields.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

const ENUMS: [&str; 23] = [
    "FLAG_STATE_",
    "FLAG_KIND_",
    "FLAG_TYPE_",
    "STALENESS_",
    "CACHE_TTL_CLASS_",
    "TENANT_STATUS_",
    "TENANT_ACCESS_",
    "ISOLATION_MODEL_",
    "DATA_CLASSIFICATION_",
    "HEALTH_LEVEL_",
    "LIMIT_SOURCE_",
    "OPERATION_VERB_",
    "OPERATION_STATE_",
    "TARGET_STATE_",
    "DESIRED_STATE_",
    "BULK_OPERATION_STATE_",
    "CIRCUIT_STATE_",
    "CHECK_RESULT_",
    "TARGET_HOLD_",
    "PLANNED_CHANGE_",
    "VERIFICATION_",
    "FLAG_LAYER_",
    "CHANGE_TYPE_",
];

/// The last part of an enum's value.
pub(super) fn enum_name(text: &str) -> &str {
    ENUMS.iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text)
}

/// A writer for what is printed as it happens.
pub(super) fn stdout() -> impl Write {
    anstream::stdout()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cells_say_what_people_say() {
        assert_eq!(text(&json!("TENANT_STATUS_ACTIVE")), "ACTIVE");
        assert_eq!(text(&json!(["GDPR", "SOX"])), "GDPR, SOX");
        assert_eq!(text(&json!({"currencyCode": "USD", "units": 1000})), "1000 USD");
        assert_eq!(text(&json!(null)), "");
        let limit = json!({"metric": "users", "limit": {"value": 100}, "source": "LIMIT_SOURCE_OVERRIDE"});
        assert_eq!(text(&limit), "users 100 (override)");
        assert_eq!(text(&json!({"HR Operations": 1})), "HR Operations=1");
        assert_eq!(words("displayName"), "display name");
    }

    #[test]
    fn a_list_has_a_row_for_each_thing() {
        let rows =
            [json!({"tenantId": "finance", "status": "TENANT_STATUS_ACTIVE"}), json!({"tenantId": "hr"})];
        let table = rows_table(&rows, &[("ID", "tenantId"), ("STATUS", "status")]).to_string();
        let lines: Vec<&str> = table.lines().map(str::trim_end).collect();
        assert_eq!(lines, [" ID       STATUS", " finance  ACTIVE", " hr"]);
    }
}
