//! Certificates from a real authority: `pebble`, which Let's Encrypt provides for tests of clients, and which is as
//! strict as it can be. It and its name server are in Debian's package `pebble`.

mod authority;
mod host;

use authority::{Authority, Rules};
use host::{HELLO, Host, listen};
use libtest_mimic::{Arguments, Failed, Trial};
use registry_conformance::tools;
use registry_tls::{ChallengeKind, Status};
use std::{fs, future::Future, time::Duration};

const PROGRAMS: [&str; 3] = ["pebble", "pebble-challtestsrv", "curl"];

/// Time limit that is never reached: a test's event happens long before, or never.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() {
    let arguments = Arguments::from_args();
    let trials = vec![
        trial("the_first_certificate_comes_by_tls_alpn_01", || {
            first_certificate(ChallengeKind::TlsAlpn01)
        }),
        trial("the_first_certificate_comes_by_http_01", || {
            first_certificate(ChallengeKind::Http01)
        }),
        trial("certificates_are_renewed_before_they_end", renewal),
        trial("rejected_nonces_are_no_reason_to_give_up", rejected_nonces),
        trial("a_restart_serves_from_the_cache_without_the_authority", restart),
        trial(
            "nobody_gets_a_certificate_for_a_name_that_is_not_listed",
            unlisted,
        ),
        trial(
            "a_proof_that_was_not_found_is_explained_and_tried_again",
            unreachable_at_first,
        ),
        trial("a_name_that_the_authority_refuses_is_explained", refused_name),
        trial(
            "an_account_that_the_authority_forgot_is_made_anew",
            forgotten_account,
        ),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

fn trial<F, T>(name: &str, test: F) -> Trial
where
    F: FnOnce() -> T + Send + 'static,
    T: Future<Output = Result<(), Failed>>,
{
    tools::trial(name, &PROGRAMS, || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async { tokio::time::timeout(PATIENCE, test()).await? })
    })
}

async fn first_certificate(kind: ChallengeKind) -> Result<(), Failed> {
    let host = Host::new()?;
    let authority = Authority::start(&host, &Rules::default())?;
    let (mut serving, upkeep) = host.serve(host.acme(&authority, ["a.test"]).challenge(kind))?;
    let before = host.fetch("a.test", None)?;
    assert!(before.contains("alert"), "without a certificate: {before}");

    serving.keep(upkeep);
    serving.tls.serving().await;

    assert_eq!(host.fetch("a.test", Some(&authority.root()?))?, HELLO);
    assert_eq!(
        host.redirect("/v2/?n=1")?,
        format!("308 https://a.test:{}/v2/?n=1", host.https_port())
    );
    assert_eq!(host.redirect("/.well-known/acme-challenge/x")?, "404");
    for (path, mode) in host.cached()? {
        assert_eq!(mode & 0o077, 0, "{} is {mode:o}", path.display());
    }
    Ok(())
}

async fn renewal() -> Result<(), Failed> {
    let host = Host::new()?;
    let rules = Rules {
        validity: Duration::from_secs(8),
        ..Rules::default()
    };
    let authority = Authority::start(&host, &rules)?;
    let (mut serving, upkeep) = host.serve(host.acme(&authority, ["a.test"]))?;
    serving.keep(upkeep);

    let mut ends = Vec::new();
    let mut status = serving.tls.status();
    while ends.len() < 3 {
        status = serving.tls.status_other_than(&status).await;
        if let Status::Serving { until, .. } = status {
            ends.push(until);
        }
    }

    assert!(ends.is_sorted(), "{ends:?}");
    assert_eq!(host.fetch("a.test", Some(&authority.root()?))?, HELLO);
    Ok(())
}

async fn rejected_nonces() -> Result<(), Failed> {
    let host = Host::new()?;
    let rules = Rules {
        rejected_nonces: 20,
        ..Rules::default()
    };
    let authority = Authority::start(&host, &rules)?;
    let names = ["a.test", "b.test", "c.test"];
    let (mut serving, upkeep) = host.serve(host.acme(&authority, names))?;
    serving.keep(upkeep);

    serving.tls.serving().await;

    for name in names {
        assert_eq!(host.fetch(name, Some(&authority.root()?))?, HELLO);
    }
    Ok(())
}

