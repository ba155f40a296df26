//! A bucket's policy as a document that others write to as well: pure, so that every rule of it is a unit test.
//!
//! Ours are at most two statements, one for each kind of denial, with all the tenants' principals in one list: a policy
//! holds 4 to 20 KiB, and a pair of statements a tenant would fill it with 30 to 60 tenants. A statement covers the
//! whole bucket, because a list of a bucket cannot be denied below a prefix, and because whoever is suspended has no
//! business in the rest of it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// What is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Denial {
    /// Changes.
    Writes,
    /// Everything.
    Everything,
}

impl Denial {
    const ALL: [Self; 2] = [Self::Writes, Self::Everything];

    /// The statement's name in the document: letters and digits only, as AWS wants it.
    const fn sid(self) -> &'static str {
        match self {
            Self::Writes => "TenantryReadOnly",
            Self::Everything => "TenantrySuspended",
        }
    }

    const fn actions(self) -> &'static [&'static str] {
        match self {
            Self::Writes => &["s3:Put*", "s3:Delete*", "s3:AbortMultipartUpload", "s3:RestoreObject"],
            Self::Everything => &["s3:*"],
        }
    }
}

/// The text is no policy; a bucket whose policy we cannot read is not one to overwrite.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotAPolicy;

/// A statement of somebody else that denies a tenant something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Foreign {
    /// Its name in the document; empty where it has none.
    pub sid: String,
    /// What it denies where it is one of ours but for its name: somebody renamed it.
    pub copies: Option<Denial>,
}

/// A bucket's policy.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Policy {
    bucket: String,
    /// `Version`, `Id` and whatever else is there.
    frame: Map<String, Value>,
    /// Statements of others, in their order and their words.
    foreign: Vec<Value>,
    /// The principals of ours.
    denied: [BTreeSet<String>; 2],
    /// Whether ours stood there just as we write them.
    intact: bool,
}

impl Policy {
    /// Of a document; `None` is a bucket without one.
    pub(super) fn parse(bucket: &str, text: Option<&str>) -> Result<Self, NotAPolicy> {
        let mut policy = Self {
            bucket: bucket.to_owned(),
            frame: Map::from_iter([("Version".to_owned(), json!("2012-10-17"))]),
            foreign: Vec::new(),
            denied: [BTreeSet::new(), BTreeSet::new()],
            intact: true,
        };
        let Some(text) = text.filter(|text| !text.trim().is_empty()) else { return Ok(policy) };
        let Ok(Value::Object(mut frame)) = serde_json::from_str(text) else { return Err(NotAPolicy) };
        let statements = frame.remove("Statement");
        policy.frame = frame;
        let mut ours = 0;
        for statement in list(statements) {
            match Denial::ALL.into_iter().find(|denial| statement["Sid"] == denial.sid()) {
                Some(denial) => {
                    ours += 1;
                    let said = principals(&statement);
                    let ours_only = statement_of(denial, bucket, &said);
                    policy.intact &= normal(&statement) == normal(&ours_only);
                    policy.denied[denial as usize].extend(said);
                }
                None => policy.foreign.push(statement),
            }
        }
        policy.intact &= ours == policy.denied.iter().filter(|denied| !denied.is_empty()).count();
        Ok(policy)
    }

    /// What is denied to every one of the principals.
    pub(super) fn denial(&self, principals: &[String]) -> Option<Denial> {
        if !self.intact {
            return None;
        }
        Denial::ALL.into_iter().rev().find(|denial| {
            let denied = &self.denied[*denial as usize];
            !principals.is_empty() && principals.iter().all(|principal| denied.contains(principal))
        })
    }

    /// Whether our statements stand just as we write them.
    pub(super) const fn is_intact(&self) -> bool {
        self.intact
    }

    /// Whether one of the principals is named in a statement of ours, whole or not.
    pub(super) fn names(&self, principals: &[String]) -> bool {
        principals.iter().any(|principal| self.denied.iter().any(|denied| denied.contains(principal)))
    }

    /// A statement of others that denies one of the principals something, by its name; one that does what ours do before any
    /// other.
    pub(super) fn foreign_denial(&self, tenant: &[String]) -> Option<Foreign> {
        let denies = self.foreign.iter().filter(|statement| statement["Effect"] == "Deny");
        let found = denies.filter_map(|statement| {
            let named = principals(statement);
            named.iter().any(|principal| tenant.contains(principal)).then(|| {
                let is_ours_but_for_its_name = |denial: &Denial| {
                    let mut ours = statement_of(*denial, &self.bucket, &named);
                    ours["Sid"] = statement["Sid"].clone();
                    normal(&ours) == normal(statement)
                };
                let sid = statement["Sid"].as_str().unwrap_or_default().to_owned();
                Foreign { sid, copies: Denial::ALL.into_iter().find(is_ours_but_for_its_name) }
            })
        });
        found.max_by_key(|foreign| foreign.copies)
    }

