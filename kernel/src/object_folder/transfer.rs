//! Uploads and downloads by the crate `object_store`.
//!
//! Credentials, regions and endpoints come from the environment variables that the tools of each store have, such as
//! `AWS_ACCESS_KEY_ID`, `AWS_REGION` and `AWS_ENDPOINT_URL`, or from the machine's role.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::TryStreamExt;
use object_store::{
    ObjectStore, ObjectStoreExt, RetryConfig, aws::AmazonS3Builder, azure::MicrosoftAzureBuilder, buffered::BufWriter,
    gcp::GoogleCloudStorageBuilder, local::LocalFileSystem, path::Path as ObjectPath,
};
use rustls::crypto::ring;
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::{Builder, Runtime},
};

use super::{
    CONTENTS, StoreError, StoreUrl,
    contents::{Contents, Listed},
};

/// How often, and for how long, a request is repeated that fails for a reason that may pass.
const RETRY: RetryConfig = RetryConfig {
    backoff: object_store::BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(5),
        base: 2.0,
    },
    max_retries: 5,
    retry_timeout: Duration::from_secs(60),
};

/// Bytes that are read at a time.
const CHUNK: usize = 1 << 20;

/// Most bytes of a list.
const CONTENTS_MAX: u64 = 64 << 20;

pub(super) fn upload(url: &StoreUrl, folder: &Path) -> Result<usize, StoreError> {
    let files = files(folder)?;
    let place = Place::open(url)?;
    runtime(url)?.block_on(place.upload(folder, &files))
}

pub(super) fn download(url: &StoreUrl, into: &Path) -> Result<(), StoreError> {
    let place = Place::open(url)?;
    runtime(url)?.block_on(place.download(into))
}

pub(super) fn matching(url: &StoreUrl, parent: &[String], stem: &str) -> Result<Vec<String>, StoreError> {
    let place = Place::open(url)?;
    runtime(url)?.block_on(place.matching(&parent.join("/"), stem))
}

fn runtime(url: &StoreUrl) -> Result<Runtime, StoreError> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| StoreError::Failed { url: url.clone(), reason: error.to_string() })
}

