//! Values that do harm where nobody looks, for every kind of field there is.

use std::collections::HashMap;

use prost_reflect::{
    DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    ReflectMessage as _, Value,
};

/// How deep messages inside messages are looked into. `google.protobuf.Value` contains itself.
const DEPTH_MAX: usize = 5;
/// More than any list of the contract may have.
const MANY: usize = 10_001;

/// A request with one bad value in it.
#[derive(Debug)]
pub(super) struct Case {
    /// Where, as a violation would name it, without keys and places in lists.
    pub(super) path: String,
    /// What is put there.
    pub(super) what: String,
    /// The request.
    pub(super) message: DynamicMessage,
    /// Whether the server has to refuse it for this field: a NUL in text that it would keep.
    pub(super) must_refuse: bool,
}

/// What a request needs to be a good one.
pub(super) struct Good {
    /// By field name.
    pub(super) text: HashMap<&'static str, String>,
    /// The contract's mark of what a field is for.
    pub(super) behavior: ExtensionDescriptor,
}

impl Good {
    /// A request that could succeed.
    pub(super) fn message(&self, of: &MessageDescriptor, depth: usize) -> DynamicMessage {
        let mut message = DynamicMessage::new(of.clone());
        if depth > DEPTH_MAX {
            return message;
        }
        for field in of.fields() {
            if self.is(&field, "REQUIRED") || field.name() == "update_mask" {
                message.set_field(&field, self.value(&field, depth));
            }
        }
        message
    }

    /// A good value for a field, a list or a map of one where it is one.
    fn value(&self, field: &FieldDescriptor, depth: usize) -> Value {
        if field.is_map() {
            return Value::Map(HashMap::new());
        }
        let one = self.one(field, depth);
        if field.is_list() { Value::List(vec![one]) } else { one }
    }

    fn one(&self, field: &FieldDescriptor, depth: usize) -> Value {
        match field.kind() {
            Kind::String => Value::String(self.text.get(field.name()).cloned().unwrap_or_default()),
            Kind::Message(of) if of.full_name() == "google.protobuf.FieldMask" => mask(&of, &["*"]),
            Kind::Message(of) => Value::Message(self.message(&of, depth + 1)),
            Kind::Enum(_) => Value::EnumNumber(1),
            Kind::Double => Value::F64(0.5),
            kind => Value::default_value(&kind),
        }
    }

    fn is(&self, field: &FieldDescriptor, behavior: &str) -> bool {
        let options = field.options();
        let marks = options.get_extension(&self.behavior);
        let Kind::Enum(marked) = self.behavior.kind() else { return false };
        let wanted = marked.get_value_by_name(behavior).map(|value| value.number());
        marks.as_list().is_some_and(|marks| marks.iter().any(|mark| mark.as_enum_number() == wanted))
    }

    /// A good request with one field after the other made bad.
    pub(super) fn spoil(&self, base: &DynamicMessage) -> Vec<Case> {
        let updates = base.descriptor().get_field_by_name("update_mask").is_some();
        let mut cases = self.spoil_within(base, "", 0, true);
        for case in &mut cases {
            // What an update cannot change is not read.
            case.must_refuse &= !(updates && case.path.contains("resource_names"));
        }
        cases
    }

    fn spoil_within(&self, base: &DynamicMessage, path: &str, depth: usize, kept: bool) -> Vec<Case> {
        let mut cases = Vec::new();
        for field in base.descriptor().fields() {
            let path =
                if path.is_empty() { field.name().to_owned() } else { format!("{path}.{}", field.name()) };
            let kept = kept && !self.is(&field, "OUTPUT_ONLY");
            for bad in self.bad_values(&field, &path, depth, kept) {
                let mut message = base.clone();
                message.set_field(&field, bad.value);
                cases.push(Case { path: bad.path, what: bad.what, message, must_refuse: bad.must_refuse });
            }
            let mut unset = base.clone();
            unset.clear_field(&field);
            cases.push(Case { path, what: "unset".into(), message: unset, must_refuse: false });
        }
        cases
    }

