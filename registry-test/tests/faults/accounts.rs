//! Faults that never happen, and the messages about them.

use crate::client::{BLOB, get, plant_blob, put_manifest};
use registry_test::{
    GET, PATCH, PUT, Rule, Side::Response, TestRegistry, cut, drop_header, on, on_any, status,
};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Returns the message with which a registry panics when it is dropped.
fn message(registry: TestRegistry) -> String {
    let panic = catch_unwind(AssertUnwindSafe(|| drop(registry))).unwrap_err();
    *panic.downcast::<String>().unwrap()
}

#[test]
fn a_fault_that_never_happened_is_named_with_the_nearest_requests() {
    let registry = TestRegistry::start();
    let blob = plant_blob(&registry, BLOB);
    registry.fault(
        on(PUT).manifest().repository("team/app").first(2),
        status(429).retry_after(1),
    );
    put_manifest(&registry);
    get(&registry, &blob);
    get(&registry, "/v2/team/app/tags/list");

    assert_eq!(
        message(registry),
        "fault(on(PUT).manifest().repository(\"team/app\").first(2), status(429).retry_after(1)) never happened; the \
         nearest requests:\n  PUT /v2/app/manifests/v1 → 201\n  GET /v2/team/app/tags/list → 404\n\
         change the conditions, or add `.optional()` to a fault that need not happen"
    );
}

#[test]
fn a_request_that_matches_and_gave_no_occasion_is_named_as_that() {
    let registry = TestRegistry::start();
    let short = plant_blob(&registry, b"short");
    registry.fault(on(GET).blob(), cut(Response).after(1000));
    registry.fault(on(GET).blob().nth(3), status(500));
    registry.fault(on(GET).blob(), drop_header("x-never"));
    assert_eq!(get(&registry, &short).body(), b"short");

    let message = message(registry);

    let line = format!("GET {short} → 200");
    let nothing = format!("\n  {line} (matches, and had nothing that the fault can change)\n");
    assert_eq!(message.matches(&nothing).count(), 2, "{message}");
    assert!(
        message.contains(&format!("\n  {line} (matches as number 1 of 3)\n")),
        "{message}"
    );
}

#[test]
fn at_most_five_requests_are_named_and_none_if_none_is_similar() {
    let registry = TestRegistry::start();
    registry.fault(on(PATCH).upload(), status(500));
    registry.fault(on(GET).manifest(), status(500));
    for _ in 0..9 {
        get(&registry, "/v2/");
    }

    let message = message(registry);

    assert!(
        message.contains("fault(on(PATCH).upload(), status(500)) never happened; no request was similar\n")
    );
    assert_eq!(message.matches("GET /v2/ → 200").count(), 5, "{message}");
}

#[test]
fn a_fault_need_not_happen_if_it_is_optional_or_cleared() {
    let registry = TestRegistry::start();
    let rules: [Rule; 2] = [
        (on(GET).optional(), status(500)).into(),
        (on(PUT), status(500)).into(),
    ];
    let handles = registry.add_faults(rules);
    handles[1].clear();

    assert_eq!(
        put_manifest(&registry).status(),
        Some(201),
        "a cleared fault does not happen"
    );
    assert_eq!(registry.faults().len(), 1);
}

#[test]
fn no_second_panic_hides_the_first() {
    let panic = catch_unwind(|| {
        let registry = TestRegistry::start();
        registry.fault(on_any(), status(500));
        panic!("the test's own");
    });

    assert_eq!(*panic.unwrap_err().downcast::<&str>().unwrap(), "the test's own");
}
