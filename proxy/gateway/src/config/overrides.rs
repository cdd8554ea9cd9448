//! Single values that override the file: `--set path=value` and `CAUSEWAY_<PATH>`. It must not know what they mean.

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

    /// The variables among these that override something.
    pub fn variables(all: impl Iterator<Item = (String, String)>) -> Vec<Self> {
        let mut found: Vec<Self> = all
            .filter_map(|(name, value)| {
                let words = name.strip_prefix(PREFIX)?;
                (!is_kubernetes(words)).then(|| Self {
                    path: Path::Words(words.split('_').map(str::to_owned).collect()),
                    name: name.clone(),
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

/// Kubernetes gives every pod variables of each Service, and a Service named `causeway` is likely.
fn is_kubernetes(words: &str) -> bool {
    words == "PORT"
        || ["PORT_", "SERVICE_HOST", "SERVICE_PORT"]
            .iter()
            .any(|start| words.starts_with(start))
}

/// The configuration with every override in it, in order.
pub(super) fn apply(mut gateway: Gateway, overrides: &[Override]) -> Result<Gateway, ConfigError> {
    for one in overrides {
        let Ok(mut tree) = serde_json::to_value(&gateway) else {
            return one.fail("the configuration cannot be changed");
        };
        let keys = match &one.path {
            Path::Keys(keys) => keys.clone(),
            Path::Words(words) => match keys_of(&tree, words) {
                Some(keys) => keys,
                None => {
                    return one
                        .fail("no setting has this name; 'causeway config schema' lists them");
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
    Ok(gateway)
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
