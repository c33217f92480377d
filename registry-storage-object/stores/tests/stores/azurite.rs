//! The emulator of Azure Blob Storage.

use crate::{round_trip, send, wait_for};
use http::{Method, StatusCode};
use libtest_mimic::{Failed, Trial};
use object_store::{Error, ObjectStoreExt as _, path::Path, signer::SignedUrlOptions};
use object_stores::{AzureServer, Azurite};
use registry_conformance::tools;

type Test = fn(&AzureServer);

pub(crate) fn trials() -> Vec<Trial> {
    let tests: [(&str, Test); 2] = [
        ("objects_are_stored_under_conditions_and_listed", |server| {
            wait_for(round_trip(&server.container("objects").unwrap().build().unwrap()));
        }),
        ("signatures_are_checked", signatures_are_checked),
    ];
    let trial = |(name, test): (&str, Test)| {
        tools::trial(format!("azurite::{name}"), &[Azurite::PROGRAM], move || {
            test(&Azurite::start().map_err(Failed::from)?);
            Ok(())
        })
    };
    tests.into_iter().map(trial).collect()
}

fn signatures_are_checked(server: &AzureServer) {
    let settings = server.container("signed").unwrap();
    let store = settings.clone().build().unwrap();
    let forged = settings.with_access_key("YW5vdGhlcg==").build().unwrap();
    let path = Path::from("a/key");
    wait_for(async {
        store.put(&path, "x".into()).await.unwrap();
        let refused = forged.head(&path).await.unwrap_err();
        assert!(matches!(refused, Error::PermissionDenied { .. }), "{refused:?}");

        let read = send(&store, Method::GET, &path, SignedUrlOptions::new(), &[]).await;
        let forged = send(&forged, Method::GET, &path, SignedUrlOptions::new(), &[]).await;
        assert_eq!((read, forged), (StatusCode::OK, StatusCode::FORBIDDEN));
    });
}
