//! What reading a hello costs: `cargo bench -p proxy --bench hello`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use proxy::hello::Parser;
use proxy::sni::parse_mesh_name;

/// The default ceiling.
const LIMIT: usize = 64 << 10;
/// A mesh name of usual length.
const NAME: &str = "outbound_.5000_._.hello.default.svc.cluster.local";

criterion_group!(benches, hellos, names);
criterion_main!(benches);

fn hellos(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hello");
    // A padded hello of the time before post-quantum keys, and one of OpenSSL 3.5 (1,551 bytes).
    for len in [517, 1551] {
        let raw = hello(len);
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(format!("{len} B at once"), |bencher| {
            bencher.iter(|| Parser::new(LIMIT).advance(black_box(&raw)));
        });
        let halves = [&raw[..len / 2], &raw];
        group.bench_function(format!("{len} B in two segments"), |bencher| {
            bencher.iter(|| {
                let mut parser = Parser::new(LIMIT);
                black_box(halves).map(|raw| parser.advance(raw))
            });
        });
    }
    // The worst that a client can do: the ceiling, in the smallest of records, one byte at a time.
    let raw = in_tiny_records(&hello(10_000)[5..]);
    group.throughput(Throughput::Bytes(raw.len() as u64));
    group.bench_function(format!("{} B, every byte its own", raw.len()), |bencher| {
        bencher.iter(|| {
            let mut parser = Parser::new(LIMIT);
            (0..=raw.len()).find_map(|end| parser.advance(black_box(&raw[..end])).transpose())
        });
    });
    group.finish();
}

fn names(criterion: &mut Criterion) {
    criterion.bench_function("mesh name", |bencher| {
        bencher.iter(|| parse_mesh_name(black_box(NAME)));
    });
}

/// A hello of so many bytes in one record, with the extensions of a usual client, the last of them padding.
fn hello(len: usize) -> Vec<u8> {
    let mut list = extension(0x1a1a, &[]);
    let name = [&[0], vec16(NAME.as_bytes()).as_slice()].concat();
    list.extend(extension(0, &vec16(&name)));
    for kind in [23, 0xff01, 10, 11, 35, 5, 13, 18, 51, 45, 43, 27] {
        list.extend(extension(kind, &[0; 8]));
    }
    list.extend(extension(16, &vec16(b"\x13istio-peer-exchange\x05istio")));
    // Record header 5, message header 4, version and random 34, three lists 33 + 34 + 2, extensions' length 2.
    let fixed = 5 + 4 + 34 + 33 + 34 + 2 + 2;
    let padding = len - fixed - list.len() - 4;
    list.extend(extension(21, &vec![0; padding]));

    let mut body = [3; 34].to_vec();
    body.push(32);
    body.extend([7; 32]);
    body.extend(vec16(&[0x13; 32]));
    body.extend([1, 0]);
    body.extend(vec16(&list));
    let mut message = (body.len() as u32).to_be_bytes().to_vec();
    message[0] = 1;
    message.extend(body);
    let raw = [&[0x16, 3, 1], vec16(&message).as_slice()].concat();
    assert_eq!(raw.len(), len);
    let parsed = Parser::new(LIMIT).advance(&raw);
    assert!(matches!(parsed, Ok(Some(hello)) if hello.name.as_str() == NAME));
    raw
}

/// A message in records of one byte each.
fn in_tiny_records(message: &[u8]) -> Vec<u8> {
    message
        .iter()
        .flat_map(|byte| [0x16, 3, 1, 0, 1, *byte])
        .collect()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().as_slice(), &vec16(data)].concat()
}

fn vec16(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}
