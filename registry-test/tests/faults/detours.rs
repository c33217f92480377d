//! URLs to which clients are led.

use crate::client::{BLOB, digest, get, plant_blob, send};
use registry_test::{GET, Location, POST, Redirect, TestRegistry, location, on, redirect};
use std::net::SocketAddr;

/// Returns the address and the target of a URL or a path.
fn resolved(registry: &TestRegistry, location: &str) -> (SocketAddr, String) {
    let Some(rest) = location.strip_prefix("http://") else {
        return (registry.addr(), location.to_owned());
    };
    let (host, path) = rest.split_once('/').unwrap();
    let address = host.replace("localhost", "127.0.0.1").parse().unwrap();
    (address, format!("/{path}"))
}

#[test]
fn an_upload_goes_on_at_each_form_of_its_location() {
    for form in [
        Location::Absolute,
        Location::Relative,
        Location::WithQuery,
        Location::OtherHost,
    ] {
        let registry = TestRegistry::start();
        registry.fault(on(POST).upload(), location(form));
        let open = send(registry.addr(), "POST", "/v2/app/blobs/uploads/", "", b"");
        let given = open.header("location").unwrap();
        let port = registry.addr().port();
        let expected = match form {
            Location::Absolute => given.starts_with(&format!("http://127.0.0.1:{port}/v2/app/")),
            Location::WithQuery => given.starts_with("/v2/app/") && given.contains('?'),
            Location::OtherHost => {
                given.starts_with("http://localhost:") && !given.contains(&format!(":{port}/"))
            }
            _ => given.starts_with("/v2/app/"),
        };
        assert!(expected, "{form:?}: {given}");

        let (address, target) = resolved(&registry, given);
        let separator = if target.contains('?') { '&' } else { '?' };
        let close = format!("{target}{separator}digest={}", digest(BLOB));
        let closed = send(address, "PUT", &close, "", BLOB);

        assert_eq!(closed.status(), Some(201), "{form:?}");
        assert!(registry.blob("app", &digest(BLOB)).is_some());
        let other = registry.requests()[1].other_host;
        assert_eq!(other, form == Location::OtherHost);
    }
}

#[test]
fn a_client_that_drops_the_query_of_its_location_does_not_find_the_upload() {
    let registry = TestRegistry::start();
    registry.fault(on(POST).upload(), location(Location::WithQuery));
    let open = send(registry.addr(), "POST", "/v2/app/blobs/uploads/", "", b"");
    let (path, _) = open.header("location").unwrap().split_once('?').unwrap();

    let lost = send(registry.addr(), "PATCH", path, "", b"x");

    assert_eq!(lost.status(), Some(404));
    assert!(
        lost.body()
            .starts_with(br#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN""#)
    );
}

#[test]
fn a_blob_is_read_where_the_redirect_leads() {
    let elsewhere = Redirect::OtherHost {
        refuse_authorization: false,
        expires: None,
    };
    for to in [Redirect::SameHost, elsewhere] {
        let registry = TestRegistry::start();
        let path = plant_blob(&registry, BLOB);
        registry.fault(on(GET).blob().always(), redirect(to));

        let redirected = get(&registry, &path);
        let (address, target) = resolved(&registry, redirected.header("location").unwrap());
        let followed = send(address, "GET", &target, "Range: bytes=100-\r\n", b"");

        assert_eq!((redirected.status(), redirected.body()), (Some(307), &b""[..]));
        assert_eq!((followed.status(), followed.body()), (Some(206), &BLOB[100..]));
        assert_eq!(address == registry.addr(), to == Redirect::SameHost);
    }
}

#[test]
fn a_signed_url_refuses_credentials_and_expires() {
    let registry = TestRegistry::start();
    let path = plant_blob(&registry, BLOB);
    let to = Redirect::OtherHost {
        refuse_authorization: true,
        expires: Some(2),
    };
    registry.fault(on(GET).blob(), redirect(to));
    let redirected = get(&registry, &path);
    let (address, target) = resolved(&registry, redirected.header("location").unwrap());

    let fields = ["Authorization: Basic YTpi\r\n", "", ""];
    let statuses = fields.map(|fields| send(address, "GET", &target, fields, b"").status());

    assert_eq!(statuses, [Some(400), Some(200), Some(403)]);
    assert_eq!(get(&registry, &path).body(), BLOB, "the registry gives it again");
}

#[test]
fn a_loop_has_no_end_and_what_is_missing_is_no_redirect() {
    let registry = TestRegistry::start();
    let path = plant_blob(&registry, BLOB);
    registry.fault(on(GET).blob(), redirect(Redirect::Loop));
    let missing = format!("/v2/app/blobs/{}", digest(b"missing"));
    assert_eq!(get(&registry, &missing).status(), Some(404));

    let mut next = path;
    for _ in 0..5 {
        let redirected = get(&registry, &next);
        assert_eq!(redirected.status(), Some(307));
        next = redirected.header("location").unwrap().to_owned();
    }
}
