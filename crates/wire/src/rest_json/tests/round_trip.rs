//! What is written reads back as the same value, for random values of every output.

use super::*;
use crate::shape::{Field, Slot};

/// Most items of a random list or map.
const ITEMS_MAX: usize = 3;

fn fill_shape(shape: &mut dyn Shape, random: &mut Seeded) {
    for index in 0..shape.members().len() {
        let field: &mut dyn Field = shape.field_mut(index).expect("there is a field a member");
        if field.required() || random.below(4) > 0 {
            fill_slot(field.slot(), random);
        }
    }
}

fn fill_slot(slot: Slot<'_>, random: &mut Seeded) {
    match slot {
        Slot::Text(text) => *text = random.text(),
        Slot::Integer(number) => *number = random.next() as i32,
        Slot::Boolean(value) => *value = random.below(2) == 0,
        Slot::Time(time) => *time = Timestamp((random.next() % 4_000_000_000_000) as i64),
        Slot::Enumeration(value) => {
            let text = random.pick(value.values());
            assert!(value.set(text), "an enumeration takes its own values");
        }
        Slot::List(list) => {
            for _ in 0..random.below(ITEMS_MAX + 1) {
                fill_slot(list.push(), random);
            }
        }
        Slot::Map(map) => {
            for _ in 0..random.below(ITEMS_MAX + 1) {
                fill_slot(map.put(random.text()), random);
            }
        }
        Slot::Structure(shape) => fill_shape(shape, random),
    }
}

fn assert_round_trip<S: Shape + Default + PartialEq + std::fmt::Debug>(random: &mut Seeded) {
    let mut output = S::default();
    fill_shape(&mut output, random);
    let body = encode(&output);
    let mut again = S::default();
    let report = fill(&mut again, &[], "", &body).expect("what is written can be read");
    assert_eq!(again, output);
    // Random texts break rules; members that are there are never said to be missing.
    assert!(!report.message().contains("Value null"), "{}", report.message());
    let tree: Result<serde_json::Value, _> = match body.as_slice() {
        [] => Ok(serde_json::Value::Null),
        body => serde_json::from_slice(body),
    };
    assert!(tree.is_ok(), "the body is JSON to others too");
}

macro_rules! assert_round_trips {
    ($($service:ident::$name:ident),*) => {
        |random: &mut Seeded| {
            $(assert_round_trip::<<crate::$service::$name as Operation>::Output>(random);)*
        }
    };
}

#[test]
fn every_output_reads_back_as_it_was_written() {
    let assert_all = crate::for_each_operation!(assert_round_trips);
    let mut random = Seeded::new(7);
    for _ in 0..50 {
        assert_all(&mut random);
    }
}
