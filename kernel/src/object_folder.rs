//! Folders of results in an object store: Amazon S3 and what speaks its protocol, Google Cloud Storage, Azure Blob Storage, or a folder.
//!
//! A [`StoreUrl`] names the place of one folder, `s3://BUCKET/PREFIX`. Each file of the folder is an object below the prefix. The object
//! [`CONTENTS`] lists them with their sizes and hashes. It is written last and read first, so that no reader sees a part of a folder or a
//! mixture of two. The transfers need the feature `object-store`.
//!
//! | module | what is in it |
//! | --- | --- |
//! | `contents` | the list of the objects of a folder |
//! | `transfer` | uploads and downloads; without the feature `absent`, which refuses them |
//! | [`destination`] | `--out` of a command as a URL, and URLs in place of folders to read |

#[cfg(not(feature = "object-store"))]
mod absent;
#[cfg(feature = "object-store")]
mod contents;
pub mod destination;
#[cfg(feature = "object-store")]
mod transfer;

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use thiserror::Error;

#[cfg(not(feature = "object-store"))]
use absent::{download, matching, upload};
#[cfg(feature = "object-store")]
use transfer::{download, matching, upload};

use crate::visible::Visible;

/// The object that lists the others of a folder.
pub const CONTENTS: &str = "rehearsal-contents.json";

/// The kinds of stores, as the schemes of URLs.
const SCHEMES: [&str; 4] = ["s3", "gs", "az", "file"];

/// The place of a folder in an object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreUrl {
    scheme: &'static str,
    /// The bucket or container; empty for `file`.
    bucket: String,
    /// The parts of the prefix, none of which is empty, `.` or `..`.
    prefix: Vec<String>,
}

/// The error of a place in an object store, or of a transfer.
#[derive(Debug, Error)]
pub enum StoreError {
    /// It is no URL of an object store.
    #[error(
        "'{}' is no folder of an object store: {what}; write s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX or file:///FOLDER",
        text.visible()
    )]
    Malformed {
        /// The URL.
        text: String,
        /// The part of the URL that is wrong, and why.
        what: &'static str,
    },
    /// The program has been built without object stores.
    #[error(
        "{url}: this program has been built without object stores; build it with `--features object-store`, or name a folder"
    )]
    Absent {
        /// The place.
        url: StoreUrl,
    },
    /// There is no complete folder.
    #[error("{url} holds no folder that was uploaded whole: it has no object {CONTENTS}")]
    Missing {
        /// The place.
        url: StoreUrl,
    },
    /// No folder matches a pattern.
    #[error("{url}* matches no folder that was uploaded whole")]
    NoMatch {
        /// The place without the asterisk.
        url: StoreUrl,
    },
    /// The object in the store differs from the one that was uploaded.
    #[error(
        "{url} is not as it was uploaded: {what}; it may have been replaced meanwhile: try again, or upload it again"
    )]
    Changed {
        /// The place.
        url: StoreUrl,
        /// The difference, such as that a file is missing.
        what: String,
    },
    /// The store refuses a request, or cannot be reached.
    #[error("{url}: {}", reason.visible_within(1_000))]
    Failed {
        /// The place.
        url: StoreUrl,
        /// The message of the store, or of the operating system.
        reason: String,
    },
    /// A local file cannot be read or written.
    #[error("{}: {source}", path.visible())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}://{}/{}", self.scheme, self.bucket, self.prefix.join("/"));
        text.visible().fmt(f)
    }
}

impl StoreUrl {
    /// Reads `path` as a URL; `None` if it has no scheme, and so is a path of the file system.
    ///
    /// # Errors
    ///
    /// Returns an error if the scheme is unknown, the bucket or the prefix is missing, or a part of the prefix is empty, `.` or `..`.
    pub fn from_path(path: &Path) -> Option<Result<Self, StoreError>> {
        let text = path.to_str()?;
        let (scheme, rest) = text.split_once("://")?;
        let is_scheme = !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        is_scheme
            .then(|| Self::parse(scheme, rest).map_err(|what| StoreError::Malformed { text: text.to_owned(), what }))
    }

    fn parse(scheme: &str, rest: &str) -> Result<Self, &'static str> {
        let scheme = SCHEMES.into_iter().find(|known| *known == scheme).ok_or("its scheme is unknown")?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        match (scheme, bucket.is_empty()) {
            ("file", false) => return Err("a folder begins with file:///"),
            ("file", true) | (_, false) => {}
            (_, true) => return Err("it has no bucket"),
        }
        let prefix: Vec<_> = prefix.trim_end_matches('/').split('/').map(str::to_owned).collect();
        if prefix == [""] {
            return Err("it has no prefix, and would fill the whole bucket");
        }
        if prefix.iter().any(|part| matches!(part.as_str(), "" | "." | "..")) {
            return Err("a part of its prefix is empty, . or ..");
        }
        Ok(Self { scheme, bucket: bucket.to_owned(), prefix })
    }

    /// Returns the folder of this machine in which results for this place are before they are uploaded: runs/SCHEME/BUCKET/PREFIX.
    pub fn local(&self) -> PathBuf {
        let bucket = Some(&self.bucket).filter(|bucket| !bucket.is_empty());
        ["runs", self.scheme]
            .into_iter()
            .map(PathBuf::from)
            .chain(bucket.into_iter().chain(&self.prefix).map(PathBuf::from))
            .collect()
    }

    /// Returns whether it stands for all folders whose names begin as its last part does.
    fn is_pattern(&self) -> bool {
        self.prefix.last().is_some_and(|last| last.ends_with('*'))
    }

    /// Uploads all files of the folder, and then their list. Files of an earlier folder in that place are removed. Returns the number of
    /// files.
    ///
    /// # Errors
    ///
    /// Returns an error if a file cannot be read, or the store does not take one. The place then has no list, so that it is no folder.
    pub fn upload(&self, folder: &Path) -> Result<usize, StoreError> {
        upload(self, folder)
    }

    /// Downloads the folder into `into`, which is created.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder in the store is not complete, or is not what was uploaded, or if a file cannot be written.
    pub fn download(&self, into: &Path) -> Result<(), StoreError> {
        download(self, into)
    }

    /// Returns the folders that it stands for: itself, or with a `*` at its end all complete ones whose names begin so, sorted by
    /// the numbers in their names.
    ///
    /// # Errors
    ///
    /// Returns an error if there is none, or the store cannot be listed.
    pub fn expanded(&self) -> Result<Vec<Self>, StoreError> {
        let Some(stem) = self.prefix.last().and_then(|last| last.strip_suffix('*')) else {
            return Ok(vec![self.clone()]);
        };
        let parent = &self.prefix[..self.prefix.len() - 1];
        let url = |name: String| Self { prefix: parent.iter().cloned().chain([name]).collect(), ..self.clone() };
        let mut names = matching(self, parent, stem)?;
        if names.is_empty() {
            return Err(StoreError::NoMatch { url: url(stem.to_owned()) });
        }
        // `shard-2` before `shard-10`.
        names.sort_by_key(|name| (name.len(), name.clone()));
        Ok(names.into_iter().map(url).collect())
    }
}

#[cfg(test)]
mod tests;
