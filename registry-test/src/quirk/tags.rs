//! The tags of a page in another order.

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Response, header};
use hyper::body::Body as _;
use registry_core::ResponseBody;
use serde_json::{Value, json};
use std::{future::poll_fn, pin::pin};

/// Reverses the tags of a list.
pub(super) async fn reversed(response: Response<ResponseBody>) -> Response<ResponseBody> {
    let (mut head, body) = response.into_parts();
    let bytes = read(body).await;
    let bytes = reverse(&bytes).unwrap_or(bytes);
    if head.headers.contains_key(header::CONTENT_LENGTH) {
        head.headers
            .insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    }
    Response::from_parts(head, ResponseBody::full(bytes))
}

/// Reads a body to its end, which is the failure of its storage, if it fails.
async fn read(body: ResponseBody) -> Bytes {
    let mut body = pin!(body);
    let mut bytes = BytesMut::new();
    while let Some(Ok(frame)) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    bytes.freeze()
}

/// Returns the list with its tags reversed; `None` for the body of a refusal.
fn reverse(list: &[u8]) -> Option<Bytes> {
    let list: Value = serde_json::from_slice(list).ok()?;
    let tags = list.get("tags")?.as_array()?;
    let tags: Vec<_> = tags.iter().rev().collect();
    let reversed = json!({ "name": list.get("name")?, "tags": tags });
    Some(Bytes::from(reversed.to_string()))
}
