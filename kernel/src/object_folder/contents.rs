//! The list of the objects of a folder, itself an object.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The version of the format.
const SCHEMA: u32 = 1;

/// A file of the folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listed {
    /// Its path in the folder, with `/` between the parts.
    pub(super) path: String,
    pub(super) bytes: u64,
    /// The hash, in hexadecimal digits.
    pub(super) sha256: String,
}

impl Listed {
    /// Returns where the file belongs below `folder`; `None` if its path leads out of it.
    pub(super) fn below(&self, folder: &Path) -> Option<PathBuf> {
        let path = Path::new(&self.path);
        let is_below = !self.path.is_empty() && path.components().all(|part| matches!(part, Component::Normal(_)));
        is_below.then(|| folder.join(path))
    }
}

/// The list.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Contents {
    schema: u32,
    pub(super) files: Vec<Listed>,
}

impl Contents {
    pub(super) fn new(files: Vec<Listed>) -> Self {
        Self { schema: SCHEMA, files }
    }

    /// Reads a list. An error says what is wrong with it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let contents: Self =
            serde_json::from_slice(bytes).map_err(|error| format!("its list cannot be read: {error}"))?;
        if contents.schema != SCHEMA {
            return Err(format!("its list is of version {}, and this program knows {SCHEMA}", contents.schema));
        }
        Ok(contents)
    }
}
