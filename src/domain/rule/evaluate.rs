//! Evaluation of a compiled rule.
//!
//! It cannot fail but by costing too much: an operator that its arguments do not suit gives null. Recursion goes as deep
//! as the rule's source, which is limited; what it costs is counted in steps, and lists cannot be nested further than
//! [`LIST_DEPTH_MAX`], so that dropping one does not recurse without bound either.

use std::cell::Cell;
use std::rc::Rc;

use serde_json::Value;

use super::context::Attribute;
use super::datum::{Datum, List};
use super::node::{Args, InTexts, Needle, Node, Var, VarIs};
use super::operator::Op;
use super::path::{Path, name_hash};
use super::word::Word;
use super::{Failure, HashVersion, Input};

/// Most steps of one evaluation: a step is an expression, an item of a list, or 64 bytes of text. About two
/// milliseconds; a rule without lists of the client's takes at most [`super::limit::NODES_MAX`].
pub(super) const STEPS_MAX: u32 = 100_000;
/// Longest text that a rule can put together, in bytes.
pub(super) const TEXT_MAX: usize = 16 << 10;
/// Deepest nesting of lists that a rule can put together.
pub(super) const LIST_DEPTH_MAX: usize = 64;

pub(super) type Evaluated<'a> = Result<Datum<'a>, Failure>;

/// What `var` is relative to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scope<'s, 'a> {
    /// The context.
    Root,
    /// An item of a list; what it has not is looked for in the outer scope, where there is one.
    Item { item: &'s Datum<'a>, outer: Option<&'s Scope<'s, 'a>> },
    /// A step of `reduce`.
    Reduce { current: &'s Datum<'a>, accumulator: &'s Datum<'a> },
}

/// One evaluation.
pub(super) struct Evaluator<'a, 'i> {
    /// Not a copy: one right after it was written waits until all of it has reached the cache.
    pub(super) input: &'i Input<'a>,
    pub(super) hash: HashVersion,
    steps: Cell<u32>,
}

impl<'a, 'i> Evaluator<'a, 'i> {
    pub(super) const fn new(input: &'i Input<'a>, hash: HashVersion, steps: u32) -> Self {
        Self { input, hash, steps: Cell::new(steps) }
    }

    /// How many steps are left.
    pub(super) const fn left(&self) -> u32 {
        self.steps.get()
    }

    /// Counts steps.
    pub(super) fn charge(&self, steps: usize) -> Result<(), Failure> {
        let left = u32::try_from(steps).ok().and_then(|steps| self.steps.get().checked_sub(steps));
        self.steps.set(left.ok_or(Failure::TooExpensive)?);
        Ok(())
    }

    /// Counts what it costs to look at a text from end to end.
    pub(super) fn charge_text(&self, text: &str) -> Result<(), Failure> {
        if text.len() < 64 { Ok(()) } else { self.charge(text.len() / 64) }
    }

