//! The violations of one request: where each is, and the message that a client gets of them.

use std::fmt;

/// Most violations that a message spells out; the rest are only counted.
const VIOLATIONS_SHOWN_MAX: usize = 10;
/// Most characters of a value that a message shows.
const VALUE_CHARS_MAX: usize = 64;

/// Where a value stands in the input: a chain from the value up to the root.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Path<'a> {
    Root,
    /// The member of that name.
    Member(&'a Path<'a>, &'static str),
    /// The item of a list at that position, counted from one.
    Item(&'a Path<'a>, usize),
    /// The key of the entry of a map at that position; the key itself may be sensitive.
    Key(&'a Path<'a>, usize),
    /// The value of that entry.
    Entry(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    /// Writes `pushNotification.title`, `memberArns.1.member`: names in lower camel case.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Member(parent, name) => {
                if !matches!(parent, Self::Root) {
                    write!(f, "{parent}.")?;
                }
                let mut letters = name.chars();
                if let Some(first) = letters.next() {
                    write!(f, "{}", first.to_ascii_lowercase())?;
                }
                f.write_str(letters.as_str())
            }
            Self::Item(parent, position) => write!(f, "{parent}.{position}.member"),
            Self::Key(parent, position) => write!(f, "{parent}.{position}.key"),
            Self::Entry(parent, position) => write!(f, "{parent}.{position}.value"),
        }
    }
}

/// The violations found so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    count: usize,
    shown: Vec<String>,
}

impl Report {
    /// Adds a violation, spelt out by a function as the value is shown and what the member must do.
    pub(crate) fn add(&mut self, path: &Path<'_>, spell: impl FnOnce() -> (String, String)) {
        self.count += 1;
        if self.shown.len() < VIOLATIONS_SHOWN_MAX {
            let (value, demand) = spell();
            self.shown.push(format!(
                "Value{value} at '{path}' failed to satisfy constraint: Member must {demand}"
            ));
        }
    }

    /// Adds that a required member is not there.
    pub(crate) fn add_missing(&mut self, path: &Path<'_>) {
        self.add(path, || (" null".to_owned(), "not be null".to_owned()));
    }

    /// Adds the violations of another report behind the own ones.
    pub(crate) fn append(&mut self, other: Self) {
        self.count += other.count;
        let room = VIOLATIONS_SHOWN_MAX - self.shown.len();
        self.shown.extend(other.shown.into_iter().take(room));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns the text for the client.
    pub(crate) fn message(&self) -> String {
        let errors = if self.count == 1 { "error" } else { "errors" };
        format!("{} validation {errors} detected: {}", self.count, self.shown.join("; "))
    }
}

/// Returns ` 'value'`, cut to what a message may show.
pub(super) fn quote(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((cut, _)) => format!(" '{}...'", &text[..cut]),
        None => format!(" '{text}'"),
    }
}
