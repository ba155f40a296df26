//! The server's sentences in the words that are typed: options in place of fields, commands in place of methods.

/// The methods of the API, and the commands that call them.
const COMMANDS: [(&str, &str); 58] = [
    ("AbortBulkOperation", "bulk abort"),
    ("AbortOperation", "operation abort"),
    ("ActivateTenant", "tenant activate"),
    ("ApplyFlags", "flag apply"),
    ("ArchiveFlag", "flag archive"),
    ("ArchiveTenant", "tenant archive"),
    ("ChangeTier", "tenant change-tier"),
    ("CreateFlag", "flag create"),
    ("CreateSegment", "flag segment create"),
    ("CreateTenant", "tenant create"),
    ("CreateTier", "tier create"),
    ("DeleteFlag", "flag delete"),
    ("DeleteSegment", "flag segment delete"),
    ("DeleteTenant", "tenant delete"),
    ("DeleteTier", "tier delete"),
    ("EvaluateFlags", "flag evaluate"),
    ("ExplainFlag", "flag explain"),
    ("ExportFlags", "flag export"),
    ("FinishMigration", "tenant finish-migration"),
    ("GetBulkOperation", "bulk get"),
    ("GetFlag", "flag get"),
    ("GetOperation", "operation get"),
    ("GetSegment", "flag segment get"),
    ("GetStatistics", "stats"),
    ("GetTenant", "tenant get"),
    ("GetTenantHealth", "health get"),
    ("GetTier", "tier get"),
    ("ImportFlags", "flag import"),
    ("ListBulkOperations", "bulk list"),
    ("ListDependents", "flag dependents"),
    ("ListFlags", "flag list"),
    ("ListOperations", "operation list"),
    ("ListSegments", "flag segment list"),
    ("ListStaleFlags", "flag stale"),
    ("ListTargets", "target list"),
    ("ListTenantOverrides", "flag overrides"),
    ("ListTenants", "tenant list"),
    ("ListTiers", "tier list"),
    ("ListTransitions", "tenant transitions"),
    ("PauseTarget", "target pause"),
    ("ReportSignals", "health report"),
    ("ResumeTarget", "target resume"),
    ("RetryTarget", "operation retry"),
    ("SetTenantOverride", "flag set-tenant"),
    ("SetTierDefault", "flag set-tier"),
    ("SkipTarget", "operation skip"),
    ("StartBulkOperation", "bulk start"),
    ("StartMigration", "tenant start-migration"),
    ("SuspendTenant", "tenant suspend"),
    ("UndeleteTenant", "tenant undelete"),
    ("UpdateFlag", "flag update"),
    ("UpdateSegment", "flag segment update"),
    ("UpdateTenant", "tenant update"),
    ("UpdateTier", "tier update"),
    ("VerifyTenant", "tenant verify"),
    ("WatchBulkOperation", "bulk watch"),
    ("WatchOperation", "operation watch"),
    ("WatchTenants", "tenant watch"),
];

/// Fields whose options have other names.
const OPTIONS: [(&str, &str); 14] = [
    ("compliance_frameworks", "compliance"),
    ("currency_code", "currency"),
    ("data_classification", "classification"),
    ("default_variant", "default"),
    ("expire_time", "expires"),
    ("isolation_model", "isolation"),
    ("labels", "label"),
    ("limit_overrides", "limit"),
    ("limits", "limit"),
    ("safe_variant", "safe"),
    ("skip_targets", "skip"),
    ("undelete_period", "undelete-days"),
    ("validate_only", "dry-run"),
    ("variants", "variant"),
];
/// What a request calls the thing that a command is about.
const SUBJECTS: [&str; 4] = ["flag.", "segment.", "tenant.", "tier."];

/// A sentence of the server's for whoever typed a command with these options. What stands in quotes is somebody's own, and what
/// stands further inside than in the thing itself is of a file. One that says which command to type needs no other for its methods.
pub(super) fn typed(sentence: &str, options: &[String]) -> String {
    let names_commands = sentence.contains("`tenantry ");
    let command = |word: &str| if names_commands { None } else { command(word) };
    let mut typed = String::with_capacity(sentence.len());
    for (place, part) in sentence.split_inclusive(['"', '`']).enumerate() {
        if place % 2 == 1 {
            typed.push_str(part);
            continue;
        }
        let is_of_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '[' | ']');
        let mut rest = part;
        while let Some(start) = rest.find(is_of_word) {
            let (between, from) = rest.split_at(start);
            let (word, after) = from.split_at(from.find(|c| !is_of_word(c)).unwrap_or(from.len()));
            typed.push_str(between);
            typed.push_str(
                &command(word).or_else(|| option(word, options)).unwrap_or_else(|| word.to_owned()),
            );
            rest = after;
        }
        typed.push_str(rest);
    }
    typed
}

/// The command in place of a method.
fn command(word: &str) -> Option<String> {
    let (_, command) = COMMANDS.iter().find(|(method, _)| *method == word.trim_end_matches('.'))?;
    let stop = if word.ends_with('.') { "." } else { "" };
    Some(format!("`tenantry {command}`{stop}"))
}

/// The option in place of a field. A bare word is one only where no sentence could have it otherwise.
fn option(word: &str, options: &[String]) -> Option<String> {
    let inner = SUBJECTS.iter().find_map(|subject| word.strip_prefix(subject));
    let field = inner.unwrap_or(word);
    let (name, rest) = field.split_at(field.find(['[', '.']).unwrap_or(field.len()));
    if inner.is_none() && !name.contains('_') {
        return None;
    }
    let other = OPTIONS.iter().find(|(field, _)| *field == name).map(|(_, option)| (*option).to_owned());
    let known =
        [Some(name.replace('_', "-")), other].into_iter().flatten().find(|it| options.contains(it))?;
    // An entry of a map is a pair of its own, `--variant on`; one of a list has only its number.
    let entry = rest.strip_prefix('.').or_else(|| rest.strip_prefix('[')?.strip_suffix(']'));
    Some(match entry.filter(|entry| !entry.is_empty() && entry.parse::<usize>().is_err()) {
        Some(entry) => format!("--{known} {entry}"),
        None => format!("--{known}{rest}"),
    })
}

#[cfg(test)]
#[path = "typed_tests.rs"]
mod tests;
