//! Reads YAML as flagd reads it: what its YAML library decodes without being told of types, written as JSON.
//!
//! The structure is the parser's: nodes, anchors, styles. What they mean is decided here: aliases, merge keys, and in
//! [`scalar`] what a plain text is.

mod scalar;
mod time;

use std::collections::{BTreeMap, BTreeSet};

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};
use serde_json::{Map, Value};

use self::scalar::Scalar;
use super::repeated::Read;

/// Deepest nesting; what is deeper no reader of JSON on the way takes.
const DEPTH_MAX: usize = 100;
/// Most bytes of text, aliases written out: a request is far smaller.
const BYTES_MAX: usize = 64 << 20;
/// A key that brings in the entries of other maps.
const MERGE: &str = "<<";

/// Reads the first document of a YAML text; the others flagd does not look at.
pub(super) fn read(text: &str) -> Result<Read, String> {
    let mut tree = Tree::default();
    let mut parser = Parser::new_from_str(text);
    let root = tree.first_document(&mut parser)?;
    let is_more = root.is_some() && !matches!(parser.next_event(), None | Some(Ok((Event::StreamEnd, _))));
    let mut reader = Reader::new(&tree);
    let value = root.map(|root| reader.document(root)).transpose()?.unwrap_or_default();
    Ok(Read { value, repeated: reader.repeated, textless: reader.textless, is_more })
}

/// A node of the document.
#[derive(Debug)]
enum Node {
    Scalar(Scalar),
    List(Vec<usize>),
    Map(Vec<(usize, usize)>),
    /// Another node; its anchor.
    Alias(usize),
}

/// The nodes of a document, each by its place.
#[derive(Debug, Default)]
struct Tree {
    nodes: Vec<Node>,
    /// The line of each.
    lines: Vec<usize>,
    anchors: BTreeMap<usize, usize>,
}

type Events<'input> = Parser<'input, StrInput<'input>>;

impl Tree {
    /// The root of the first document; none where there is none.
    fn first_document(&mut self, parser: &mut Events<'_>) -> Result<Option<usize>, String> {
        loop {
            match next(parser)? {
                (Event::StreamEnd, _) => return Ok(None),
                (Event::DocumentStart(_), _) => break,
                _ => {}
            }
        }
        let first = next(parser)?;
        let root = self.node(first, parser, 0)?;
        next(parser)?;
        Ok(Some(root))
    }

    fn node(
        &mut self,
        (event, span): (Event<'_>, Span),
        parser: &mut Events<'_>,
        depth: usize,
    ) -> Result<usize, String> {
        let line = span.start.line();
        if depth > DEPTH_MAX {
            return Err(format!("line {line}: it is nested more than {DEPTH_MAX} deep"));
        }
        let place = self.nodes.len();
        // Its place is known before what is in it, which may be an alias of it.
        self.nodes.push(Node::List(Vec::new()));
        self.lines.push(line);
        let (anchor, node) = match event {
            Event::Alias(anchor) => (0, Node::Alias(anchor)),
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.map(|tag| written(&tag));
                (
                    anchor,
                    Node::Scalar(Scalar::new(text.into_owned(), style == ScalarStyle::Plain, tag.as_deref())),
                )
            }
            Event::SequenceStart(anchor, _) => {
                self.anchors.insert(anchor, place);
                (anchor, Node::List(self.list(parser, depth)?))
            }
            Event::MappingStart(anchor, _) => {
                self.anchors.insert(anchor, place);
                (anchor, Node::Map(self.map(parser, depth)?))
            }
            _ => return Err(format!("line {line}: a value is missing")),
        };
        self.anchors.insert(anchor, place);
        self.nodes[place] = node;
        Ok(place)
    }

    fn list(&mut self, parser: &mut Events<'_>, depth: usize) -> Result<Vec<usize>, String> {
        let mut items = Vec::new();
        loop {
            match next(parser)? {
                (Event::SequenceEnd, _) => return Ok(items),
                item => items.push(self.node(item, parser, depth + 1)?),
            }
        }
    }

    fn map(&mut self, parser: &mut Events<'_>, depth: usize) -> Result<Vec<(usize, usize)>, String> {
        let mut entries = Vec::new();
        loop {
            let key = match next(parser)? {
                (Event::MappingEnd, _) => return Ok(entries),
                key => self.node(key, parser, depth + 1)?,
            };
            let value = next(parser)?;
            entries.push((key, self.node(value, parser, depth + 1)?));
        }
    }

