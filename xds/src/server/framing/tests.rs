//! Messages in any pieces, and nothing kept of them.

use super::*;
use crate::server::wire::SotwRequest;

fn request(name: &str) -> Vec<u8> {
    let message = SotwRequest {
        type_url: name.into(),
        ..SotwRequest::default()
    };
    let mut framed = Framed::new(&message.encode_to_vec(), Vec::new()).expect("short");
    framed.copy_to_bytes(framed.remaining()).to_vec()
}

#[test]
fn requests_are_whole_in_any_pieces() {
    let bytes = [request("a"), request(&"b".repeat(300))].concat();
    for size in 1..=bytes.len() {
        let (mut buffer, mut read) = (BytesMut::new(), Vec::new());
        for piece in bytes.chunks(size) {
            buffer.extend_from_slice(piece);
            while let Some(message) = whole(&mut buffer).expect("no fault") {
                let message = SotwRequest::decode(message).expect("a request");
                read.push(message.type_url.len());
            }
        }
        assert_eq!(read, [1, 300], "pieces of {size}");
        assert_eq!(buffer.capacity(), 0, "nothing is kept");
    }
}

#[test]
fn what_is_compressed_or_too_large_is_refused_by_its_head() {
    let fault = |head: [u8; HEAD]| whole(&mut BytesMut::from(&head[..])).expect_err("refused");
    assert_eq!(fault([1, 0, 0, 0, 1]).code(), tonic::Code::Unimplemented);
    assert_eq!(
        fault([0, 2, 0, 0, 0]).code(),
        tonic::Code::ResourceExhausted
    );
    let largest = whole(&mut BytesMut::from(&[0, 1, 0, 0, 0][..]));
    assert_eq!(largest.expect("no fault"), None);
}

#[test]
fn all_streams_together_hold_no_more_than_there_is_room_for() {
    let all = Arc::new(AtomicUsize::new(0));
    let share = || Share {
        all: all.clone(),
        own: 0,
    };
    let (mut one, mut other) = (share(), share());
    one.holds(UNFINISHED - 10).expect("room");
    other.holds(10).expect("room");
    let fault = other.holds(11).expect_err("no room");
    assert_eq!(fault.code(), tonic::Code::ResourceExhausted);
    drop(other);
    one.holds(UNFINISHED).expect("its part is back");
    one.holds(0).expect("room");
    assert_eq!(all.load(Relaxed), 0);
}

#[test]
fn a_response_is_its_fields_and_the_resources_themselves() {
    let parts = [Bytes::from(vec![1; 300]), Bytes::from(vec![2; 7])];
    let made = || Framed::new(b"head", parts.to_vec()).expect("short");
    let all = [
        &[0, 0, 0, 1, 55][..],
        &b"head"[..],
        &parts[0][..],
        &parts[1][..],
    ]
    .concat();
    for step in 1..=all.len() {
        let (mut framed, mut read) = (made(), Vec::new());
        while framed.has_remaining() {
            let now = framed.remaining().min(step);
            let before = framed.remaining();
            read.extend_from_slice(&framed.copy_to_bytes(now));
            assert_eq!(framed.remaining(), before - now);
            assert_eq!(framed.chunk().is_empty(), !framed.has_remaining());
        }
        assert_eq!(read, all, "steps of {step}");
    }
    let mut framed = made();
    framed.advance(HEAD + 4 + 100);
    let mut slices = [IoSlice::new(&[]); 4];
    assert_eq!(framed.chunks_vectored(&mut slices), 2);
    // Not a copy of them.
    assert_eq!(slices[0].as_ptr(), parts[0][100..].as_ptr());
    assert_eq!((slices[0].len(), &*slices[1]), (200, &parts[1][..]));
    let mut one = [IoSlice::new(&[]); 1];
    assert_eq!(
        framed.chunks_vectored(&mut one),
        1,
        "as many as there is room for"
    );
    framed.advance(framed.remaining());
    assert_eq!(framed.chunks_vectored(&mut [IoSlice::new(&[]); 1]), 0);
}
