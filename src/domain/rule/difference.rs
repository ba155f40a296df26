//! What the engines of in-process providers make otherwise of a rule than we do, where no rule can be put so that they do
//! not.

use std::collections::BTreeSet;

use super::compile_call::known_share;
use super::fractional::weight_of;
use super::node::{Args, Constant, Node, Place, Read, Shares};
use super::operator::Op;

/// Something in a rule of which not all engines make the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// This attribute is asked for while a list is gone through, where some see nothing but the item. Without a name it is
    /// known only when the rule is evaluated.
    WithinList(String),
    /// A text is cut where it may not be as long.
    Cut,
    /// The weights of shares are read.
    Weights,
}

/// All that a rule has.
pub(super) fn differences(node: &Node) -> BTreeSet<Difference> {
    let mut found = BTreeSet::new();
    look(node, false, &mut found);
    found
}

fn look(node: &Node, is_within_list: bool, found: &mut BTreeSet<Difference>) {
    match node {
        Node::Call(Op::Substr, args) if !is_cut_alike(args) => drop(found.insert(Difference::Cut)),
        Node::Fractional(fractional) if reads_weights(&fractional.shares) => {
            found.insert(Difference::Weights);
        }
        Node::Each(each, nodes) => {
            return look_through(&nodes[..], Place::Root.inside(*each), is_within_list, found);
        }
        Node::Reduce(nodes) => return look_through(&nodes[..], Place::Item, is_within_list, found),
        _ => {}
    }
    node.children().for_each(|child| look(child, is_within_list, found));
}

/// A list, what is done with each item, and maybe what that begins with.
fn look_through(nodes: &[Node], place: Place, is_within_list: bool, found: &mut BTreeSet<Difference>) {
    let [list, step, begin @ ..] = nodes else { return };
    // Lists within this one are all seen from here.
    if !is_within_list {
        step.reads_at(place, &mut |read| {
            let name = match read {
                Read::Attribute(name) => name,
                Read::Everything => "",
                Read::FlagKey => "$flagd.flagKey",
                Read::Time => "$flagd.timestamp",
            };
            if !has_each(list, name) {
                found.insert(Difference::WithinList(name.to_owned()));
            }
        });
    }
    look(step, true, found);
    std::iter::once(list).chain(begin).for_each(|node| look(node, is_within_list, found));
}

/// Whether it is a list written down whose items all have this member.
fn has_each(list: &Node, name: &str) -> bool {
    let Some(Constant::Json(list)) = list.constant() else { return false };
    list.value.as_array().is_some_and(|items| items.iter().all(|item| item.get(name).is_some()))
}

/// Whether every engine cuts the same from a text, however short: from one of its first two characters on, or from its end.
fn is_cut_alike(args: &Args) -> bool {
    let Args::Fixed(nodes) = args else { return false };
    let number = |node: &Node| match node.constant() {
        Some(Constant::Number(number)) if number.fract() == 0.0 => Some(*number),
        _ => None,
    };
    let bounds: Option<Vec<f64>> = nodes.iter().skip(1).map(number).collect();
    match bounds.as_deref() {
        Some([from]) => *from <= 1.0,
        Some([from, length]) => *from <= 1.0 && *length >= (-from - 1.0).max(0.0),
        _ => false,
    }
}

fn reads_weights(shares: &Shares) -> bool {
    let reads = |node: &Node| {
        let mut is_any = false;
        node.reads(&mut |_| is_any = true);
        is_any
    };
    match shares {
        Shares::Fixed(..) => false,
        Shares::Entries(nodes) => nodes.iter().any(|node| !is_share(node) && reads(node)),
        Shares::Arguments(node) => reads(node),
    }
}

/// Whether it is an entry whose weight is written down, or one of several such.
fn is_share(node: &Node) -> bool {
    let is_list = |nodes: &[Node]| nodes.get(1).is_some_and(is_weight);
    known_share(node).is_some()
        || matches!(node, Node::List(nodes) if is_list(nodes))
        || is_one_of(node, is_share)
}

fn is_weight(node: &Node) -> bool {
    node.constant().is_some_and(|constant| weight_of(&constant.datum()).is_some())
        || is_one_of(node, is_weight)
}

/// Whether all that a choice can come to is so.
fn is_one_of(node: &Node, is_so: fn(&Node) -> bool) -> bool {
    match node {
        Node::If(branches) => {
            branches.len() % 2 == 1 && branches.chunks(2).filter_map(<[Node]>::last).all(is_so)
        }
        Node::Shared(node) => is_so(node),
        _ => false,
    }
}