    /// What an alias stands for; any other node itself.
    fn target(&self, place: usize) -> usize {
        match &self.nodes[place] {
            Node::Alias(anchor) => self.anchors.get(anchor).copied().unwrap_or(place),
            _ => place,
        }
    }

    fn is_merge(&self, key: usize) -> bool {
        matches!(&self.nodes[key], Node::Scalar(scalar) if scalar.is_merge())
    }
}

fn next<'input>(parser: &mut Events<'input>) -> Result<(Event<'input>, Span), String> {
    match parser.next_event() {
        Some(Ok(event)) => Ok(event),
        Some(Err(error)) => Err(format!("line {}: {}", error.marker().line(), error.info())),
        None => Err("it ends too early".to_owned()),
    }
}

fn written(tag: &Tag) -> String {
    format!("{}{}", tag.handle, tag.suffix)
}

/// Gives the nodes their meaning.
struct Reader<'a> {
    tree: &'a Tree,
    /// Where it is, for example `flags.search`.
    place: String,
    repeated: Vec<String>,
    textless: Vec<String>,
    /// Aliases that are being read.
    open: BTreeSet<usize>,
    depth: usize,
    /// Nodes that were read, and how many of them by an alias.
    read: u32,
    by_alias: u32,
    bytes: usize,
}

impl<'a> Reader<'a> {
    fn new(tree: &'a Tree) -> Self {
        Self {
            tree,
            place: String::new(),
            repeated: Vec::new(),
            textless: Vec::new(),
            open: BTreeSet::new(),
            depth: 0,
            read: 0,
            by_alias: 0,
            bytes: 0,
        }
    }

    /// The whole, of which a map may have keys that are no text: they are taken as they are written.
    fn document(&mut self, root: usize) -> Result<Value, String> {
        let Node::Map(entries) = &self.tree.nodes[root] else { return self.value(root) };
        let mut map = Map::new();
        self.note_repeated(entries);
        self.fill(entries, &mut map, None)?;
        Ok(map.into())
    }

    fn value(&mut self, place: usize) -> Result<Value, String> {
        self.count(place)?;
        self.depth += 1;
        let tree = self.tree;
        let value = match &tree.nodes[place] {
            Node::Scalar(scalar) => {
                self.weigh(place, scalar.text.len())?;
                scalar.value().map_err(|why| self.at(place, &why))?
            }
            Node::Alias(_) => self.within_alias(place, Self::value)?,
            Node::List(items) => self.list(items)?,
            Node::Map(entries) => {
                let textless = |key: &usize| !self.tree.is_merge(*key) && !self.is_text(*key);
                let textless: Vec<_> = entries.iter().map(|(key, _)| *key).filter(textless).collect();
                self.note_repeated(entries);
                for key in textless {
                    let name = self.key(key)?.ok_or_else(|| self.at(key, "a key must not be null"))?;
                    self.textless.push(self.inside(&name));
                }
                let mut map = Map::new();
                self.fill(entries, &mut map, None)?;
                map.into()
            }
        };
        self.depth -= 1;
        Ok(value)
    }

    fn list(&mut self, items: &[usize]) -> Result<Value, String> {
        let length = self.place.len();
        let mut list = Vec::new();
        for item in items {
            self.place.push_str(&format!("[{}]", list.len()));
            list.push(self.value(*item)?);
            self.place.truncate(length);
        }
        Ok(list.into())
    }

    /// Reads what an alias stands for.
    fn within_alias<T>(
        &mut self,
        alias: usize,
        read: impl FnOnce(&mut Self, usize) -> Result<T, String>,
    ) -> Result<T, String> {
        if !self.open.insert(alias) {
            return Err(self.at(alias, "the value of an anchor contains itself"));
        }
        let found = read(self, self.tree.target(alias))?;
        self.open.remove(&alias);
        Ok(found)
    }

    /// Reads entries into a map. Those of a merged map (`taken` has the keys that count already) leave alone what is there.
    fn fill(
        &mut self,
        entries: &[(usize, usize)],
        map: &mut Map<String, Value>,
        mut taken: Option<&mut BTreeSet<String>>,
    ) -> Result<(), String> {
        let length = self.place.len();
        let mut merge = None;
        for (key, value) in entries {
            if self.tree.is_merge(*key) {
                merge = Some(*value);
                continue;
            }
            let Some(name) = self.key(*key)? else { continue };
            if taken.as_mut().is_some_and(|taken| !taken.insert(name.clone())) {
                continue;
            }
            self.place = self.inside(&name);
            let value = self.value(*value)?;
            self.place.truncate(length);
            map.insert(name, value);
        }
        match (merge, taken) {
            (None, _) => Ok(()),
            (Some(merge), Some(taken)) => self.merge(merge, map, taken),
            (Some(merge), None) => {
                let mut own = BTreeSet::new();
                for (key, _) in entries {
                    // One that is no text is no key of the merged map, where all are.
                    own.extend(self.key(*key)?.filter(|_| self.is_text(*key)));
                }
                self.merge(merge, map, &mut own)
            }
        }
    }

