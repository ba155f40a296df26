//! From a rule's source to a tree.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::context::Context;
use super::error::{Error, ErrorKind};
use super::evaluate::{Evaluator, STEPS_MAX, Scope};
use super::limit::{DEPTH_MAX, NODES_MAX, TEXT_BYTES_MAX};
use super::node::{Args, Constant, Each, Needle, Node, Shares, Var, VarIs};
use super::operator::Op;
use super::path::{Path, name_hash};
use super::segments::{Segment, Segments};
use super::word::Word;
use super::{HashVersion, Input};
use crate::domain::text::quote;

/// Our own operator, which flagd has not.
pub(super) const MATCHES: &str = "tenantry_matches";
/// How a rule refers to a segment.
pub(super) const REFERENCE: &str = "$ref";

/// How mistakes are taken that flagd finds only when an evaluation comes to them, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// They are refused.
    Strict,
    /// They do what they do in flagd.
    Foreign,
}

/// One compilation.
pub(super) struct Compiler<'v> {
    segments: &'v Segments,
    pub(super) mode: Mode,
    nodes: usize,
    text_bytes: usize,
    /// What its patterns came to so far, in bytes.
    pub(super) pattern_bytes: usize,
    /// Deepest level so far.
    pub(super) deepest: usize,
    /// The segments it refers to.
    pub(super) used: BTreeSet<String>,
    /// Whether it uses what flagd has not.
    pub(super) is_ours: bool,
}

pub(super) type Compiled<T = Node> = Result<T, Error>;

/// A mistake in the part of the source that is being compiled; the way to it is added on the way back.
pub(super) fn fail<T>(kind: ErrorKind, why: impl Into<String>) -> Compiled<T> {
    Err(Error { kind, path: String::new(), why: why.into() })
}

impl<'v> Compiler<'v> {
    pub(super) const fn new(segments: &'v Segments, mode: Mode) -> Self {
        Self {
            segments,
            mode,
            nodes: 0,
            text_bytes: 0,
            pattern_bytes: 0,
            deepest: 0,
            used: BTreeSet::new(),
            is_ours: false,
        }
    }

    /// How many values the source has, those of segments counted.
    pub(super) const fn nodes(&self) -> usize {
        self.nodes
    }

