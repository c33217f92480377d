//! Texts of clients, shortened for messages.

/// Cuts a text after `most` characters.
pub(crate) fn cut(mut message: String, most: usize) -> String {
    if let Some((end, _)) = message.char_indices().nth(most) {
        message.truncate(end);
        message.push('…');
    }
    message
}
