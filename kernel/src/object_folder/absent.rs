//! The substitute for transfers in a program without object stores.

use std::path::Path;

use super::{StoreError, StoreUrl};

pub(super) fn upload(url: &StoreUrl, _: &Path) -> Result<usize, StoreError> {
    Err(StoreError::Absent { url: url.clone() })
}

pub(super) fn download(url: &StoreUrl, _: &Path) -> Result<(), StoreError> {
    Err(StoreError::Absent { url: url.clone() })
}

pub(super) fn matching(url: &StoreUrl, _: &[String], _: &str) -> Result<Vec<String>, StoreError> {
    Err(StoreError::Absent { url: url.clone() })
}
