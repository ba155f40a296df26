//! Names of buckets that targets make, or have, for themselves: no tenant shares one of them.

use std::fmt;

/// Names that a template makes for tenants, such as `t-{uid}`; one without a place for a tenant is a single name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketNames {
    template: String,
    letters: Vec<Letter>,
}

/// One place of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Letter {
    /// This one.
    One(char),
    /// One of a uid.
    Hex,
    /// Any number of any: a tenant's id.
    Any,
}

impl Letter {
    /// Whether both can be the same letter.
    const fn meets(self, other: Self) -> bool {
        match (self, other) {
            (Self::One(this), Self::One(that)) => this == that,
            (Self::One(letter), Self::Hex) | (Self::Hex, Self::One(letter)) => letter.is_ascii_hexdigit(),
            _ => true,
        }
    }
}

/// A uid without dashes.
const UID: [Letter; 32] = [Letter::Hex; 32];

impl BucketNames {
    /// Of a template with `{uid}` or `{tenant_id}` in it, or of a name.
    pub fn of(template: &str) -> Self {
        let (mut letters, mut rest) = (Vec::new(), template);
        while let Some(first) = rest.chars().next() {
            if let Some(after) = rest.strip_prefix("{uid}") {
                letters.extend(UID);
                rest = after;
            } else if let Some(after) = rest.strip_prefix("{tenant_id}") {
                letters.push(Letter::Any);
                rest = after;
            } else {
                letters.push(Letter::One(first));
                rest = &rest[first.len_utf8()..];
            }
        }
        Self { template: template.to_owned(), letters }
    }

    /// Whether some tenant may get this name.
    pub fn has(&self, name: &str) -> bool {
        self.meets(&Self { template: String::new(), letters: name.chars().map(Letter::One).collect() })
    }

    /// Whether there is a name that both can make, each for some tenant.
    pub fn meets(&self, other: &Self) -> bool {
        let (mine, others) = (&self.letters, &other.letters);
        // Of the ends of both, from the shortest on: whether they can be the same text.
        let mut same = vec![vec![false; others.len() + 1]; mine.len() + 1];
        for this in (0..=mine.len()).rev() {
            for that in (0..=others.len()).rev() {
                same[this][that] = match (mine.get(this), others.get(that)) {
                    (None, None) => true,
                    // Any number is none, or one more.
                    (Some(Letter::Any), None) => same[this + 1][that],
                    (None, Some(Letter::Any)) => same[this][that + 1],
                    (Some(Letter::Any), Some(_)) | (Some(_), Some(Letter::Any)) => {
                        same[this + 1][that] || same[this][that + 1]
                    }
                    (Some(one), Some(other)) => one.meets(*other) && same[this + 1][that + 1],
                    _ => false,
                };
            }
        }
        same[0][0]
    }
}

impl fmt::Display for BucketNames {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.template)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_has_the_names_that_it_makes_for_tenants_and_no_others() {
        let uid = "0198c0dea1b27c3d8e4f5a6b7c8d9e0f";
        let names = BucketNames::of("t-{uid}.eu");
        assert!(names.has(&format!("t-{uid}.eu")));
        for other in
            ["t-", "t-.eu", &format!("t-{uid}"), &format!("t-{}.eu", &uid[1..]), &format!("xt-{uid}.eu")]
        {
            assert!(!names.has(other), "{other}");
        }
        assert!(!names.has(&format!("t-{}g.eu", &uid[1..])), "no uid has that letter");
        assert!(BucketNames::of("records").has("records") && !BucketNames::of("records").has("records2"));
        let by_id = BucketNames::of("{tenant_id}-{uid}");
        assert!(
            by_id.has(&format!("acme-{uid}")) && by_id.has(&format!("acme-2-{uid}")) && !by_id.has("acme-")
        );
    }

    #[test]
    fn templates_meet_where_one_name_can_come_of_both() {
        for (one, other, meet) in [
            ("t-{uid}", "t-{uid}", true),
            ("t-{uid}", "b-{uid}", false),
            ("t-{uid}", "t-{uid}-x", false),
            ("a{uid}", "{uid}a", true),
            ("z{uid}", "{uid}z", false),
            ("{tenant_id}-{uid}", "t-{uid}", true),
            ("{tenant_id}-{uid}", "{uid}-{tenant_id}", true),
            ("{tenant_id}-{uid}.a", "{tenant_id}-{uid}.b", false),
            ("t-{uid}", "t-00000000000000000000000000000000", true),
            ("t-{uid}", "records", false),
        ] {
            let [one, other] = [one, other].map(BucketNames::of);
            assert_eq!((one.meets(&other), other.meets(&one)), (meet, meet), "{one} {other}");
        }
    }
}
