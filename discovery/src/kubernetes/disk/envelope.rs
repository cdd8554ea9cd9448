//! The form of a file: a line that says what follows, then a value as JSON. It must not know what the value is, and takes
//! nothing that was cut off, changed, or written by a gateway that means something else by it.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What every file is.
const FORM: &str = "causeway-facts";

/// Of the form of the values. It changes with the form of any fact, so that an older or newer gateway's file is not misread.
pub const VERSION: u32 = 1;

/// Bytes of the first line.
const LINE: usize = 256;

/// Why a file's content is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It does not begin as it should.
    #[error("it is damaged, or no file of a gateway's: its first line cannot be read")]
    Line,
    /// A gateway of another version wrote it.
    #[error("it has version {0}, and this gateway reads version {VERSION}")]
    Version(u32),
    /// It was cut off or has grown.
    #[error("it is damaged: it should have {expected} bytes after its first line, and has {found}")]
    Length {
        /// As its first line says.
        expected: usize,
        /// As it is.
        found: usize,
    },
    /// Its content is another than was written.
    #[error("it is damaged: its checksum is wrong")]
    Checksum,
    /// The value is none of the expected form. What the parser says is left out but for the place.
    #[error("it is not what a gateway writes, at byte {0} of its second line")]
    Value(usize),
    /// A value that cannot be written.
    #[error("it cannot be written as JSON")]
    Unwritable,
}

#[derive(Serialize, Deserialize)]
struct Line {
    form: String,
    version: u32,
    bytes: usize,
    checksum: String,
}

/// A value as a file's content.
///
/// # Errors
/// When it cannot be written as JSON, which no value of ours is known for.
pub(super) fn seal<T: Serialize>(value: &T) -> Result<Vec<u8>, Damage> {
    let body = serde_json::to_vec(value).map_err(|_| Damage::Unwritable)?;
    let line = Line {
        form: FORM.into(),
        version: VERSION,
        bytes: body.len(),
        checksum: checksum(&body),
    };
    let mut content = serde_json::to_vec(&line).map_err(|_| Damage::Unwritable)?;
    content.push(b'\n');
    content.extend(body);
    Ok(content)
}

/// The value in a file's content.
///
/// # Errors
/// Why it is not used.
pub(super) fn open<T: DeserializeOwned>(content: &[u8]) -> Result<T, Damage> {
    let start = &content[..content.len().min(LINE)];
    let end = start.iter().position(|byte| *byte == b'\n');
    let (line, body) = content.split_at(end.ok_or(Damage::Line)?);
    let body = body.get(1..).unwrap_or_default();
    let line: Line = serde_json::from_slice(line).map_err(|_| Damage::Line)?;
    if line.form != FORM {
        return Err(Damage::Line);
    }
    if line.version != VERSION {
        return Err(Damage::Version(line.version));
    }
    if line.bytes != body.len() {
        return Err(Damage::Length {
            expected: line.bytes,
            found: body.len(),
        });
    }
    if line.checksum != checksum(body) {
        return Err(Damage::Checksum);
    }
    serde_json::from_slice(body).map_err(|fault| Damage::Value(fault.column()))
}

/// FNV-1a of 64 bits (draft-eastlake-fnv, "FNV-1a"). It finds accidents; whoever can write the file can write its checksum too.
fn checksum(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_fnv_1a() {
        // From the same draft, its test vectors for 64 bits.
        assert_eq!(checksum(b""), "cbf29ce484222325");
        assert_eq!(checksum(b"a"), "af63dc4c8601ec8c");
        assert_eq!(checksum(b"foobar"), "85944171f73967e8");
    }

    #[test]
    fn whatever_is_cut_off_or_changed_is_noticed() {
        let value = vec!["one".to_owned(), "two".to_owned()];
        let content = seal(&value).expect("it can be written");
        assert_eq!(open(&content), Ok(value));
        for end in 0..content.len() {
            let cut: Result<Vec<String>, _> = open(&content[..end]);
            assert!(cut.is_err(), "cut off at {end}");
        }
        let line = content.iter().position(|byte| *byte == b'\n');
        for at in line.expect("a line") + 1..content.len() {
            let mut changed = content.clone();
            changed[at] ^= 1;
            assert_eq!(open::<Vec<String>>(&changed), Err(Damage::Checksum));
        }
    }

    #[test]
    fn each_thing_that_is_wrong_is_named() {
        let sealed = |line: &str, body: &str| format!("{line}\n{body}").into_bytes();
        let line = |version: u32, body: &str| {
            let sum = checksum(body.as_bytes());
            let bytes = body.len();
            format!(r#"{{"form":"{FORM}","version":{version},"bytes":{bytes},"checksum":"{sum}"}}"#)
        };
        let opened = |content: &[u8]| open::<Vec<String>>(content).expect_err("it is wrong");
        assert_eq!(opened(b""), Damage::Line);
        assert_eq!(opened(&[b'x'; 10_000]), Damage::Line, "no line's end");
        assert_eq!(opened(b"{}\n[]"), Damage::Line);
        let other = line(1, "[]").replace(FORM, "other");
        assert_eq!(opened(&sealed(&other, "[]")), Damage::Line);
        let newer = sealed(&line(2, "[]"), "[]");
        assert_eq!(opened(&newer), Damage::Version(2));
        let longer = sealed(&line(1, "[]"), "[] ");
        let length = Damage::Length {
            expected: 2,
            found: 3,
        };
        assert_eq!(opened(&longer), length);
        let body = r#"["one",7]"#;
        assert_eq!(opened(&sealed(&line(1, body), body)), Damage::Value(8));
        let deep = "[".repeat(100_000);
        let content = sealed(&line(1, &deep), &deep);
        assert!(matches!(opened(&content), Damage::Value(_)));
    }
}
