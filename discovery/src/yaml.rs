//! Reading YAML that a person wrote: every error names the file, the line and the key. It must not know what the file is
//! about.

use serde::de::DeserializeOwned;
use serde_saphyr::Location;

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {problem}{}", at_line(.line), of_key(.key))]
pub struct FileError {
    /// The file, as it was named.
    pub file: String,
    /// The line, counted from 1; 0 where the problem is not at a line.
    pub line: u64,
    /// The key whose value is wrong; empty where it is not about one.
    pub key: String,
    /// What is wrong, and what was expected.
    pub problem: String,
}

fn at_line(line: &u64) -> String {
    match line {
        0 => String::new(),
        line => format!(":{line}"),
    }
}

fn of_key(key: &str) -> String {
    if key.is_empty() {
        String::new()
    } else {
        format!(" (key '{key}')")
    }
}

impl FileError {
    /// A problem with the value at a place in the text.
    #[must_use]
    pub fn at(file: &str, text: &str, place: Location, problem: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            line: place.line(),
            key: key_at(text, place),
            problem: problem.into(),
        }
    }

    /// A problem with the file as a whole.
    #[must_use]
    pub fn whole(file: &str, problem: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            line: 0,
            key: String::new(),
            problem: problem.into(),
        }
    }
}

/// Reads a document. Sizes are bounded by what a mesh of a million endpoints needs; nesting and aliases, which only bombs
/// use, tightly.
///
/// # Errors
/// Unknown keys, wrong values, missing fields, broken syntax.
pub fn read<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, FileError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 64,
            max_aliases: 1_000,
            max_nodes: 100_000_000,
            max_events: 200_000_000,
            max_total_scalar_bytes: 4 << 30,
        },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|fault| {
        let said = fault.without_snippet().to_string();
        let problem = said.split(" at line ").next().unwrap_or_default();
        match fault.location() {
            Some(place) => FileError::at(file, text, place, problem),
            None => FileError::whole(file, problem),
        }
    })
}

/// The key that a place in the text belongs to: the last one before it on its line, else that of the nearest line above
/// that is indented less.
fn key_at(text: &str, place: Location) -> String {
    let line = usize::try_from(place.line()).unwrap_or(0).saturating_sub(1);
    let column = usize::try_from(place.column())
        .unwrap_or(0)
        .saturating_sub(1);
    let lines: Vec<&str> = text.lines().take(line + 1).collect();
    let Some(this) = lines.get(line) else {
        return String::new();
    };
    let before: String = this.chars().take(column).collect();
    if let Some(key) = last_key(&before) {
        return key;
    }
    if let Some(key) = last_key(&format!(
        "{} ",
        this.split([',', '{', '}']).next().unwrap_or_default()
    )) && before.trim().trim_start_matches('-').trim().is_empty()
    {
        return key;
    }
    let indent = |line: &str| line.len() - line.trim_start().len();
    let above = lines[..line].iter().rev();
    above
        .filter(|line| !line.trim().is_empty() && indent(line) <= indent(this))
        .find_map(|line| last_key(&format!("{line} ")))
        .unwrap_or_default()
}

/// The last `key:` in a piece of a line.
fn last_key(piece: &str) -> Option<String> {
    let (head, _) = piece.rsplit_once(": ")?;
    let key = head
        .rsplit(['{', ',', '[', ' ', '-'])
        .next()?
        .trim_matches(['"', '\'', ' ']);
    (!key.is_empty()).then(|| key.to_owned())
}
