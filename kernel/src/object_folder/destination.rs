//! Command lines with URLs of an object store in place of folders.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{StoreError, StoreUrl};
use crate::{
    cli::{Failure, program, quoted},
    visible::Visible,
};

/// Where the results of a command go: to a folder, or through a folder of this machine to an object store.
#[derive(Debug, Clone)]
pub struct Destination {
    place: PathBuf,
    url: Option<StoreUrl>,
}

impl Destination {
    /// Returns the destination of results that `out` names, a folder or a URL.
    ///
    /// # Errors
    ///
    /// Returns wrong input if it is a URL that names no folder of a store, or if the program has been built without object stores.
    pub fn from_path(out: PathBuf) -> Result<Self, Failure> {
        let Some(url) = StoreUrl::from_path(&out) else { return Ok(Self { place: out, url: None }) };
        let url = url.map_err(Failure::wrong_input)?;
        if url.is_pattern() {
            let text = url.to_string();
            return Err(Failure::wrong_input(StoreError::Malformed { text, what: "it ends with an asterisk" }));
        }
        if cfg!(not(feature = "object-store")) {
            return Err(Failure::wrong_input(StoreError::Absent { url }));
        }
        Ok(Self { place: url.local(), url: Some(url) })
    }

    /// The folder of this machine to which the results are written.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Uploads `folder`, in which the results are complete, and returns a line that says so; an empty text if they stay on this machine.
    ///
    /// # Errors
    ///
    /// Returns an error that says where the folder is on this machine, and how to upload it, if the store does not take it.
    pub fn deliver(&self, folder: &Path) -> Result<String, Failure> {
        let Some(url) = &self.url else { return Ok(String::new()) };
        let count = url.upload(folder).map_err(|error| {
            let words = [folder.display().to_string(), url.to_string()].map(|word| quoted(&word));
            Failure::run_failed(format!(
                "{error}\nthe results are complete in {}; this command uploads them:\n  {} upload {}",
                folder.visible(),
                program("reports"),
                words.join(" "),
            ))
        })?;
        Ok(format!("  stored  {url}, {count} files\n"))
    }
}

/// Folders to read, of which those in an object store have been downloaded.
#[derive(Debug)]
pub struct Sources {
    /// The folders of this machine.
    pub places: Vec<PathBuf>,
    /// Where they were downloaded to, for as long as they are needed.
    _downloads: Vec<TempDir>,
}

impl Sources {
    /// Downloads those of `places` that are URLs; `PREFIX*` stands for all folders whose names begin so.
    ///
    /// # Errors
    ///
    /// Returns wrong input if a folder is missing or not complete, or if the program has been built without object stores.
    pub fn fetch(places: &[PathBuf]) -> Result<Self, Failure> {
        let mut sources = Self { places: Vec::new(), _downloads: Vec::new() };
        for place in places {
            match StoreUrl::from_path(place) {
                None => sources.places.push(place.clone()),
                Some(url) => {
                    let urls = url.and_then(|url| url.expanded()).map_err(Failure::wrong_input)?;
                    urls.iter().try_for_each(|url| sources.download(url))?;
                }
            }
        }
        Ok(sources)
    }

    fn download(&mut self, url: &StoreUrl) -> Result<(), Failure> {
        let folder = tempfile::Builder::new().prefix("rehearsal-").tempdir();
        let folder =
            folder.map_err(|error| Failure::run_failed(format!("cannot create a temporary folder: {error}")))?;
        // The name that the folder has in the store is what reports show.
        let place = folder.path().join(url.local());
        url.download(&place).map_err(Failure::wrong_input)?;
        self.places.push(place);
        self._downloads.push(folder);
        Ok(())
    }
}

/// Returns the folder of this machine in which reports on what is at `place` are by default, if that is a URL.
pub fn local_report(place: &Path) -> Option<PathBuf> {
    let url = StoreUrl::from_path(place)?.ok()?;
    Some(url.local().join("report"))
}
