//! What is printed: tables for people, JSON and YAML for scripts.
//!
//! Names and messages come from files and servers of others. What people read shows them with everything escaped that a
//! terminal would obey: in [`text`], where a value becomes a cell, and again in [`print`], which lets only line feeds
//! through. What scripts read stays data.

use std::io::{self, Write};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use serde_json::Value;

use super::contract::enum_name;
use super::escape::{harmless, misleads};
use super::exit::Failure;
use super::phrases::phrase;

/// The form of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// The API's JSON, with numbers of 64 bits as numbers and not in quotes.
    Json,
    /// The same as YAML.
    Yaml,
}

/// A column: its heading, and the field's name in JSON.
pub(super) type Column = (&'static str, &'static str);

/// Writes text for people.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    print_data(&lines(text))
}

/// Tells people of something that does not stop a command.
pub fn warn(text: &str) {
    // Nothing can be done about a standard error that is gone.
    let _ = writeln!(anstream::stderr(), "warning: {}", harmless(text));
}

/// Lines for people, with nothing in them but text.
pub(super) fn lines(text: &str) -> String {
    text.split('\n').map(harmless).collect::<Vec<_>>().join("\n")
}

/// Writes text as it stands. A reader that has gone away (`| head`) is no failure: what a command does beside is done.
pub(super) fn print_data(text: &str) -> Result<(), Failure> {
    match standard_output().write_all(text.as_bytes()) {
        Err(error) if is_reader_gone(&error) => Ok(()),
        written => Ok(written?),
    }
}

/// Whoever read the standard output reads it no longer.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the standard output any more")]
struct ReaderGone;

/// Whether writing failed since the standard output's reader has gone away: nothing is wrong then, and nobody is there to be
/// told. No other pipe of the program's counts.
pub fn is_reader_gone(error: &io::Error) -> bool {
    let Some(cause) = error.get_ref() else { return false };
    cause.is::<ReaderGone>()
}

/// The standard output. Errors of it tell whether its reader [has gone away](is_reader_gone).
pub fn standard_output() -> impl Write + Send {
    Standard(anstream::stdout())
}

struct Standard<W>(W);

impl<W: Write> Write for Standard<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(told_apart)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(told_apart)
    }
}

fn told_apart(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::BrokenPipe { io::Error::new(error.kind(), ReaderGone) } else { error }
}

/// Writes one thing.
pub(super) fn show(format: Format, thing: &Value) -> Result<(), Failure> {
    match structured(format, thing)? {
        Some(text) => print_data(&text),
        None => print(&format!("{}\n", details(thing))),
    }
}

/// Writes what is for other programs however it is read: as YAML, or as JSON where that is asked for.
pub(super) fn show_data(format: Format, data: &Value) -> Result<(), Failure> {
    let format = if format == Format::Table { Format::Yaml } else { format };
    structured(format, data)?.map_or(Ok(()), |text| print_data(&text))
}

/// Writes a list of things, each a row; `field` is where the response has them.
pub(super) fn show_list(
    format: Format,
    response: &Value,
    field: &str,
    columns: &[Column],
) -> Result<(), Failure> {
    show_rows(format, response, field, columns, Value::clone)
}

/// The same, where a row is made of a thing.
pub(super) fn show_rows(
    format: Format,
    response: &Value,
    field: &str,
    columns: &[Column],
    row: impl Fn(&Value) -> Value,
) -> Result<(), Failure> {
    if let Some(text) = structured(format, response)? {
        return print_data(&text);
    }
    let rows: Vec<Value> = response[field].as_array().into_iter().flatten().map(row).collect();
    let mut text = format!("{}\n", trimmed(&rows_table(&rows, columns)));
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
        Format::Json => {
            let json = serde_json::to_string_pretty(value).map_err(|error| Failure::internal(&error))?;
            Some(format!("{}\n", json_escaped(&json)))
        }
        Format::Yaml => Some(yaml(value)?),
    })
}

