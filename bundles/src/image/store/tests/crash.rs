//! What a process that was killed leaves.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use super::Ground;
use crate::image::import::ImportOptions;
use crate::image::store::{Pruned, Store, files};
use crate::image::testing::{Archive, Layout, gzip};

#[test]
fn a_crash_leaves_nothing_that_is_seen() {
    let ground = Ground::new();
    let kept = ground.image("kept", &["x"]);
    let (in_use, _lock) = ground.store.temporary().unwrap();
    fs::create_dir_all(ground.store.path("tmp/layer-dead/fs")).unwrap();
    fs::write(ground.store.path("tmp/layer-dead/fs/file"), "half").unwrap();
    fs::write(ground.store.path("partial").join(kept.id.hex()), "half").unwrap();
    fs::write(ground.store.path(".new-dead"), "half").unwrap();
    let again = Store::open(&ground.top.path().join("root")).unwrap();
    assert_eq!(again.list().unwrap(), std::slice::from_ref(&kept));
    assert!(in_use.path().exists() && !again.path("tmp/layer-dead").exists());
    assert_eq!(
        again.prune().unwrap(),
        Pruned {
            partial_blobs: 1,
            layers: 0
        }
    );
    // A layer that vanished makes the image absent, and the next import mends it.
    fs::remove_dir_all(kept.layers[0].parent().unwrap()).unwrap();
    assert_eq!(again.get(&"kept".parse().unwrap()).unwrap(), None);
    assert_eq!(ground.image("kept", &["x"]).layers, kept.layers);
}

/// The work of [`f2_a_killed_import_leaves_no_half_layer`], in a process that can be killed.
#[test]
fn import_in_a_process_of_its_own() {
    if let Some(top) = std::env::var_os("CAROB_TEST_IMPORT") {
        let store = Store::open(&Path::new(&top).join("root")).unwrap();
        store
            .import(&Path::new(&top).join("layout"), &ImportOptions::default())
            .unwrap();
    }
}

#[test]
fn f2_a_killed_import_leaves_no_half_layer() {
    let ground = Ground::new();
    let files: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    let layer = |prefix: &str| {
        let add =
            |archive: Archive, file: &String| archive.file(&format!("{prefix}-{file}"), &[7; 2000]);
        files.iter().fold(Archive::new(), add).finish()
    };
    let layout = Layout::new(&ground.top.path().join("layout"));
    let layers: Vec<_> = ["a", "b", "c", "d"].map(layer).to_vec();
    layout.index(&[("whole", &layout.image(&layers, json!({}), gzip))]);
    let mut killed = 0;
    for round in 0..1000 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "image::store::tests::crash::import_in_a_process_of_its_own",
            ])
            .env("CAROB_TEST_IMPORT", ground.top.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Later each time, so that it dies at another place.
        std::thread::sleep(Duration::from_millis(round * round));
        child.kill().unwrap();
        let whole = child.wait().unwrap().success();
        killed += usize::from(!whole);
        let store = Store::open(&ground.top.path().join("root")).unwrap();
        assert_eq!(ground.count("tmp"), 0, "round {round}");
        for name in files::names(&store.path("layers")).unwrap() {
            let layer = store.path("layers").join(name).join("fs");
            assert_eq!(fs::read_dir(&layer).unwrap().count(), 300, "round {round}");
            assert!(
                fs::read_dir(layer)
                    .unwrap()
                    .all(|file| file.unwrap().metadata().unwrap().len() == 2000)
            );
        }
        let image = store.get(&"whole".parse().unwrap()).unwrap();
        assert!(image.is_none_or(|image| image.layers.len() == 4));
        if whole {
            break;
        }
    }
    assert!(killed > 3, "it was killed only {killed} times");
    assert_eq!(ground.store.find("whole").unwrap().layers.len(), 4);
}
