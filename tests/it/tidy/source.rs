//! Rust text, read just well enough for the tidy rules: code without comments and strings, and the strings apart.

/// One file.
pub(super) struct Source {
    /// The text with every comment, string and character blanked; newlines and positions stay.
    code: Vec<char>,
    /// Every string with its position.
    strings: Vec<(usize, String)>,
    /// Where the file's own tests begin.
    tests_at: usize,
}

impl Source {
    pub(super) fn read(text: &str) -> Self {
        let (code, strings) =
            Lexer { text: text.chars().collect(), at: 0, code: Vec::new(), strings: Vec::new() }.run();
        let joined: Vec<char> = "#[cfg(test)]\nmod tests {".chars().collect();
        let tests_at = code.windows(joined.len()).position(|window| window == joined).unwrap_or(code.len());
        Self { code, strings, tests_at }
    }

    /// How many lines the file has.
    pub(super) fn lines(&self) -> usize {
        self.line(self.code.len()) - usize::from(self.code.last() == Some(&'\n'))
    }

    /// The top modules that the file names behind `crate::`, each with its line.
    pub(super) fn imports(&self) -> Vec<(usize, String)> {
        self.paths_after("crate::")
    }

    /// The first names behind a path's beginning, one by one where a brace groups them.
    pub(super) fn paths_after(&self, begin: &str) -> Vec<(usize, String)> {
        let begin: Vec<char> = begin.chars().collect();
        let mut found = Vec::new();
        for at in 0..self.code.len() {
            let whole_word = at == 0 || !(is_name(self.code[at - 1]) || self.code[at - 1] == ':');
            if whole_word && self.code[at..].starts_with(&begin) {
                let names = names_at(&self.code[at + begin.len()..]);
                found.extend(names.into_iter().map(|name| (self.line(at), name)));
            }
        }
        found
    }

    /// The lines with a path that begins with the crate `name`.
    pub(super) fn lines_with_path(&self, name: &str) -> Vec<usize> {
        let begin: Vec<char> = format!("{name}::").chars().collect();
        (0..self.code.len())
            .filter(|&at| at == 0 || !(is_name(self.code[at - 1]) || self.code[at - 1] == ':'))
            .filter(|&at| self.code[at..].starts_with(&begin))
            .map(|at| self.line(at))
            .collect()
    }

    /// Every function with a body: its line, name and length in lines.
    pub(super) fn functions(&self) -> Vec<(usize, String, usize)> {
        let word: Vec<char> = "fn ".chars().collect();
        let mut found = Vec::new();
        for at in 0..self.code.len() {
            if !self.code[at..].starts_with(&word) || at > 0 && is_name(self.code[at - 1]) {
                continue;
            }
            let name: String = self.code[at + 3..].iter().take_while(|&&letter| is_name(letter)).collect();
            if let Some((begin, end)) = body(&self.code, at + 3).filter(|_| !name.is_empty()) {
                found.push((self.line(at), name, self.line(end) - self.line(begin) + 1));
            }
        }
        found
    }

    /// The strings of the shipped code with their lines.
    pub(super) fn strings_outside_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        let shipped = self.strings.iter().filter(|(at, _)| *at < self.tests_at);
        shipped.map(|(at, text)| (self.line(*at), text.as_str()))
    }

    /// The strings that are the first argument of a macro.
    pub(super) fn macro_arguments(&self) -> Vec<&str> {
        let begin: Vec<char> = "!(".chars().collect();
        let is_argument = |at: usize| {
            let before = self.code[..at].iter().rposition(|letter| !letter.is_whitespace());
            before.is_some_and(|last| self.code[..=last].ends_with(&begin))
        };
        self.strings.iter().filter(|(at, _)| is_argument(*at)).map(|(_, text)| text.as_str()).collect()
    }

    /// The line of a position, from 1.
    fn line(&self, at: usize) -> usize {
        self.code[..at].iter().filter(|&&letter| letter == '\n').count() + 1
    }
}

fn is_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The first name of a path, or of each path in the group that begins here.
fn names_at(code: &[char]) -> Vec<String> {
    let name = |code: &[char]| code.iter().copied().take_while(|&letter| is_name(letter)).collect::<String>();
    if code.first() != Some(&'{') {
        return vec![name(code)].into_iter().filter(|name| !name.is_empty()).collect();
    }
    let (mut depth, mut names, mut expect) = (0, Vec::new(), false);
    for (at, &letter) in code.iter().enumerate() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && (letter == '{' || letter == ',') {
            expect = true;
        } else if expect && is_name(letter) {
            names.push(name(&code[at..]));
            expect = false;
        }
    }
    names
}

