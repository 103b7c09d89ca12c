//! The manifest of a folder of results: which files this program wrote into it, and their hashes.
//!
//! A folder is replaced file by file, by what its manifest lists. What a user put into it, and a file of ours that a user
//! has changed, is not ours to remove.
//!
//! A manifest may come from anywhere, such as an archive that was unpacked: it is trusted to name files, and nothing else. A
//! file that it lists is looked for in real folders only, never behind a link.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::digest::Hashed;
use crate::{input, json::pretty};

/// Name of the file with the manifest.
pub const MANIFEST: &str = "files.json";

/// Version of the format.
const SCHEMA: u32 = 1;

/// Largest manifest that is read, in bytes. A run with a restart every second for a day has one of 10 MB.
const BYTES_MAX: u64 = 16 << 20;

/// The files that this program wrote into a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the format, 1.
    schema: u32,
    /// The content of the folder, such as `run` or `report`.
    pub holds: String,
    /// SHA-256 in hexadecimal of each file, by its path in the folder, with `/` between the names.
    files: BTreeMap<String, String>,
}

impl Manifest {
    /// Returns the manifest of a folder that holds `holds` and no file yet.
    pub fn new(holds: &str) -> Self {
        Self { schema: SCHEMA, holds: holds.to_owned(), files: BTreeMap::new() }
    }

    /// Returns the manifest that an earlier version would have written into the folder at `place`: of those of `names` that
    /// are files there, whatever their content.
    ///
    /// # Errors
    ///
    /// Returns an error if a file cannot be read.
    pub fn of_names(holds: &str, place: &Path, names: impl IntoIterator<Item = String>) -> io::Result<Self> {
        let mut manifest = Self::new(holds);
        for name in names.into_iter().filter(|name| is_file(&place.join(name))) {
            let hash = hash_of(&place.join(&name))?;
            manifest.add(&name, hash);
        }
        Ok(manifest)
    }

    /// Reads the manifest of the folder at `place`; `None` if there is none that this program can have written.
    pub fn read(place: &Path) -> Option<Self> {
        let path = place.join(MANIFEST);
        // Reading a FIFO would wait for ever.
        if !is_file(&path) {
            return None;
        }
        let text = input::read_text_within(&path, BYTES_MAX).ok()?;
        let manifest: Self = serde_json::from_str(&text).ok()?;
        // This program writes each name once and in order: any other text is of something else.
        let is_ours = manifest.schema == SCHEMA && manifest.to_json() == text;
        (is_ours && manifest.files.keys().all(|path| is_inside(path))).then_some(manifest)
    }

    /// Adds the file called `path` with the hash of its content.
    pub fn add(&mut self, path: &str, sha256: String) {
        self.files.insert(path.to_owned(), sha256);
    }

    /// Adds every file in the folder called `name` in `place`, and in the folders in it. Links are left out, and names that
    /// are not UTF-8: this program writes neither.
    ///
    /// # Errors
    ///
    /// Returns an error if a file cannot be read.
    pub fn add_folder(&mut self, place: &Path, name: &str) -> io::Result<()> {
        for entry in fs::read_dir(place.join(name))? {
            let entry = entry?;
            let Some(file) = entry.file_name().to_str().map(str::to_owned) else { continue };
            let path = format!("{name}/{file}");
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.add_folder(place, &path)?;
            } else if kind.is_file() {
                let hash = hash_of(&entry.path())?;
                self.add(&path, hash);
            }
        }
        Ok(())
    }

    /// Returns the manifest as it is written to [`MANIFEST`].
    pub fn to_json(&self) -> String {
        pretty(self)
    }

    /// Returns the paths of the listed files in the folder.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Returns whether the file called `path` is listed.
    pub fn lists(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// Returns whether a file in the folder called `name` is listed.
    pub fn lists_in(&self, name: &str) -> bool {
        let start = format!("{name}/");
        self.files.range(start.clone()..).next().is_some_and(|(path, _)| path.starts_with(&start))
    }

    /// Returns the paths of the listed files that are there with another content: somebody has changed them since.
    ///
    /// # Errors
    ///
    /// Returns an error if a file cannot be read.
    pub fn changed(&self, place: &Path) -> io::Result<Vec<PathBuf>> {
        let mut changed = Vec::new();
        for (name, hash) in &self.files {
            let path = place.join(name);
            if fs::symlink_metadata(&path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
                continue;
            }
            // A link in the place of a file, or of a folder above it, is not what was written.
            if !is_in_real_folders(place, name) || !is_file(&path) || hash_of(&path)? != *hash {
                changed.push(path);
            }
        }
        Ok(changed)
    }
}

