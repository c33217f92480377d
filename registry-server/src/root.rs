//! `/`: the page for load balancers, and for users who open the address in a browser.
//!
//! It is served without a login, as by registry:2, whose page is empty. The page reveals neither a version nor content,
//! as every client may read it.

use axum::http::{HeaderName, HeaderValue, header};

const PAGE: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>Container registry</title>
<h1>Container registry</h1>
<p>This is a registry of container images. Programs such as docker, podman, skopeo and helm push to it and pull from it by
this address, followed by the name of an image.</p>
<p>This page has no user interface. To browse the images, use a separate web interface.</p>
</html>
";

type Header = (HeaderName, HeaderValue);

/// Serves the page, for GET and HEAD.
pub(crate) async fn page() -> ([Header; 2], &'static str) {
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, PAGE)
}
