//! [`Progress`]: a bar on the terminal while blobs are copied.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use registry_image::Event;

/// Bar on standard error. It goes when this is dropped, and there is none without a terminal.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Creates the bar. It is shown with the first blob.
    pub(super) fn new(is_shown: bool) -> Self {
        let target = match is_shown {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let style = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {msg}");
        let style = style.expect("a constant is well-formed").progress_chars("=> ");
        let bar = ProgressBar::with_draw_target(Some(0), target).with_style(style);
        Self { bar }
    }

    /// Shows a step.
    pub(super) fn event(&self, event: &Event) {
        match event {
            Event::BlobStarted { size, .. } => self.bar.inc_length(*size),
            Event::BlobBytes { bytes, .. } => self.bar.inc(*bytes),
            _ => {}
        }
    }

    /// Prints something else, without the bar.
    pub(super) fn without<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
