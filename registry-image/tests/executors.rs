//! Copies and exports without a runtime: the host drives them on a thread that blocks.

use registry_core::{Registry, Tag, service::ManifestPush, storage::MemoryStorage};
use registry_image::{CopyItem, Export, ImageCopy, Names};

const INDEX: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

#[test]
fn a_copy_and_an_export_need_no_runtime() {
    let registry = Registry::builder(MemoryStorage::new()).build();
    let (from, to) = (
        registry.repository("team/app").unwrap(),
        registry.repository("live/app").unwrap(),
    );
    let v1 = Tag::parse("v1").unwrap();
    let items = [CopyItem::tag(v1.clone())];

    let archive = pollster::block_on(async {
        from.put_manifest(ManifestPush::new(v1, INDEX)).await.unwrap();
        ImageCopy::new(&from, &to).run(&items).await.unwrap();
        let mut archive = Vec::new();
        let export = Export::new().add(&to, &items, Names::tags());
        export.write(&mut archive).await.unwrap();
        assert!(tokio::runtime::Handle::try_current().is_err());
        archive
    });

    let is_there = archive.windows(INDEX.len()).any(|part| part == INDEX.as_bytes());
    assert!(is_there, "the index is not in the archive");
}
