//! Names, removal, pins, and several users of one store.

mod crash;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::image::digest::Digest;
use crate::image::error::ImageError;
use crate::image::import::ImportOptions;
use crate::image::overlay::Image;
use crate::image::progress::Progress;
use crate::image::testing::{Archive, Layout, gzip, mounted};
use crate::image::unpack::Cancel;

struct Ground {
    top: TempDir,
    store: Store,
}

impl Ground {
    fn new() -> Self {
        let top = TempDir::new().unwrap();
        let store = Store::open(&top.path().join("root")).unwrap();
        Self { top, store }
    }

    /// Makes and imports an image whose layers hold one file each, of the given names.
    fn image(&self, name: &str, files: &[&str]) -> Image {
        let layers: Vec<_> = files
            .iter()
            .map(|file| Archive::new().file(file, file.as_bytes()).finish())
            .collect();
        let layout = Layout::new(&self.top.path().join("layout"));
        // The name makes the images' IDs differ.
        layout.index(&[(
            name,
            &layout.image(&layers, json!({"Labels": {"name": name}}), gzip),
        )]);
        self.store
            .import(&layout.path, &ImportOptions::default())
            .unwrap()
            .remove(0)
    }

    fn count(&self, directory: &str) -> usize {
        fs::read_dir(self.store.path(directory)).unwrap().count()
    }

    fn owner(&self, name: &str) -> Owner {
        let record = self.top.path().join(name);
        fs::write(&record, "").unwrap();
        Owner {
            name: name.to_owned(),
            record,
        }
    }
}

#[test]
fn c21_the_store_is_for_root_alone() {
    let ground = Ground::new();
    ground.image("a", &["x"]);
    let mut todo = vec![ground.store.root.clone()];
    while let Some(path) = todo.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        // Below the private directories, layers have the modes of their archives.
        if path.ends_with("fs") {
            continue;
        }
        assert_eq!(meta.permissions().mode() & 0o077, 0, "{}", path.display());
        if meta.is_dir() {
            todo.extend(
                fs::read_dir(path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
    }
}

#[test]
fn names_and_ids_lead_to_images() {
    let ground = Ground::new();
    let image = ground.image("app:1", &["x"]);
    let other = ground.image("other", &["x", "y"]);
    let store = &ground.store;
    assert_eq!(
        store.get(&"app:1".parse().unwrap()).unwrap(),
        Some(image.clone())
    );
    assert_eq!(store.get(&"app:2".parse().unwrap()).unwrap(), None);
    for text in [
        "app:1",
        "docker.io/library/app:1",
        image.id.short(),
        &image.id.to_string(),
        &image.digests[0],
    ] {
        assert_eq!(store.find(text).unwrap().id, image.id, "{text}");
    }
    assert!(matches!(
        store.find("absent"),
        Err(ImageError::NotPresent(_))
    ));
    assert!(matches!(
        store.find("ffffffffffff"),
        Err(ImageError::NotPresent(_))
    ));
    assert!(matches!(
        store.find("NOT VALID"),
        Err(ImageError::InvalidName { .. })
    ));
    assert_eq!(store.list().unwrap(), [image, other]);
}

#[test]
fn removal_keeps_what_others_have() {
    let ground = Ground::new();
    let (one, two) = (
        ground.image("one", &["base", "a"]),
        ground.image("two", &["base", "b"]),
    );
    assert_eq!(ground.count("layers"), 3);
    let removed = ground.store.remove("one").unwrap();
    assert_eq!(removed.deleted, Some(one.id));
    assert_eq!(
        removed.untagged,
        [
            "docker.io/library/one:latest".to_owned(),
            one.digests[0].clone()
        ]
    );
    assert_eq!(
        (
            ground.count("layers"),
            ground.count("records"),
            ground.count("blobs/sha256")
        ),
        (2, 1, 2)
    );
    assert_eq!(mounted(&two).len(), 2);
    assert!(matches!(
        ground.store.remove("one"),
        Err(ImageError::NotPresent(_))
    ));
    ground.store.remove(two.id.short()).unwrap();
    assert_eq!(
        (
            ground.count("layers"),
            ground.count("records"),
            ground.count("blobs/sha256")
        ),
        (0, 0, 0)
    );
}

#[test]
fn a_name_among_several_is_only_taken_off() {
    let ground = Ground::new();
    let image = ground.image("same", &["x"]);
    let options = ImportOptions {
        name: Some("again".parse().unwrap()),
        ..Default::default()
    };
    ground
        .store
        .import(&ground.top.path().join("layout"), &options)
        .unwrap();
    assert_eq!(ground.store.remove("same").unwrap().deleted, None);
    assert_eq!(ground.store.find("again").unwrap().id, image.id);
    assert_eq!(
        ground.store.remove("again").unwrap().deleted,
        Some(image.id)
    );
    assert_eq!(ground.store.list().unwrap(), []);
    // The name moves on to another image; the old one stays, without a name.
    let old = ground.image("moving", &["x"]);
    let layout = Layout::new(&ground.top.path().join("layout"));
    layout.index(&[("moving", &layout.image(&[], json!({}), gzip))]);
    let new = ground
        .store
        .import(&layout.path, &ImportOptions::default())
        .unwrap()
        .remove(0);
    assert_eq!(ground.store.find("moving").unwrap().id, new.id);
    assert_eq!(
        ground.store.find(old.id.short()).unwrap().references,
        Vec::<String>::new()
    );
}

#[test]
fn images_in_use_stay() {
    let ground = Ground::new();
    let image = ground.image("used", &["x"]);
    let (pod, gone) = (
        ground.owner("default/pod".replace('/', "-").as_str()),
        ground.owner("gone"),
    );
    ground.store.take(&image.id, &pod).unwrap();
    ground.store.take(&image.id, &pod).unwrap();
    ground.store.take(&image.id, &gone).unwrap();
    fs::remove_file(&gone.record).unwrap();
    let error = ground.store.remove("used").unwrap_err();
    assert!(
        matches!(&error, ImageError::InUse { owners, .. } if *owners == ["default-pod"]),
        "{error}"
    );
    assert_eq!(ground.store.find("used").unwrap(), image);
    assert_eq!(
        ground.count("pins"),
        1,
        "the pin of an owner that is gone is forgotten"
    );
    // What a power cut can make of a pin, whose owner it has ended too.
    fs::write(ground.store.path("pins/0.json"), "").unwrap();
    ground.store.release(&pod).unwrap();
    ground.store.release(&pod).unwrap();
    ground.store.remove("used").unwrap();
    assert!(matches!(
        ground.store.take(&image.id, &pod),
        Err(ImageError::NotPresent(_))
    ));
}

#[test]
fn layers_of_a_pull_under_way_stay() {
    let ground = Ground::new();
    let image = ground.image("a", &["x", "y"]);
    let lease = ground.store.lease(&image.diff_ids[..1]).unwrap();
    ground.store.remove("a").unwrap();
    assert!(ground.store.layer(&image.diff_ids[0]).unwrap().is_some());
    assert!(ground.store.layer(&image.diff_ids[1]).unwrap().is_none());
    drop(lease);
    // What a process that was killed leaves: the file without the lock.
    fs::write(
        ground.store.path("leases/lease-dead"),
        serde_json::to_vec(&image.diff_ids).unwrap(),
    )
    .unwrap();
    assert_eq!(ground.store.prune().unwrap().layers, 1);
    assert_eq!(ground.count("leases"), 0);
}

#[test]
fn layers_with_the_same_short_name_live_side_by_side() {
    let ground = Ground::new();
    let image = ground.image("a", &["x"]);
    let place = image.layers[0].parent().unwrap();
    let mut meta: serde_json::Value =
        serde_json::from_slice(&fs::read(place.join("layer.json")).unwrap()).unwrap();
    let other = format!("sha256:{}{}", image.diff_ids[0].short(), "0".repeat(52));
    meta["key"] = other.as_str().into();
    fs::write(place.join("layer.json"), meta.to_string()).unwrap();
    let again = ground.image("a", &["x"]);
    assert_ne!(again.layers, image.layers);
    assert!(
        ground
            .store
            .layer(&other.parse().unwrap())
            .unwrap()
            .is_some()
    );
    assert_eq!(mounted(&again).len(), 1);
}

#[test]
fn many_at_once_share_the_work() {
    let ground = Ground::new();
    let layers: Vec<_> = (0..8)
        .map(|n| {
            Archive::new()
                .file(&n.to_string(), &vec![n; 200_000])
                .finish()
        })
        .collect();
    let layout = Layout::new(&ground.top.path().join("layout"));
    layout.index(&[("shared", &layout.image(&layers, json!({}), gzip))]);
    let unpacked = Mutex::new(Vec::<Digest>::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                // Each like a process of its own: locks belong to open files.
                let store = Store::open(&ground.top.path().join("root")).unwrap();
                let note = |progress| {
                    if let Progress::Done { layer } = progress {
                        unpacked.lock().unwrap().push(layer);
                    }
                };
                let options = ImportOptions {
                    progress: &note,
                    ..Default::default()
                };
                let image = store.import(&layout.path, &options).unwrap().remove(0);
                assert_eq!(image.layers.len(), 8);
            });
        }
    });
    assert_eq!(
        unpacked.lock().unwrap().len(),
        8,
        "each layer is unpacked once"
    );
    assert_eq!((ground.count("tmp"), ground.count("leases")), (0, 0));
}

