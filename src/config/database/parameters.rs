//! What is wrong with the parameters of a PostgreSQL URL, or of the `key=value` form, in words that hold nothing of it: it
//! may hold a password, and where it is written wrong the password may be anywhere.

/// The parameters that the client library takes.
const TAKEN: [&str; 19] = [
    "user",
    "password",
    "dbname",
    "options",
    "application_name",
    "sslmode",
    "sslnegotiation",
    "host",
    "hostaddr",
    "port",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "target_session_attrs",
    "channel_binding",
    "load_balance_hosts",
];
/// Those of libpq that people bring along and that are not taken here.
const OF_LIBPQ: [&str; 9] = [
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslpassword",
    "sslcrl",
    "sslcompression",
    "gssencmode",
    "passfile",
    "service",
];

/// What the first parameter at fault is, to stand behind "must be a URL, but is"; `modes` are the values of `sslmode`.
pub(super) fn fault(text: &str, modes: &[&str]) -> Option<String> {
    let parameters = parameters(text);
    for (key, value) in &parameters {
        if *key == "sslmode" && !modes.contains(&value.trim_matches('\'')) {
            return Some(format!("one with an `sslmode` that is none of {}", modes.join(", ")));
        }
        if TAKEN.contains(key) {
            continue;
        }
        let small = key.to_ascii_lowercase();
        if TAKEN.contains(&small.as_str()) {
            return Some(format!("one that writes `{small}` with capitals"));
        }
        return Some(match OF_LIBPQ.into_iter().find(|name| *name == small) {
            Some("sslrootcert") => {
                "one with `sslrootcert`; `ca_file` beside it names the authorities to trust".to_owned()
            }
            Some(name) => format!("one with `{name}`, which is not taken"),
            None => "one with a parameter that there is not".to_owned(),
        });
    }
    let modes_given = parameters.iter().filter(|(key, _)| *key == "sslmode").count();
    (modes_given > 1).then(|| "one with `sslmode` twice".to_owned())
}

/// Keys and values as they stand there; of what is neither form, nothing that can be relied on.
fn parameters(text: &str) -> Vec<(&str, &str)> {
    let url = ["postgres://", "postgresql://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    if let Some(rest) = url {
        let rest = rest.split_once('@').map_or(rest, |(_, behind)| behind);
        let query = rest.split_once('?').map_or("", |(_, behind)| behind);
        return query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    }
    if text.contains("://") {
        // Of another kind: it has no parameters that are ours.
        return Vec::new();
    }
    let (mut found, mut rest) = (Vec::new(), text);
    while let Some((key, behind)) = rest.split_once('=') {
        let behind = behind.trim_start();
        let (value, next) = behind.split_at(value_end(behind));
        found.push((key.trim(), value));
        rest = next;
    }
    found
}

/// Where a value of the `key=value` form ends, which may be in quotes.
fn value_end(text: &str) -> usize {
    let is_quoted = text.starts_with('\'');
    let mut is_escaped = false;
    for (place, c) in text.char_indices().skip(usize::from(is_quoted)) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '\'' if is_quoted => return place + 1,
            c if !is_quoted && c.is_whitespace() => return place,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameter_at_fault_is_named_and_nothing_else() {
        let modes = ["disable", "verify-full"];
        for (text, said) in [
            ("postgres://u:s3c@db/r?sslmode=alow", "an `sslmode` that is none of disable, verify-full"),
            ("host=db password='s3c ret' sslmode = 'alow'", "an `sslmode` that is none of"),
            ("postgres://u:s3c@db/r?sslmode=disable&sslmode=verify-full", "`sslmode` twice"),
            ("host=db sslmode=disable password=s3c sslmode='verify-full'", "`sslmode` twice"),
            ("postgres://u:s3c@db/r?SSLMODE=disable", "writes `sslmode` with capitals"),
            ("postgresql://db/r?connect_timeout=5&sslrootcert=/s3c.pem", "`ca_file` beside it"),
            ("host=db sslcert=/s3c.pem", "one with `sslcert`, which is not taken"),
            ("postgres://u:p@s3c?s3c=1@db/r", "one with a parameter that there is not"),
            ("host=db password=a s3c=1", "one with a parameter that there is not"),
        ] {
            let fault = fault(text, &modes).unwrap_or_else(|| panic!("{text}"));
            assert!(fault.contains(said) && !fault.contains("s3c"), "{text}: {fault}");
        }
        for text in [
            "postgres://u:p?ss=x@db/r?sslmode=verify-full&application_name=a=b",
            "postgres://db/r",
            r"host=db password='it\'s sslmode=x' options='-c a=b' sslmode='disable' ",
            r"host=db password=a\ b",
            "mysql://db/r?ssl=1",
        ] {
            assert_eq!(fault(text, &modes), None, "{text}");
        }
    }
}