    /// Whether it denies somebody what the one before did not.
    pub(super) fn denies_more_than(&self, before: &Self) -> bool {
        let more = |(now, then): (&BTreeSet<String>, &BTreeSet<String>)| !now.is_subset(then);
        // What a statement denies that somebody altered is not known.
        let is_mended = !before.intact && self.denied.iter().any(|denied| !denied.is_empty());
        is_mended || self.denied.iter().zip(&before.denied).any(more)
    }

    /// Denies this to the principals and nothing else.
    pub(super) fn set(&mut self, principals: &[String], denial: Option<Denial>) {
        self.intact = true;
        for kind in Denial::ALL {
            let denied = &mut self.denied[kind as usize];
            if denial == Some(kind) {
                denied.extend(principals.iter().cloned());
            } else {
                denied.retain(|principal| !principals.contains(principal));
            }
        }
    }

    /// The document; `None` where nothing is left to say.
    pub(super) fn render(&self) -> Option<String> {
        let ours = Denial::ALL.into_iter().filter_map(|denial| {
            let principals: Vec<String> = self.denied[denial as usize].iter().cloned().collect();
            (!principals.is_empty()).then(|| statement_of(denial, &self.bucket, &principals))
        });
        let statements: Vec<Value> = self.foreign.iter().cloned().chain(ours).collect();
        if statements.is_empty() {
            return None;
        }
        let mut document = self.frame.clone();
        document.insert("Statement".to_owned(), Value::Array(statements));
        Some(Value::Object(document).to_string())
    }

    /// Bytes of the document.
    pub(super) fn size(&self) -> usize {
        self.render().map_or(0, |text| text.len())
    }

    /// Whether a document that was read back says the same. Servers write a list of one as its element, and choose an
    /// order of their own.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        let others = |policy: &Self| policy.foreign.iter().map(normal).collect::<Vec<_>>();
        other.intact && self.denied == other.denied && others(self) == others(other)
    }
}

fn statement_of(denial: Denial, bucket: &str, principals: &[String]) -> Value {
    json!({
        "Sid": denial.sid(),
        "Effect": "Deny",
        "Principal": { "AWS": principals },
        "Action": denial.actions(),
        "Resource": [format!("arn:aws:s3:::{bucket}"), format!("arn:aws:s3:::{bucket}/*")],
    })
}