    pub(super) fn node(&self, node: &'a Node, scope: &Scope<'_, 'a>) -> Evaluated<'a> {
        self.charge(1)?;
        match node {
            Node::Constant(constant) => Ok(constant.datum()),
            Node::Var(var) => self.var(var, scope),
            Node::VarIs(test) => Ok(Datum::Bool(self.var_is(test, scope))),
            Node::InTexts(search) => self.in_texts(search, scope).map(Datum::Bool),
            Node::If(nodes) => self.choose(nodes, scope),
            Node::And(nodes) => self.until(nodes, scope, |value| !value.is_truthy()),
            Node::Or(nodes) => self.until(nodes, scope, Datum::is_truthy),
            Node::Call(op, args) => self.operation(*op, args, scope),
            Node::Matches(pair) => {
                let (node, pattern) = &**pair;
                let value = self.node(node, scope)?;
                let Some(text) = value.text() else { return Ok(Datum::Null) };
                self.charge(pattern.steps(text))?;
                Ok(Datum::Bool(pattern.is_match(text)))
            }
            Node::Fractional(fractional) => self.fractional(fractional, scope),
            Node::Shared(node) => self.node(node, scope),
            Node::Unknown => Err(Failure::UnknownOperator),
            Node::List(nodes) => {
                let items: Result<_, _> = nodes.iter().map(|node| self.node(node, scope)).collect();
                self.list(items?)
            }
            Node::Dynamic(nodes) => {
                let path = self.node(&nodes[0], scope)?;
                let found = self.at(&path, scope)?;
                if found.is_null() { self.node(&nodes[1], scope) } else { Ok(found) }
            }
            Node::Each(each, nodes) => self.each(*each, nodes, scope),
            Node::Reduce(nodes) => self.reduce(nodes, scope),
        }
    }

    /// Whether an expression is true, without a value in between where that is the question.
    pub(super) fn truth(&self, node: &'a Node, scope: &Scope<'_, 'a>) -> Result<bool, Failure> {
        match node {
            Node::VarIs(test) => {
                self.charge(1)?;
                Ok(self.var_is(test, scope))
            }
            Node::InTexts(search) => {
                self.charge(1)?;
                self.in_texts(search, scope)
            }
            Node::And(nodes) => {
                self.charge(1)?;
                for node in nodes {
                    if !self.truth(node, scope)? {
                        return Ok(false);
                    }
                }
                Ok(!nodes.is_empty())
            }
            Node::Shared(node) => {
                self.charge(1)?;
                self.truth(node, scope)
            }
            _ => self.node(node, scope).map(|value| value.is_truthy()),
        }
    }

    fn var_is(&self, test: &'a VarIs, scope: &Scope<'_, 'a>) -> bool {
        if is_attribute(&test.path, scope) {
            return match self.input.context.named(&test.path) {
                Some(Attribute { value: Value::String(found), text_hash, .. }) => {
                    *text_hash == test.text_hash && test.text.is(found)
                }
                Some(Attribute { value, .. }) => test.is_loose && is_loosely(&Datum::of(value), &test.text),
                None => false,
            };
        }
        let found = self.find(&test.path, scope);
        match found.text() {
            Some(found) => test.text.is(found),
            None => test.is_loose && is_loosely(&found, &test.text),
        }
    }

    fn in_texts(&self, search: &'a InTexts, scope: &Scope<'_, 'a>) -> Result<bool, Failure> {
        let needle = match &search.needle {
            Needle::Attribute(path) if is_attribute(path, scope) => match self.input.context.named(path) {
                Some(Attribute { value: Value::String(text), text_hash, .. }) => {
                    return Ok(search.texts.contains(*text_hash, text));
                }
                Some(attribute) => Datum::of(&attribute.value),
                None => return Ok(false),
            },
            Needle::Attribute(path) => self.find(path, scope),
            Needle::Node(node) => self.node(node, scope)?,
        };
        match needle.text() {
            Some(text) => {
                self.charge_text(text)?;
                Ok(search.texts.contains(name_hash(text), text))
            }
            None => self.is_in(&needle, &Datum::Json(&search.list.value)),
        }
    }

    /// Apart, so that the arguments take no room on the stack where there are none.
    #[inline(never)]
    fn operation(&self, op: Op, args: &'a Args, scope: &Scope<'_, 'a>) -> Evaluated<'a> {
        self.with_args(args, scope, |args| self.call(op, args, scope))
    }

    fn var(&self, var: &'a Var, scope: &Scope<'_, 'a>) -> Evaluated<'a> {
        match self.find(&var.path, scope) {
            Datum::Null if !var.default.is_constant() => self.node(&var.default, scope),
            Datum::Null => Ok(var.default.constant().map_or(Datum::Null, |default| default.datum())),
            found => Ok(found),
        }
    }

    /// The value at a path.
    pub(super) fn find(&self, path: &Path, scope: &Scope<'_, 'a>) -> Datum<'a> {
        match scope {
            Scope::Root if path.is_flagd => self.flagd(path),
            Scope::Root if path.is_everything() => Datum::Whole(self.input.context),
            Scope::Root => self.input.context.at(path),
            Scope::Item { item, outer } => match (path.follow(item), outer) {
                (Datum::Null, Some(outer)) if !path.is_everything() => self.find(path, outer),
                (found, _) => found,
            },
            Scope::Reduce { current, accumulator } => match path.first() {
                Some("current") => path.inside((*current).clone()),
                Some("accumulator") => path.inside((*accumulator).clone()),
                _ => Datum::Null,
            },
        }
    }

    /// What flagd says of the evaluation itself.
    fn flagd(&self, path: &Path) -> Datum<'a> {
        match path.rest() {
            [name] if &**name == "flagKey" => Datum::Text(self.input.flag_key),
            // Seconds since 1970 fit a double's 53 bits until long after all flags are gone.
            #[allow(clippy::cast_precision_loss)]
            [name] if &**name == "timestamp" => Datum::Number(self.input.now.as_second() as f64),
            _ => Datum::Null,
        }
    }

    /// The value at a path that is known only now.
    pub(super) fn at(&self, path: &Datum<'a>, scope: &Scope<'_, 'a>) -> Evaluated<'a> {
        let mut text = String::new();
        if let Some(path) = path.text() {
            self.charge_text(path)?;
        }
        Ok(match path {
            Datum::Text(_) | Datum::Made(_) | Datum::Number(_) if path.write(&mut text) => {
                self.find(&Path::parse(&text), scope)
            }
            _ => Datum::Null,
        })
    }

    fn choose(&self, nodes: &'a [Node], scope: &Scope<'_, 'a>) -> Evaluated<'a> {
        let mut pairs = nodes.chunks_exact(2);
        for pair in &mut pairs {
            if self.truth(&pair[0], scope)? {
                return self.node(&pair[1], scope);
            }
        }
        pairs.remainder().first().map_or(Ok(Datum::Null), |last| self.node(last, scope))
    }

    /// The first value that settles it, else the last one.
    fn until(
        &self,
        nodes: &'a [Node],
        scope: &Scope<'_, 'a>,
        settles: impl Fn(&Datum<'a>) -> bool,
    ) -> Evaluated<'a> {
        let mut last = Datum::Null;
        for node in nodes {
            last = self.node(node, scope)?;
            if settles(&last) {
                break;
            }
        }
        Ok(last)
    }

    /// Evaluates arguments. Up to four need no memory of their own.
    pub(super) fn with_args<T>(
        &self,
        args: &'a Args,
        scope: &Scope<'_, 'a>,
        then: impl FnOnce(&[Datum<'a>]) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut few = [const { Datum::Null }; 4];
        match args {
            Args::Fixed(nodes) if nodes.len() <= few.len() => {
                for (slot, node) in few.iter_mut().zip(nodes) {
                    *slot = self.node(node, scope)?;
                }
                then(&few[..nodes.len()])
            }
            Args::Fixed(nodes) => {
                let many: Result<Vec<_>, _> = nodes.iter().map(|node| self.node(node, scope)).collect();
                then(&many?)
            }
            Args::Spread(node) => {
                let value = self.node(node, scope)?;
                match value.len() {
                    None => then(&[value]),
                    Some(count) => {
                        self.charge(count)?;
                        then(&value.items().collect::<Vec<_>>())
                    }
                }
            }
        }
    }

    /// A list of a rule's own making.
    pub(super) fn list(&self, items: Vec<Datum<'a>>) -> Evaluated<'a> {
        self.charge(items.len())?;
        let depth = 1 + items.iter().map(Datum::depth).max().unwrap_or(0);
        if depth > LIST_DEPTH_MAX {
            return Err(Failure::TooExpensive);
        }
        Ok(Datum::List(Rc::new(List { items, depth })))
    }

    /// A text of a rule's own making.
    pub(super) fn made(&self, text: &str) -> Evaluated<'a> {
        if text.len() > TEXT_MAX {
            return Err(Failure::TooExpensive);
        }
        self.charge_text(text)?;
        Ok(Datum::Made(Rc::from(text)))
    }
}

/// Whether a path is nothing but the name of an attribute of the context.
fn is_attribute(path: &Path, scope: &Scope<'_, '_>) -> bool {
    matches!(scope, Scope::Root) && path.is_name()
}

/// `==` of what is no text and a text.
fn is_loosely(value: &Datum<'_>, text: &Word) -> bool {
    value.equals(&Datum::Text(text.as_str()))
}
