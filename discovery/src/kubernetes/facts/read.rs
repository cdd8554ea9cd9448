//! Reading JSON field by field, with the field's path in every error. It must not know what the fields mean.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::ExportTo;
use super::span::parse_span;

/// A field that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) field: String,
    pub(super) why: String,
}

impl Fault {
    pub(super) fn new(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            why: why.into(),
        }
    }
}

/// A place in an object; a field that is not there, or null, has no value.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    value: Option<&'a Value>,
    path: String,
}

impl<'a> Field<'a> {
    pub(super) fn root(value: &'a Value) -> Self {
        Self {
            value: Some(value),
            path: String::new(),
        }
    }

    pub(super) fn get(&self, name: &str) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        Self {
            value: self
                .value
                .and_then(|value| value.get(name))
                .filter(|value| !value.is_null()),
            path: format!("{}{dot}{name}", self.path),
        }
    }

    pub(super) fn is_given(&self) -> bool {
        self.value.is_some()
    }

    pub(super) fn fault<T>(&self, why: impl Into<String>) -> Result<T, Fault> {
        Err(Fault::new(self.path.clone(), why))
    }

    pub(super) fn text(&self) -> Result<Option<&'a str>, Fault> {
        match self.value {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => self.fault("this is no string"),
        }
    }

    /// A string; nothing is an empty one.
    pub(super) fn shared(&self) -> Result<Arc<str>, Fault> {
        Ok(self.text()?.unwrap_or_default().into())
    }

    pub(super) fn flag(&self) -> Result<Option<bool>, Fault> {
        match self.value {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => self.fault("this is neither true nor false"),
        }
    }

    pub(super) fn number<T: TryFrom<u64>>(&self) -> Result<Option<T>, Fault> {
        let Some(value) = self.value else {
            return Ok(None);
        };
        match value.as_u64().map(T::try_from) {
            Some(Ok(number)) => Ok(Some(number)),
            _ => self.fault(format!("{value} is no number that is possible here")),
        }
    }

    /// A port, 1 to 65535; 0 is as good as nothing, as protobuf has it.
    pub(super) fn port(&self) -> Result<Option<u16>, Fault> {
        Ok(self.number()?.filter(|port| *port != 0))
    }

    pub(super) fn span(&self) -> Result<Option<Duration>, Fault> {
        let Some(text) = self.text()? else {
            return Ok(None);
        };
        match parse_span(text) {
            Some(span) => Ok(Some(span)),
            None => self.fault(format!("'{text}' is no duration, such as 10s or 1m30s")),
        }
    }

    pub(super) fn items(&self) -> Result<Vec<Self>, Fault> {
        let items = match self.value {
            None => return Ok(Vec::new()),
            Some(Value::Array(items)) => items.iter().enumerate(),
            Some(_) => return self.fault("this is no list"),
        };
        let item = |(at, value)| Self {
            value: Some(value),
            path: format!("{}[{at}]", self.path),
        };
        Ok(items.map(item).collect())
    }

    pub(super) fn entries(&self) -> Result<Vec<(&'a str, Self)>, Fault> {
        let entries = match self.value {
            None => return Ok(Vec::new()),
            Some(Value::Object(entries)) => entries.iter(),
            Some(_) => return self.fault("this is no map"),
        };
        let entry = |(key, value): (&'a String, _)| {
            let field = Self {
                value: Some(value),
                path: format!("{}.{key}", self.path),
            };
            (key.as_str(), field)
        };
        Ok(entries.map(entry).collect())
    }

    pub(super) fn texts(&self) -> Result<Vec<Arc<str>>, Fault> {
        self.items()?.iter().map(Self::shared).collect()
    }

    pub(super) fn labels(&self) -> Result<BTreeMap<Arc<str>, Arc<str>>, Fault> {
        let entries = self.entries()?.into_iter();
        entries
            .map(|(key, value)| Ok((key.into(), value.shared()?)))
            .collect()
    }

    pub(super) fn export_to(&self) -> Result<ExportTo, Fault> {
        self.texts().map(ExportTo)
    }
}