fn principals(statement: &Value) -> Vec<String> {
    let said = list(statement["Principal"].get("AWS").cloned());
    said.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// A list, whichever way it is written.
fn list(value: Option<Value>) -> Vec<Value> {
    match value {
        None => Vec::new(),
        Some(Value::Array(values)) => values,
        Some(value) => vec![value],
    }
}

/// The same for two values that mean the same: lists of texts are sets, and a list of one is its element.
fn normal(value: &Value) -> Value {
    match value {
        Value::Array(values) => {
            let mut values: Vec<Value> = values.iter().map(normal).collect();
            values.sort_by_key(Value::to_string);
            values.dedup();
            match <[Value; 1]>::try_from(values) {
                Ok([only]) => only,
                Err(values) => Value::Array(values),
            }
        }
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (name.clone(), normal(value))).collect())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOREIGN: &str = r#"{"Id":"site","Version":"2012-10-17","Statement":{"Sid":"Grant","Effect":"Allow","Principal":
        {"AWS":"arn:aws:iam:::user/a"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::tenants/t/a/*"}}"#;

    fn user(name: &str) -> Vec<String> {
        vec![format!("arn:aws:iam:::user/{name}")]
    }

    fn empty() -> Policy {
        Policy::parse("tenants", None).unwrap()
    }

    #[test]
    fn a_denial_is_added_and_taken_away_without_touching_what_others_wrote() {
        let before = Policy::parse("tenants", Some(FOREIGN)).unwrap();
        let mut policy = before.clone();
        policy.set(&user("a"), Some(Denial::Everything));
        let read = Policy::parse("tenants", policy.render().as_deref()).unwrap();
        assert_eq!(read.denial(&user("a")), Some(Denial::Everything));
        assert_eq!(read.denial(&user("ab")), None);
        policy.set(&user("a"), None);
        assert!(policy.says_the_same(&before));
        let text = policy.render().unwrap();
        assert!(
            text.contains("\"Id\":\"site\"") && text.contains("t/a/*") && !text.contains("Deny"),
            "{text}"
        );
    }

    #[test]
    fn only_what_is_new_or_was_altered_denies_more() {
        let one = |denial| {
            let mut policy = empty();
            policy.set(&user("a"), denial);
            policy
        };
        let [none, writes, all] = [None, Some(Denial::Writes), Some(Denial::Everything)].map(one);
        assert!(all.denies_more_than(&none) && all.denies_more_than(&writes));
        for less in [&none, &all] {
            assert!(!less.denies_more_than(&all));
        }
        let altered = all.render().unwrap().replace("s3:*", "s3:GetObject");
        let altered = Policy::parse("tenants", Some(&altered)).unwrap();
        assert!(all.denies_more_than(&altered) && !none.denies_more_than(&altered));
    }

    #[test]
    fn many_tenants_share_one_statement() {
        let mut policy = empty();
        for number in 0..100 {
            policy.set(&user(&format!("tenant-{number}")), Some(Denial::Everything));
        }
        let text = policy.render().unwrap();
        assert_eq!(text.matches("\"Deny\"").count(), 1);
        assert!(policy.size() < 4_096, "100 tenants need {} bytes", policy.size());
    }

    #[test]
    fn the_last_one_takes_the_document_with_it() {
        let mut policy = empty();
        policy.set(&user("a"), Some(Denial::Writes));
        policy.set(&user("a"), None);
        assert_eq!(policy.render(), None);
        assert_eq!(policy.size(), 0);
    }

    #[test]
    fn a_tenant_has_one_kind_of_denial_at_a_time() {
        let mut policy = empty();
        policy.set(&user("a"), Some(Denial::Everything));
        policy.set(&user("a"), Some(Denial::Writes));
        assert_eq!(policy.denial(&user("a")), Some(Denial::Writes));
        assert_eq!(policy.render().unwrap().matches("user/a").count(), 1);
    }

    #[test]
    fn a_denial_counts_only_when_it_names_all_of_the_tenants_principals() {
        let mut policy = empty();
        policy.set(&user("a"), Some(Denial::Everything));
        let both: Vec<String> = user("a").into_iter().chain(user("a-batch")).collect();
        assert_eq!(policy.denial(&both), None);
        assert!(policy.names(&both));
        assert_eq!(policy.denial(&[]), None);
    }

    #[test]
    fn a_statement_of_ours_that_somebody_weakened_denies_nothing_and_is_written_anew() {
        let mut policy = empty();
        policy.set(&user("a"), Some(Denial::Everything));
        let text = policy.render().unwrap();
        for weakened in [
            text.replace("s3:*", "s3:GetObject"),
            text.replace("\"Deny\"", "\"Allow\""),
            text.replace("tenants/*", "tenants/x/*"),
            text.replace("\"Sid\"", "\"Condition\":{\"Bool\":{\"aws:SecureTransport\":\"false\"}},\"Sid\""),
        ] {
            assert_ne!(weakened, text);
            let mut read = Policy::parse("tenants", Some(&weakened)).unwrap();
            assert_eq!(read.denial(&user("a")), None, "{weakened}");
            assert!(!policy.says_the_same(&read));
            read.set(&user("b"), None);
            assert_eq!(read.render().as_deref(), Some(text.as_str()), "the others stay denied");
        }
    }

    #[test]
    fn a_server_may_write_a_list_of_one_as_its_element() {
        let mut policy = empty();
        policy.set(&user("a"), Some(Denial::Everything));
        let text = policy.render().unwrap().replace("[\"s3:*\"]", "\"s3:*\"");
        let text = text.replace("[\"arn:aws:iam:::user/a\"]", "\"arn:aws:iam:::user/a\"");
        let read = Policy::parse("tenants", Some(&text)).unwrap();
        assert_eq!(read.denial(&user("a")), Some(Denial::Everything));
        assert!(policy.says_the_same(&read));
    }

    #[test]
    fn what_is_no_policy_is_not_taken_for_an_empty_one() {
        for text in ["[]", "{", "null", "\"\""] {
            assert_eq!(Policy::parse("tenants", Some(text)), Err(NotAPolicy), "{text}");
        }
        assert_eq!(Policy::parse("tenants", Some(" ")).unwrap().render(), None);
    }
}