/// YAML without a character that a terminal would obey, and without a bare word that readers of YAML 1.1 take for
/// something else than text: such texts are written as JSON writes them, which every YAML reads as the same text. What a
/// file or a pipe gets is as good as before, so it is the same for all.
fn yaml(value: &Value) -> Result<String, Failure> {
    let written = |value: &Value| serde_norway::to_string(value).map_err(|error| Failure::internal(&error));
    let plain = written(value)?;
    // Words that stand for such texts until all is laid out, and occur nowhere else.
    let mut stem = "text".to_owned();
    while plain.contains(&stem) {
        stem.push('x');
    }
    let mut quoted = Vec::new();
    let marked = marked(value, &stem, &mut quoted);
    if quoted.is_empty() {
        return Ok(plain);
    }
    let laid_out = written(&marked)?;
    let mut parts = laid_out.split(&stem);
    let mut yaml = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        let place: Option<usize> = part[..part.len() - rest.len()].parse().ok();
        yaml.push_str(place.and_then(|place| quoted.get(place)).map_or("", String::as_str));
        yaml.push_str(rest);
    }
    Ok(yaml)
}

/// YAML as [`yaml`] writes it.
#[cfg(test)]
pub(super) fn as_yaml(value: &Value) -> String {
    yaml(value).unwrap_or_default()
}

/// Whether a text has to be in quotes: a bare one would control a terminal, or be a truth value, a number, a time or a
/// merge of maps to some reader.
fn needs_quotes(text: &str) -> bool {
    let truths = ["y", "n", "yes", "no", "on", "off"];
    text.chars().any(|c| c != '\n' && misleads(c))
        || truths.iter().any(|word| text.eq_ignore_ascii_case(word))
        || matches!(text, "=" | "<<")
        || !text.contains('\n') && text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
}

/// The same with a mark in the place of every text that needs quotes; `quoted` gets what each stands for.
fn marked(value: &Value, stem: &str, quoted: &mut Vec<String>) -> Value {
    match value {
        Value::String(text) => mark(text, stem, quoted).into(),
        Value::Array(items) => items.iter().map(|item| marked(item, stem, quoted)).collect(),
        Value::Object(map) => {
            let field = |(name, field): (&String, &Value)| {
                let name = mark(name, stem, quoted);
                (name, marked(field, stem, quoted))
            };
            Value::Object(map.iter().map(field).collect())
        }
        other => other.clone(),
    }
}

fn mark(text: &str, stem: &str, quoted: &mut Vec<String>) -> String {
    if !needs_quotes(text) {
        return text.to_owned();
    }
    quoted.push(json_escaped(&Value::from(text).to_string()));
    format!("{stem}{}", quoted.len() - 1)
}

/// The same JSON without a character that a terminal would obey. They are only in strings, but for the line feeds
/// between fields; all of them are of the basic plane, so that each has one escape.
pub(super) fn json_escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && misleads(c) {
            escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            escaped.push(c);
        }
    }
    escaped
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
const FIRST: [&str; 9] =
    ["tenantId", "tierId", "flagKey", "segmentName", "operationId", "displayName", "status", "state", "tier"];

/// One thing as names and values; what is not set is left out.
fn details(thing: &Value) -> String {
    let mut table = empty_table();
    let mut fields: Vec<(&String, &Value)> = thing.as_object().into_iter().flatten().collect();
    fields.sort_by_key(|(name, _)| FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()));
    for (name, value) in fields {
        let value = said(value);
        if !value.is_empty() {
            table.add_row([words(name), value]);
        }
    }
    trimmed(&table)
}

/// A value in one cell; one that says nothing is empty.
fn said(value: &Value) -> String {
    let text = text(value);
    if text == "UNSPECIFIED" || text.ends_with("_UNSPECIFIED") { String::new() } else { text }
}

