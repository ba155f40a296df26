//! Who has a prefix or a principal now, of two tenants that were given the same one after the other: the later, by its uid.
//!
//! A registry that was restored may believe in a tenant that was purged since the backup, and whose id and prefix went to a
//! new one that it has forgotten. So each tenant leaves claims beside its record: empty objects, named by what it has and by
//! its uid, of which none is written over by another's. A claim counts while the record of its uid is there and does not
//! say DELETED; a purge takes it away. What has its tenant's uid in it is nobody else's and needs none.
//!
//! - `.tenantry/prefixes/PREFIX!UID`: prefixes end with a slash and have no `!`, so one list tells who is there or below.
//! - `.tenantry/principals/PRINCIPAL!UID`
//!
//! A tenant from before there were claims makes its own when it is next changed or looked at.

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::EncodingType;
use futures_util::future::try_join_all;
use uuid::Uuid;

use super::super::Failure;
use super::super::successor::Successor;
use super::desk::Edit;
use super::fault::Fault;
use super::place::{Place, RECORDS, is_uid};
use super::purge;
use super::record;
use crate::domain::lifecycle::Desired;

const PREFIXES: &str = "prefixes/";
const PRINCIPALS: &str = "principals/";
/// What stands between a claim's name and its uid. It sorts before every letter of a prefix.
const MARK: char = '!';

/// What is asked of the claims: those of one name, and for the tenant's prefix those below it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Question {
    /// What the keys start with.
    lead: String,
    /// The tenant's own key, or where it would be.
    own: String,
    /// Whether the tenant makes that claim. It makes none above its prefix.
    is_claimed_by_it: bool,
    /// Of what, for people.
    what: String,
}

fn refusal(rival: &Successor) -> Failure {
    Failure::permanent(rival.words())
}

fn successor(uid: &str, what: String) -> Option<Successor> {
    Some(Successor { uid: Uuid::try_parse(uid).ok()?, what })
}

/// What the claims say of a tenant.
#[derive(Debug)]
pub(super) struct Claims {
    /// Who has its place or its principal now.
    pub rival: Option<Successor>,
    /// The claims that it has yet to make.
    pub missing: Vec<String>,
}

/// Looks: one list for the prefix, for each principal and for each prefix above.
pub(super) async fn look(client: &Client, place: &Place) -> Result<Claims, Failure> {
    let questions = questions(place);
    let asked = try_join_all(questions.iter().map(|question| ask(client, place, question))).await;
    let answers =
        asked.map_err(|fault| fault.failing("who else has the tenant's place cannot be looked for"))?;
    let mut claims = Claims { rival: None, missing: Vec::new() };
    for (question, (rival, is_there)) in questions.into_iter().zip(answers) {
        claims.rival = claims.rival.or_else(|| rival.and_then(|uid| successor(&uid, question.what)));
        if question.is_claimed_by_it && !is_there {
            claims.missing.push(question.own);
        }
    }
    Ok(claims)
}

/// Under the lock: the claims that are missing, unless the place is a later tenant's or becomes one's by the same round.
pub(super) async fn check(client: &Client, edit: &Edit, round: &[Edit]) -> Result<Vec<String>, Failure> {
    if let Some(rival) = round.iter().find_map(|other| rival_of(&edit.place, other)) {
        return Err(refusal(&rival));
    }
    let claims = look(client, &edit.place).await?;
    claims.rival.map_or(Ok(claims.missing), |rival| Err(refusal(&rival)))
}

/// Makes claims. They need no lock: nobody else writes these keys, and one that comes late is as good.
pub(super) async fn make(client: &Client, place: &Place, missing: &[String]) -> Result<(), Failure> {
    let made = try_join_all(missing.iter().map(async |key| {
        let put =
            client.put_object().bucket(&place.record_bucket).key(key).body(ByteStream::from_static(b""));
        put.send().await.map(drop).map_err(Fault::from)
    }));
    let made = made.await.map(drop);
    made.map_err(|fault| fault.failing("the tenant's claims to its place cannot be written"))
}

/// Takes a purged tenant's claims away, so that nobody has to look whose they were.
pub(super) async fn drop_all(client: &Client, place: &Place) -> Result<(), Failure> {
    let own = questions(place).into_iter().filter(|question| question.is_claimed_by_it);
    let dropped = try_join_all(own.map(async |question| {
        let delete = client.delete_object().bucket(&place.record_bucket).key(question.own);
        match delete.send().await.map_err(Fault::from) {
            Err(fault) if !fault.is_missing() => Err(fault),
            _ => Ok(()),
        }
    }));
    let dropped = dropped.await.map(drop);
    dropped.map_err(|fault| fault.failing("the tenant's claims to its place cannot be removed"))
}

