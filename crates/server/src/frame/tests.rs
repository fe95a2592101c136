use super::*;

const MASK: [u8; 4] = [1, 2, 3, 4];

/// A frame as a client sends it: masked.
fn client(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(unmasked(payload, MASK));
    frame
}

fn heard(bytes: &[u8]) -> Result<Vec<Signal>, Close> {
    let mut signals = Vec::new();
    Inbound::default().feed(bytes, &mut signals).map(|()| signals)
}

#[test]
fn server_frames_are_final_and_unmasked_with_the_shortest_length() {
    assert_eq!(text(b"hi").as_ref(), b"\x81\x02hi");
    assert_eq!(ping().as_ref(), b"\x89\x00");
    assert_eq!(pong(b"x").as_ref(), b"\x8a\x01x");
    assert_eq!(&text(&[b'a'; 126])[..4], b"\x81\x7e\x00\x7e");
    assert_eq!(&text(&[b'a'; 65_536])[..10], b"\x81\x7f\0\0\0\0\0\x01\0\0");
}

#[test]
fn a_refusal_is_4401_unauthorized() {
    assert_eq!(close(Close::Unauthorized).as_ref(), b"\x88\x0e\x11\x31Unauthorized");
    assert_eq!(close(Close::Echo(None)).as_ref(), b"\x88\x00");
    assert_eq!(close(Close::Echo(Some(1000))).as_ref(), b"\x88\x02\x03\xe8");
}

#[test]
fn waiting_frames_are_written_in_order_and_in_parts() {
    let mut backlog = Backlog::default();
    for frame in ["abc", "de", "f"] {
        backlog.push(Bytes::from_static(frame.as_bytes()));
    }
    let mut slices = [IoSlice::new(&[]); 2];
    assert_eq!(backlog.slices(&mut slices), 2);
    assert_eq!((&*slices[0], &*slices[1]), (&b"abc"[..], &b"de"[..]));
    backlog.advance(4);
    let mut slices = [IoSlice::new(&[]); 8];
    assert_eq!(backlog.slices(&mut slices), 2);
    assert_eq!((&*slices[0], &*slices[1]), (&b"e"[..], &b"f"[..]));
    backlog.advance(2);
    assert!(backlog.is_empty());
}

#[test]
fn a_frame_that_has_begun_is_never_cut() {
    let mut backlog = Backlog::default();
    backlog.push(text(b"abc"));
    backlog.push(text(b"de"));
    backlog.advance(1);
    backlog.drop_unbegun();
    assert_eq!(backlog.bytes(), b"\x03abc");
    backlog.advance(4);
    backlog.push(text(b"f"));
    backlog.drop_unbegun();
    assert!(backlog.is_empty());
}

#[test]
fn frames_in_one_piece_are_cut_behind_the_one_that_has_begun() {
    let long = [b'l'; 300];
    let piece: Bytes = [text(b"abc"), text(&long), text(b"de")].concat().into();
    let (second, third) = (5, 5 + 4 + long.len());
    for (written, end) in [(0, 0), (2, 5), (second, second), (second + 1, third), (third, third)] {
        let mut backlog = Backlog::default();
        backlog.push(Frames::of(piece.clone(), 3));
        backlog.push(text(b"another"));
        backlog.advance(written);
        backlog.drop_unbegun();
        assert_eq!(backlog.bytes(), piece[written..end], "{written} bytes are written");
        assert_eq!(backlog.is_empty(), written == end);
    }
}

#[test]
fn control_frames_become_signals_however_the_bytes_arrive() {
    let mut bytes = client(0x89, b"are you there");
    bytes.extend(client(0x81, b"chatter"));
    bytes.extend(client(0x8a, b""));
    bytes.extend(client(0x88, b"\x03\xe8bye"));
    let expected =
        [Signal::Ping(b"are you there".to_vec()), Signal::Pong, Signal::Close(Some(1000))];
    assert_eq!(heard(&bytes).unwrap(), expected);
    for size in [1, 2, 3, 5, 7] {
        let (mut inbound, mut signals) = (Inbound::default(), Vec::new());
        for chunk in bytes.chunks(size) {
            inbound.feed(chunk, &mut signals).unwrap();
        }
        assert_eq!(signals, expected, "in chunks of {size}");
        assert!(inbound.pending.is_empty());
    }
}

#[test]
fn data_is_dropped_within_its_limit_and_control_frames_pass_between_fragments() {
    let limit = MESSAGE_BYTES_MAX as usize;
    let mut bytes = client(0x01, &vec![0; limit - 1]);
    bytes.extend(client(0x89, b""));
    bytes.extend(client(0x80, b"1"));
    bytes.extend(client(0x82, &vec![0; limit]));
    assert_eq!(heard(&bytes).unwrap(), [Signal::Ping(Vec::new())]);
}

#[test]
fn a_message_over_the_limit_is_too_big_whether_whole_or_in_fragments() {
    let limit = MESSAGE_BYTES_MAX as usize;
    assert_eq!(heard(&client(0x82, &vec![0; limit + 1])), Err(Close::TooBig));
    let mut bytes = client(0x01, &vec![0; limit]);
    bytes.extend(client(0x80, b"1"));
    assert_eq!(heard(&bytes), Err(Close::TooBig));
    // The announced length alone is enough.
    assert_eq!(
        heard(b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x02\x03\x04"),
        Err(Close::TooBig)
    );
}

#[test]
fn frames_that_break_the_protocol_are_refused() {
    let unmasked_text = b"\x81\x02hi".to_vec();
    let cases = [
        unmasked_text,
        client(0xc1, b"rsv1: no extension was agreed"),
        client(0x83, b"reserved opcode"),
        client(0x8b, b"reserved control opcode"),
        client(0x09, b"fragmented ping"),
        client(0x89, &[0; 126]),
        client(0x88, b"1"),
        client(0x88, &1005_u16.to_be_bytes()),
        client(0x80, b"continues nothing"),
        [client(0x01, b"a"), client(0x01, b"begins inside another")].concat(),
    ];
    for case in cases {
        assert_eq!(heard(&case), Err(Close::Protocol), "{case:?}");
    }
}

#[test]
fn no_bytes_of_a_client_panic() {
    let mut state = 1_u64;
    for _ in 0..2_000 {
        let bytes: Vec<u8> = (0..64)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 33) as u8
            })
            .collect();
        let (mut inbound, mut signals) = (Inbound::default(), Vec::new());
        let mut outcomes = bytes.chunks(7).map(|chunk| inbound.feed(chunk, &mut signals));
        let refused = outcomes.any(|outcome| outcome.is_err());
        assert!(refused || inbound.pending.len() <= 64);
    }
}