/// Writes one thing that has parts: its own fields, then a row for each part. A column in which no part says anything is
/// left out.
pub(super) fn show_with_parts(
    format: Format,
    thing: &Value,
    field: &str,
    columns: &[Column],
) -> Result<(), Failure> {
    let parts = thing[field].as_array().filter(|parts| format == Format::Table && !parts.is_empty());
    let Some(parts) = parts else { return show(format, thing) };
    let mut whole = thing.clone();
    if let Some(fields) = whole.as_object_mut() {
        fields.remove(field);
    }
    print(&format!("{}\n\n{}\n", details(&whole), parts_table(parts, columns)))
}

fn parts_table(parts: &[Value], columns: &[Column]) -> String {
    let is_said = |(_, field): &&Column| parts.iter().any(|part| !said(&part[*field]).is_empty());
    let columns: Vec<&Column> = columns.iter().filter(is_said).collect();
    let mut table = empty_table();
    table.set_header(columns.iter().map(|(heading, _)| *heading));
    for part in parts {
        table.add_row(columns.iter().map(|(_, field)| said(&part[*field])));
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
        Value::String(text) => to_the_second(text).unwrap_or_else(|| harmless(enum_name(text))),
        Value::Array(items) => {
            // Names stand side by side; things and sentences have a line each.
            let is_long =
                |item: &Value| item.is_object() || item.as_str().is_some_and(|text| text.contains(' '));
            let separator = if items.iter().any(is_long) { "\n" } else { ", " };
            items.iter().map(text_inner).collect::<Vec<_>>().join(separator)
        }
        Value::Object(_) => text_inner(value),
        other => other.to_string(),
    }
}

/// A moment without the parts of a second, which nobody reads.
fn to_the_second(text: &str) -> Option<String> {
    let (seconds, _) = text.strip_suffix('Z')?.split_once('.')?;
    text.parse::<Timestamp>().is_ok().then(|| format!("{seconds}Z"))
}

fn text_inner(value: &Value) -> String {
    let Some(fields) = value.as_object() else { return text(value) };
    if let Some(phrase) = phrase(fields) {
        return phrase;
    }
    let fields =
        fields.iter().map(|(name, value)| (name, said(value))).filter(|(_, value)| !value.is_empty());
    fields.map(|(name, value)| format!("{}={value}", harmless(name))).collect::<Vec<_>>().join(" ")
}

/// A writer of text for people, for what is printed as it happens.
pub(super) fn stdout() -> impl Write {
    ForPeople(standard_output())
}

struct ForPeople<W>(W);