    fn bad_values(&self, field: &FieldDescriptor, path: &str, depth: usize, kept: bool) -> Vec<Bad> {
        if field.is_map() {
            return self.bad_maps(field, path, depth, kept);
        }
        let mut bad = self.bad_ones(field, path, depth, kept);
        if field.is_list() {
            for bad in &mut bad {
                bad.value = Value::List(vec![bad.value.clone()]);
            }
            let one = self.one(field, depth);
            bad.push(Bad::new(path, "twice the same", Value::List(vec![one.clone(), one.clone()])));
            bad.push(Bad::new(path, "very many", Value::List(vec![one; MANY])));
        }
        bad
    }

    fn bad_maps(&self, field: &FieldDescriptor, path: &str, depth: usize, kept: bool) -> Vec<Bad> {
        let Kind::Message(entry) = field.kind() else { return Vec::new() };
        let of = entry.map_entry_value_field();
        let good = self.one(&of, depth);
        let one =
            |key: &str, value: Value| Value::Map(HashMap::from([(MapKey::String(key.to_owned()), value)]));
        let mut bad = Vec::new();
        for (what, key, nul) in texts() {
            let mut case = Bad::new(path, &format!("key {what}"), one(&key, good.clone()));
            case.must_refuse = kept && nul;
            bad.push(case);
        }
        for value in self.bad_ones(&of, path, depth, kept) {
            bad.push(Bad { value: one("key", value.value), path: path.to_owned(), ..value });
        }
        let many = (0..MANY).map(|number| (MapKey::String(format!("k{number}")), good.clone())).collect();
        bad.push(Bad::new(path, "very many", Value::Map(many)));
        bad
    }

    fn bad_ones(&self, field: &FieldDescriptor, path: &str, depth: usize, kept: bool) -> Vec<Bad> {
        let plain = |values: Vec<(&str, Value)>| {
            values.into_iter().map(|(what, value)| Bad::new(path, what, value)).collect::<Vec<_>>()
        };
        match field.kind() {
            Kind::String => texts()
                .into_iter()
                .map(|(what, text, nul)| Bad {
                    must_refuse: kept && nul,
                    ..Bad::new(path, what, Value::String(text))
                })
                .collect(),
            Kind::Bytes => plain(vec![("large", Value::Bytes(vec![0xff; 100_000].into()))]),
            Kind::Bool => plain(vec![("true", Value::Bool(true))]),
            Kind::Enum(_) => [-1, 0, 77, i32::MIN, i32::MAX]
                .map(|number| Bad::new(path, &format!("enum {number}"), Value::EnumNumber(number)))
                .into(),
            Kind::Double | Kind::Float => doubles(path),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => [-1, 0, 1, i32::MIN, i32::MAX]
                .map(|number| Bad::new(path, &number.to_string(), Value::I32(number)))
                .into(),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => [-1, 0, 1, i64::MIN, i64::MAX]
                .map(|number| Bad::new(path, &number.to_string(), Value::I64(number)))
                .into(),
            Kind::Uint32 | Kind::Fixed32 => plain(vec![("most", Value::U32(u32::MAX))]),
            Kind::Uint64 | Kind::Fixed64 => {
                plain(vec![("most", Value::U64(u64::MAX)), ("2^63", Value::U64(1 << 63))])
            }
            Kind::Message(of) => self.bad_messages(&of, path, depth, kept),
        }
    }

    fn bad_messages(&self, of: &MessageDescriptor, path: &str, depth: usize, kept: bool) -> Vec<Bad> {
        let mut bad = vec![Bad::new(path, "empty", Value::Message(DynamicMessage::new(of.clone())))];
        if of.full_name() == "google.protobuf.FieldMask" {
            for paths in masks() {
                let what = format!("mask {:?}", paths.iter().take(3).collect::<Vec<_>>());
                bad.push(Bad::new(path, &what, mask(of, &paths)));
            }
            return bad;
        }
        if of.full_name() == "google.protobuf.Value" {
            bad.push(Bad::new(path, "nested 90 deep", Value::Message(nested(of, 90))));
        }
        if depth < DEPTH_MAX {
            // What is wrong inside of free JSON is told of the field that holds it.
            let inside = if of.parent_file().package_name() == "google.protobuf" { Some(path) } else { None };
            for case in self.spoil_within(&self.message(of, depth), path, depth + 1, kept && inside.is_none())
            {
                let path = inside.map_or(case.path, str::to_owned);
                bad.push(Bad {
                    path,
                    what: case.what,
                    value: Value::Message(case.message),
                    must_refuse: case.must_refuse,
                });
            }
        }
        bad
    }
}