/// Returns whether `path` stays in the folder: a manifest that was tampered with must not name files elsewhere.
fn is_inside(path: &str) -> bool {
    !path.contains(['\\', '\0']) && path.split('/').all(|name| !name.is_empty() && name != "." && name != "..")
}

/// Returns whether the file called `name` is reached from `place` through folders alone, and through no link.
pub(super) fn is_in_real_folders(place: &Path, name: &str) -> bool {
    let folders = Path::new(name).ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
    folders.into_iter().all(|folder| fs::symlink_metadata(place.join(folder)).is_ok_and(|found| found.is_dir()))
}

/// Returns whether there is a file at `path`, and not a link to one.
pub fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
}

/// Returns the SHA-256 of the file at `path` in hexadecimal.
pub(super) fn hash_of(path: &Path) -> io::Result<String> {
    let mut hashed = Hashed::new(io::sink());
    io::copy(&mut input::open_file(path)?, &mut hashed)?;
    Ok(hashed.finish())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_manifest_is_read_back_and_finds_what_was_changed() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path();
        fs::create_dir(place.join("logs")).unwrap();
        for name in ["a.txt", "logs/b.log", "gone"] {
            fs::write(place.join(name), name).unwrap();
        }
        let mut manifest = Manifest::of_names("run", place, ["a.txt", "gone", "none"].map(str::to_owned)).unwrap();
        manifest.add_folder(place, "logs").unwrap();
        fs::write(place.join(MANIFEST), manifest.to_json()).unwrap();
        assert_eq!(Manifest::read(place), Some(manifest.clone()));
        assert_eq!(manifest.names().collect::<Vec<_>>(), ["a.txt", "gone", "logs/b.log"]);
        assert!(manifest.lists_in("logs") && !manifest.lists_in("log"));

        fs::remove_file(place.join("gone")).unwrap();
        assert!(manifest.changed(place).unwrap().is_empty());
        fs::write(place.join("logs/b.log"), "other").unwrap();
        assert_eq!(manifest.changed(place).unwrap(), [place.join("logs/b.log")]);
    }

    #[test]
    fn a_link_in_place_of_a_file_or_folder_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("run");
        let elsewhere = folder.path().join("elsewhere");
        for folder in [&place, &elsewhere] {
            fs::create_dir(folder).unwrap();
        }
        fs::write(elsewhere.join("b.log"), "same").unwrap();
        let mut manifest = Manifest::new("run");
        for name in ["a.log", "logs/b.log"] {
            manifest.add(name, hash_of(&elsewhere.join("b.log")).unwrap());
        }
        symlink(elsewhere.join("b.log"), place.join("a.log")).unwrap();
        symlink(&elsewhere, place.join("logs")).unwrap();
        assert_eq!(manifest.changed(&place).unwrap(), [place.join("a.log"), place.join("logs/b.log")]);
    }

    #[test]
    fn what_this_program_cannot_have_written_is_no_manifest() {
        let folder = tempfile::tempdir().unwrap();
        let with_files = |files: &str| {
            let list = format!("{{\n    {files}\n  }}");
            pretty(&Manifest::new("run")).replace("{}", &list)
        };
        fs::write(folder.path().join(MANIFEST), with_files(r#""a": "00""#)).unwrap();
        assert!(Manifest::read(folder.path()).is_some());
        for text in [
            "{}".to_owned(),
            String::new(),
            pretty(&Manifest { schema: 2, ..Manifest::new("run") }),
            with_files(r#""../thesis.txt": "00""#),
            with_files(r#""a/../../thesis.txt": "00""#),
            with_files(r#""/etc/passwd": "00""#),
            with_files(r#""a": "00", "a": "01""#),
            with_files("\"b\": \"00\",\n    \"a\": \"00\""),
            with_files(&format!("\"{}\": \"00\"", "a".repeat(BYTES_MAX as usize))),
        ] {
            fs::write(folder.path().join(MANIFEST), &text).unwrap();
            assert_eq!(Manifest::read(folder.path()), None, "{}", &text[..text.len().min(200)]);
        }
    }
}
