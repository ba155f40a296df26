//! What a rule is compiled to.

use std::sync::{Arc, OnceLock};

use serde_json::Value;

use super::datum::Datum;
use super::operator::Op;
use super::path::{FLAGD, Path, TARGETING_KEY};
use super::pattern::Pattern;
use super::texts::Texts;
use super::word::Word;

/// An expression.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Constant(Constant),
    /// A list of which some items are expressions.
    List(Box<[Node]>),
    Var(Box<Var>),
    /// A path that is an expression, and what stands for nothing.
    Dynamic(Box<[Node; 2]>),
    /// Conditions and results by turns, and maybe what stands for all else.
    If(Box<[Node]>),
    And(Box<[Node]>),
    Or(Box<[Node]>),
    Call(Op, Args),
    /// `{"==": [{"var": …}, "text"]}` and the same with `===`: half of all rules.
    VarIs(Box<VarIs>),
    /// `in` over a constant list of texts.
    InTexts(Box<InTexts>),
    /// A text, and what it has to match.
    Matches(Box<(Node, Pattern)>),
    Each(Each, Box<[Node; 2]>),
    /// The list, what is done with each item, what it begins with.
    Reduce(Box<[Node; 3]>),
    Fractional(Box<Fractional>),
    /// A segment's, compiled once for all rules.
    Shared(Arc<Node>),
    /// An operator or a segment that does not exist, in a rule of a flagd file.
    Unknown,
}

/// A constant.
#[derive(Debug, Clone)]
pub(super) enum Constant {
    Null,
    Bool(bool),
    Number(f64),
    Text(Box<str>),
    /// An array or an object.
    Json(Arc<Json>),
}

/// A search among texts. Of an attribute by its path alone, as most are, else of whatever an expression gives.
#[derive(Debug, Clone)]
pub(super) struct InTexts {
    pub(super) texts: Texts,
    pub(super) needle: Needle,
    /// The same list for what is no text.
    pub(super) list: Arc<Json>,
}

#[derive(Debug, Clone)]
pub(super) enum Needle {
    Attribute(Path),
    Node(Node),
}

/// A constant array or object.
#[derive(Debug)]
pub(super) struct Json {
    pub(super) value: Value,
    texts: OnceLock<Option<Texts>>,
}

impl Json {
    pub(super) fn new(value: Value) -> Arc<Self> {
        Arc::new(Self { value, texts: OnceLock::new() })
    }

    /// Its items for searching, where all of them are texts.
    pub(super) fn texts(&self) -> Option<&Texts> {
        self.texts.get_or_init(|| Texts::of(self.value.as_array()?)).as_ref()
    }
}

impl Constant {
    pub(super) fn of(value: &Value) -> Self {
        match Datum::of(value) {
            Datum::Bool(bool) => Self::Bool(bool),
            Datum::Number(number) => Self::Number(number),
            Datum::Text(text) => Self::Text(text.into()),
            Datum::Json(value) => Self::Json(Json::new(value.clone())),
            _ => Self::Null,
        }
    }

    pub(super) fn datum(&self) -> Datum<'_> {
        match self {
            Self::Null => Datum::Null,
            Self::Bool(bool) => Datum::Bool(*bool),
            Self::Number(number) => Datum::Number(*number),
            Self::Text(text) => Datum::Text(text),
            Self::Json(json) => Datum::Json(&json.value),
        }
    }
}

/// An attribute, and what stands for it where it is missing or null.
#[derive(Debug, Clone)]
pub(super) struct Var {
    pub(super) path: Path,
    pub(super) default: Node,
}

/// A comparison of an attribute with a text.
#[derive(Debug, Clone)]
pub(super) struct VarIs {
    pub(super) path: Path,
    pub(super) text: Word,
    /// [`name_hash`] of it.
    pub(super) text_hash: u64,
    /// Whether a number equals the text that says it.
    pub(super) is_loose: bool,
}

/// An operator's arguments.
#[derive(Debug, Clone)]
pub(super) enum Args {
    Fixed(Box<[Node]>),
    /// One expression: where it gives a list, its items are the arguments.
    Spread(Box<Node>),
}

/// What is done with every item of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Each {
    Map,
    Filter,
    All,
    None,
    Some,
}

impl Each {
    /// Every one by its name.
    pub(super) const ALL: [(&str, Self); 5] = [
        ("map", Self::Map),
        ("filter", Self::Filter),
        ("all", Self::All),
        ("none", Self::None),
        ("some", Self::Some),
    ];

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, each)| each)
    }

    /// Whether it gives true or false.
    pub(super) const fn is_test(self) -> bool {
        matches!(self, Self::All | Self::None | Self::Some)
    }
}

/// Variants by weight.
#[derive(Debug, Clone)]
pub(super) struct Fractional {
    /// What is hashed, where the rule says so; it may still give an entry of the list.
    pub(super) bucket_by: Option<Node>,
    pub(super) shares: Shares,
}

#[derive(Debug, Clone)]
pub(super) enum Shares {
    /// Weights that were checked when the rule was compiled, with their variants.
    Fixed(Box<[u32]>, Box<[Node]>),
    /// Expressions that give `[variant, weight]`.
    Entries(Box<[Node]>),
    /// An expression that gives all arguments, the bucketing value among them.
    Arguments(Node),
}

/// What a rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read<'a> {
    /// A top-level attribute.
    Attribute(&'a str),
    /// Any attribute: which one is known only when the rule is evaluated.
    Everything,
    FlagKey,
    Time,
}

impl Node {
    pub(super) const NULL: Self = Self::Constant(Constant::Null);

