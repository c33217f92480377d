//! Restarts of a test registry, and the files that it has for other programs.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use registry_test::{TestRegistry, image};
use std::{
    collections::HashMap,
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    panic::{self, AssertUnwindSafe},
    sync::mpsc,
    thread,
    time::Duration,
};
use support::ask;

#[test]
fn a_restart_cuts_connections_and_keeps_port_content_uploads_and_tokens() {
    let registry = TestRegistry::builder()
        .bearer("ann", "secret")
        .seed("app:v1", image())
        .start();
    let address = registry.addr();
    let issued = ask(
        address,
        "GET /token?scope=repository:app:pull,push",
        &[("Authorization", "Basic YW5uOnNlY3JldA==")],
        "",
    );
    let token = format!("Bearer {}", issued.json()["token"].as_str().unwrap());
    let authorization = [("Authorization", &*token)];
    let opened = ask(address, "POST /v2/app/blobs/uploads/", &authorization, "");
    let location = opened.header("location").unwrap().to_owned();
    let mut idle = TcpStream::connect(address).unwrap();
    write!(idle, "GET /v2/ HTTP/1.1\r\nHost: r\r\n\r\n").unwrap();
    let mut begin = [0; 12];
    idle.read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"HTTP/1.1 401");
    let mut pushing = TcpStream::connect(address).unwrap();
    let head = format!(
        "PATCH {location} HTTP/1.1\r\nHost: r\r\nAuthorization: {token}\r\nContent-Length: 100\r\n\r\n01234"
    );
    pushing.write_all(head.as_bytes()).unwrap();
    // A connection that nobody has accepted yet is a later one.
    while registry.requests().iter().all(|request| request.sent < 5) {
        thread::yield_now();
    }

    registry.restart();

    for mut cut in [idle, pushing] {
        let mut rest = Vec::new();
        // The end may be orderly or a reset, but does not wait for the time-out of a silent connection.
        cut.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        if let Err(error) = cut.read_to_end(&mut rest) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
        assert!(!rest.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&rest));
    }
    assert_eq!(registry.addr(), address);
    let pulled = ask(address, "GET /v2/app/manifests/v1", &authorization, "");
    assert_eq!(pulled.status, 200);
    let [open] = &registry.uploads_left_open()[..] else {
        panic!("one session is open");
    };
    let rest = ask(
        address,
        &format!("PATCH {location}"),
        &[
            ("Authorization", &token),
            ("Content-Range", &format!("{}-{}", open.offset, open.offset + 4)),
        ],
        "56789",
    );
    assert_eq!(rest.status, 202, "{rest:?}");
}

#[test]
fn a_registry_that_is_paused_answers_when_it_is_resumed() {
    let registry = TestRegistry::start();
    registry.pause();
    let address = registry.addr();
    let client = thread::spawn(move || ask(address, "PUT /v2/app/manifests/v1", &[], "{}").status);
    // The body follows the head on its way to the registry.
    while registry.requests().iter().all(|request| request.sent == 0) {
        thread::yield_now();
    }

    // The registry itself is at work meanwhile, and has the time to answer.
    for _ in 0..100 {
        assert!(registry.tags("app").is_empty());
    }
    assert_eq!(registry.requests()[0].status(), None);
    registry.resume();

    assert_eq!(client.join().unwrap(), 400);
}

#[test]
fn a_registry_that_is_stopped_refuses_connections_until_it_is_resumed() {
    let registry = TestRegistry::builder().seed("app:v1", image()).start();
    let address = registry.addr();
    let mut open = TcpStream::connect(address).unwrap();
    write!(open, "GET /v2/ HTTP/1.1\r\nHost: r\r\n\r\n").unwrap();
    open.read_exact(&mut [0; 12]).unwrap();

    // A second call changes nothing.
    for _ in 0..2 {
        registry.stop();
        let refused = TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }
    open.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    if let Err(error) = open.read_to_end(&mut Vec::new()) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    // The test is not a client.
    assert!(registry.digest("app:v1").is_some());

    for _ in 0..2 {
        registry.resume();
        assert_eq!(ask(address, "GET /v2/app/manifests/v1", &[], "").status, 200);
    }
    registry.stop();
    drop(registry);
    TcpListener::bind(address).unwrap();
}

#[test]
fn the_files_for_other_programs_are_private_and_removed_at_the_end() {
    let registry = TestRegistry::builder().basic("ann", "secret").start();
    let directory = registry.docker_config_dir().to_owned();
    let envs: HashMap<_, _> = registry.envs().into_iter().collect();

    assert_eq!(envs["DOCKER_CONFIG"], directory);
    let auth = fs::read_to_string(&envs["REGISTRY_AUTH_FILE"]).unwrap();
    assert_eq!(
        auth,
        format!(
            r#"{{"auths":{{"{}":{{"auth":"YW5uOnNlY3JldA=="}}}}}}"#,
            registry.host()
        )
    );
    assert_eq!(auth, fs::read_to_string(directory.join("config.json")).unwrap());
    let registries = fs::read_to_string(&envs["CONTAINERS_REGISTRIES_CONF"]).unwrap();
    let expected = format!(
        "[[registry]]\nlocation = \"{}\"\ninsecure = true\n",
        registry.host()
    );
    assert_eq!(registries, expected);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;

        let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(&directory.join("config.json")), 0o600);
    }

    drop(registry);

    assert!(!directory.exists());
}

#[test]
fn without_a_login_the_files_have_none() {
    let registry = TestRegistry::start();
    let auth = fs::read_to_string(registry.docker_config_dir().join("config.json")).unwrap();
    assert_eq!(auth, r#"{"auths":{}}"#);
}

#[test]
#[should_panic(expected = "the port is in use")]
fn a_port_that_is_in_use_is_named_with_advice() {
    let registry = TestRegistry::start();
    let _ = TestRegistry::builder().port(registry.addr().port()).start();
}

#[test]
fn a_panic_is_reported_at_the_call_of_the_test() {
    let registry = TestRegistry::start();
    let calls: [&dyn Fn(); 5] = [
        &|| _ = registry.seed("App", image()),
        &|| _ = registry.seed_layout("/nowhere"),
        &|| _ = registry.digest("App"),
        &|| _ = registry.tags("App"),
        &|| _ = TestRegistry::builder().host("a b").start(),
    ];
    let (send, files) = mpsc::channel();
    let (this, usual) = (thread::current().id(), panic::take_hook());
    panic::set_hook(Box::new(move |panicked| {
        // Tests on other threads report as usual.
        match panicked.location() {
            Some(place) if thread::current().id() == this => send.send(place.file().to_owned()).unwrap(),
            _ => usual(panicked),
        }
    }));

    for call in calls {
        panic::catch_unwind(AssertUnwindSafe(call)).unwrap_err();
        assert_eq!(files.try_recv().as_deref(), Ok(file!()));
    }
}
