//! Keys: order of bytes = order of tuples, and what was built can be taken apart.

use super::*;
use crate::entropy::{Entropy as _, SeededEntropy};
use crate::table::Kind;

static ROOM: Table = Table { name: "room", kind: Kind::Record, columns: &[] };

type Tuple = (Uid, String, u8, u16, u32, u64, Stamp);

/// Draws from small ranges, so that equal elements and common beginnings are frequent.
fn draw(random: &SeededEntropy) -> Tuple {
    const LETTERS: [char; 6] = ['\0', '\u{1}', '\u{2}', 'a', 'é', '\u{ffff}'];
    let small = |top: u64| random.next_u64() % top;
    let letter = |_| LETTERS[usize::try_from(small(6)).expect("below six")];
    let text = (0..small(5)).map(letter).collect();
    let number = |top: u64| if small(2) == 0 { small(3) } else { top - small(3) };
    (
        Uid([u8::try_from(small(3)).expect("below three"); 16]),
        text,
        u8::try_from(number(255)).expect("at most 255"),
        u16::try_from(number(65_535)).expect("at most 65535"),
        u32::try_from(number(u64::from(u32::MAX))).expect("at most 2^32-1"),
        number(u64::MAX),
        Stamp { ms: number(1 << 40), seq: number(1 << 40) },
    )
}

fn key(tuple: &Tuple) -> Key {
    let (uid, text, byte, short, word, long, stamp) = tuple;
    Key::new(&ROOM).uid(*uid).text(text).u8(*byte).u16(*short).u32(*word).u64(*long).stamp(*stamp)
}

#[test]
fn order_of_bytes_is_order_of_tuples() {
    let random = SeededEntropy::new(11);
    for round in 0..50_000 {
        let (left, right) = (draw(&random), draw(&random));
        assert_eq!(
            key(&left).bytes().cmp(key(&right).bytes()),
            left.cmp(&right),
            "round {round}: {left:?} {right:?}"
        );
    }
}

#[test]
fn parts_give_back_the_tuple() {
    let random = SeededEntropy::new(12);
    for _ in 0..10_000 {
        let tuple = draw(&random);
        let built = key(&tuple);
        let mut parts = Parts::new(built.bytes());
        let read = (|| {
            Some((
                parts.uid()?,
                parts.text()?,
                parts.u8()?,
                parts.u16()?,
                parts.u32()?,
                parts.u64()?,
                parts.stamp()?,
            ))
        })();
        assert_eq!(read, Some(tuple));
        assert_eq!(parts.rest(), b"");
    }
}

#[test]
fn parts_of_foreign_bytes_are_none_and_never_panic() {
    let random = SeededEntropy::new(13);
    for _ in 0..10_000 {
        let mut bytes = vec![0; usize::try_from(random.next_u64() % 24).expect("below 24")];
        random.fill(&mut bytes);
        for byte in &mut bytes {
            *byte %= 4;
        }
        let mut parts = Parts::new(&bytes);
        let text = parts.text();
        assert!(text.is_none_or(|text| text.len() < bytes.len()));
        assert!(Parts::new(&bytes[..bytes.len().min(15)]).uid().is_none());
    }
}

#[test]
fn plain_text_stands_as_it_is_with_one_terminator() {
    assert_eq!(Key::new(&ROOM).text("ab").bytes(), b"ab\0");
}

#[test]
fn long_keys_grow_past_the_inline_bytes() {
    let mut expected = Vec::new();
    let mut key = Key::new(&ROOM);
    for number in 0..u64::try_from(KEY_INLINE_BYTES).expect("small") {
        key = key.u64(number);
        expected.extend(number.to_be_bytes());
        assert_eq!(key.bytes(), expected);
    }
}

#[test]
fn reserved_stamp_is_filled_at_its_place_only() {
    let stamp = Stamp { ms: 5, seq: 6 };
    let reserved = Key::new(&ROOM).u8(1).stamped().u8(9);
    let filled = reserved.clone().with_stamp(stamp);
    assert_ne!(reserved, filled);
    assert_eq!(filled, Key::new(&ROOM).u8(1).stamp(stamp).u8(9));
    assert_eq!(filled.clone().with_stamp(Stamp::MAX), filled);
}

#[test]
fn keys_of_equally_named_tables_are_equal() {
    static TWIN: Table = Table { name: "room", kind: Kind::Record, columns: &[] };
    assert_eq!(Key::new(&ROOM).u8(1), Key::new(&TWIN).u8(1));
    assert_ne!(Key::new(&ROOM).u8(1), Key::home(Uid::NIL));
}
