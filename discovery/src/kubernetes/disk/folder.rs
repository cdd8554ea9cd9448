//! A folder whose files are replaced in one step. It must not know what is in them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::DiskError;

/// What ends the names of our files.
const SUFFIX: &str = ".json";

/// What ends those that are being written.
const UNFINISHED: &str = ".new";

/// A file that is being written and has not been touched for so long is a dead gateway's: one takes seconds. Long enough for
/// the clocks of Nodes that share a folder.
const ABANDONED: Duration = Duration::from_secs(3600);

/// The folder.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Part of the names of files that are being written: replicas may share a folder, and in containers all of them have the
    /// same process id.
    writer: u64,
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            writer: fastrand::u64(..),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file of a name.
    pub(super) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}{SUFFIX}"))
    }

    /// Where the file of a name is written before it takes its place.
    fn unfinished(&self, name: &str) -> PathBuf {
        let writer = self.writer;
        self.path.join(format!("{name}.{writer:016x}{UNFINISHED}"))
    }

    /// Removes what gateways have left that ended half-way. What cannot be removed harms nobody.
    pub(super) fn tidy(&self) {
        let Ok(entries) = fs::read_dir(&self.path) else {
            return;
        };
        for entry in entries.flatten() {
            let is_unfinished = entry.file_name().to_string_lossy().ends_with(UNFINISHED);
            let touched = entry.metadata().and_then(|metadata| metadata.modified());
            let age = touched.map(|touched| SystemTime::now().duration_since(touched));
            if is_unfinished && matches!(age, Ok(Ok(age)) if age >= ABANDONED) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// The names of all files of ours, sorted; none if there is no folder.
    pub(super) fn names(&self) -> Result<Vec<String>, DiskError> {
        let entries = match fs::read_dir(&self.path) {
            Err(fault) if fault.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|fault| refused(&self.path, "read", &fault))?,
        };
        let files = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = files
            .filter_map(|file| file.strip_suffix(SUFFIX).map(str::to_owned))
            .collect();
        names.sort();
        Ok(names)
    }

    /// A file's content, at most so many bytes. Anything but a plain file is refused unopened: a pipe would be waited for.
    pub(super) fn read(&self, name: &str, limit: usize) -> Result<Vec<u8>, DiskError> {
        let path = self.path_of(name);
        let refused = |fault: io::Error| refused(&path, "read", &fault);
        let metadata = fs::symlink_metadata(&path).map_err(refused)?;
        if !metadata.is_file() {
            return Err(DiskError::NoFile);
        }
        if metadata.len() > limit as u64 {
            return Err(DiskError::TooLarge(limit));
        }
        let mut content = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
        let file = File::open(&path).map_err(refused)?;
        // It can have grown meanwhile.
        let mut bounded = file.take(limit as u64 + 1);
        bounded.read_to_end(&mut content).map_err(refused)?;
        if content.len() > limit {
            return Err(DiskError::TooLarge(limit));
        }
        Ok(content)
    }

    /// Writes a file beside the one that is there, to the disk, and puts it in its place: whatever happens meanwhile, one of
    /// the two is there whole. Only we may read it.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> Result<(), DiskError> {
        let path = self.path_of(name);
        let unfinished = self.unfinished(name);
        let refused = |fault: io::Error| refused(&path, "written", &fault);
        let mut folder = DirBuilder::new();
        folder.recursive(true).mode(0o700);
        folder.create(&self.path).map_err(refused)?;
        let mut create = OpenOptions::new();
        create.write(true).create_new(true).mode(0o600);
        let mut file = create.open(&unfinished).map_err(refused)?;
        let written = file.write_all(content).and_then(|()| file.sync_all());
        if let Err(fault) = written {
            // A disk that is full gets its room back; what was there before is still there.
            let _ = fs::remove_file(&unfinished);
            return Err(refused(fault));
        }
        if let Err(fault) = fs::rename(&unfinished, &path) {
            let _ = fs::remove_file(&unfinished);
            return Err(refused(fault));
        }
        self.sync().map_err(refused)
    }

    /// Removes a file, if it is there.
    pub(super) fn remove(&self, name: &str) -> Result<(), DiskError> {
        let path = self.path_of(name);
        match fs::remove_file(&path) {
            Err(fault) if fault.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed
                .and_then(|()| self.sync())
                .map_err(|fault| refused(&path, "removed", &fault)),
        }
    }

    /// Makes the folder itself outlive a loss of power.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

