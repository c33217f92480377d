//! [`Line`]: a line of a response.

use serde::{Deserialize, Serialize};

/// Path of the operations in this version of the protocol.
pub(super) const PATH: &str = "/control/v1/";

/// Number of lines that wait for a slow receiver.
pub(super) const WAITING: usize = 256;

/// Line of a response, as JSON. A response without a last line was cut off.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Line<T> {
    Item(T),
    /// Last line: the operation failed with this message.
    Failed(String),
    /// Last line: the operation has ended.
    Done,
}