async fn restart() -> Result<(), Failed> {
    let host = Host::new()?;
    let mut authority = Authority::start(&host, &Rules::default())?;
    let acme = host.acme(&authority, ["a.test"]);
    let (mut serving, upkeep) = host.serve(acme.clone())?;
    serving.keep(upkeep);
    serving.tls.serving().await;
    let root = authority.root()?;
    drop(serving);
    authority.stop()?;

    let _serving = host.serve(acme)?;

    assert_eq!(host.fetch("a.test", Some(&root))?, HELLO);
    Ok(())
}

async fn unlisted() -> Result<(), Failed> {
    let host = Host::new()?;
    let authority = Authority::start(&host, &Rules::default())?;
    let (mut serving, upkeep) = host.serve(host.acme(&authority, ["a.test"]))?;
    serving.keep(upkeep);
    serving.tls.serving().await;

    let answer = host.fetch("stranger.test", None)?;

    assert!(answer.contains("alert"), "{answer}");
    assert!(
        !authority.output().contains("stranger.test"),
        "the authority was asked"
    );
    Ok(())
}

async fn unreachable_at_first() -> Result<(), Failed> {
    let host = Host::new()?;
    let rules = Rules {
        http_port: Some(tools::free_port()?),
        ..Rules::default()
    };
    let authority = Authority::start(&host, &rules)?;
    let acme = host
        .acme(&authority, ["a.test"])
        .challenge(ChallengeKind::Http01)
        .first_retry(Duration::from_millis(100));
    let (mut serving, upkeep) = host.serve(acme)?;
    let waiting = serving.tls.status();
    serving.keep(upkeep);

    let status = serving.tls.status_other_than(&waiting).await;
    let Status::Failing { because, .. } = status else {
        return Err(format!("{status:?}").into());
    };
    assert!(
        because.contains("the authority could not verify the challenge"),
        "{because}"
    );
    assert!(because.contains("port 80"), "{because}");

    serving.redirect_on(listen(rules.http_port.unwrap_or_default())?, host.https_port())?;
    serving.tls.serving().await;
    Ok(())
}

async fn refused_name() -> Result<(), Failed> {
    let host = Host::new()?;
    let authority = Authority::start(&host, &Rules::default())?;
    let (mut serving, upkeep) = host.serve(host.acme(&authority, ["blocked.test"]))?;
    let waiting = serving.tls.status();
    serving.keep(upkeep);

    let status = serving.tls.status_other_than(&waiting).await;

    let Status::Failing { because, .. } = status else {
        return Err(format!("{status:?}").into());
    };
    assert!(because.contains("blocked.test"), "{because}");
    assert!(
        because.contains("does not issue certificates for this name"),
        "{because}"
    );
    Ok(())
}

async fn forgotten_account() -> Result<(), Failed> {
    let host = Host::new()?;
    let authority = Authority::start(&host, &Rules::default())?;
    let address = authority.address();
    let (mut serving, upkeep) = host.serve(host.acme(&authority, ["a.test"]))?;
    serving.keep(upkeep);
    serving.tls.serving().await;
    drop((serving, authority));
    for (path, _) in host.cached()? {
        if path.extension().is_some_and(|extension| extension == "pem") {
            fs::remove_file(path)?;
        }
    }

    // It stores nothing across a restart, not even accounts.
    let rules = Rules {
        address: Some(address),
        ..Rules::default()
    };
    let authority = Authority::start(&host, &rules)?;
    let (mut serving, upkeep) = host.serve(host.acme(&authority, ["a.test"]))?;
    serving.keep(upkeep);

    serving.tls.serving().await;
    assert_eq!(host.fetch("a.test", Some(&authority.root()?))?, HELLO);
    Ok(())
}
