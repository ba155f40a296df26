//! From text to tokens.

use super::{Error, LENGTH_MAX, error};
use crate::domain::text::quote;

/// A comparison's operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Has,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Open,
    Close,
    Operator(Operator),
    /// Letters, digits and what else needs no quotes: names, numbers, AND, OR, NOT.
    Word(String),
    /// Text in quotes, escapes resolved.
    Quoted(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Byte offset of the first and behind the last character.
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether a `*` opens or closes the text that was not escaped.
    pub(super) star_first: bool,
    pub(super) star_last: bool,
    /// Where a `*` stands elsewhere.
    pub(super) star_inside: bool,
}

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Error> {
    if text.len() > LENGTH_MAX {
        return Err(error(
            text,
            0,
            format!("the text has {} bytes; at most {LENGTH_MAX} are read", text.len()),
        ));
    }
    let mut lexer = Lexer { text, offset: 0 };
    let mut found = Vec::new();
    while let Some(token) = lexer.token()? {
        found.push(token);
    }
    Ok(found)
}

struct Lexer<'a> {
    text: &'a str,
    offset: usize,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.offset..)?.chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.offset += c.len_utf8();
        Some(c)
    }

    fn bump_if(&mut self, expected: char) -> bool {
        let found = self.peek() == Some(expected);
        if found {
            self.offset += expected.len_utf8();
        }
        found
    }

    fn token(&mut self) -> Result<Option<Token>, Error> {
        while self.peek().is_some_and(char::is_whitespace) {
            self.bump();
        }
        let start = self.offset;
        let Some(c) = self.bump() else { return Ok(None) };
        let operator = |kind| Kind::Operator(kind);
        let kind = match c {
            '(' => Kind::Open,
            ')' => Kind::Close,
            ':' => operator(Operator::Has),
            '=' => operator(Operator::Equal),
            '!' if self.bump_if('=') => operator(Operator::NotEqual),
            '<' if self.bump_if('=') => operator(Operator::LessOrEqual),
            '<' => operator(Operator::Less),
            '>' if self.bump_if('=') => operator(Operator::GreaterOrEqual),
            '>' => operator(Operator::Greater),
            '"' | '\'' => return self.quoted(start, c).map(Some),
            c if is_word(c) => return Ok(Some(self.word(start, c))),
            c => {
                let shown = quote(&c.to_string());
                return Err(error(
                    self.text,
                    start,
                    format!("{shown} has no meaning here; put text in double quotes"),
                ));
            }
        };
        Ok(Some(Token {
            kind,
            start,
            end: self.offset,
            star_first: false,
            star_last: false,
            star_inside: false,
        }))
    }

    fn word(&mut self, start: usize, first: char) -> Token {
        // A colon is the has operator, except inside a time such as 2026-01-31T12:00:00Z: names start with a letter.
        let in_number = first.is_ascii_digit();
        while self.peek().is_some_and(|c| is_word(c) || (in_number && c == ':')) {
            self.bump();
        }
        let word = &self.text[start..self.offset];
        let inner = word.strip_prefix('*').unwrap_or(word);
        let inner = inner.strip_suffix('*').unwrap_or(inner);
        Token {
            star_first: word.starts_with('*'),
            star_last: word.len() > 1 && word.ends_with('*'),
            star_inside: inner.contains('*'),
            kind: Kind::Word(word.to_owned()),
            start,
            end: self.offset,
        }
    }

    fn quoted(&mut self, start: usize, end_quote: char) -> Result<Token, Error> {
        let mut content = String::new();
        let mut wildcards = Vec::new();
        loop {
            let at = self.offset;
            match self.bump() {
                None => return Err(error(self.text, start, "the quotes that open here are not closed")),
                Some(c) if c == end_quote => break,
                Some('\\') => match self.bump() {
                    Some('n') => content.push('\n'),
                    Some('t') => content.push('\t'),
                    Some(c @ ('"' | '\'' | '\\' | '*')) => content.push(c),
                    _ => {
                        return Err(error(self.text, at, r#"a backslash is followed by ", ', \, *, n or t"#));
                    }
                },
                Some('*') => {
                    wildcards.push(content.len());
                    content.push('*');
                }
                Some(c) => content.push(c),
            }
        }
        let last = content.len().wrapping_sub(1);
        Ok(Token {
            star_first: wildcards.contains(&0),
            star_last: last > 0 && wildcards.contains(&last),
            star_inside: wildcards.iter().any(|star| *star != 0 && *star != last),
            kind: Kind::Quoted(content),
            start,
            end: self.offset,
        })
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '*' | '/' | '+' | '@')
}