/// For a removal, that cannot be taken back: looks also at records of tenants from before there were claims. Those tell
/// whose principals they are, not where the data is. As many as one list has, of those that came next.
pub(super) async fn check_unclaimed(
    client: &Client,
    place: &Place,
    templates: &[String],
) -> Result<(), Failure> {
    if place.own_bucket {
        return Ok(());
    }
    let found = record::first_later(client, place, |key, record| {
        let shared = super::place::principals_of(templates, &record.tenant_id, key);
        let shared = shared.into_iter().find(|principal| place.principals.contains(principal));
        successor(key.strip_prefix(RECORDS)?, principal_words(&shared?))
    });
    let found = found.await.map_err(|fault| fault.failing("records of later tenants cannot be looked at"))?;
    found.map_or(Ok(()), |rival| Err(refusal(&rival)))
}

/// The other tenant of a round where it takes what this one has.
fn rival_of(place: &Place, other: &Edit) -> Option<Successor> {
    let theirs = &other.place;
    if theirs.own_bucket || theirs.uid() <= place.uid() || other.record.state == Desired::Deleted {
        return None;
    }
    let overlaps = theirs.holds(&place.prefix) || place.holds(&theirs.prefix);
    let shared = || place.principals.iter().find(|principal| theirs.principals.contains(principal));
    let what =
        if overlaps { prefix_words(place, &place.prefix) } else { principal_words(shared()?.as_str()) };
    successor(theirs.uid(), what)
}

fn questions(place: &Place) -> Vec<Question> {
    if place.own_bucket {
        // Its name has the uid in it, and its policy is about one tenant.
        return Vec::new();
    }
    let uid = place.uid();
    let mut questions = Vec::new();
    if !place.is_derived {
        let prefix = format!("{RECORDS}{PREFIXES}{}", place.prefix);
        questions.push(Question {
            own: format!("{prefix}{MARK}{uid}"),
            lead: prefix,
            is_claimed_by_it: true,
            what: prefix_words(place, &place.prefix),
        });
        for above in above(&place.prefix) {
            let lead = format!("{RECORDS}{PREFIXES}{above}{MARK}");
            let (own, what) = (format!("{lead}{uid}"), prefix_words(place, above));
            questions.push(Question { lead, own, is_claimed_by_it: false, what });
        }
    }
    for principal in place.principals.iter().filter(|principal| !principal.contains(uid)) {
        let lead = format!("{RECORDS}{PRINCIPALS}{principal}{MARK}");
        let (own, what) = (format!("{lead}{uid}"), principal_words(principal));
        questions.push(Question { lead, own, is_claimed_by_it: true, what });
    }
    questions
}

/// The prefixes that a prefix lies below: of `a/b/c/`, `a/` and `a/b/`.
fn above(prefix: &str) -> impl Iterator<Item = &str> {
    prefix.match_indices('/').map(|(at, _)| &prefix[..=at]).filter(move |above| above.len() < prefix.len())
}

fn prefix_words(place: &Place, prefix: &str) -> String {
    format!("the prefix {prefix} of the bucket {}", place.bucket)
}

fn principal_words(principal: &str) -> String {
    format!("the principal {principal}")
}

/// The uid of a later tenant that makes a claim and is not purged; and whether the tenant's own claim is there.
async fn ask(client: &Client, place: &Place, question: &Question) -> Result<(Option<String>, bool), Fault> {
    let (mut from, mut is_there) = (None, false);
    loop {
        let list = client.list_objects_v2().bucket(&place.record_bucket).prefix(&question.lead);
        // From its own claim on; those of earlier tenants come before.
        let list = list.start_after(&question.own[..question.own.len() - 1]).set_continuation_token(from);
        let page = list.encoding_type(EncodingType::Url).send().await.map_err(Fault::from)?;
        for object in page.contents() {
            let key = purge::decode(object.key().unwrap_or_default());
            is_there |= key == question.own;
            if let Some(uid) = claimant(&question.lead, &key).filter(|uid| *uid > place.uid())
                && record::is_living(client, &place.record_bucket, &format!("{RECORDS}{uid}")).await?
            {
                return Ok((Some(uid.to_owned()), is_there));
            }
        }
        from = page.next_continuation_token().map(str::to_owned);
        if from.is_none() || page.is_truncated() != Some(true) {
            return Ok((None, is_there));
        }
    }
}

/// The uid of a claim to what is asked for. A principal may go on where another has its mark; a prefix may not.
fn claimant<'a>(lead: &str, key: &'a str) -> Option<&'a str> {
    let rest = key.strip_prefix(lead)?;
    let uid = rest.rsplit_once(MARK).map_or(rest, |(_, uid)| uid);
    let is_of_it = uid.len() == rest.len() || lead.ends_with('/');
    (is_of_it && is_uid(uid)).then_some(uid)
}

#[cfg(test)]
#[path = "claims_tests.rs"]
mod tests;