    pub(super) fn node(&mut self, source: &'v Value, depth: usize) -> Compiled {
        self.count(1, depth)?;
        match source {
            Value::String(text) => self.count_text(text)?,
            Value::Array(items) => return self.list(items, depth),
            Value::Object(map) => return self.object(source, map, depth),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        Ok(Node::Constant(Constant::of(source)))
    }

    fn count(&mut self, nodes: usize, depth: usize) -> Compiled<()> {
        self.nodes += nodes;
        self.deepest = self.deepest.max(depth);
        if depth > DEPTH_MAX {
            return fail(
                ErrorKind::Depth,
                format!("is nested too deeply; at most {DEPTH_MAX} levels are allowed"),
            );
        }
        if self.nodes > NODES_MAX {
            return fail(ErrorKind::Size, format!("has too many values; at most {NODES_MAX} are allowed"));
        }
        Ok(())
    }

    fn count_text(&mut self, text: &str) -> Compiled<()> {
        self.text_bytes += text.len();
        if self.text_bytes > TEXT_BYTES_MAX {
            return fail(
                ErrorKind::Size,
                format!("has too much text; at most {TEXT_BYTES_MAX} bytes are allowed"),
            );
        }
        Ok(())
    }

    fn list(&mut self, items: &'v [Value], depth: usize) -> Compiled {
        let nodes = self.nodes_of(items, depth)?;
        let constants: Option<Vec<Value>> =
            nodes.iter().map(|node| node.constant()?.datum().to_json()).collect();
        Ok(match constants {
            Some(values) => Node::Constant(Constant::of(&Value::Array(values))),
            None => Node::List(nodes),
        })
    }

    pub(super) fn nodes_of(&mut self, items: &'v [Value], depth: usize) -> Compiled<Box<[Node]>> {
        let compile = |(index, item): (usize, &'v Value)| {
            self.node(item, depth + 1).map_err(|error| error.inside(&format!("[{index}]")))
        };
        items.iter().enumerate().map(compile).collect()
    }

    /// An object with one member is an operation, any other one is a value.
    fn object(&mut self, source: &'v Value, map: &'v Map<String, Value>, depth: usize) -> Compiled {
        let mut members = map.iter();
        let (Some((name, args)), None) = (members.next(), members.next()) else {
            self.count_value(source, depth)?;
            return Ok(Node::Constant(Constant::of(source)));
        };
        self.count_text(name)?;
        let operation = match referred(source) {
            Some(segment) => self.reference(segment, depth),
            None => self.operation(name, args, depth + 1),
        };
        operation.map_err(|error| error.inside(&shown(name)))
    }

    /// Counts a value that is taken as it is.
    fn count_value(&mut self, value: &'v Value, depth: usize) -> Compiled<()> {
        match value {
            Value::String(text) => self.count_text(text)?,
            Value::Array(items) => {
                self.count(items.len(), depth + 1)?;
                items.iter().try_for_each(|item| self.count_value(item, depth + 1))?;
            }
            Value::Object(map) => {
                self.count(map.len(), depth + 1)?;
                for (name, value) in map {
                    self.count_text(name)?;
                    self.count_value(value, depth + 1)?;
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        Ok(())
    }

    fn reference(&mut self, name: &str, depth: usize) -> Compiled {
        let Some(segment) = self.segment(name)? else { return Ok(Node::Unknown) };
        self.count(segment.nodes, depth + segment.depth)?;
        Ok(match &*segment.node {
            Node::Constant(constant) => Node::Constant(constant.clone()),
            _ => Node::Shared(Arc::clone(&segment.node)),
        })
    }

    /// The segment of this name, which is used from now on. None where a foreign rule names one that does not exist.
    fn segment(&mut self, name: &str) -> Compiled<Option<&'v Segment>> {
        let segments = self.segments;
        let Some(found) = segments.find(name) else {
            return match self.mode {
                Mode::Foreign => Ok(None),
                Mode::Strict => fail(ErrorKind::Segment, format!("there is no segment {}", quote(name))),
            };
        };
        let segment = found.map_err(Clone::clone)?;
        self.used.insert(name.to_owned());
        self.used.extend(segment.uses.iter().cloned());
        self.is_ours |= segment.is_ours;
        Ok(Some(segment))
    }

    /// The source itself, or that of the segment it refers to: flagd puts a segment's text in the place of its name
    /// before it reads a rule, so that arguments can come from one.
    pub(super) fn resolve(&mut self, source: &'v Value) -> Compiled<&'v Value> {
        let mut source = source;
        // Segments have no circles, and no more of them can follow each other than a rule can be deep.
        for _ in 0..DEPTH_MAX {
            let Some(name) = referred(source) else { break };
            let Some(segment) = self.segment(name)? else { break };
            source = &segment.source;
        }
        Ok(source)
    }

    fn operation(&mut self, name: &str, args: &'v Value, depth: usize) -> Compiled {
        let args = self.resolve(args)?;
        let node = match name {
            "var" => self.var(args, depth),
            "if" | "?:" => self.conditional(args, depth),
            "and" => Ok(Node::And(self.operands(args, depth)?)),
            "or" => Ok(Node::Or(self.operands(args, depth)?)),
            "reduce" => self.reduce(args, depth),
            "fractional" => self.fractional(args, depth),
            MATCHES => self.matches(args, depth),
            _ => match (Op::parse(name), Each::parse(name)) {
                (Some(op), _) => self.call(op, args, depth),
                (None, Some(each)) => self.each(each, args, depth),
                (None, None) if self.mode == Mode::Foreign => Ok(Node::Unknown),
                (None, None) => fail(ErrorKind::Operator, format!("there is no operator {}", quote(name))),
            },
        }?;
        Ok(fold(node))
    }

    /// Refuses another number of arguments than makes sense.
    pub(super) fn check_count(
        &self,
        count: usize,
        allowed: &std::ops::RangeInclusive<usize>,
    ) -> Compiled<()> {
        if self.mode == Mode::Foreign || allowed.contains(&count) {
            return Ok(());
        }
        let (least, most) = (*allowed.start(), *allowed.end());
        let wanted = match most {
            usize::MAX => format!("at least {least}"),
            _ if least == most => least.to_string(),
            _ => format!("{least} to {most}"),
        };
        fail(ErrorKind::Arguments, format!("takes {wanted} arguments; there are {count}"))
    }

    /// Operands that are evaluated only as far as needed.
    pub(super) fn operands(&mut self, args: &'v Value, depth: usize) -> Compiled<Box<[Node]>> {
        match args {
            Value::Array(items) => {
                self.count(1, depth)?;
                self.nodes_of(items, depth)
            }
            _ => Ok(Box::new([self.node(args, depth)?])),
        }
    }

    pub(super) fn args(&mut self, args: &'v Value, depth: usize) -> Compiled<Args> {
        Ok(match args {
            Value::Object(map) if map.len() == 1 => match self.node(args, depth)? {
                node if node.is_constant() => match node.constant().map(Constant::datum) {
                    Some(datum) if datum.len().is_some() => Args::Spread(Box::new(node.clone())),
                    _ => Args::Fixed(Box::new([node])),
                },
                node => Args::Spread(Box::new(node)),
            },
            _ => Args::Fixed(self.operands(args, depth)?),
        })
    }

    fn var(&mut self, args: &'v Value, depth: usize) -> Compiled {
        let mut nodes = self.operands(args, depth)?.into_vec().into_iter();
        self.check_count(nodes.len(), &(0..=2))?;
        let path = nodes.next().unwrap_or(Node::NULL);
        // With more than two arguments flagd knows no default.
        let default = if nodes.len() == 1 { nodes.next().unwrap_or(Node::NULL) } else { Node::NULL };
        let Some(constant) = path.constant() else { return Ok(Node::Dynamic(Box::new([path, default]))) };
        let mut text = String::new();
        match constant {
            Constant::Null | Constant::Text(_) | Constant::Number(_) => {
                constant.datum().write(&mut text);
            }
            Constant::Bool(_) | Constant::Json(_) if self.mode == Mode::Strict => {
                return fail(ErrorKind::Arguments, "takes a path such as \"user.email\"");
            }
            Constant::Bool(_) | Constant::Json(_) => return Ok(Node::NULL),
        }
        Ok(Node::Var(Box::new(Var { path: Path::parse(&text), default })))
    }

    /// Branches that are never taken are left out.
    fn conditional(&mut self, args: &'v Value, depth: usize) -> Compiled {
        let mut nodes = self.operands(args, depth)?.into_vec().into_iter();
        let mut kept = Vec::with_capacity(nodes.len());
        while let Some(condition) = nodes.next() {
            let Some(result) = nodes.next() else {
                kept.push(condition);
                break;
            };
            match condition.constant().map(|constant| constant.datum().is_truthy()) {
                Some(true) => {
                    kept.push(result);
                    break;
                }
                Some(false) => {}
                None => kept.extend([condition, result]),
            }
        }
        Ok(match kept.len() {
            0 => Node::NULL,
            1 => kept.pop().unwrap_or(Node::NULL),
            _ => Node::If(kept.into()),
        })
    }

    fn each(&mut self, each: Each, args: &'v Value, depth: usize) -> Compiled {
        let mut nodes = self.operands(args, depth)?.into_vec().into_iter();
        self.check_count(nodes.len(), &(2..=2))?;
        let mut next = || nodes.next().unwrap_or(Node::NULL);
        Ok(Node::Each(each, Box::new([next(), next()])))
    }

    fn reduce(&mut self, args: &'v Value, depth: usize) -> Compiled {
        let mut nodes = self.operands(args, depth)?.into_vec().into_iter();
        self.check_count(nodes.len(), &(3..=3))?;
        let mut next = || nodes.next().unwrap_or(Node::NULL);
        Ok(Node::Reduce(Box::new([next(), next(), next()])))
    }
}

/// The segment that a source refers to, where it is nothing but a reference.
pub(super) fn referred(source: &Value) -> Option<&str> {
    let map = source.as_object().filter(|map| map.len() == 1)?;
    map.get(REFERENCE)?.as_str()
}

/// A member's name in a path.
pub(super) fn shown(name: &str) -> String {
    let is_plain = !name.is_empty()
        && name.len() <= 32
        && !name.contains(['"', '\\'])
        && !name.contains(char::is_control);
    if is_plain { name.to_owned() } else { quote(name) }
}

/// Evaluates in advance what is always the same, and gives frequent forms a node of their own.
fn fold(node: Node) -> Node {
    let is_pure = match &node {
        Node::Call(op, _) => !op.reads_context(),
        Node::And(_) | Node::Or(_) | Node::Matches(_) => true,
        Node::InTexts(search) => matches!(search.needle, Needle::Node(_)),
        _ => false,
    };
    if is_pure && node.children().all(Node::is_constant) {
        return in_advance(&node).unwrap_or(node);
    }
    match node {
        Node::Call(op @ (Op::Equal | Op::StrictlyEqual), Args::Fixed(args)) => equality(op, args),
        node => node,
    }
}

fn in_advance(node: &Node) -> Option<Node> {
    let context = Context::default();
    let input = Input { flag_key: "", now: Timestamp::UNIX_EPOCH, context: &context };
    let value =
        Evaluator::new(&input, HashVersion::default(), STEPS_MAX).node(node, &Scope::Root).ok()?.to_json()?;
    Some(Node::Constant(Constant::of(&value)))
}

/// `==` or `===` of an attribute without default and a text, in either order.
fn equality(op: Op, args: Box<[Node]>) -> Node {
    let test = match &*args {
        [Node::Var(var), Node::Constant(Constant::Text(text))]
        | [Node::Constant(Constant::Text(text)), Node::Var(var)]
            if matches!(var.default, Node::Constant(Constant::Null)) =>
        {
            Some(VarIs {
                path: var.path.clone(),
                text: Word::new(text),
                text_hash: name_hash(text),
                is_loose: op == Op::Equal,
            })
        }
        _ => None,
    };
    test.map_or(Node::Call(op, Args::Fixed(args)), |test| Node::VarIs(Box::new(test)))
}

impl Shares {
    /// How many entries there are, as far as that is known.
    pub(super) const fn count(&self) -> Option<usize> {
        match self {
            Self::Fixed(weights, _) => Some(weights.len()),
            Self::Entries(nodes) => Some(nodes.len()),
            Self::Arguments(_) => None,
        }
    }
}