/// Returns the paths of the files in `folder` and in the folders below, relative to it and sorted. What is neither a file nor a folder is
/// left out.
fn files(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(below) = folders.pop() {
        let path = folder.join(&below);
        let failed = |source| StoreError::File { path: path.clone(), source };
        for entry in fs::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            let name = below.join(entry.file_name());
            match (kind.is_dir(), kind.is_file()) {
                (true, _) => folders.push(name),
                (_, true) => files.push(name),
                _ => {}
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The place of a folder in an open store.
struct Place<'a> {
    url: &'a StoreUrl,
    store: Arc<dyn ObjectStore>,
}

impl<'a> Place<'a> {
    fn open(url: &'a StoreUrl) -> Result<Self, StoreError> {
        // An error says that there is a provider already, which is as good.
        let _ = ring::default_provider().install_default();
        let bucket = url.bucket.as_str();
        let store: Result<Arc<dyn ObjectStore>, _> = match url.scheme {
            "s3" => {
                let builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(RETRY);
                builder.build().map(|store| Arc::new(store) as _)
            }
            "gs" => {
                let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket).with_retry(RETRY);
                builder.build().map(|store| Arc::new(store) as _)
            }
            "az" => {
                let builder = MicrosoftAzureBuilder::from_env().with_container_name(bucket).with_retry(RETRY);
                builder.build().map(|store| Arc::new(store) as _)
            }
            _ => Ok(Arc::new(LocalFileSystem::new().with_automatic_cleanup(true)) as _),
        };
        let store = store.map_err(|error| StoreError::Failed { url: url.clone(), reason: error.to_string() })?;
        Ok(Self { url, store })
    }

    fn failed(&self, error: impl ToString) -> StoreError {
        StoreError::Failed { url: self.url.clone(), reason: error.to_string() }
    }

    fn changed(&self, what: String) -> StoreError {
        StoreError::Changed { url: self.url.clone(), what }
    }

    /// Returns the object of a file of the folder.
    fn object(&self, path: &str) -> Result<ObjectPath, StoreError> {
        let prefix = self.url.prefix.join("/");
        ObjectPath::parse(format!("{prefix}/{path}")).map_err(|error| self.failed(error))
    }

    async fn upload(&self, folder: &Path, files: &[PathBuf]) -> Result<usize, StoreError> {
        let earlier = self.contents().await.unwrap_or_else(|_| Contents::new(Vec::new()));
        let list = self.object(CONTENTS)?;
        match self.store.delete(&list).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(self.failed(error)),
        }
        let mut listed = Vec::new();
        for file in files {
            listed.push(self.put(folder, file).await?);
        }
        let is_new = |path: &str| listed.iter().any(|listed| listed.path == path);
        for old in earlier.files.iter().filter(|old| !is_new(&old.path)) {
            // An object that is not in the list does no harm.
            let _ = self.store.delete(&self.object(&old.path)?).await;
        }
        let count = listed.len();
        let json = serde_json::to_vec_pretty(&Contents::new(listed)).map_err(|error| self.failed(error))?;
        self.store.put(&list, json.into()).await.map_err(|error| self.failed(error))?;
        Ok(count)
    }

    /// Uploads one file.
    async fn put(&self, folder: &Path, file: &Path) -> Result<Listed, StoreError> {
        let local = folder.join(file);
        let unreadable = |source| StoreError::File { path: local.clone(), source };
        let path = file.to_str().ok_or_else(|| unreadable(io::ErrorKind::InvalidFilename.into()))?.to_owned();
        let mut reader = tokio::fs::File::open(&local).await.map_err(unreadable)?;
        let mut writer = BufWriter::new(self.store.clone(), self.object(&path)?);
        let mut chunk = vec![0; CHUNK];
        let mut hash = Sha256::new();
        let mut bytes = 0;
        loop {
            let count = reader.read(&mut chunk).await.map_err(unreadable)?;
            if count == 0 {
                break;
            }
            hash.update(&chunk[..count]);
            bytes += count as u64;
            writer.write_all(&chunk[..count]).await.map_err(|error| self.failed(error))?;
        }
        writer.shutdown().await.map_err(|error| self.failed(error))?;
        Ok(Listed { path, bytes, sha256: hex(&hash.finalize()) })
    }

    /// Reads the list of the folder.
    async fn contents(&self) -> Result<Contents, StoreError> {
        let got = match self.store.get(&self.object(CONTENTS)?).await {
            Ok(got) => got,
            Err(object_store::Error::NotFound { .. }) => return Err(StoreError::Missing { url: self.url.clone() }),
            Err(error) => return Err(self.failed(error)),
        };
        if got.meta.size > CONTENTS_MAX {
            return Err(self.changed(format!("its list has {} bytes", got.meta.size)));
        }
        let bytes = got.bytes().await.map_err(|error| self.failed(error))?;
        Contents::parse(&bytes).map_err(|what| self.changed(what))
    }

    async fn download(&self, into: &Path) -> Result<(), StoreError> {
        let contents = self.contents().await?;
        for listed in &contents.files {
            let path = &listed.path;
            let local = listed.below(into).ok_or_else(|| self.changed(format!("{path} leads out of the folder")))?;
            self.get(listed, &local).await?;
        }
        Ok(())
    }

    /// Downloads one file, and compares its size and hash.
    async fn get(&self, listed: &Listed, local: &Path) -> Result<(), StoreError> {
        let unwritable = |source| StoreError::File { path: local.to_owned(), source };
        let got = match self.store.get(&self.object(&listed.path)?).await {
            Ok(got) => got,
            Err(object_store::Error::NotFound { .. }) => {
                return Err(self.changed(format!("{} is missing", listed.path)));
            }
            Err(error) => return Err(self.failed(error)),
        };
        if got.meta.size != listed.bytes {
            return Err(self.changed(format!("{} has {} bytes, not {}", listed.path, got.meta.size, listed.bytes)));
        }
        if let Some(folder) = local.parent() {
            tokio::fs::create_dir_all(folder).await.map_err(unwritable)?;
        }
        let mut file = tokio::fs::File::create_new(local).await.map_err(unwritable)?;
        let mut stream = got.into_stream();
        let mut hash = Sha256::new();
        while let Some(chunk) = stream.try_next().await.map_err(|error| self.failed(error))? {
            hash.update(&chunk);
            file.write_all(&chunk).await.map_err(unwritable)?;
        }
        file.flush().await.map_err(unwritable)?;
        if hex(&hash.finalize()) != listed.sha256 {
            return Err(self.changed(format!("{} has another hash", listed.path)));
        }
        Ok(())
    }

    /// Returns the names of the complete folders in `parent` that begin with `stem`.
    async fn matching(&self, parent: &str, stem: &str) -> Result<Vec<String>, StoreError> {
        let parent = ObjectPath::parse(parent).map_err(|error| self.failed(error))?;
        let found = self.store.list_with_delimiter(Some(&parent)).await.map_err(|error| self.failed(error))?;
        let mut names = Vec::new();
        for folder in found.common_prefixes {
            let Some(name) = folder.filename().filter(|name| name.starts_with(stem)) else { continue };
            match self.store.head(&folder.clone().join(CONTENTS)).await {
                Ok(_) => names.push(name.to_owned()),
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(names)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
