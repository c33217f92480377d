//! Archives and layouts, which come from anywhere.

use futures_util::{FutureExt as _, TryStreamExt as _};
use registry_core::{Digest, Registry, Repository, storage::MemoryStorage};
use registry_image::{
    ArchiveReader, BlobList, Compression, CopyItem, Export, Format, ImageCopy, Layout, Names, Source as _,
    walk,
};
use std::io::Cursor;

/// Opens the bytes as an archive, and copies what is in it.
///
/// What arrives has the digest that the archive gives, and survives an export and another import.
pub fn archive(data: &[u8]) {
    let reader = ArchiveReader::new().max_bytes(16 << 20);
    if let Ok(layout) = reader.seekable("archive", Cursor::new(data.to_vec())) {
        check(&layout);
    }
}

/// Puts the bytes into an archive: after a byte that is even as `index.json`, else as docker's `manifest.json`.
///
/// The archive has the blobs that they may refer to, and a list of one that it leaves out. The same holds as for [`archive`].
pub fn layout(data: &[u8]) {
    let Some((kind, document)) = data.split_first() else {
        return;
    };
    let name = if kind % 2 == 0 {
        "index.json"
    } else {
        "manifest.json"
    };
    let mut archive = tar::Builder::new(Vec::new());
    let config = br#"{"rootfs":{"type":"layers","diff_ids":["sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"]}}"#;
    let manifest = br#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881","size":1},"layers":[]}"#;
    let mut add = |name: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        archive
            .append_data(&mut header, name, content)
            .expect("a vector takes everything");
    };
    let absent = Digest::of(registry_core::Algorithm::Sha256, b"y");
    let left_out = BlobList::from_iter([(absent, 1)]).to_string();
    let increment = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{absent}","size":1}},"layers":[]}}"#
    );
    for content in [
        &b"x"[..],
        config,
        manifest,
        left_out.as_bytes(),
        increment.as_bytes(),
    ] {
        let digest = Digest::of(registry_core::Algorithm::Sha256, content);
        add(&format!("blobs/sha256/{}", digest.hex()), content);
    }
    for (name, content) in [("x", &b"x"[..]), ("c.json", config), (name, document)] {
        add(name, content);
    }
    if kind % 2 == 0 {
        add("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    }
    let bytes = archive.into_inner().expect("a vector takes everything");
    if let Ok(layout) = ArchiveReader::new().seekable("layout", Cursor::new(bytes)) {
        check(&layout);
    }
}

fn check(layout: &Layout) {
    let to = repository();
    let mut copied = Vec::new();
    for entry in layout.entries() {
        let digest = entry.descriptor.digest;
        if let Some(manifest) = now(layout.manifest(&digest)).ok().flatten() {
            assert_eq!(Digest::of(digest.algorithm(), &manifest.bytes), digest);
        }
        for tag in entry.tags() {
            // Another entry with the same tag makes it ambiguous, which is an error.
            if let Ok(found) = now(layout.resolve(&tag.into())) {
                assert_eq!(found.expect("the tag is of an entry").digest, digest);
            }
        }
        let _: Result<Vec<_>, _> = now(walk::referrers(layout, digest).try_collect());
        let item = CopyItem::digest(digest);
        if now(ImageCopy::new(layout, &to).run(std::slice::from_ref(&item))).is_ok() {
            convert(&to, &item);
            copied.push(item);
        }
    }
    let mut exported = Vec::new();
    let export = Export::new().add(&to, &copied, Names::tags());
    now(export.write(&mut exported)).expect("what was copied can be exported");
    let again = ArchiveReader::new().seekable("exported", Cursor::new(exported));
    let again = again.expect("an own archive is accepted");
    let target = repository();
    now(ImageCopy::new(&again, &target).run(&copied)).expect("an own archive is whole");
}

/// Converts an image, and what comes of that, which then changes no more.
fn convert(from: &Repository, item: &CopyItem) {
    let (to, again) = (repository(), repository());
    let copy = |from, to, item| {
        let copy = ImageCopy::new(from, to)
            .compress(Compression::Gzip)
            .format(Format::Oci);
        now(copy.run(&[item])).map(|report| report.copied[0].target)
    };
    if let Ok(converted) = copy(from, &to, item.clone()) {
        let same = copy(&to, &again, CopyItem::digest(converted)).expect("what was converted is whole");
        assert_eq!(same, converted);
    }
}

fn repository() -> Repository {
    let registry = Registry::builder(MemoryStorage::new()).build();
    registry.repository("fuzz").expect("a constant is well-formed")
}

/// Drives a future that only reads memory.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("nothing here waits")
}
