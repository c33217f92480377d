//! Tests of the calls and events of reads.

use super::*;

#[tokio::test]
async fn reads_in_process_tell_what_reads_over_http_tell() {
    let hooks = Recorder::default();
    let registry = hooked(&hooks).await;
    let app = registry.repository("app").unwrap();
    let size = manifest("first").len();
    let blob = format!("/v2/app/blobs/{}", digest());

    send(&registry, None, Method::GET, "/v2/app/manifests/v1", "").await;
    let over_http = hooks.take();
    app.manifest(tag("v1")).await.unwrap().unwrap();
    assert_eq!(hooks.take(), over_http);
    assert_eq!(
        over_http,
        [
            format!("pull v1 at true of Some({size})?"),
            format!("manifest of {size} pulled by tag"),
        ]
    );

    send(&registry, None, Method::GET, &blob, "").await;
    let over_http = hooks.take();
    app.open_blob(&digest(), ReadBlob::default()).await.unwrap();
    assert_eq!(hooks.take(), over_http);
    assert_eq!(over_http, ["pull blob of Some(2)?", "2 of 2 bytes pulled"]);

    send(&registry, None, Method::HEAD, &blob, "").await;
    let over_http = hooks.take();
    app.blob(&digest()).await.unwrap().unwrap();
    assert_eq!(hooks.take(), over_http);
    assert_eq!(over_http, ["pull blob of Some(2)?"], "nothing is pulled");

    send(&registry, None, Method::HEAD, "/v2/app/manifests/v1", "").await;
    assert_eq!(hooks.take(), [format!("pull v1 at true of Some({size})?")]);

    let absent = Digest::of(Algorithm::Sha256, b"absent");
    assert!(app.blob(&absent).await.unwrap().is_none());
    assert!(app.manifest(absent).await.unwrap().is_none());
    assert!(hooks.take().is_empty(), "what is not there is not pulled");
}

#[tokio::test]
async fn each_read_is_asked_about_once_whatever_its_ranges() {
    let hooks = Recorder::default();
    let registry = hooked(&hooks).await;
    let app = registry.repository("app").unwrap();
    let blob = app.push_blob("0123456789", None).await.unwrap();
    hooks.take();
    for (ranges, bytes) in [
        ("0-3", 4),
        ("0-1,5-9", 7),
        ("0-1,90-", 2),
        ("0-9,0-9", 10),
        ("0-1,1-1,2-2", 4),
    ] {
        let request = Request::get(format!("/v2/app/blobs/{}", blob.digest))
            .header(header::RANGE, format!("bytes={ranges}"))
            .body(String::new());
        let answer = registry.handle(request.unwrap()).await;
        assert!(answer.status().is_success(), "{ranges}");

        assert_eq!(
            hooks.take(),
            [
                "pull blob of Some(10)?".to_owned(),
                format!("{bytes} of 10 bytes pulled"),
            ],
            "{ranges}"
        );
    }
    let request = Request::get(format!("/v2/app/blobs/{}", blob.digest))
        .header(header::RANGE, "bytes=10-,20-")
        .body(String::new());
    let answer = registry.handle(request.unwrap()).await;
    assert_eq!(answer.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert!(hooks.take().is_empty());
}