    /// Brings in the entries of another map, or of several, of which the earlier ones win.
    fn merge(
        &mut self,
        from: usize,
        map: &mut Map<String, Value>,
        taken: &mut BTreeSet<String>,
    ) -> Result<(), String> {
        let tree = self.tree;
        let several = match &tree.nodes[from] {
            Node::List(maps) => maps.as_slice(),
            _ => std::slice::from_ref(&from),
        };
        for one in several {
            let Node::Map(entries) = &tree.nodes[tree.target(*one)] else {
                return Err(self.at(*one, "the value of << must be a map or a list of maps"));
            };
            self.count(*one)?;
            self.depth += 1;
            self.note_repeated(entries);
            if matches!(tree.nodes[*one], Node::Alias(_)) {
                self.within_alias(*one, |reader, _| reader.fill(entries, map, Some(taken)))?;
            } else {
                self.fill(entries, map, Some(taken))?;
            }
            self.depth -= 1;
        }
        Ok(())
    }

    /// A key as text; none of null.
    fn key(&mut self, place: usize) -> Result<Option<String>, String> {
        self.count(place)?;
        let tree = self.tree;
        match &tree.nodes[place] {
            Node::Scalar(scalar) => {
                self.weigh(place, scalar.text.len())?;
                scalar.key().map_err(|why| self.at(place, &why))
            }
            Node::Alias(_) => self.within_alias(place, Self::key),
            Node::List(_) | Node::Map(_) => Err(self.at(place, "a key must be a text")),
        }
    }

    fn is_text(&self, key: usize) -> bool {
        matches!(&self.tree.nodes[self.tree.target(key)], Node::Scalar(scalar) if scalar.is_text())
    }

    /// Keys that are there again, as they are written.
    fn note_repeated(&mut self, entries: &[(usize, usize)]) {
        let (tree, mut seen) = (self.tree, BTreeSet::new());
        for (key, _) in entries {
            let (anchor, text) = match &tree.nodes[*key] {
                Node::Scalar(scalar) => (None, scalar.text.as_str()),
                Node::Alias(anchor) => (Some(*anchor), ""),
                _ => continue,
            };
            if !seen.insert((anchor, text)) {
                let again = self.inside(text);
                self.repeated.push(again);
            }
        }
    }

    /// The place of a member of this.
    fn inside(&self, name: &str) -> String {
        let dot = if self.place.is_empty() { "" } else { "." };
        format!("{}{dot}{name}", self.place)
    }

    fn at(&self, place: usize, why: &str) -> String {
        format!("line {}: {why}", self.tree.lines[place])
    }

    /// Counts a node, and stops where a document is mostly copies of itself: then a short one can be without end. The
    /// bounds are those of flagd's library, so that what it takes is taken here.
    fn count(&mut self, place: usize) -> Result<(), String> {
        if self.depth > DEPTH_MAX {
            return Err(self.at(place, &format!("with its aliases it is nested more than {DEPTH_MAX} deep")));
        }
        self.read += 1;
        self.by_alias += u32::from(!self.open.is_empty());
        let share = f64::from(self.by_alias) / f64::from(self.read);
        if self.by_alias > 100 && self.read > 1_000 && share > share_max(self.read) {
            return Err(self.at(place, "the document is mostly aliases: it would grow too large"));
        }
        Ok(())
    }

    fn weigh(&mut self, place: usize, bytes: usize) -> Result<(), String> {
        self.bytes += bytes;
        if self.bytes > BYTES_MAX {
            return Err(self.at(place, "with its aliases written out the document is too large"));
        }
        Ok(())
    }
}

/// The largest share of nodes that may be read by aliases: nearly all of few, a tenth of many.
fn share_max(read: u32) -> f64 {
    const FEW: f64 = 400_000.0;
    const MANY: f64 = 4_000_000.0;
    let beyond = (f64::from(read) - FEW).clamp(0.0, MANY - FEW);
    0.99 - 0.89 * beyond / (MANY - FEW)
}

#[cfg(test)]
#[path = "yaml/tests.rs"]
mod tests;