/// Where the body of the function behind `at` begins and ends; `None` for a declaration.
fn body(code: &[char], at: usize) -> Option<(usize, usize)> {
    let mut nested = 0;
    let mut begin = None;
    for (at, &letter) in code.iter().enumerate().skip(at) {
        match (letter, begin) {
            ('(' | '[', None) | ('{', Some(_)) => nested += 1,
            (')' | ']', None) => nested -= 1,
            (';', None) if nested == 0 => return None,
            ('{', None) if nested == 0 => {
                begin = Some(at);
                nested = 1;
            }
            ('}', Some(begin)) => {
                nested -= 1;
                if nested == 0 {
                    return Some((begin, at));
                }
            }
            _ => {}
        }
    }
    None
}

struct Lexer {
    text: Vec<char>,
    at: usize,
    code: Vec<char>,
    strings: Vec<(usize, String)>,
}

impl Lexer {
    fn run(mut self) -> (Vec<char>, Vec<(usize, String)>) {
        while let Some(&letter) = self.text.get(self.at) {
            let rest = &self.text[self.at..];
            if rest.starts_with(&['/', '/']) {
                self.blank(rest.iter().take_while(|&&letter| letter != '\n').count());
            } else if rest.starts_with(&['/', '*']) {
                self.blank(block_comment(rest));
            } else if letter == '"' {
                self.string(0, quoted(rest, '"'));
            } else if let Some((marks, length)) =
                raw_string(rest, self.at.checked_sub(1).map(|at| self.text[at]))
            {
                self.string(marks + 1, length);
            } else if letter == '\'' && (rest.get(1) == Some(&'\\') || rest.get(2) == Some(&'\'')) {
                self.blank(quoted(rest, '\''));
            } else {
                self.code.push(letter);
                self.at += 1;
            }
        }
        (self.code, self.strings)
    }

    /// Takes a string of `length` with `extra` letters (`r`, `#`) before its quote.
    fn string(&mut self, extra: usize, length: usize) {
        let closing = extra.saturating_sub(1);
        let inner = self.at + extra + 1..(self.at + length).saturating_sub(closing + 1);
        let text = self.text.get(inner).unwrap_or_default().iter().collect();
        self.strings.push((self.at, text));
        self.blank(length);
    }

    fn blank(&mut self, length: usize) {
        for _ in 0..length.max(1) {
            let Some(&letter) = self.text.get(self.at) else { return };
            self.code.push(if letter == '\n' { '\n' } else { ' ' });
            self.at += 1;
        }
    }
}

/// The length of a literal in quotes, escapes seen.
fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            letter if letter == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The number of marks and the length of `r"…"` or `r#"…"#`.
fn raw_string(rest: &[char], before: Option<char>) -> Option<(usize, usize)> {
    let inside_name = before.is_some_and(|letter| is_name(letter) && letter != 'b');
    if rest.first() != Some(&'r') || inside_name {
        return None;
    }
    let marks = rest[1..].iter().take_while(|&&letter| letter == '#').count();
    if rest.get(1 + marks) != Some(&'"') {
        return None;
    }
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', marks)).collect();
    let inner = &rest[marks + 2..];
    let length = inner.windows(end.len()).position(|window| window == end).unwrap_or(inner.len());
    Some((marks, marks + 2 + length + end.len()))
}

/// The length of a block comment, others inside it included.
fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(&['/', '*']) {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(&['*', '/']) {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

#[test]
fn comments_and_strings_are_no_code() {
    let text = "use crate::{store::{self, log}, domain::Id}; // crate::app\n\
                let text = \"crate::grpc\"; /* crate::http */ let raw = r#\"crate::cli \"x\" \"#; let c = '\"';\n\
                fn life<'a>(it: &'a str) -> crate::view::Row { x() }\n";
    let source = Source::read(text);
    let names: Vec<String> = source.imports().into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["store", "domain", "view"]);
    let strings: Vec<&str> = source.strings_outside_tests().map(|(_, text)| text).collect();
    assert_eq!(strings, ["crate::grpc", "crate::cli \"x\" "]);
}

#[test]
fn a_function_is_measured_from_brace_to_brace() {
    let source =
        Source::read("trait T { fn declared(&self, a: [u8; 3]); }\nfn long(\n) {\n  if x { \"}\" }\n\n}\n");
    assert_eq!(source.functions(), [(2, "long".to_owned(), 4)]);
    assert_eq!(source.lines(), 6);
}

#[test]
fn the_first_argument_of_a_macro_is_found_across_line_breaks() {
    let source = Source::read("a(include_str!(\n    \"sql/x.sql\"\n), \"other\");");
    assert_eq!(source.macro_arguments(), ["sql/x.sql"]);
}