#[test]
fn cancelling_an_import_leaves_nothing() {
    let ground = Ground::new();
    let layout = Layout::new(&ground.top.path().join("layout"));
    let layer = Archive::new().file("x", b"x").finish();
    layout.index(&[("a", &layout.image(&[layer], json!({}), gzip))]);
    let cancel = Cancel::default();
    let stop = |progress| {
        if matches!(progress, Progress::Receiving { .. }) {
            cancel.cancel();
        }
    };
    let options = ImportOptions {
        cancel: cancel.clone(),
        progress: &stop,
        ..Default::default()
    };
    assert!(ground.store.import(&layout.path, &options).is_err());
    assert_eq!(
        (
            ground.count("layers"),
            ground.count("tmp"),
            ground.count("leases")
        ),
        (0, 0, 0)
    );
    assert_eq!(ground.store.list().unwrap(), []);
}

#[test]
fn overlay_options_are_escaped() {
    let top = TempDir::new().unwrap();
    let root = top.path().join(r"odd, name: with \ in it");
    fs::create_dir(&root).unwrap();
    let store = Store::open(&root).unwrap();
    let layout = Layout::new(&root.join("layout"));
    let layers: Vec<_> = ["x", "y"]
        .map(|file| Archive::new().file(file, b"").finish())
        .to_vec();
    layout.index(&[("a", &layout.image(&layers, json!({}), gzip))]);
    let image = store
        .import(&layout.path, &ImportOptions::default())
        .unwrap()
        .remove(0);
    assert_eq!(mounted(&image).len(), 2);
}
