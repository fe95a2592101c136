//! A structure while it is being filled, and the parts of a request that are plain text.
//!
//! Invariant: of two values for one member the last counts, and with it only its own violations;
//! the violations come in the order of the member table.

use crate::constraint::{Path, Report, Rule};
use crate::error::{Error, ErrorCode};
use crate::percent;
use crate::shape::{Field, Member, Place, Shape, Slot};
use crate::time::Timestamp;

/// A structure of which some members are filled.
pub(super) struct Filling<'a> {
    shape: &'a mut dyn Shape,
    members: &'static [Member],
    path: &'a Path<'a>,
    /// One bit for each member that is present.
    present: u64,
    /// What is wrong with the members that are, by index.
    reports: Vec<(usize, Report)>,
}

/// What is known of a value while it is read, beside its slot.
pub(super) struct Site<'a> {
    pub(super) rule: &'static Rule,
    pub(super) path: &'a Path<'a>,
    pub(super) report: &'a mut Report,
}

/// A text that does not spell a value of the slot's type.
pub(super) struct Unreadable;

impl<'a> Filling<'a> {
    pub(super) fn new(shape: &'a mut dyn Shape, path: &'a Path<'a>) -> Self {
        let members = shape.members();
        Self { shape, members, path, present: 0, reports: Vec::new() }
    }

    /// Returns the index of the member of that name in the body.
    pub(super) fn body_member(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|member| member.place == Place::Body && member.name == name)
    }

    /// Fills one member by a function that says whether there was a value.
    pub(super) fn fill<E>(
        &mut self,
        index: usize,
        read: impl FnOnce(&mut dyn Field, Site<'_>) -> Result<bool, E>,
    ) -> Result<(), E> {
        let Some(member) = self.members.get(index) else { return Ok(()) };
        let Some(field) = self.shape.field_mut(index) else { return Ok(()) };
        let path = Path::Member(self.path, member.name);
        let mut report = Report::default();
        let site = Site { rule: member.rule, path: &path, report: &mut report };
        let bit = 1 << index;
        if read(field, site)? {
            self.present |= bit;
        } else {
            self.present &= !bit;
        }
        self.reports.retain(|(known, _)| *known != index);
        if !report.is_empty() {
            self.reports.push((index, report));
        }
        Ok(())
    }

    /// Takes the members that are labels of the path.
    pub(super) fn take_labels(&mut self, labels: &[(&'static str, String)]) -> Result<(), Error> {
        for (index, member) in self.members.iter().enumerate() {
            let Place::Label(name) = member.place else { continue };
            if let Some((_, text)) = labels.iter().find(|(label, _)| *label == name) {
                self.take_text(index, text).map_err(|Unreadable| unreadable(name))?;
            }
        }
        Ok(())
    }

    /// Takes the members that are parameters of the query; parameters of other names are ignored.
    pub(super) fn take_query(&mut self, raw_query: &str) -> Result<(), Error> {
        for (index, member) in self.members.iter().enumerate() {
            let Place::Query(name) = member.place else { continue };
            let values = percent::pairs(raw_query).filter(|(raw, _)| percent::is_name(raw, name));
            if let Some((_, raw_value)) = values.last() {
                let text = percent::decode(raw_value).ok_or_else(|| unreadable(name))?;
                self.take_text(index, &text).map_err(|Unreadable| unreadable(name))?;
            }
        }
        Ok(())
    }

    fn take_text(&mut self, index: usize, text: &str) -> Result<(), Unreadable> {
        self.fill(index, |field, site| parse(field.slot(), text, site).map(|()| true))
    }

    /// Adds what is wrong with the members, and which of the required ones are not there.
    pub(super) fn finish(mut self, report: &mut Report) {
        self.reports.sort_by_key(|(index, _)| *index);
        let mut reports = self.reports.into_iter().peekable();
        for (index, member) in self.members.iter().enumerate() {
            if let Some((_, found)) = reports.next_if(|(known, _)| *known == index) {
                report.append(found);
            }
            let is_absent = self.present & (1 << index) == 0;
            if is_absent && self.shape.field_mut(index).is_some_and(|field| field.required()) {
                report.add_missing(&Path::Member(self.path, member.name));
            }
        }
    }
}

/// Puts a text of a body, a label or a parameter into a slot that holds text.
pub(super) fn put_text(slot: Slot<'_>, text: &str, site: Site<'_>) -> Result<(), Unreadable> {
    let Site { rule, path, report } = site;
    match slot {
        Slot::Text(target) => {
            rule.check_text(text, path, report);
            text.clone_into(target);
        }
        Slot::Enumeration(target) => {
            if !target.set(text) {
                rule.refuse_value(text, target.values(), path, report);
            }
        }
        _ => return Err(Unreadable),
    }
    Ok(())
}

/// Puts a text of a label or a parameter, where every type is spelt as text, into a slot.
fn parse(slot: Slot<'_>, text: &str, site: Site<'_>) -> Result<(), Unreadable> {
    match slot {
        Slot::Integer(target) => {
            *target = text.parse().map_err(|_| Unreadable)?;
            site.rule.check_integer(*target, site.path, site.report);
        }
        Slot::Boolean(target) => *target = text.parse().map_err(|_| Unreadable)?,
        Slot::Time(target) => *target = Timestamp::parse_query(text).ok_or(Unreadable)?,
        slot => return put_text(slot, text, site),
    }
    Ok(())
}

fn unreadable(name: &str) -> Error {
    Error::new(ErrorCode::Serialization, format!("The parameter '{name}' cannot be read."))
}
