//! [`Pages`]: a listing that the registry sends page by page.

use crate::{
    call::Call,
    client::Client,
    error::{Error, Result},
    transport::Answered,
    url,
};
use http::{StatusCode, Uri};
use std::fmt;

/// Maximum size of a page, in bytes.
const PAGE: usize = 16 << 20;
/// Maximum number of pages of a listing.
const PAGES: usize = 100_000;

/// Reads the items of a page.
pub(crate) type Parse<T> = fn(&Answered, &[u8]) -> Result<Vec<T>>;

/// Listing of a registry, page by page, in the order of the registry.
pub struct Pages<T> {
    client: Client,
    call: Option<Call>,
    parse: Parse<T>,
    read: usize,
    /// Registry and path of the first page, for messages.
    place: String,
}

impl<T> Pages<T> {
    pub(crate) fn new(client: Client, call: Call, parse: Parse<T>) -> Self {
        let target = call.request.target();
        let path = target.split('?').next().unwrap_or_default();
        Self {
            client,
            place: format!("{}{path}", call.host),
            call: Some(call),
            parse,
            read: 0,
        }
    }

    /// Returns the next page, or `None` after the last one. A page may be empty.
    ///
    /// # Cancel safety
    ///
    /// Safe: the call after a dropped one returns the same page.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if there is no such repository, [`Error::Protocol`] if the page is malformed,
    /// [`Error::Denied`] and [`Error::Unauthorized`], and the failures of connections. After a transient error, a further
    /// call tries again.
    pub async fn next(&mut self) -> Result<Option<Vec<T>>> {
        let Some(call) = &mut self.call else {
            return Ok(None);
        };
        let (answered, body) = self.client.fetch(call, &[StatusCode::OK], PAGE).await?;
        let items = (self.parse)(&answered, &body)?;
        self.read += 1;
        match next_url(&answered)? {
            Some(next) if self.read < PAGES => call.url = Some(next),
            Some(_) => return Err(Error::protocol(answered.named, "the listing has no end")),
            None => self.call = None,
        }
        Ok(Some(items))
    }

    /// Reads all pages, if they have at most `limit` items.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is changed. The pages that were read are lost.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`], and as for [`next`](Self::next).
    pub async fn all(mut self, limit: usize) -> Result<Vec<T>> {
        let mut all = Vec::new();
        while let Some(mut page) = self.next().await? {
            all.append(&mut page);
            if all.len() > limit {
                return Err(Error::TooLong {
                    url: self.place.clone(),
                    limit,
                });
            }
        }
        Ok(all)
    }
}

impl<T> fmt::Debug for Pages<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages")
            .field("call", &self.call)
            .field("read", &self.read)
            .finish_non_exhaustive()
    }
}

/// Returns the URL of the next page, which has to be of the same registry.
fn next_url(answered: &Answered) -> Result<Option<Uri>> {
    let Some(link) = answered.answer().next() else {
        return Ok(None);
    };
    let next = url::resolve(&answered.url, link).filter(|next| url::same_origin(next, &answered.url));
    match next {
        Some(next) if next != answered.url => Ok(Some(next)),
        _ => Err(Error::protocol(
            &*answered.named,
            "the link to the next page is unusable",
        )),
    }
}