struct Bad {
    path: String,
    what: String,
    value: Value,
    must_refuse: bool,
}

impl Bad {
    fn new(path: &str, what: &str, value: Value) -> Self {
        Self { path: path.to_owned(), what: what.to_owned(), value, must_refuse: false }
    }
}

fn mask(of: &MessageDescriptor, paths: &[&str]) -> Value {
    let mut message = DynamicMessage::new(of.clone());
    let paths = paths.iter().map(|path| Value::String((*path).to_owned())).collect();
    message.set_field_by_name("paths", Value::List(paths));
    Value::Message(message)
}

fn masks() -> Vec<Vec<&'static str>> {
    vec![
        vec![""],
        vec!["*", "tier"],
        vec!["no_such_field"],
        vec!["tenant_id"],
        vec!["uid"],
        vec!["display_name.inner"],
        vec!["labels.key"],
        vec!["display_name", "display_name"],
        vec!["display\0name"],
        vec!["display_name"; MANY],
    ]
}

fn nested(of: &MessageDescriptor, depth: usize) -> DynamicMessage {
    let mut value = DynamicMessage::new(of.clone());
    if depth > 0 {
        let Some(field) = of.get_field_by_name("list_value") else { return value };
        let Kind::Message(list) = field.kind() else { return value };
        let mut inner = DynamicMessage::new(list);
        inner.set_field_by_name("values", Value::List(vec![Value::Message(nested(of, depth - 1))]));
        value.set_field(&field, Value::Message(inner));
    }
    value
}

fn doubles(path: &str) -> Vec<Bad> {
    [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        -0.0,
        -1.0,
        1.000_000_1,
    ]
    .map(|number| Bad::new(path, &format!("{number:?}"), Value::F64(number)))
    .into()
}

/// What it is, the text, and whether it holds a NUL, which no column of text takes.
fn texts() -> Vec<(&'static str, String, bool)> {
    let cases = [
        ("NUL", "a\0b"),
        ("blank", " "),
        ("line ends", "a\r\nx-evil: 1"),
        ("right to left", "abc\u{202e}fed"),
        ("isolate", "\u{2066}abc"),
        ("byte order mark", "\u{feff}abc"),
        ("next line", "a\u{85}b"),
        ("noncharacter", "\u{ffff}"),
        ("outside the first plane", "\u{1f4a9}\u{10ffff}"),
        ("combining", "e\u{301}\u{301}\u{301}"),
        ("capital", "ABC"),
        ("wildcards", "%_%"),
        ("quotes", "'; DROP TABLE tenant; --"),
        ("double quotes", "\"x\" OR 1=1"),
        ("backslash", "\\x00\\'"),
        ("path", "../../etc/passwd"),
        ("braces", "${7*7}{{7*7}}"),
        ("mark-up", "<script>alert(1)</script>"),
        ("number", "-9223372036854775809"),
        ("null", "null"),
        ("nil UUID", "00000000-0000-0000-0000-000000000000"),
        ("parentheses", "((((((((((((((((((((((((((((((((((((((((((((((("),
        ("half a filter", "status = "),
        ("star", "*"),
        ("descending", "display_name desc desc"),
    ];
    let mut texts: Vec<_> =
        cases.iter().map(|(what, text)| (*what, (*text).to_owned(), text.contains('\0'))).collect();
    for length in [63, 64, 65, 129, 5_000, 200_000] {
        texts.push(("long", "x".repeat(length), false));
    }
    texts.push(("long in bytes", "\u{1f4a9}".repeat(199), false));
    texts.push(("long filter", "NOT ".repeat(3_000), false));
    texts
}
