//! [`copy`]: a body on its way, up to its end.

use http::{HeaderMap, Method, StatusCode, header};
use std::{
    borrow::Cow,
    io::{self, BufRead, Read as _, Write},
};

/// Maximum number of bytes of the line before a chunk, or of a trailer.
const MAX_LINE: u64 = 64 << 10;

/// End of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tap) enum Framing {
    /// No body can follow, whatever length the head announces.
    Never,
    /// The body ends after this number of bytes, possibly none.
    Length(u64),
    /// The body ends with the last chunk.
    Chunked,
    /// The body ends with the connection.
    UntilClose,
}

impl Framing {
    pub(in crate::tap) fn of_request(headers: &HeaderMap) -> Self {
        Self::announced(headers).unwrap_or(Self::Length(0))
    }

    /// Returns true if a body with this framing ends where `headers` say.
    pub(in crate::tap) fn agrees(self, headers: &HeaderMap) -> bool {
        matches!(self, Self::Never | Self::UntilClose) || Self::announced(headers) == Some(self)
    }

    pub(in crate::tap) fn of_response(method: &Method, status: StatusCode, headers: &HeaderMap) -> Self {
        let without = status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || *method == Method::HEAD;
        if without {
            Self::Never
        } else {
            Self::announced(headers).unwrap_or(Self::UntilClose)
        }
    }

    fn announced(headers: &HeaderMap) -> Option<Self> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let coding = text(header::TRANSFER_ENCODING).map(str::to_ascii_lowercase);
        if coding.is_some_and(|coding| coding.ends_with("chunked")) {
            return Some(Self::Chunked);
        }
        Some(Self::Length(text(header::CONTENT_LENGTH)?.parse().ok()?))
    }
}

/// The pieces of a body on their way.
pub(in crate::tap) trait Flow {
    /// Returns how many of the next `most` bytes may pass now, at least one.
    fn allow(&mut self, most: usize) -> io::Result<usize>;

    /// Changes a piece that passes, but not its length.
    fn change<'p>(&mut self, piece: &'p [u8]) -> Cow<'p, [u8]> {
        Cow::Borrowed(piece)
    }
}

impl<F: FnMut(usize) -> io::Result<usize>> Flow for F {
    fn allow(&mut self, most: usize) -> io::Result<usize> {
        self(most)
    }
}

/// Passes a body on as it arrives. With `rechunk`, a body without chunked encoding is sent in chunks.
pub(in crate::tap) fn copy(
    from: &mut impl BufRead,
    to: &mut impl Write,
    framing: Framing,
    rechunk: bool,
    flow: &mut impl Flow,
) -> io::Result<()> {
    match framing {
        Framing::Never => return Ok(()),
        Framing::Length(length) => copy_length(from, to, Some(length), rechunk, flow)?,
        Framing::UntilClose => copy_length(from, to, None, rechunk, flow)?,
        Framing::Chunked => return copy_chunks(from, to, flow),
    }
    if rechunk {
        to.write_all(b"0\r\n\r\n")?;
    }
    Ok(())
}

fn copy_length(
    from: &mut impl BufRead,
    to: &mut impl Write,
    length: Option<u64>,
    rechunk: bool,
    flow: &mut impl Flow,
) -> io::Result<()> {
    let mut left = length.unwrap_or(u64::MAX);
    while left > 0 {
        let come = from.fill_buf()?;
        if come.is_empty() {
            return match length {
                Some(_) => Err(io::ErrorKind::UnexpectedEof.into()),
                None => Ok(()),
            };
        }
        let most = usize::try_from(left).map_or(come.len(), |left| left.min(come.len()));
        let count = flow.allow(most)?.min(most);
        let piece = flow.change(come.get(..count).unwrap_or_default());
        if rechunk {
            write!(to, "{count:x}\r\n")?;
        }
        to.write_all(&piece)?;
        if rechunk {
            to.write_all(b"\r\n")?;
        }
        from.consume(count);
        left -= count as u64;
    }
    Ok(())
}

fn copy_chunks(from: &mut impl BufRead, to: &mut impl Write, flow: &mut impl Flow) -> io::Result<()> {
    loop {
        let line = copy_line(from, to)?;
        let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let size = str::from_utf8(size.trim_ascii())
            .ok()
            .and_then(|size| u64::from_str_radix(size, 16).ok())
            .ok_or(io::ErrorKind::InvalidData)?;
        if size == 0 {
            break;
        }
        copy_length(from, to, Some(size), false, flow)?;
        copy_line(from, to)?;
    }
    // Trailers, up to the empty line.
    while !copy_line(from, to)?.trim_ascii().is_empty() {}
    Ok(())
}

fn copy_line(from: &mut impl BufRead, to: &mut impl Write) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    from.take(MAX_LINE).read_until(b'\n', &mut line)?;
    if !line.ends_with(b"\n") {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    to.write_all(&line)?;
    Ok(line)
}
