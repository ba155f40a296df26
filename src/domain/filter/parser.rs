//! From tokens to a tree that knows no schema yet.
//!
//! ```text
//! expression = factor { [ "AND" ] factor } ;
//! factor     = term { "OR" term } ;
//! term       = [ "NOT" | "-" ] ( "(" expression ")" | path operator value ) ;
//! ```

use super::lexer::{Kind, Operator, Token};
use super::{DEPTH_MAX, Error, TERMS_MAX, error};
use crate::domain::text::quote;

#[derive(Debug)]
pub(super) enum Tree {
    All(Vec<Tree>),
    Any(Vec<Tree>),
    Not(Box<Tree>),
    Comparison(Comparison),
}

#[derive(Debug)]
pub(super) struct Comparison {
    pub(super) field: String,
    /// The key of a map's entry.
    pub(super) key: Option<String>,
    /// Byte offset of the path.
    pub(super) start: usize,
    pub(super) operator: Operator,
    pub(super) value: Token,
}

pub(super) fn parse(text: &str, tokens: &[Token]) -> Result<Option<Tree>, Error> {
    if tokens.is_empty() {
        return Ok(None);
    }
    let mut parser = Parser { text, tokens, next: 0, terms: 0, depth: 0 };
    let tree = parser.expression()?;
    match parser.tokens.get(parser.next) {
        None => Ok(Some(tree)),
        Some(token) => Err(error(text, token.start, "this closing parenthesis closes nothing")),
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: &'a [Token],
    next: usize,
    terms: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.next)
    }

    fn take(&mut self) -> Option<&'a Token> {
        let token = self.tokens.get(self.next);
        self.next += usize::from(token.is_some());
        token
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Token { kind: Kind::Word(found), .. }) if found == word);
        self.next += usize::from(found);
        found
    }

    fn fail(&self, at: Option<&Token>, why: impl Into<String>) -> Error {
        error(self.text, at.map_or(self.text.len(), |token| token.start), why)
    }

    fn expression(&mut self) -> Result<Tree, Error> {
        let mut factors = vec![self.factor()?];
        loop {
            // Two factors side by side are joined as by AND.
            let joined = self.take_word("AND");
            match self.peek() {
                Some(token) if joined || token.kind != Kind::Close => factors.push(self.factor()?),
                None if joined => return Err(self.fail(None, "a comparison is missing after AND")),
                _ => break,
            }
        }
        Ok(one_or(factors, Tree::All))
    }

    fn factor(&mut self) -> Result<Tree, Error> {
        let mut terms = vec![self.term()?];
        while self.take_word("OR") {
            terms.push(self.term()?);
        }
        Ok(one_or(terms, Tree::Any))
    }

    fn term(&mut self) -> Result<Tree, Error> {
        if self.take_word("NOT") || self.take_word("-") {
            return Ok(Tree::Not(Box::new(self.simple(false)?)));
        }
        match self.peek() {
            Some(Token { kind: Kind::Word(word), .. }) if word.starts_with('-') => {
                Ok(Tree::Not(Box::new(self.simple(true)?)))
            }
            _ => self.simple(false),
        }
    }

    fn simple(&mut self, minus: bool) -> Result<Tree, Error> {
        let token = self.take();
        match token.map(|token| &token.kind) {
            Some(Kind::Open) => {
                self.depth += 1;
                if self.depth > DEPTH_MAX {
                    return Err(
                        self.fail(token, format!("parentheses are nested more than {DEPTH_MAX} deep"))
                    );
                }
                if matches!(self.peek(), Some(Token { kind: Kind::Close, .. })) {
                    return Err(self.fail(self.peek(), "there is nothing between these parentheses"));
                }
                let inner = self.expression()?;
                match self.take() {
                    Some(Token { kind: Kind::Close, .. }) => {}
                    _ => return Err(self.fail(token, "the parenthesis that opens here is not closed")),
                }
                self.depth -= 1;
                Ok(inner)
            }
            Some(Kind::Word(word)) => {
                let path = if minus { &word[1..] } else { word.as_str() };
                self.comparison(token, path)
            }
            Some(Kind::Close) => Err(self.fail(token, "a comparison is missing before this parenthesis")),
            Some(Kind::Operator(_)) => {
                Err(self.fail(token, "a field's name is missing before this operator"))
            }
            Some(Kind::Quoted(_)) => {
                Err(self.fail(token, "a comparison starts with a field's name, for example tier = \"gold\""))
            }
            None => Err(self.fail(None, "the text ends where a comparison is expected")),
        }
    }

    fn comparison(&mut self, token: Option<&'a Token>, path: &str) -> Result<Tree, Error> {
        self.terms += 1;
        if self.terms > TERMS_MAX {
            return Err(self.fail(token, format!("there are more than {TERMS_MAX} comparisons")));
        }
        let (field, mut key) = match path.split_once('.') {
            Some((field, key)) => (field, Some(key.to_owned())),
            None => (path, None),
        };
        // labels."any key": the quoted part follows the dot at once.
        if key.as_deref() == Some("")
            && let (Some(before), Some(Token { kind: Kind::Quoted(quoted), start, .. })) =
                (token, self.peek())
            && before.end == *start
        {
            key = Some(quoted.clone());
            self.next += 1;
        }
        if key.as_deref() == Some("") {
            return Err(self.fail(token, "a key is missing after the dot"));
        }
        let operator = match self.peek() {
            Some(Token { kind: Kind::Operator(operator), .. }) => *operator,
            _ => return Err(self.fail(token, lone_word(path))),
        };
        self.next += 1;
        let value = self.take();
        match value {
            Some(found @ Token { kind: Kind::Word(_) | Kind::Quoted(_), .. }) => {
                Ok(Tree::Comparison(Comparison {
                    field: field.to_owned(),
                    key,
                    start: token.map_or(0, |token| token.start),
                    operator,
                    value: found.clone(),
                }))
            }
            _ => Err(self.fail(value, "a value is missing after the operator")),
        }
    }
}

fn lone_word(word: &str) -> String {
    let capitals = word.to_ascii_uppercase();
    match capitals.as_str() {
        "AND" | "OR" | "NOT" if capitals == word => format!("{word} stands where a comparison is expected"),
        "AND" | "OR" | "NOT" => format!("{capitals} is written in capitals"),
        _ => format!(
            "{} needs an operator and a value after it, for example {} = \"…\"",
            quote(word),
            short(word)
        ),
    }
}

/// The word itself where it can stand in a sentence, else a stand-in.
fn short(word: &str) -> &str {
    if word.len() <= 32 && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.')) {
        word
    } else {
        "field"
    }
}

fn one_or(mut trees: Vec<Tree>, join: impl Fn(Vec<Tree>) -> Tree) -> Tree {
    match trees.pop() {
        Some(only) if trees.is_empty() => only,
        last => {
            trees.extend(last);
            join(trees)
        }
    }
}
