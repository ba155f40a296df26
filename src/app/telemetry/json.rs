//! One JSON object a line, with the fields of the enclosing spans beside those of the event.

use std::fmt::{self, Write as _};

use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{
        FmtContext, FormattedFields,
        format::{FormatEvent, FormatFields, Writer},
    },
    registry::LookupSpan,
};

/// Formats events as flat JSON. The stock format nests spans, so that a search for a tenant would have to know how deep
/// the line was written. Of fields with one name the innermost wins. Needs [`Members`] as the field format.
#[derive(Debug, Clone, Copy)]
pub(super) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Map::new();
        for span in context.event_scope().into_iter().flat_map(tracing_subscriber::registry::Scope::from_root)
        {
            // What is recorded later stands behind a space, also where nothing of it is for a line.
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>()
                && let Ok(fields) =
                    serde_json::from_str::<Map<_, _>>(&format!("{{{}}}", fields.trim_end_matches([',', ' '])))
            {
                line.extend(fields);
            }
        }
        event.record(&mut Fields(&mut line));
        let metadata = event.metadata();
        let now = jiff::Timestamp::now();
        line.insert("timestamp".to_owned(), Value::String(format!("{now:.6}")));
        line.insert("level".to_owned(), Value::String(metadata.level().to_string()));
        line.insert("target".to_owned(), Value::String(metadata.target().to_owned()));
        writeln!(writer, "{}", Value::Object(line))
    }
}

/// Formats a span's fields as members of a JSON object, `"name":value,` each. A span is made for every call and few
/// calls write a line, so this is the quick half and [`JsonLines`] the thorough one: nothing is parsed or put in order
/// here, and a field that is recorded again is simply written once more, later.
#[derive(Debug, Clone, Copy)]
pub(super) struct Members;

impl<'writer> FormatFields<'writer> for Members {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut visitor = MemberVisitor { writer, result: Ok(()) };
        fields.record(&mut visitor);
        visitor.result
    }
}

struct MemberVisitor<'writer> {
    writer: Writer<'writer>,
    result: fmt::Result,
}

impl MemberVisitor<'_> {
    fn member(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        // Those are for exporters, which do not read lines; a line has the code by its name.
        let is_for_exporters = field.name().starts_with("otel.") || field.name() == "rpc.grpc.status_code";
        if self.result.is_err() || is_for_exporters {
            return;
        }
        let writer = &mut self.writer;
        // A field's name is an identifier with dots.
        self.result = write!(writer, "\"{}\":", field.name())
            .and_then(|()| value(writer))
            .and_then(|()| writer.write_char(','));
    }
}

impl Visit for MemberVisitor<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no word for a number that is none.
        self.member(field, |writer| {
            if value.is_finite() { write!(writer, "{value}") } else { writer.write_str("null") }
        });
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, |writer| write!(writer, "{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, |writer| write!(writer, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, |writer| write!(writer, "{value}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field, |writer| {
            writer.write_char('"')?;
            Escaped(writer).write_str(value)?;
            writer.write_char('"')
        });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.member(field, |writer| {
            writer.write_char('"')?;
            write!(Escaped(writer), "{value:?}")?;
            writer.write_char('"')
        });
    }
}

/// Escapes what passes through as the inside of a JSON text.
struct Escaped<'a, 'writer>(&'a mut Writer<'writer>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
            return self.0.write_str(text);
        }
        let quoted = serde_json::to_string(text).map_err(|_| fmt::Error)?;
        self.0.write_str(&quoted[1..quoted.len() - 1])
    }
}

struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn insert(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use tracing::{field::Empty, info, info_span};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn line_of(act: impl FnOnce()) -> Map<String, Value> {
        let sink = Sink::default();
        let writer = sink.clone();
        let lines = tracing_subscriber::fmt::layer()
            .event_format(JsonLines)
            .fmt_fields(Members)
            .with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), act);
        let written = sink.0.lock().unwrap();
        serde_json::from_slice(&written).unwrap()
    }

    #[test]
    fn a_line_names_the_call_and_what_the_handler_recorded() {
        let line = line_of(|| {
            let span = info_span!("rpc", request_id = "r-1", tenant_id = Empty);
            let _entered = span.enter();
            span.record("tenant_id", "acme");
            let _inner = info_span!("step", name = "outer").entered();
            info!(name = "inner", attempt = 2, "Tried \"again\".");
        });
        assert_eq!(line["request_id"], "r-1");
        assert_eq!(line["tenant_id"], "acme");
        assert_eq!(line["name"], "inner");
        assert_eq!(line["attempt"], 2);
        assert_eq!(line["message"], "Tried \"again\".");
        assert_eq!(line["level"], "INFO");
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn whatever_a_span_is_given_comes_back_as_it_was() {
        let hostile = "a\"b\\c\n\u{1b}[31m\u{202e}, }";
        let line = line_of(|| {
            let span = info_span!(
                "rpc",
                otel.name = "for exporters",
                otel.status_code = Empty,
                shown = %hostile,
                debugged = ?hostile,
                text = hostile,
                count = -7,
                size = u64::MAX,
                share = 0.5,
                nothing = f64::NAN,
                is_so = true,
            );
            span.record("otel.status_code", "ERROR");
            let _entered = span.enter();
            info!("Said.");
        });
        assert_eq!(line["shown"], hostile);
        assert_eq!(line["debugged"], format!("{hostile:?}"));
        assert_eq!(line["text"], hostile);
        assert_eq!((&line["count"], &line["size"]), (&(-7).into(), &u64::MAX.into()));
        assert_eq!((&line["share"], &line["is_so"]), (&0.5.into(), &true.into()));
        assert_eq!((&line["nothing"], line.get("otel.name")), (&Value::Null, None));
    }
}
