//! Bodies that are slow or wrong.

use crate::client::{BLOB, End, get, plant_blob, send};
use registry_test::{GET, HEAD, TestRegistry, on, on_any, slow, wrong_bytes, wrong_length};
use std::time::{Duration, Instant};

#[test]
fn a_slow_body_takes_its_time_in_both_directions() {
    let registry = TestRegistry::start();
    let rule = registry.fault(on_any().always(), slow(100_000));

    let begun = Instant::now();
    let path = plant_blob(&registry, BLOB);
    let pushed = begun.elapsed();
    let begun = Instant::now();
    let pulled = get(&registry, &path);

    // 20 000 bytes at 100 000 per second.
    let least = Duration::from_millis(200);
    assert!(pushed >= least && begun.elapsed() >= least);
    assert_eq!(pulled.body(), BLOB);
    assert_eq!(rule.fired(), 2, "once in each exchange");
}

#[test]
fn wrong_bytes_have_the_right_length() {
    let registry = TestRegistry::start();
    let path = plant_blob(&registry, BLOB);
    registry.fault(on(GET).blob(), wrong_bytes());

    let [wrong, right] = [0; 2].map(|_| get(&registry, &path));

    let differ = wrong.body().iter().zip(BLOB).filter(|(one, other)| one != other);
    assert_eq!((wrong.body().len(), differ.count()), (BLOB.len(), 1));
    assert_eq!(right.body(), BLOB);
}

#[test]
fn a_wrong_length_is_announced_and_ends_the_connection() {
    for (by, announced) in [(-3, "19997"), (3, "20003"), (i64::MIN, "0")] {
        let registry = TestRegistry::start();
        let path = plant_blob(&registry, BLOB);
        registry.fault(on(GET).blob(), wrong_length(by));
        registry.fault(on(HEAD).blob(), wrong_length(by));

        let head = send(registry.addr(), "HEAD", &path, "", b"");
        let wrong = get(&registry, &path);

        assert_eq!(head.header("content-length"), Some(announced));
        assert_eq!(wrong.header("content-length"), Some(announced));
        assert_eq!((wrong.body(), wrong.end), (BLOB, End::Fin));
    }
}
