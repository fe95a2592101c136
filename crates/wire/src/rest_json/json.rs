//! Streams JSON into slots: no tree of values stands between the text and the typed input.
//!
//! Invariant: the depth of recursion is that of the model, never that of the text, since members
//! that the model does not know are skipped without recursion.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Unexpected,
    Visitor,
};

use super::read::{Filling, Site, Unreadable, put_text};
use crate::constraint::{Path, Report};
use crate::error::{Error, ErrorCode};
use crate::shape::{Field, List, Map, Slot};
use crate::time::Timestamp;

/// The text of a body that is not even UTF-8.
const NOT_UTF8: &str = "The body is not UTF-8.";
/// Times beyond this many seconds have no calendar date.
const EPOCH_SECONDS_MAX: f64 = 253_402_300_800.0;

/// Reads the members of a body.
pub(super) fn take_body(filling: &mut Filling<'_>, body: &[u8]) -> Result<(), Error> {
    let text =
        std::str::from_utf8(body).map_err(|_| Error::new(ErrorCode::Serialization, NOT_UTF8))?;
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_map(Members(filling)).and_then(|()| json.end()).map_err(|error| refuse(&error))
}

/// Says where the text went wrong and nothing of what it holds, which may be sensitive.
fn refuse(error: &serde_json::Error) -> Error {
    let (line, column) = (error.line(), error.column());
    let message = format!(
        "The body is not a JSON object of the operation's input: see line {line}, column {column}."
    );
    Error::new(ErrorCode::Serialization, message)
}

/// Reads an object into a structure.
struct Members<'a, 'f>(&'a mut Filling<'f>);

impl<'de> Visitor<'de> for Members<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let filling = self.0;
        while let Some(member) = map.next_key_seed(Name(filling))? {
            match member {
                Some(index) => filling
                    .fill(index, |field, site| map.next_value_seed(Nullable { field, site }))?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Reads a name and finds the member that it belongs to.
struct Name<'a, 'f>(&'a Filling<'f>);

impl<'de> DeserializeSeed<'de> for Name<'_, '_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Option<usize>, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_, '_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.0.body_member(name))
    }
}

/// Reads a member; `null` is the same as no member.
struct Nullable<'a> {
    field: &'a mut dyn Field,
    site: Site<'a>,
}

impl<'de> DeserializeSeed<'de> for Nullable<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<bool, D::Error> {
        json.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Nullable<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or null")
    }

    fn visit_none<E>(self) -> Result<bool, E> {
        self.field.clear();
        Ok(false)
    }

    fn visit_some<D: Deserializer<'de>>(self, json: D) -> Result<bool, D::Error> {
        Value { slot: self.field.slot(), site: self.site }.deserialize(json).map(|()| true)
    }
}

/// Reads a value into its slot.
struct Value<'a> {
    slot: Slot<'a>,
    site: Site<'a>,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.slot {
            Slot::Text(_) | Slot::Enumeration(_) => "a string",
            Slot::Integer(_) => "an integer",
            Slot::Boolean(_) => "a boolean",
            Slot::Time(_) => "a number of seconds",
            Slot::List(_) => "a list",
            Slot::Map(_) | Slot::Structure(_) => "an object",
        })
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        put_text(self.slot, text, self.site)
            .map_err(|Unreadable| E::custom("a string stands for something else"))
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        let Slot::Boolean(target) = self.slot else {
            return Err(E::invalid_type(Unexpected::Bool(value), &self));
        };
        *target = value;
        Ok(())
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<(), E> {
        match self.slot {
            Slot::Integer(target) => {
                *target = i32::try_from(number).map_err(E::custom)?;
                self.site.rule.check_integer(*target, self.site.path, self.site.report);
                Ok(())
            }
            Slot::Time(target) => {
                *target = number.checked_mul(1000).map(Timestamp).ok_or_else(|| {
                    E::invalid_value(Unexpected::Signed(number), &"seconds since the epoch")
                })?;
                Ok(())
            }
            _ => Err(E::invalid_type(Unexpected::Signed(number), &self)),
        }
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        self.visit_i64(i64::try_from(number).map_err(E::custom)?)
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<(), E> {
        match self.slot {
            Slot::Time(target) if number.abs() <= EPOCH_SECONDS_MAX => {
                *target = Timestamp((number * 1000.0).round() as i64);
                Ok(())
            }
            _ => Err(E::invalid_type(Unexpected::Float(number), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        match self.slot {
            Slot::List(list) => read_list(list, self.site, seq),
            _ => Err(A::Error::invalid_type(Unexpected::Seq, &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        match self.slot {
            Slot::Map(target) => read_map(target, self.site, map),
            Slot::Structure(shape) => {
                let mut filling = Filling::new(shape, self.site.path);
                Members(&mut filling).visit_map(map)?;
                filling.finish(self.site.report);
                Ok(())
            }
            _ => Err(A::Error::invalid_type(Unexpected::Map, &self)),
        }
    }
}

/// Reads an item into a new place at the end of a list.
struct Item<'a> {
    list: &'a mut dyn List,
    site: Site<'a>,
}

impl<'de> DeserializeSeed<'de> for Item<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        Value { slot: self.list.push(), site: self.site }.deserialize(json)
    }
}

fn read_list<'de, A: SeqAccess<'de>>(
    list: &mut dyn List,
    site: Site<'_>,
    mut seq: A,
) -> Result<(), A::Error> {
    let Site { rule, path, report } = site;
    let mut items = Report::default();
    let mut position = 1;
    loop {
        let path = Path::Item(path, position);
        let site = Site { rule: rule.item(), path: &path, report: &mut items };
        if seq.next_element_seed(Item { list: &mut *list, site })?.is_none() {
            break;
        }
        position += 1;
    }
    rule.check_list(list, path, report);
    report.append(items);
    Ok(())
}

/// Reads an object into a map; of two entries with one key the last counts.
fn read_map<'de, A: MapAccess<'de>>(
    target: &mut dyn Map,
    site: Site<'_>,
    mut map: A,
) -> Result<(), A::Error> {
    let Site { rule, path, report } = site;
    let mut reports: BTreeMap<String, Report> = BTreeMap::new();
    let mut position = 0;
    while let Some(key) = map.next_key::<String>()? {
        position += 1;
        let mut found = Report::default();
        rule.key().check_text(&key, &Path::Key(path, position), &mut found);
        let path = Path::Entry(path, position);
        let site = Site { rule: rule.item(), path: &path, report: &mut found };
        map.next_value_seed(Value { slot: target.put(key.clone()), site })?;
        if found.is_empty() {
            reports.remove(&key);
        } else {
            reports.insert(key, found);
        }
    }
    for found in reports.into_values() {
        report.append(found);
    }
    Ok(())
}
