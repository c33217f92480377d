//! The tags of a page in another order.

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Response, header};
use hyper::body::Body as _;
use registry_core::{ResponseBody, storage::StorageError};
use serde_json::{Value, json};
use std::{future::poll_fn, pin::pin};

/// Reverses the tags of a list.
///
/// # Errors
///
/// The error of the storage, if the list breaks off.
pub(super) async fn reversed(
    response: Response<ResponseBody>,
) -> Result<Response<ResponseBody>, StorageError> {
    let (mut head, body) = response.into_parts();
    let bytes = read(body).await?;
    let bytes = reverse(&bytes).unwrap_or(bytes);
    if head.headers.contains_key(header::CONTENT_LENGTH) {
        head.headers
            .insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    }
    Ok(Response::from_parts(head, ResponseBody::full(bytes)))
}

/// Reads a body to its end.
async fn read(body: ResponseBody) -> Result<Bytes, StorageError> {
    let mut body = pin!(body);
    let mut bytes = BytesMut::new();
    while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        if let Ok(data) = frame?.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes.freeze())
}

/// Returns the list with its tags reversed; `None` for the body of a refusal.
fn reverse(list: &[u8]) -> Option<Bytes> {
    let list: Value = serde_json::from_slice(list).ok()?;
    let tags = list.get("tags")?.as_array()?;
    let tags: Vec<_> = tags.iter().rev().collect();
    let reversed = json!({ "name": list.get("name")?, "tags": tags });
    Some(Bytes::from(reversed.to_string()))
}
