use super::*;

fn url(text: &str) -> Result<StoreUrl, String> {
    StoreUrl::from_path(Path::new(text)).expect("it has a scheme").map_err(|error| error.to_string())
}

#[test]
fn a_path_is_no_url() {
    for path in ["runs/a", "/tmp/x", "s3:bucket", "a b://c", "://x", "C:/x"] {
        assert!(StoreUrl::from_path(Path::new(path)).is_none(), "{path}");
    }
}

#[test]
fn a_url_is_shown_as_it_was_written_and_has_a_folder_of_this_machine() {
    for (text, local) in [
        ("s3://bucket/runs/a", "runs/s3/bucket/runs/a"),
        ("gs://b/x", "runs/gs/b/x"),
        ("az://container/x/y", "runs/az/container/x/y"),
        ("file:///mnt/runs", "runs/file/mnt/runs"),
    ] {
        let url = url(text).unwrap();
        assert_eq!(url.to_string(), text);
        assert_eq!(url.local(), Path::new(local));
    }
    assert_eq!(url("s3://b/x/").unwrap().to_string(), "s3://b/x");
}

#[test]
fn a_wrong_url_is_refused_with_the_reason() {
    for (text, what) in [
        ("s4://b/x", "its scheme is unknown"),
        ("http://b/x", "its scheme is unknown"),
        ("s3:///x", "it has no bucket"),
        ("s3://b", "it has no prefix, and would fill the whole bucket"),
        ("s3://b/", "it has no prefix, and would fill the whole bucket"),
        ("s3://b/x/../y", "a part of its prefix is empty, . or .."),
        ("s3://b/x//y", "a part of its prefix is empty, . or .."),
        ("file://mnt/x", "a folder begins with file:///"),
    ] {
        let error = url(text).unwrap_err();
        assert!(
            error.starts_with(&format!("'{text}' is no folder of an object store: {what}; write s3://")),
            "{error}"
        );
    }
}

#[cfg(not(feature = "object-store"))]
#[test]
fn a_program_without_object_stores_names_the_feature() {
    let place = url("s3://b/x").unwrap();
    for error in [place.upload(Path::new("x")).map(|_| ()), place.download(Path::new("x"))] {
        let error = error.unwrap_err().to_string();
        assert!(error.contains("build it with `--features object-store`"), "{error}");
    }
}

#[cfg(feature = "object-store")]
mod transfers {
    use std::fs;

    use super::*;

    /// The URL of the folder `name` in `root`.
    fn in_folder(root: &Path, name: &str) -> StoreUrl {
        url(&format!("file://{}/{name}", root.display())).unwrap()
    }

    fn folder(root: &Path, files: &[(&str, &str)]) -> PathBuf {
        let folder = root.join("local");
        let _ = fs::remove_dir_all(&folder);
        for (name, text) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn a_folder_comes_back_as_it_was_and_replaces_an_earlier_one() {
        let root = tempfile::tempdir().unwrap();
        let place = in_folder(root.path(), "store/run");
        let first = folder(root.path(), &[("run.json", "{}"), ("logs/a b.log", "x"), ("old", "")]);
        assert_eq!(place.upload(&first).unwrap(), 3);
        let second = folder(root.path(), &[("run.json", "{1}"), ("logs/a b.log", "y")]);
        assert_eq!(place.upload(&second).unwrap(), 2);
        let into = root.path().join("into");
        place.download(&into).unwrap();
        assert_eq!(fs::read_to_string(into.join("run.json")).unwrap(), "{1}");
        assert_eq!(fs::read_to_string(into.join("logs/a b.log")).unwrap(), "y");
        assert_eq!(fs::read_dir(&into).unwrap().count(), 2);
        assert!(!root.path().join("store/run/old").exists());
    }

    #[test]
    fn what_was_not_uploaded_whole_is_no_folder() {
        let root = tempfile::tempdir().unwrap();
        let place = in_folder(root.path(), "store/run");
        let missing = place.download(&root.path().join("a")).unwrap_err();
        assert!(matches!(missing, StoreError::Missing { .. }), "{missing}");
        place.upload(&folder(root.path(), &[("a", "aa"), ("b", "bb")])).unwrap();
        fs::write(root.path().join("store/run/b"), "bX").unwrap();
        let changed = place.download(&root.path().join("b")).unwrap_err().to_string();
        assert!(changed.contains("b has another hash"), "{changed}");
        fs::remove_file(root.path().join("store/run/b")).unwrap();
        let changed = place.download(&root.path().join("c")).unwrap_err().to_string();
        assert!(changed.contains("b is missing"), "{changed}");
        // An upload that fails leaves no list.
        assert!(place.upload(Path::new("/nonexistent")).is_err());
        fs::remove_file(root.path().join("store/run").join(CONTENTS)).unwrap();
        assert!(matches!(place.download(&root.path().join("d")), Err(StoreError::Missing { .. })));
    }

    #[test]
    fn a_list_cannot_name_files_outside_of_the_folder() {
        let root = tempfile::tempdir().unwrap();
        let place = in_folder(root.path(), "store/run");
        place.upload(&folder(root.path(), &[("a", "aa")])).unwrap();
        let list = root.path().join("store/run").join(CONTENTS);
        for outside in ["../a", "/a", "x/../../a", "", "."] {
            let text = format!(r#"{{"schema":1,"files":[{{"path":"{outside}","bytes":2,"sha256":""}}]}}"#);
            fs::write(&list, text).unwrap();
            let error = place.download(&root.path().join("into")).unwrap_err().to_string();
            assert!(error.contains("leads out of the folder"), "{outside}: {error}");
        }
        fs::write(&list, r#"{"schema":2,"files":[]}"#).unwrap();
        let error = place.download(&root.path().join("into")).unwrap_err().to_string();
        assert!(error.contains("its list is of version 2"), "{error}");
    }

    #[test]
    fn an_asterisk_stands_for_complete_folders_in_the_order_of_their_numbers() {
        let root = tempfile::tempdir().unwrap();
        let local = folder(root.path(), &[("a", "aa")]);
        for name in ["shard-10", "shard-2", "all"] {
            in_folder(root.path(), &format!("store/{name}")).upload(&local).unwrap();
        }
        fs::create_dir_all(root.path().join("store/shard-3")).unwrap();
        fs::write(root.path().join("store/shard-3/a"), "half").unwrap();
        let names = |text: &str| {
            let urls = in_folder(root.path(), text).expanded().map_err(|error| error.to_string());
            urls.map(|urls| urls.iter().map(|url| url.prefix.last().unwrap().clone()).collect::<Vec<_>>())
        };
        assert_eq!(names("store/shard-*").unwrap(), ["shard-2", "shard-10"]);
        assert_eq!(names("store/all").unwrap(), ["all"]);
        assert!(names("store/x*").unwrap_err().contains("matches no folder"));
    }
}