    pub(super) const fn constant(&self) -> Option<&Constant> {
        match self {
            Self::Constant(constant) => Some(constant),
            _ => None,
        }
    }

    /// Whether it gives the same each time and nothing can go wrong with it, so that it can be evaluated in advance.
    pub(super) fn is_constant(&self) -> bool {
        matches!(self, Self::Constant(_))
    }

    /// The parts it is made of.
    pub(super) fn children(&self) -> Box<dyn Iterator<Item = &Self> + '_> {
        match self {
            Self::Constant(_) | Self::VarIs(_) | Self::Unknown => Box::new(std::iter::empty()),
            Self::InTexts(search) => match &search.needle {
                Needle::Attribute(_) => Box::new(std::iter::empty()),
                Needle::Node(node) => Box::new(std::iter::once(node)),
            },
            Self::Matches(test) => Box::new(std::iter::once(&test.0)),
            Self::List(nodes) | Self::If(nodes) | Self::And(nodes) | Self::Or(nodes) => {
                Box::new(nodes.iter())
            }
            Self::Call(_, Args::Fixed(nodes)) => Box::new(nodes.iter()),
            Self::Var(var) => Box::new(std::iter::once(&var.default)),
            Self::Dynamic(nodes) | Self::Each(_, nodes) => Box::new(nodes.iter()),
            Self::Reduce(nodes) => Box::new(nodes.iter()),
            Self::Call(_, Args::Spread(node)) => Box::new(std::iter::once(&**node)),
            Self::Shared(node) => Box::new(std::iter::once(&**node)),
            Self::Fractional(fractional) => {
                let inner: &[Self] = match &fractional.shares {
                    Shares::Fixed(_, nodes) | Shares::Entries(nodes) => nodes,
                    Shares::Arguments(node) => std::slice::from_ref(node),
                };
                Box::new(fractional.bucket_by.iter().chain(inner))
            }
        }
    }

    /// Tells everything it looks at, through all its parts.
    pub(super) fn reads(&self, tell: &mut dyn FnMut(Read<'_>)) {
        self.reads_at(Place::Root, tell);
    }

    /// The same of what stands in a place.
    pub(super) fn reads_at(&self, place: Place, tell: &mut dyn FnMut(Read<'_>)) {
        match self {
            Self::Var(var) => path_reads(&var.path, place, tell),
            Self::VarIs(test) => path_reads(&test.path, place, tell),
            Self::InTexts(search) => {
                if let Needle::Attribute(path) = &search.needle {
                    path_reads(path, place, tell);
                }
            }
            Self::Dynamic(_) => everything(place, tell),
            Self::Call(Op::Missing | Op::MissingSome, args) => missing_reads(args, place, tell),
            Self::Fractional(_) => {
                tell(Read::FlagKey);
                tell(Read::Attribute(TARGETING_KEY));
            }
            Self::Each(each, nodes) => {
                nodes[0].reads_at(place, &mut *tell);
                nodes[1].reads_at(place.inside(*each), tell);
                return;
            }
            Self::Reduce(nodes) => {
                let [subject, step, initial] = &**nodes;
                subject.reads_at(place, &mut *tell);
                initial.reads_at(place, &mut *tell);
                step.reads_at(Place::Item, tell);
                return;
            }
            _ => {}
        }
        for child in self.children() {
            child.reads_at(place, &mut *tell);
        }
    }
}

/// Where a part of a rule stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Where attributes are read.
    Root,
    /// Where something is done with each item of a list; what the item does not have is looked for among the attributes.
    ItemThenRoot,
    /// The same where nothing but the item is seen.
    Item,
}

impl Place {
    /// The place of what is done with each item. flagd's `filter`, `none` and `some` see the outer attributes, too.
    pub(super) const fn inside(self, each: Each) -> Self {
        match (self, each) {
            (Self::Item, _) | (_, Each::Map | Each::All) => Self::Item,
            (Self::Root | Self::ItemThenRoot, Each::Filter | Each::None | Each::Some) => Self::ItemThenRoot,
        }
    }
}

fn everything(place: Place, tell: &mut dyn FnMut(Read<'_>)) {
    if place != Place::Item {
        [Read::Everything, Read::FlagKey, Read::Time].into_iter().for_each(tell);
    }
}

fn path_reads(path: &Path, place: Place, tell: &mut dyn FnMut(Read<'_>)) {
    match (path.first(), place) {
        (None, Place::Root) => everything(place, tell),
        // That is the whole item.
        (None, _) | (_, Place::Item) => {}
        (Some(FLAGD), _) => match path.rest().first().map(AsRef::as_ref) {
            Some("flagKey") => tell(Read::FlagKey),
            Some("timestamp") => tell(Read::Time),
            _ => {}
        },
        (Some(name), _) => tell(Read::Attribute(name)),
    }
}

/// `missing` reads the paths it is given, which are constants in any rule that makes sense.
fn missing_reads(args: &Args, place: Place, tell: &mut dyn FnMut(Read<'_>)) {
    let mut read = |value: &Datum<'_>| match value.text() {
        Some(path) => path_reads(&Path::parse(path), place, tell),
        None => {
            for item in value.items() {
                match item.text() {
                    Some(path) => path_reads(&Path::parse(path), place, tell),
                    None => everything(place, tell),
                }
            }
        }
    };
    match args {
        Args::Fixed(nodes) if nodes.iter().all(Node::is_constant) => {
            for constant in nodes.iter().filter_map(Node::constant) {
                read(&constant.datum());
            }
        }
        _ => everything(place, tell),
    }
}
