//! Lists of blobs, which come with archives.

use registry_core::{Algorithm, Digest};
use registry_image::BlobList;

/// Parses the bytes as a list, and as the lines of one whose end is right.
///
/// What is accepted has exactly one text, and the digests of a list are in their order.
pub fn blob_list(data: &[u8]) {
    check(data);
    let mut ended = data.to_vec();
    let end = format!("end {}\n", Digest::of(Algorithm::Sha256, data));
    ended.extend_from_slice(end.as_bytes());
    check(&ended);
}

fn check(data: &[u8]) {
    let list = match BlobList::parse(data) {
        Ok(list) => list,
        Err(invalid) => {
            let message = invalid.to_string();
            assert!(message.len() < 256, "a message without bound: {message}");
            return;
        }
    };
    assert_eq!(list.to_string().as_bytes(), data, "a list has one text");
    let end = format!("\nend {}\n", list.digest());
    assert!(data.ends_with(end.as_bytes()));
    assert!(list.iter().map(|(digest, _)| digest).is_sorted());
    assert_eq!(list.iter().count() + 2, list.to_string().lines().count());
}