impl<W: Write> Write for ForPeople<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // `write!` hands over whole pieces of text.
        self.0.write_all(lines(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
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
        assert_eq!(text(&json!("2027-02-23T23:18:48.452131Z")), "2027-02-23T23:18:48Z");
        assert_eq!(text(&json!("1.5Z")), "1.5Z");
        let limit = json!({"metric": "users", "limit": {"value": 100}, "source": "LIMIT_SOURCE_OVERRIDE"});
        assert_eq!(text(&limit), "users 100 (override)");
        assert_eq!(text(&json!({"HR Operations": 1})), "HR Operations=1");
        assert_eq!(words("displayName"), "display name");
    }

    #[test]
    fn what_says_nothing_is_left_out() {
        let parts = [
            json!({"target": "cache", "state": "TARGET_STATE_VERIFIED", "hold": "TARGET_HOLD_UNSPECIFIED", "lastError": ""}),
            json!({"target": "orders", "state": "TARGET_STATE_RETRYING", "lastError": "away"}),
        ];
        let columns =
            [("TARGET", "target"), ("STATE", "state"), ("WAITS FOR", "hold"), ("ERROR", "lastError")];
        assert_eq!(
            parts_table(&parts, &columns),
            " TARGET  STATE     ERROR\n cache   VERIFIED\n orders  RETRYING  away"
        );
        assert_eq!(text(&parts[0]), "state=VERIFIED target=cache");
        assert_eq!(details(&parts[0]), " state   VERIFIED\n target  cache");
    }

    const HOSTILE: &str = "a\x1b[2K\x1b[1A\rHIDDEN\nb\u{9b}\u{202e}";

    #[test]
    fn what_people_read_cannot_control_their_terminal() {
        let shown = r"a\u{1b}[2K\u{1b}[1A\rHIDDEN\nb\u{9b}\u{202e}";
        assert_eq!(text(&json!(HOSTILE)), shown);
        assert_eq!(text(&json!({ HOSTILE: [HOSTILE] })), format!("{shown}={shown}"));
        let table = rows_table(&[json!({ "name": HOSTILE })], &[("NAME", "name")]);
        assert_eq!(trimmed(&table), format!(" NAME\n {shown}"));
        assert_eq!(details(&json!({ "displayName": HOSTILE })), format!(" display name  {shown}"));
        let mut written = ForPeople(Vec::new());
        writeln!(written, "→ {HOSTILE}").unwrap();
        assert_eq!(String::from_utf8(written.0).unwrap(), format!("→ {}\n", shown.replace("\\n", "\n")));
    }

    #[test]
    fn what_scripts_read_stays_data_and_escapes_in_its_own_way() {
        let thing = json!({ "name": HOSTILE });
        let json = structured(Format::Json, &thing).unwrap().unwrap();
        assert!(!json.chars().any(|c| c != '\n' && misleads(c)), "{json:?}");
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), thing);
        let yaml = structured(Format::Yaml, &thing).unwrap().unwrap();
        assert!(!yaml.chars().any(|c| c != '\n' && misleads(c)), "{yaml:?}");
        assert_eq!(serde_norway::from_str::<Value>(&yaml).unwrap(), thing);
    }

    #[test]
    fn yaml_with_a_text_that_misleads_reads_as_the_same_data() {
        let harmless = json!({ "text0x0": "text0x1", "lines": "a\nb\n", "m": [1, 2.5, true, null, {}] });
        let yaml = structured(Format::Yaml, &harmless).unwrap().unwrap();
        assert_eq!(yaml, serde_norway::to_string(&harmless).unwrap());
        let many: Vec<Value> = (0..12).map(|n| json!(format!("{n}\u{202e}x"))).collect();
        let nasty = ["\u{200f}", "- \u{202a}: #x", "'\u{202b}\"\\", "two\nlines\u{2069}", "\u{9b}\t\u{202e}"];
        for thing in [
            json!({ "a\u{202e}b": { "c\u{2066}": nasty } }),
            json!({ "text0x0": "text0x1", "text1x": "\u{202e}text0x1", "many": many }),
            json!("\u{9b}\t\u{202e}"),
        ] {
            let yaml = structured(Format::Yaml, &thing).unwrap().unwrap();
            assert!(!yaml.chars().any(|c| c != '\n' && misleads(c)), "{yaml:?}");
            assert_eq!(serde_norway::from_str::<Value>(&yaml).unwrap(), thing, "{yaml}");
        }
    }

    #[test]
    fn yaml_is_the_same_text_to_readers_of_the_version_before() {
        let words = ["on", "No", "y", "1:30", "2026-12-01T00:00:00Z", "1_000", "+1", ".5", "=", "<<", "0o17"];
        let thing = json!({ "off": words, "text0": "10 % of all", "kept": "one" });
        let yaml = structured(Format::Yaml, &thing).unwrap().unwrap();
        for word in words.iter().chain(&["off", "10 % of all"]) {
            assert!(yaml.contains(&format!("\"{word}\"")), "{word}: {yaml}");
        }
        assert!(yaml.contains("kept: one\n"), "{yaml}");
        assert_eq!(serde_norway::from_str::<Value>(&yaml).unwrap(), thing, "{yaml}");
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