fn refused(path: &Path, what: &'static str, fault: &io::Error) -> DiskError {
    DiskError::Io {
        path: path.display().to_string(),
        what,
        why: fault.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let place = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(place.path().join("below/it"));
        (place, folder)
    }

    #[test]
    fn a_file_takes_the_place_of_the_one_before_and_only_we_read_it() {
        let (_place, folder) = folder();
        assert_eq!(folder.names(), Ok(Vec::new()), "there is no folder yet");
        folder.write("a", b"one").expect("written");
        folder.write("b", b"two").expect("written");
        folder.write("a", b"three").expect("written");
        assert_eq!(folder.names(), Ok(vec!["a".into(), "b".into()]));
        assert_eq!(folder.read("a", 5), Ok(b"three".to_vec()));
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&folder.path_of("a")), 0o600);
        assert_eq!(mode(folder.path()), 0o700);
        folder.remove("a").expect("removed");
        folder.remove("a").expect("it is gone already");
        assert_eq!(folder.names(), Ok(vec!["b".into()]));
    }

    #[test]
    fn what_is_too_large_or_no_plain_file_is_refused() {
        let (_place, folder) = folder();
        folder.write("a", b"three").expect("written");
        assert_eq!(folder.read("a", 4), Err(DiskError::TooLarge(4)));
        fs::create_dir(folder.path_of("b")).expect("a folder");
        assert_eq!(folder.read("b", 9), Err(DiskError::NoFile));
        symlink("/dev/zero", folder.path_of("c")).expect("a link");
        assert_eq!(folder.read("c", 9), Err(DiskError::NoFile));
        assert!(matches!(folder.read("d", 9), Err(DiskError::Io { .. })));
    }

    #[test]
    fn a_write_that_fails_leaves_what_was_there() {
        let (_place, folder) = folder();
        folder.write("a", b"one").expect("written");
        fs::create_dir(folder.unfinished("a")).expect("in the way");
        let fault = folder.write("a", b"two").expect_err("in the way");
        assert!(fault.to_string().contains("cannot be written"), "{fault}");
        assert_eq!(folder.read("a", 9), Ok(b"one".to_vec()));
    }
    /// Two replicas with one claim write the same file, each with its own content; whoever reads it finds one of the two whole.
    #[test]
    fn two_gateways_may_share_a_folder() {
        let (_place, folder) = folder();
        folder.write("a", &[b'0'; 9_999]).expect("written");
        std::thread::scope(|scope| {
            let writers = [b'1', b'2'].map(|who| {
                let other = Folder::new(folder.path().to_owned());
                scope.spawn(move || {
                    for _ in 0..200 {
                        other.write("a", &[who; 9_999]).expect("written");
                    }
                })
            });
            while !writers.iter().all(|writer| writer.is_finished()) {
                let content = folder.read("a", 10_000).expect("always there");
                assert_eq!(content.len(), 9_999);
                assert!(content.iter().all(|byte| *byte == content[0]));
            }
        });
        let files = fs::read_dir(folder.path()).expect("a folder");
        assert_eq!(files.count(), 1, "nothing else is left");
    }

    #[test]
    fn what_a_gateway_left_that_ended_half_way_goes_after_a_while() {
        let (_place, folder) = folder();
        folder.write("a", b"one").expect("written");
        let at = |name: &str, age| {
            let path = folder.path().join(name);
            let file = File::create(&path).expect("made");
            let touched = SystemTime::now() - age;
            file.set_modified(touched).expect("its age is set");
            path
        };
        let soon = ABANDONED - Duration::from_secs(60);
        let (left, written) = (at("a.1.new", ABANDONED), at("a.2.new", soon));
        let old = at("b.json", ABANDONED * 9);
        folder.tidy();
        assert!(!left.exists());
        assert!(written.exists(), "it may be being written");
        assert!(old.exists(), "it is finished");
    }
}
