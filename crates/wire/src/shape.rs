//! What the generic reader and writer see of a generated structure: a table of members and one
//! typed slot for each.
//!
//! A structure is declared once, by `shape!`, with one line a member. The reader asks for a `Slot`
//! and fills it, the writer asks for a `View`. Invariant: the fields of a structure stand in the
//! order of its member table, so an index means the same in both.

mod declare;

use std::collections::BTreeMap;
use std::fmt;

use crate::constraint::Rule;
use crate::time::Timestamp;

pub(crate) use declare::{enumeration, shape};

/// Most members that a structure may have; a bit for each tells which of them a request named.
pub(crate) const MEMBERS_MAX: usize = 64;

/// One member of a structure, as the model has it.
#[derive(Debug)]
pub struct Member {
    pub(crate) name: &'static str,
    pub(crate) place: Place,
    pub(crate) rule: &'static Rule,
}

impl Member {
    /// Returns the name that the API gives the member.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

/// The part of a request that carries a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Body,
    Label(&'static str),
    Query(&'static str),
}

/// Declares a member of the body.
pub(crate) const fn body(name: &'static str, rule: &'static Rule) -> Member {
    Member { name, place: Place::Body, rule }
}

/// Declares a member that is a label of the path.
pub(crate) const fn label(name: &'static str, label: &'static str, rule: &'static Rule) -> Member {
    Member { name, place: Place::Label(label), rule }
}

/// Declares a member that is a parameter of the query.
pub(crate) const fn query(
    name: &'static str,
    parameter: &'static str,
    rule: &'static Rule,
) -> Member {
    Member { name, place: Place::Query(parameter), rule }
}

/// A structure of the model.
pub trait Shape {
    /// Returns the member table.
    fn members(&self) -> &'static [Member];
    /// Returns the field of the member at `index`.
    fn field_mut(&mut self, index: usize) -> Option<&mut dyn Field>;
    /// Visits all fields in the order of the member table.
    fn each(&self, visit: &mut dyn FnMut(&'static Member, &dyn Field));
}

/// The output of an operation that answers nothing.
impl Shape for () {
    fn members(&self) -> &'static [Member] {
        &[]
    }

    fn field_mut(&mut self, _index: usize) -> Option<&mut dyn Field> {
        None
    }

    fn each(&self, _visit: &mut dyn FnMut(&'static Member, &dyn Field)) {}
}

/// Writes a structure for people: what the model marks sensitive shows only that it is there.
pub(crate) fn debug(
    shape: &dyn Shape,
    name: &str,
    values: &[&dyn fmt::Debug],
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let mut out = f.debug_struct(name);
    let mut values = values.iter();
    shape.each(&mut |member, field| {
        let value = values.next().expect("there is one value for each field");
        if member.rule.is_sensitive() && field.view().is_some() {
            out.field(member.name, &format_args!("***"));
        } else {
            out.field(member.name, value);
        }
    });
    out.finish()
}

/// A field: a value, or an `Option` of one when the member is not required.
pub trait Field {
    fn required(&self) -> bool;
    /// Sets the field to its default, which is absent when it may be.
    fn clear(&mut self);
    /// Makes the value present and empty, ready to be filled.
    fn slot(&mut self) -> Slot<'_>;
    fn view(&self) -> Option<View<'_>>;
}

impl<T: Value> Field for T {
    fn required(&self) -> bool {
        true
    }

    fn clear(&mut self) {
        *self = T::default();
    }

    fn slot(&mut self) -> Slot<'_> {
        *self = T::default();
        Value::slot(self)
    }

    fn view(&self) -> Option<View<'_>> {
        Some(Value::view(self))
    }
}

impl<T: Value> Field for Option<T> {
    fn required(&self) -> bool {
        false
    }

    fn clear(&mut self) {
        *self = None;
    }

    fn slot(&mut self) -> Slot<'_> {
        self.insert(T::default()).slot()
    }

    fn view(&self) -> Option<View<'_>> {
        self.as_ref().map(Value::view)
    }
}

/// A place for a value that is being read.
pub enum Slot<'a> {
    Text(&'a mut String),
    Integer(&'a mut i32),
    Boolean(&'a mut bool),
    Time(&'a mut Timestamp),
    Enumeration(&'a mut dyn Enumeration),
    List(&'a mut dyn List),
    Map(&'a mut dyn Map),
    Structure(&'a mut dyn Shape),
}

/// A value that is being written.
pub enum View<'a> {
    Text(&'a str),
    Integer(i32),
    Boolean(bool),
    Time(Timestamp),
    List(&'a dyn List),
    Map(&'a dyn Map),
    Structure(&'a dyn Shape),
}

/// A type that a member may have.
pub trait Value: Default {
    fn slot(&mut self) -> Slot<'_>;
    fn view(&self) -> View<'_>;
}

/// A choice between the values that the model names.
pub trait Enumeration {
    fn values(&self) -> &'static [&'static str];
    /// Takes the value of that spelling; `false` when there is none.
    fn set(&mut self, text: &str) -> bool;
}

/// A list of values of one type.
pub trait List {
    /// Appends an empty value and returns its slot.
    fn push(&mut self) -> Slot<'_>;
    fn each(&self, visit: &mut dyn FnMut(View<'_>));
}

/// A map from text to values of one type.
pub trait Map {
    /// Puts an empty value under the key and returns its slot.
    fn put(&mut self, key: String) -> Slot<'_>;
    fn each(&self, visit: &mut dyn FnMut(&str, View<'_>));
}

/// A text that is none of the values of an enumeration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownValue;

impl fmt::Display for UnknownValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a value of the enumeration")
    }
}

impl std::error::Error for UnknownValue {}

impl Value for String {
    fn slot(&mut self) -> Slot<'_> {
        Slot::Text(self)
    }

    fn view(&self) -> View<'_> {
        View::Text(self)
    }
}

impl Value for i32 {
    fn slot(&mut self) -> Slot<'_> {
        Slot::Integer(self)
    }

    fn view(&self) -> View<'_> {
        View::Integer(*self)
    }
}

impl Value for bool {
    fn slot(&mut self) -> Slot<'_> {
        Slot::Boolean(self)
    }

    fn view(&self) -> View<'_> {
        View::Boolean(*self)
    }
}

impl Value for Timestamp {
    fn slot(&mut self) -> Slot<'_> {
        Slot::Time(self)
    }

    fn view(&self) -> View<'_> {
        View::Time(*self)
    }
}

impl<T: Value> Value for Vec<T> {
    fn slot(&mut self) -> Slot<'_> {
        Slot::List(self)
    }

    fn view(&self) -> View<'_> {
        View::List(self)
    }
}

impl<T: Value> List for Vec<T> {
    fn push(&mut self) -> Slot<'_> {
        self.push_mut(T::default()).slot()
    }

    fn each(&self, visit: &mut dyn FnMut(View<'_>)) {
        for value in self {
            visit(Value::view(value));
        }
    }
}

impl<T: Value> Value for BTreeMap<String, T> {
    fn slot(&mut self) -> Slot<'_> {
        Slot::Map(self)
    }

    fn view(&self) -> View<'_> {
        View::Map(self)
    }
}

impl<T: Value> Map for BTreeMap<String, T> {
    fn put(&mut self, key: String) -> Slot<'_> {
        let value = self.entry(key).or_default();
        *value = T::default();
        Value::slot(value)
    }

    fn each(&self, visit: &mut dyn FnMut(&str, View<'_>)) {
        for (key, value) in self {
            visit(key, Value::view(value));
        }
    }
}
