//! What is written is read again; what is not of this form is not.

use super::*;
use crate::kubernetes::facts::{Key, PodFact};

fn kept(cluster: &str, facts: Vec<Fact>) -> Kept {
    Kept {
        cluster: cluster.into(),
        own: false,
        secret: Some(SecretName {
            namespace: "istio-system".into(),
            name: "s".into(),
        }),
        server: "https://eu".into(),
        uid: Some("the-uid".into()),
        heard_at: 1_000,
        facts,
    }
}

fn pod(name: &str) -> Fact {
    Fact::Pod(PodFact {
        key: Key::new("default", name),
        labels: Default::default(),
        workload: name.into(),
    })
}

fn disk() -> (tempfile::TempDir, Disk) {
    let place = tempfile::tempdir().expect("a folder");
    let disk = Disk::new(place.path().to_owned());
    (place, disk)
}

#[test]
fn what_is_saved_is_loaded_until_it_is_removed() {
    let (_place, disk) = disk();
    // Ids can be anything, and must not lead out of the folder.
    let ids = ["eu", "../eu", "EU 1", "e%75"];
    for id in ids {
        disk.save(&kept(id, vec![pod(id)])).expect("written");
    }
    let myself = KeptMyself {
        pod: "gw-1".into(),
        answers: Answers::default(),
    };
    disk.save_myself(&myself).expect("written");
    let loaded = disk.load(Ceilings::default());
    assert_eq!(loaded.ignored, []);
    assert_eq!(loaded.myself, Some(myself));
    for id in ids {
        let expected = kept(id, vec![pod(id)]);
        assert!(loaded.clusters.contains(&expected), "{id}");
        disk.remove(&id.into()).expect("removed");
    }
    assert_eq!(disk.load(Ceilings::default()).clusters, []);
}

#[test]
fn each_file_that_is_not_used_is_named_with_the_reason_and_harms_no_other() {
    let (place, disk) = disk();
    disk.save(&kept("good", Vec::new())).expect("written");
    let good = std::fs::read(disk.file_of(&"good".into())).expect("it is there");
    let file = |id: &str| disk.file_of(&id.into());
    let put = |id: &str, content: &[u8]| std::fs::write(file(id), content).expect("written");
    put("cut", &good[..good.len() - 1]);
    put("garbage", &[0xff; 5_000]);
    put("empty", b"");
    put("huge", &vec![b' '; 3_000]);
    put("other", &good);
    let text = String::from_utf8(good).expect("JSON");
    put(
        "newer",
        text.replace("\"version\":1", "\"version\":2").as_bytes(),
    );
    disk.save(&kept("many", vec![pod("a"), pod("b"), pod("c")]))
        .expect("written");
    std::fs::create_dir(file("folder")).expect("a folder");
    let ceilings = Ceilings {
        objects: 2,
        list_bytes: 2_000,
        ..Ceilings::default()
    };
    let loaded = disk.load(ceilings);
    assert_eq!(loaded.clusters, [kept("good", Vec::new())]);
    let why = |id: &str| {
        let file = file(id).display().to_string();
        let ignored = loaded.ignored.iter().find(|ignored| ignored.file == file);
        ignored.expect("it is named").why.clone()
    };
    assert!(
        why("cut").contains("bytes after its first line"),
        "{}",
        why("cut")
    );
    assert!(why("garbage").contains("larger than"));
    assert!(why("empty").contains("first line"));
    assert!(why("huge").contains("larger than 2000 bytes"));
    assert!(why("other").contains("named after another cluster than the one in it, good"));
    assert!(why("newer").contains("has version 2"));
    assert!(why("many").contains("3 objects, more than the ceiling of 2"));
    assert!(why("folder").contains("not a plain file"));
    assert_eq!(loaded.ignored.len(), 8);
    assert!(disk.load(Ceilings::default()).ignored.len() >= 6);

    let file = Disk::new(place.path().join("cluster-good.json"));
    let loaded = file.load(Ceilings::default());
    assert_eq!(loaded.ignored.len(), 1, "the folder itself is none");
    let nothing = Disk::new(place.path().join("nowhere"));
    assert_eq!(nothing.load(Ceilings::default()).ignored, []);
}
