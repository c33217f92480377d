//! Recognition of UTF-16, for files that have to be UTF-8.

/// Message about a UTF-16 file, as written by PowerShell's `>` or by some Windows editors.
pub(crate) const UTF_16: &str = "this file is UTF-16: save it as UTF-8";

/// Returns true if a text file is UTF-16, with or without a byte order mark.
///
/// Without a mark, the first 64 bytes decide: at least half of those at even offsets are zero and none at odd offsets,
/// or vice versa.
pub(crate) fn is_utf16(bytes: &[u8]) -> bool {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return true;
    }
    let pairs = bytes
        .get(..bytes.len().min(64))
        .unwrap_or_default()
        .chunks_exact(2);
    let half = pairs.len().div_ceil(2);
    let zeros = |place: usize| pairs.clone().filter(|pair| pair.get(place) == Some(&0)).count();
    let (first, second) = (zeros(0), zeros(1));
    half > 0 && ((first >= half && second == 0) || (second >= half && first == 0))
}
