//! The compilation of operators that know more of their constant arguments than that they are constant.

use std::sync::Arc;

use serde_json::Value;

use super::compile::{Compiled, Compiler, Mode, fail};
use super::error::ErrorKind;
use super::fractional::{WEIGHTS_MAX, weight_of};
use super::limit::PATTERNS_BYTES_MAX;
use super::node::{Args, Constant, Fractional, InTexts, Needle, Node, Shares};
use super::operator::{Op, version_comparison};
use super::pattern::Pattern;
use super::semver::Version;

impl<'v> Compiler<'v> {
    pub(super) fn call(&mut self, op: Op, args: &'v Value, depth: usize) -> Compiled {
        self.is_ours |= !op.is_known_everywhere();
        let args = self.args(args, depth)?;
        if let Args::Fixed(nodes) = &args {
            self.check_count(nodes.len(), &op.arity())?;
            if op == Op::SemVer && self.mode == Mode::Strict {
                check_versions(nodes)?;
            }
        }
        Ok(match (op, args) {
            (Op::In, Args::Fixed(nodes)) => membership(nodes),
            (op, args) => Node::Call(op, args),
        })
    }

    /// `[text, pattern]`. The pattern is a constant, so that it is checked and compiled once.
    pub(super) fn matches(&mut self, args: &'v Value, depth: usize) -> Compiled {
        self.is_ours = true;
        let nodes = self.operands(args, depth)?;
        let [text, Node::Constant(Constant::Text(pattern))] = &*nodes else {
            return fail(ErrorKind::Arguments, "takes a text and a pattern that is a constant text");
        };
        let pattern = Pattern::compile(pattern, PATTERNS_BYTES_MAX.saturating_sub(self.pattern_bytes))?;
        self.pattern_bytes += pattern.bytes;
        Ok(Node::Matches(Box::new((text.clone(), pattern))))
    }

    /// A bucketing value, which may be left out, and entries `[variant, weight]`.
    pub(super) fn fractional(&mut self, args: &'v Value, depth: usize) -> Compiled {
        let Value::Array(items) = args else {
            let shares = Shares::Arguments(self.node(args, depth)?);
            return Ok(Node::Fractional(Box::new(Fractional { bucket_by: None, shares })));
        };
        let (bucket_by, entries) = match items.split_first() {
            Some((first, rest)) if !self.resolve(first)?.is_array() => {
                let node = self.node(first, depth + 1).map_err(|error| error.inside("[0]"))?;
                (Some(node), rest)
            }
            _ => (None, items.as_slice()),
        };
        let offset = items.len() - entries.len();
        let shares = self.shares(entries, offset, depth)?;
        if self.mode == Mode::Strict && shares.count() == Some(0) {
            return fail(ErrorKind::Arguments, "needs at least one entry, for example [\"on\", 50]");
        }
        Ok(Node::Fractional(Box::new(Fractional { bucket_by, shares })))
    }

    fn shares(&mut self, entries: &'v [Value], offset: usize, depth: usize) -> Compiled<Shares> {
        let (mut weights, mut variants) = (Vec::new(), Vec::new());
        let mut nodes = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            let place = format!("[{}]", index + offset);
            let entry = self.resolve(entry)?;
            let node = self.node(entry, depth + 1).map_err(|error| error.inside(&place))?;
            let known = known_share(&node);
            if self.mode == Mode::Strict && known.is_none() && node.is_constant() {
                let why = "is no entry; an entry is [variant, weight] with a whole number up to 2147483647";
                return fail(ErrorKind::Arguments, why).map_err(|error| error.inside(&place));
            }
            if let Some((variant, weight)) = known {
                variants.push(variant);
                weights.push(weight);
            }
            nodes.push(node);
        }
        let sum: u64 = weights.iter().copied().map(u64::from).sum();
        let is_known = weights.len() == nodes.len();
        if is_known && sum <= u64::from(WEIGHTS_MAX) {
            return Ok(Shares::Fixed(weights.into(), variants.into()));
        }
        if is_known && self.mode == Mode::Strict {
            return fail(
                ErrorKind::Arguments,
                format!("has weights of {sum} in all; at most {WEIGHTS_MAX} are allowed"),
            );
        }
        Ok(Shares::Entries(nodes.into()))
    }
}

/// The variant and the weight of an entry whose weight is a constant.
pub(super) fn known_share(node: &Node) -> Option<(Node, u32)> {
    match node {
        Node::Constant(constant) => {
            let entry = constant.datum();
            let count = entry.len().filter(|count| *count > 0)?;
            let weight = if count > 1 { weight_of(&entry.item(1))? } else { 1 };
            let variant = entry.item(0);
            variant.len().is_none().then_some((Node::Constant(Constant::of(&variant.to_json()?)), weight))
        }
        Node::List(nodes) => {
            let (variant, rest) = nodes.split_first()?;
            let weight = match rest.first() {
                None => 1,
                Some(node) => weight_of(&node.constant()?.datum())?,
            };
            Some((variant.clone(), weight))
        }
        _ => None,
    }
}

/// `in` over a constant list of texts becomes a search.
fn membership(nodes: Box<[Node]>) -> Node {
    let search = match &*nodes {
        [needle, Node::Constant(Constant::Json(list))] => list.texts().map(|texts| InTexts {
            texts: texts.clone(),
            needle: match needle {
                Node::Var(var) if matches!(var.default, Node::Constant(Constant::Null)) => {
                    Needle::Attribute(var.path.clone())
                }
                needle => Needle::Node(needle.clone()),
            },
            list: Arc::clone(list),
        }),
        _ => None,
    };
    search.map_or(Node::Call(Op::In, Args::Fixed(nodes)), |search| Node::InTexts(Box::new(search)))
}

/// Constants that no version can be compared with would make the rule null for everybody.
fn check_versions(nodes: &[Node]) -> Compiled<()> {
    let [version, operator, target] = nodes else { return Ok(()) };
    if let Some(constant) = operator.constant()
        && version_comparison(&constant.datum()).is_none()
    {
        return fail(ErrorKind::Arguments, "compares with one of =, !=, <, <=, >, >=, ^ and ~");
    }
    for node in [version, target] {
        if let Some(Constant::Text(text)) = node.constant()
            && Version::parse(text).is_none()
        {
            return fail(ErrorKind::Arguments, format!("{} is no version", crate::domain::text::quote(text)));
        }
    }
    Ok(())
}
