//! Single values that override the file: `--set path=value` and `CAUSEWAY_<PATH>`. It must not know what they mean.

use std::ffi::OsString;

use serde_json::Value;

use super::{ConfigError, Gateway};

/// Variables with this prefix override a value.
const PREFIX: &str = "CAUSEWAY_";

/// One value, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The variable or argument, for errors.
    name: String,
    /// The path: keys and, in lists, indices.
    path: Path,
    /// The value, as YAML.
    value: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Path {
    /// As it was written, `listeners.0.address`.
    Keys(Vec<String>),
    /// Words of a variable's name, of which one or several make a key: `ZONE`, `SPILL`.
    Words(Vec<String>),
}

impl Override {
    /// An argument `path=value`.
    ///
    /// # Errors
    /// When there is no `=`.
    pub fn argument(text: &str) -> Result<Self, ConfigError> {
        let Some((path, value)) = text.split_once('=') else {
            let problem = "write path=value, like --set admin.address=127.0.0.1:0".to_owned();
            return Err(ConfigError::Override {
                name: format!("--set {text}"),
                problem,
            });
        };
        Ok(Self {
            name: format!("--set {path}"),
            path: Path::Keys(path.split('.').map(str::to_owned).collect()),
            value: value.to_owned(),
        })
    }

    /// The variables among these that may override something, by name.
    pub fn variables(all: impl Iterator<Item = (OsString, OsString)>) -> Vec<Self> {
        // What is no text is none of ours.
        let texts = all.filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            Some((name, value.into_string().ok()?))
        });
        let mut found: Vec<Self> = texts
            .filter_map(|(name, value)| {
                let words = name.strip_prefix(PREFIX)?.split('_');
                Some(Self {
                    path: Path::Words(words.map(str::to_owned).collect()),
                    name,
                    value,
                })
            })
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    fn fail<T>(&self, problem: impl Into<String>) -> Result<T, ConfigError> {
        Err(ConfigError::Override {
            name: self.name.clone(),
            problem: problem.into(),
        })
    }
}

/// Whether a variable of this name is one that Kubernetes gives every Pod for each Service: `<SERVICE>_SERVICE_HOST`,
/// `<SERVICE>_SERVICE_PORT` (and `_<PORT NAME>`), and those of Docker's links, `<SERVICE>_PORT` (and `_<NUMBER>_<PROTOCOL>`, and
/// what follows that). A Service named `causeway`, or `causeway-something`, is likely.
fn is_of_service(words: &[String]) -> bool {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    words.ends_with(&["PORT"])
        || (0..words.len()).any(|at| match &words[at..] {
            ["SERVICE", "HOST"] | ["SERVICE", "PORT", ..] => true,
            ["PORT", number, "TCP" | "UDP" | "SCTP", ..] => number.parse::<u16>().is_ok(),
            _ => false,
        })
}

/// The configuration with every override in it, in order; and the names of variables that no setting has. Those stop nothing:
/// an environment is filled by others too.
pub(super) fn apply(
    mut gateway: Gateway,
    overrides: &[Override],
) -> Result<(Gateway, Vec<String>), ConfigError> {
    let mut unknown = Vec::new();
    for one in overrides {
        let Ok(mut tree) = serde_json::to_value(&gateway) else {
            return one.fail("the configuration cannot be changed");
        };
        let keys = match &one.path {
            Path::Keys(keys) => keys.clone(),
            Path::Words(words) => match keys_of(&tree, words) {
                Some(keys) => keys,
                None => {
                    if !is_of_service(words) {
                        unknown.push(one.name.clone());
                    }
                    continue;
                }
            },
        };
        let text = Value::String(one.value.clone());
        let value = serde_saphyr::from_str(&one.value).unwrap_or_else(|_| text.clone());
        if !put(&mut tree, &keys, value) {
            return one.fail(format!(
                "there is no '{}'; 'causeway config schema' lists all settings",
                keys.join(".")
            ));
        }
        gateway = match serde_json::from_value(tree.clone()) {
            Ok(gateway) => gateway,
            Err(fault) => {
                // `off` is a boolean in YAML, and a text where a text is wanted.
                put(&mut tree, &keys, text);
                match serde_json::from_value(tree) {
                    Ok(gateway) => gateway,
                    Err(_) => return one.fail(format!("'{}': {fault}", one.value)),
                }
            }
        };
    }
    Ok((gateway, unknown))
}

/// Puts a value where the keys lead; `false` if they lead nowhere. The end of a list may be named, to add to it.
fn put(tree: &mut Value, keys: &[String], value: Value) -> bool {
    let Some((key, rest)) = keys.split_first() else {
        *tree = value;
        return true;
    };
    match tree {
        Value::Object(map) => {
            let free =
                map.is_empty() || map.values().all(Value::is_string) && !map.contains_key(key);
            if !map.contains_key(key) && !free {
                return false;
            }
            put(map.entry(key.clone()).or_insert(Value::Null), rest, value)
        }
        Value::Array(list) => {
            let Ok(at) = key.parse::<usize>() else {
                return false;
            };
            if at == list.len() {
                list.push(Value::Object(serde_json::Map::new()));
            }
            list.get_mut(at).is_some_and(|item| put(item, rest, value))
        }
        Value::Null if rest.is_empty() => {
            *tree = Value::Object([(key.clone(), value)].into_iter().collect());
            true
        }
        _ => false,
    }
}

/// The keys that a variable's words stand for: at each level the longest run of words that is a key there.
fn keys_of(tree: &Value, words: &[String]) -> Option<Vec<String>> {
    if words.is_empty() {
        return Some(Vec::new());
    }
    match tree {
        Value::Object(map) => (1..=words.len()).rev().find_map(|count| {
            let key = camel(&words[..count]);
            let below = map.get(&key)?;
            let mut keys = vec![key];
            keys.extend(keys_of(below, &words[count..])?);
            Some(keys)
        }),
        Value::Array(list) => {
            let at: usize = words[0].parse().ok()?;
            let mut keys = vec![words[0].clone()];
            match list.get(at) {
                Some(item) => keys.extend(keys_of(item, &words[1..])?),
                None => keys.push(camel(&words[1..])),
            }
            Some(keys)
        }
        _ => None,
    }
}

fn camel(words: &[String]) -> String {
    let mut key = String::new();
    for (at, word) in words.iter().enumerate() {
        let lower = word.to_ascii_lowercase();
        let mut letters = lower.chars();
        match letters.next() {
            Some(first) if at > 0 => key.extend(first.to_uppercase().chain(letters)),
            Some(first) => key.extend(std::iter::once(first).chain(letters)),
            None => {}
        }
    }
    key
}
