//! Record of a running hash, in Go's layout.

use bytes::Bytes;
use registry_core::{
    Algorithm, Digest,
    hash::{Checkpoint, Hasher},
};

/// Checks that a record that parses as a checkpoint prints equivalently and resumes at its offset, and that a hash
/// interrupted anywhere gives the same digest.
pub fn checkpoint(data: &[u8]) {
    let Some((first, data)) = data.split_first() else {
        return;
    };
    for algorithm in Algorithm::ALL {
        any_record(algorithm, data);
        any_cut(algorithm, usize::from(*first), data);
    }
}

fn any_record(algorithm: Algorithm, record: &[u8]) {
    let Some(read) = Checkpoint::parse(algorithm, Bytes::copy_from_slice(record)) else {
        return;
    };
    assert_eq!(read.as_bytes(), record);
    assert_eq!(read.algorithm(), algorithm);
    let mut resumed = Hasher::resume(&read);
    assert_eq!(
        (resumed.algorithm(), resumed.offset()),
        (Some(algorithm), read.offset())
    );

    // Bytes of the record beyond what is pending mean nothing, so it may print differently, but not mean so.
    let printed = resumed.checkpoint().expect("a checkpoint has a state");
    let again = Checkpoint::parse(algorithm, printed.as_bytes().clone()).expect("what prints is read");
    assert_eq!(again, printed);
    let mut other = Hasher::resume(&again);
    for hasher in [&mut resumed, &mut other] {
        hasher.update(b"more");
        assert_eq!(hasher.offset(), read.offset() + 4);
    }
    assert_eq!(resumed.digest(), other.digest());
}

fn any_cut(algorithm: Algorithm, cut: usize, data: &[u8]) {
    let (head, tail) = data.split_at(cut.min(data.len()));
    let mut hasher = Hasher::new(algorithm);
    hasher.update(head);
    let record = hasher
        .checkpoint()
        .expect("a new hasher has a state")
        .as_bytes()
        .clone();
    let read = Checkpoint::parse(algorithm, record).expect("what was written is read");
    assert_eq!(read.offset(), head.len() as u64);
    let mut resumed = Hasher::resume(&read);
    resumed.update(tail);
    assert_eq!(resumed.digest(), Some(Digest::of(algorithm, data)));
}
