//! What the model demands of a value, and the text that says which demand was not met.
//!
//! Invariant: a text holds no value that the model marks sensitive and is bounded whatever the
//! request: few violations are spelt out, values are cut, all violations are counted.

pub(crate) mod pattern;
mod report;

use std::fmt;

use crate::shape::{List, View};
use pattern::Pattern;

pub(crate) use report::{Path, Report};

/// Stands for "no upper limit".
pub(crate) const UNBOUNDED: i64 = i64::MAX;
/// Most items of a list that a message shows; the text is cut further on.
const LIST_ITEMS_SHOWN_MAX: usize = 16;

/// The demands on one value.
#[derive(Debug)]
pub(crate) struct Rule {
    min: i64,
    max: i64,
    unit: Unit,
    pattern: Option<&'static Pattern>,
    sensitive: bool,
    key: Option<&'static Rule>,
    item: Option<&'static Rule>,
}

/// What the length of a text counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Characters,
    Bytes,
}

impl Rule {
    /// Demands nothing.
    pub(crate) const ANY: Self = Self {
        min: i64::MIN,
        max: UNBOUNDED,
        unit: Unit::Characters,
        pattern: None,
        sensitive: false,
        key: None,
        item: None,
    };

    /// Bounds a number, the characters of a text or the items of a list.
    pub(crate) const fn between(min: i64, max: i64) -> Self {
        Self { min, max, ..Self::ANY }
    }

    /// Counts the bytes of a text in place of its characters.
    pub(crate) const fn in_bytes(self) -> Self {
        Self { unit: Unit::Bytes, ..self }
    }

    /// Demands that the whole text matches.
    pub(crate) const fn matches(self, pattern: &'static Pattern) -> Self {
        Self { pattern: Some(pattern), ..self }
    }

    /// Keeps the value out of all texts.
    pub(crate) const fn sensitive(self) -> Self {
        Self { sensitive: true, ..self }
    }

    /// Demands something of each item of a list, or each value of a map.
    pub(crate) const fn of(self, item: &'static Rule) -> Self {
        Self { item: Some(item), ..self }
    }

    /// Demands something of each key of a map.
    pub(crate) const fn keyed(self, key: &'static Rule) -> Self {
        Self { key: Some(key), ..self }
    }

    /// Returns the rule of the items of a list or the values of a map.
    pub(crate) fn item(&self) -> &'static Rule {
        self.item.unwrap_or(&Self::ANY)
    }

    /// Returns the rule of the keys of a map.
    pub(crate) fn key(&self) -> &'static Rule {
        self.key.unwrap_or(&Self::ANY)
    }

    /// Tells whether the value, or anything in it, has to stay out of all texts.
    pub(crate) fn is_sensitive(&self) -> bool {
        self.sensitive
            || self.key.is_some_and(Self::is_sensitive)
            || self.item.is_some_and(Self::is_sensitive)
    }

    /// Checks a text.
    pub(crate) fn check_text(&self, text: &str, path: &Path<'_>, report: &mut Report) {
        let length = match self.unit {
            Unit::Bytes => text.len(),
            Unit::Characters => text.chars().count(),
        };
        if let Some(unmet) = self.unmet(bound_of(length)) {
            report.add(path, || (self.show(text), format!("have length {unmet}")));
        }
        if let Some(pattern) = self.pattern
            && !(pattern.is_match)(text)
        {
            let demand = || format!("satisfy regular expression pattern: {}", pattern.text);
            report.add(path, || (self.show(text), demand()));
        }
    }

    /// Checks a number.
    pub(crate) fn check_integer(&self, number: i32, path: &Path<'_>, report: &mut Report) {
        if let Some(unmet) = self.unmet(i64::from(number)) {
            report.add(path, || (self.show(&number.to_string()), format!("have value {unmet}")));
        }
    }

    /// Checks the number of items of a list.
    pub(crate) fn check_list(&self, list: &dyn List, path: &Path<'_>, report: &mut Report) {
        let mut count = 0;
        list.each(&mut |_| count += 1);
        if let Some(unmet) = self.unmet(bound_of(count)) {
            report.add(path, || (self.show_list(list), format!("have length {unmet}")));
        }
    }

    /// Says that a text is none of the values of its enumeration.
    pub(crate) fn refuse_value(
        &self,
        text: &str,
        values: &[&str],
        path: &Path<'_>,
        report: &mut Report,
    ) {
        report.add(path, || {
            let mut values = values.to_vec();
            values.sort_unstable();
            (self.show(text), format!("satisfy enum value set: [{}]", values.join(", ")))
        });
    }

    /// Returns the bound that a number is beyond.
    fn unmet(&self, number: i64) -> Option<Bound> {
        if number < self.min {
            Some(Bound::Least(self.min))
        } else if number > self.max {
            Some(Bound::Most(self.max))
        } else {
            None
        }
    }

    /// Returns the value as a message shows it: cut, and empty when it is sensitive.
    fn show(&self, text: &str) -> String {
        if self.is_sensitive() { String::new() } else { report::quote(text) }
    }

    /// Returns the items as a message shows them; structures are left out, since their own members
    /// may be sensitive.
    fn show_list(&self, list: &dyn List) -> String {
        let mut items = Vec::new();
        let mut structured = false;
        list.each(&mut |item| match item {
            View::Text(text) if items.len() < LIST_ITEMS_SHOWN_MAX => items.push(text.to_owned()),
            View::Text(_) => {}
            _ => structured = true,
        });
        if structured { String::new() } else { self.show(&format!("[{}]", items.join(", "))) }
    }
}

/// A bound of a rule, which reads as a message has it.
enum Bound {
    Least(i64),
    Most(i64),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Least(min) => write!(f, "greater than or equal to {min}"),
            Self::Most(max) => write!(f, "less than or equal to {max}"),
        }
    }
}

/// Returns a length as a number that bounds are compared with.
fn bound_of(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(UNBOUNDED)
}
