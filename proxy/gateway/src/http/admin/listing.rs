//! Lists that are written one by one, because nobody should have to hold a million of anything as text. It must not know what
//! is listed.

use bytes::Bytes;
use serde_json::Value;

/// A JSON object with how many are `known`, and under `name` those that are listed; in lines.
pub(super) fn listing<I>(
    known: usize,
    name: &str,
    items: I,
) -> impl Iterator<Item = Bytes> + Send + use<I>
where
    I: Iterator<Item = Value> + Send,
{
    let head = format!("{{\"known\":{known},\"{name}\":[");
    let mut is_first = true;
    let lines = items.map(move |item| {
        let separator = if std::mem::take(&mut is_first) {
            "\n"
        } else {
            ",\n"
        };
        Bytes::from(format!("{separator}{item}"))
    });
    std::iter::once(Bytes::from(head))
        .chain(lines)
        .chain(std::iter::once(Bytes::from_static(b"\n]}\n")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn however_many_are_listed_it_is_json() {
        for count in [0, 1, 3] {
            let items = (0..count).map(|n| json!({ "n": n }));
            let pieces: Vec<Bytes> = listing(7, "all", items).collect();
            assert_eq!(pieces.len(), count + 2);
            let read: Value = serde_json::from_slice(&pieces.concat()).expect("JSON");
            assert_eq!(read["known"], 7);
            assert_eq!(read["all"].as_array().map(Vec::len), Some(count));
        }
    }
}
