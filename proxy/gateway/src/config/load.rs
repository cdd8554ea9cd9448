//! A file, the environment and the command line -> one checked configuration. A later one wins.

use std::path::Path;

use discovery::yaml::{self, FileError};

use super::{Gateway, Override, check, overrides};

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Something in the file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A variable or an argument.
    #[error("{name}: {problem}")]
    Override {
        /// The variable or argument.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The configuration as a whole.
    #[error("{origin}: {key}: {problem}")]
    Whole {
        /// The file, with the line of the key where it stands there.
        origin: String,
        /// The key.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// Reads a configuration; also gives the variables that name no setting, of which people should be warned. Relative paths in
/// the file are relative to its folder, those of overrides to the working folder.
///
/// # Errors
/// What is wrong, and where.
pub fn load(
    file: Option<&Path>,
    overrides: &[Override],
) -> Result<(Gateway, Vec<String>), ConfigError> {
    let Some(path) = file else {
        return finish(Gateway::default(), overrides, "(no file)", "");
    };
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|fault| FileError::whole(&name, format!("cannot be read: {fault}")))?;
    let mut gateway: Gateway = yaml::read(&name, &text)?;
    if let Some(folder) = path.parent() {
        if let Some(source) = &mut gateway.source.file {
            *source = folder.join(&*source);
        }
        if let Some(xds) = &mut gateway.source.xds {
            xds.resolve(folder);
        }
        if let Some(source) = &mut gateway.source.kubernetes {
            if let Some(kubeconfig) = &mut source.kubeconfig {
                *kubeconfig = folder.join(&*kubeconfig);
            }
            // Empty, it is off.
            if let Some(snapshot) = &mut source.snapshot
                && !snapshot.as_os_str().is_empty()
            {
                *snapshot = folder.join(&*snapshot);
            }
        }
        gateway.xds.resolve(folder);
        if !gateway.access_log.is_standard_output() {
            gateway.access_log.path = folder.join(&gateway.access_log.path);
        }
    }
    finish(gateway, overrides, &name, &text)
}

/// Reads and checks the text of a file; `file` is only named in errors.
///
/// # Errors
/// What is wrong, and where.
pub fn parse(file: &str, text: &str) -> Result<Gateway, ConfigError> {
    let (gateway, _) = finish(yaml::read(file, text)?, &[], file, text)?;
    Ok(gateway)
}

fn finish(
    gateway: Gateway,
    overrides: &[Override],
    file: &str,
    text: &str,
) -> Result<(Gateway, Vec<String>), ConfigError> {
    let (gateway, unknown) = overrides::apply(gateway, overrides)?;
    check::check(&gateway).map_err(|(key, problem)| {
        let origin =
            line_of(text, &key).map_or_else(|| file.to_owned(), |line| format!("{file}:{line}"));
        ConfigError::Whole {
            origin,
            key,
            problem,
        }
    })?;
    Ok((gateway, unknown))
}

/// The line of a key such as `admin.address`: of its last part as far as the text has it, each behind the one before.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let mut found = None;
    for part in key.split('.') {
        let from = found.unwrap_or(0);
        let of_top = |at: &usize| found.is_none() && (*at == 0 || text[..*at].ends_with('\n'));
        // A key at the top begins its line, but for where the whole file is one flow.
        let at = places(text, from, part)
            .find(of_top)
            .or_else(|| places(text, from, part).next());
        let Some(at) = at else {
            break;
        };
        found = Some(at + part.len());
    }
    found.map(|end| 1 + text[..end].matches('\n').count())
}

/// Where this stands as a key.
fn places<'a>(text: &'a str, from: usize, key: &'a str) -> impl Iterator<Item = usize> {
    let is_key = move |at: &usize| {
        let before = text[..*at].chars().next_back();
        let behind = &text[at + key.len()..];
        let behind = behind.strip_prefix(['"', '\'']).unwrap_or(behind);
        !before.is_some_and(char::is_alphanumeric) && behind.trim_start().starts_with(':')
    };
    let all = text[from..].match_indices(key);
    all.map(move |(at, _)| from + at).filter(is_key)
}
