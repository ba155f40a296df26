//! Answering: which flags are evaluated, and after which others.

use super::TenantOverride;
use super::ask::Case;
use super::compile::{CompiledFlags, Entry};
use super::compiled::Compiled;
use super::evaluate::{Evaluation, Memo, Query, TooMuch};
use super::explain::{self, LayerExplanation};
use crate::domain::ids::FlagKey;
use crate::domain::rule::Effort;

impl CompiledFlags {
    /// What a tenant sees of one flag. An unknown flag is boolean false with reason ERROR, layer `UnknownFlag`; one whose
    /// rules cost more than a call may has reason ERROR.
    pub fn evaluate<'a>(&'a self, query: &Query<'_>, key: &str) -> Evaluation<'a> {
        self.evaluate_after(&mut Memo::of_call(Effort::Full), query, key)
    }

    /// The same, with what is known of the query's other answers.
    pub(super) fn evaluate_after<'a>(
        &'a self,
        memo: &mut Memo<'a>,
        query: &Query<'_>,
        key: &str,
    ) -> Evaluation<'a> {
        let Some((key, entry)) = self.entries.get_key_value(key) else { return Evaluation::unknown() };
        let own = query.tenant.and_then(|tenant| self.own.get(tenant.tenant_id));
        let own = own.and_then(|own| own.get(key)).map(|own| &**own);
        self.settled(query, memo, (key, entry), own)
    }

    /// Tells a client what a tenant sees of every flag, by key. Each answer is told where it was made: its parts are written one
    /// by one, and a copy of it right after that waits until they have reached the cache, for as long as making it took.
    ///
    /// # Errors
    ///
    /// Where the rules cost too much together; then what was told is not what the flags say.
    pub fn evaluate_all<'a>(
        &'a self,
        query: &Query<'_>,
        effort: Effort,
        mut tell: impl FnMut(&'a FlagKey, &Evaluation<'a>),
    ) -> Result<(), TooMuch> {
        let own = query.tenant.and_then(|tenant| self.own.get(tenant.tenant_id));
        // Both are by key: the tenant's own are met in passing.
        let mut own = own.into_iter().flatten().peekable();
        let mut memo = Memo::of_call(effort);
        for (key, entry) in self.entries.iter().filter(|(_, entry)| entry.compiled.is_some()) {
            while own.next_if(|(of, _)| *of < key).is_some() {}
            let own = own.next_if(|(of, _)| *of == key).map(|(_, own)| &**own);
            tell(key, &self.settled(query, &mut memo, (key, entry), own));
        }
        memo.is_whole()
    }

    /// Every layer in order of precedence, with why it did or did not decide; exactly one did.
    ///
    /// # Errors
    ///
    /// Where the rules cost too much together.
    pub fn explain(
        &self,
        query: &Query<'_>,
        effort: Effort,
        key: &str,
    ) -> Result<Vec<LayerExplanation>, TooMuch> {
        let unknown = || Ok(vec![LayerExplanation::unknown_flag()]);
        let Some((key, entry)) = self.entries.get_key_value(key) else { return unknown() };
        let Some(compiled) = &entry.compiled else { return unknown() };
        let own = query.tenant.and_then(|tenant| self.own.get(tenant.tenant_id)?.get(key)).map(|own| &**own);
        let mut memo = Memo::of_call(effort);
        self.settled(query, &mut memo, (key, entry), own);
        let of_case = if compiled.is_as_for_active(query) { memo.as_active() } else { &memo };
        let layers = explain::explain(&Case { flags: self, key, entry, compiled, own, query, memo: of_case });
        memo.is_whole()?;
        Ok(layers)
    }

    /// Evaluates a flag, after those that it hangs on.
    #[inline]
    fn settled<'a>(
        &'a self,
        query: &Query<'_>,
        memo: &mut Memo<'a>,
        (key, entry): (&'a FlagKey, &'a Entry),
        own: Option<&'a TenantOverride>,
    ) -> Evaluation<'a> {
        let Some(compiled) = entry.compiled.as_deref() else { return Evaluation::unknown() };
        if !compiled.hangs_on_others {
            memo.count(1);
            return Case { flags: self, key, entry, compiled, own, query, memo }.decide();
        }
        self.settled_after_others(query, memo, key)
    }

    /// No recursion but that into what is as for an active tenant, which goes no further: a chain may be as long as there are
    /// flags.
    #[inline(never)]
    fn settled_after_others<'a>(
        &'a self,
        query: &Query<'_>,
        memo: &mut Memo<'a>,
        key: &'a FlagKey,
    ) -> Evaluation<'a> {
        if let Some(found) = memo.get(key.as_str()) {
            return *found;
        }
        let mut waiting: Vec<&'a str> = vec![key.as_str()];
        while let Some(key) = waiting.last().copied() {
            let Some((flag_key, entry)) = self.entries.get_key_value(key) else {
                waiting.pop();
                continue;
            };
            let Some(compiled) = entry.compiled.as_deref() else {
                memo.insert(key, Evaluation::unknown());
                waiting.pop();
                continue;
            };
            if compiled.is_as_for_active(query) {
                let found = self.settled_after_others(&query.as_active(), memo.as_active(), flag_key);
                memo.insert(key, found);
                waiting.pop();
                continue;
            }
            let mut looks = 1;
            let needed = self.hangs_on(compiled).inspect(|_| looks += 1).find(|needed| {
                memo.get(needed.as_str()).is_none() && self.compiled(needed.as_str()).is_some()
            });
            memo.count(looks);
            // Circles are refused where flags are changed. Should there be one all the same, it ends here.
            if let Some(needed) = needed.filter(|_| waiting.len() <= self.len()) {
                waiting.push(needed.as_str());
                continue;
            }
            let own = query.tenant.and_then(|tenant| self.own.get(tenant.tenant_id)?.get(key));
            let own = own.map(|own| &**own);
            let found = Case { flags: self, key: flag_key, entry, compiled, own, query, memo }.decide();
            memo.insert(key, found);
            waiting.pop();
        }
        memo.get(key.as_str()).copied().unwrap_or(Evaluation::unknown())
    }

    /// The flags whose answers a flag's own follows from.
    pub(super) fn hangs_on<'a>(&'a self, compiled: &'a Compiled) -> impl Iterator<Item = &'a FlagKey> {
        compiled.flag.settings.needs().chain(self.rivals_above(&compiled.flag.settings))
    }

    /// The next flag to look at of those that a flag hangs on, where `waiting` of them wait for each other already. Circles are
    /// refused where flags are changed; should there be one all the same, it ends here.
    pub(super) fn next_below<'a>(
        &'a self,
        compiled: &'a Compiled,
        waiting: usize,
        is_found: impl Fn(&FlagKey) -> bool,
    ) -> Option<&'a FlagKey> {
        let is_open = |needed: &&FlagKey| !is_found(needed) && self.compiled(needed.as_str()).is_some();
        self.hangs_on(compiled).find(is_open).filter(|_| waiting <= self.len())
    }

    /// What a flag's answer follows from, but for the flags that it hangs on.
    pub(super) fn case<'a, 'q>(
        &'a self,
        query: &'q Query<'q>,
        memo: &'q Memo<'a>,
        key: &str,
    ) -> Option<Case<'a, 'q>> {
        let (key, entry) = self.entries.get_key_value(key)?;
        let compiled = entry.compiled.as_deref()?;
        let own = query.tenant.and_then(|tenant| self.own.get(tenant.tenant_id)?.get(key));
        Some(Case { flags: self, key, entry, compiled, own: own.map(|own| &**own), query, memo })
    }
}
