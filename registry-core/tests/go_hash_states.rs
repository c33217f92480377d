//! Tests that checkpoints are the states of Go's hashes, as registry:2 writes them to `hashstates/`.
//!
//! `golden/` has states made by Go. Their lengths are around the ends of blocks and of their padding.

use bytes::Bytes;
use registry_core::{
    Algorithm, Digest,
    hash::{Checkpoint, Hasher},
};

struct Golden {
    length: usize,
    state: Bytes,
    digest: Digest,
    /// Digest with [`MORE`] further bytes.
    digest_of_more: Digest,
}

const MORE: usize = 300;

fn golden(algorithm: Algorithm) -> Vec<Golden> {
    let text = match algorithm {
        Algorithm::Sha256 => include_str!("golden/go-sha256.txt"),
        Algorithm::Sha512 => include_str!("golden/go-sha512.txt"),
        _ => panic!("{algorithm} has no golden states"),
    };
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let digest = |hex: &str| format!("{algorithm}:{hex}").parse().expect("a digest");
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            let [length, state, one, other] = fields[..] else {
                panic!("four fields: {line}");
            };
            Golden {
                length: length.parse().expect("a number"),
                state: bytes_of(state),
                digest: digest(one),
                digest_of_more: digest(other),
            }
        })
        .collect()
}

fn bytes_of(hex: &str) -> Bytes {
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    assert!(rest.is_empty());
    let byte = |pair| u8::from_str_radix(str::from_utf8(pair).expect("ASCII"), 16).expect("hexadecimal");
    pairs.iter().map(|pair| byte(pair)).collect()
}

fn content(length: usize) -> Vec<u8> {
    (0..length)
        .map(|n| u8::try_from(n % 251).expect("less than 251"))
        .collect()
}

#[test]
fn a_checkpoint_is_the_state_of_go() {
    for algorithm in Algorithm::ALL {
        for golden in golden(algorithm) {
            for piece in [1, 63, 100, 1 << 16] {
                let mut hasher = Hasher::new(algorithm);
                for bytes in content(golden.length).chunks(piece) {
                    hasher.update(bytes);
                }

                let checkpoint = hasher.checkpoint().unwrap();

                assert_eq!(checkpoint.offset(), golden.length as u64);
                assert_eq!(
                    checkpoint.as_bytes(),
                    &golden.state,
                    "{algorithm} of {} bytes in pieces of {piece}",
                    golden.length
                );
                assert_eq!(hasher.digest(), Some(golden.digest));
            }
        }
    }
}

#[test]
fn a_hash_continues_from_the_state_of_go() {
    for algorithm in Algorithm::ALL {
        for golden in golden(algorithm) {
            let checkpoint = Checkpoint::parse(algorithm, golden.state).unwrap();
            let mut hasher = Hasher::resume(&checkpoint);
            assert_eq!(hasher.offset(), golden.length as u64);
            assert_eq!(hasher.clone().digest(), Some(golden.digest));

            hasher.update(&content(golden.length + MORE)[golden.length..]);

            assert_eq!(
                hasher.digest(),
                Some(golden.digest_of_more),
                "{algorithm} from {} bytes",
                golden.length
            );
        }
    }
}
