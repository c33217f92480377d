//! Application log on standard error, written by a thread of its own, with registry:2's lines as text or JSON.
//!
//! - `text` is short and coloured on a terminal, and otherwise the same as `logfmt`.
//! - `logfmt` is `time=… level=… msg=…` with `key=value` pairs, as registry:2 writes it.
//! - `json` and `logstash` have one object per line.
//!
//! Text from clients is quoted, and characters that are not [visible](printable::is_seen) are escaped. An event is
//! therefore always a single line.

use super::log_queue::LogQueue;
use crate::{
    config::{Format, Log},
    printable,
};
use serde_json::{Map, Value};
use std::{
    fmt,
    io::{self, IsTerminal as _, Write as _},
    time::SystemTime,
};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    EnvFilter, Layer, layer::Context, layer::SubscriberExt as _, registry::LookupSpan,
    util::SubscriberInitExt as _,
};

/// Sets up the log of this process. `RUST_LOG` adds directives, for example levels of modules.
///
/// Returns a guard. Dropping it waits until all lines are written, at most for a short time.
pub(crate) fn start(log: &Log) -> io::Result<Written> {
    let mut directives = vec![log.level.to_string()];
    if log.level == LevelFilter::INFO {
        // A line for each request that is sent again is of use only while somebody looks for a fault.
        directives.push("object_store=warn".to_owned());
    }
    directives.extend(std::env::var("RUST_LOG"));
    let filter = EnvFilter::builder().parse_lossy(directives.join(","));
    let mut lines = Lines::new(log);
    if log.format == Format::Text && io::stderr().is_terminal() {
        let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        lines.style = Style::People { colours };
    }
    let of_lost = lines.clone();
    let queue = LogQueue::start(io::stderr(), move |lost| of_lost.of_lost(lost))?;
    let written = Written(queue.clone());
    let layer = Queued { lines, queue };
    tracing_subscriber::registry().with(filter).with(layer).init();
    Ok(written)
}

/// Prints warnings and errors on standard error, for a command that is no server: those of the storage, for example.
pub(crate) fn print_warnings() {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::WARN.into())
        .from_env_lossy();
    tracing_subscriber::registry().with(filter).with(Warnings).init();
}

/// Layer that prints each event at once, as in `registry: warning: MESSAGE key=value`.
struct Warnings;

impl<S: Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            _ => "note",
        };
        // Nothing is left to tell it to if standard error is gone.
        _ = writeln!(
            io::stderr(),
            "registry: {level}: {}",
            printable::Line(fields.plain())
        );
    }
}

/// Guard of the log, which waits for the last lines when it is dropped.
#[derive(Debug)]
#[must_use = "lines that are not written yet are lost"]
pub(crate) struct Written(LogQueue);

impl Drop for Written {
    fn drop(&mut self) {
        self.0.flush();
    }
}

/// Layer that formats each event as a line, and queues it.
struct Queued {
    lines: Lines,
    queue: LogQueue,
}

/// Formatter that renders each event as a line.
#[derive(Clone)]
struct Lines {
    style: Style,
    /// Fields of `log.fields`, which every line carries.
    fields: Vec<(String, Value)>,
}

/// Style of a line.
#[derive(Clone, Copy)]
enum Style {
    /// For people at a terminal, optionally in colours.
    People {
        colours: bool,
    },
    /// For programs: `logfmt`, and the JSON formats that follow.
    Logfmt,
    Json,
    Logstash,
}

impl Lines {
    fn new(log: &Log) -> Self {
        Self {
            style: match log.format {
                Format::Text | Format::Logfmt => Style::Logfmt,
                Format::Json => Style::Json,
                Format::Logstash => Style::Logstash,
            },
            fields: log
                .fields
                .iter()
                .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
                .collect(),
        }
    }

    /// Returns the line about lost lines.
    fn of_lost(&self, lost: u64) -> String {
        let message = "standard error is not read fast enough: lines of the log are lost";
        let fields = Fields(vec![("message", message.into()), ("lost", lost.into())]);
        let mut line = self.line(&timestamp(SystemTime::now()), Level::WARN, fields);
        line.push('\n');
        line
    }

    fn line(&self, time: &str, level: Level, event: Fields) -> String {
        let name = match level {
            Level::ERROR => "error",
            Level::WARN => "warning",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        let mut message = Value::from("");
        // Sorted, as registry:2 has them; what is said here counts more than what is said always.
        let mut fields: Map<String, Value> = self.fields.iter().cloned().collect();
        for (name, value) in event.0 {
            if name == "message" {
                message = value;
            } else {
                fields.insert(name.to_owned(), value);
            }
        }
        match self.style {
            Style::People { colours } => {
                let message = message.as_str().unwrap_or_default();
                let (on, off) = colour(level, colours);
                let line = printable::Line(format!("{message}{}", pairs(&fields))).to_string();
                format!("{time} {on}{level:>5}{off} {line}")
            }
            Style::Logfmt => printable::json(&format!(
                "time=\"{time}\" level={name} msg={}{}",
                Logfmt(&message),
                pairs(&fields)
            )),
            Style::Json => {
                fields.insert("time".into(), time.into());
                fields.insert("level".into(), name.into());
                fields.insert("msg".into(), message);
                printable::json(&Value::Object(fields).to_string())
            }
            Style::Logstash => {
                fields.insert("@timestamp".into(), time.into());
                fields.insert("@version".into(), "1".into());
                fields.insert("level".into(), name.into());
                fields.insert("message".into(), message);
                printable::json(&Value::Object(fields).to_string())
            }
        }
    }
}

/// Renders ` key=value` for each field.
fn pairs(fields: &Map<String, Value>) -> String {
    let pair =
        |(name, value): (&String, _)| format!(" {}={}", name.replace([' ', '=', '"'], "_"), Logfmt(value));
    fields.iter().map(pair).collect()
}

/// Returns the sequences that switch a terminal to the colour of a level, and back.
const fn colour(level: Level, colours: bool) -> (&'static str, &'static str) {
    if !colours {
        return ("", "");
    }
    let on = match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    };
    (on, "\x1b[0m")
}

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for Queued {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context
            .event_scope(event)
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.0.extend(of_span.0.iter().cloned());
            }
        }
        event.record(&mut fields);
        let time = timestamp(SystemTime::now());
        let mut line = self.lines.line(&time, *event.metadata().level(), fields);
        line.push('\n');
        self.queue.push(line);
    }
}

/// Fields of an event or a span, in order.
#[derive(Debug, Default)]
struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    /// Renders the message, and the other fields in order.
    fn plain(self) -> String {
        let mut others = Map::new();
        let mut message = String::new();
        for (name, value) in self.0 {
            match value.as_str() {
                Some(text) if name == "message" => text.clone_into(&mut message),
                _ => _ = others.insert(name.to_owned(), value),
            }
        }
        format!("{message}{}", pairs(&others))
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        // A text that was quoted once is not quoted twice.
        let plain = serde_json::from_str::<String>(&text).ok();
        self.0.push((field.name(), plain.unwrap_or(text).into()));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.push((field.name(), value.into()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.push((field.name(), value.into()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.push((field.name(), value.into()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.push((field.name(), value.into()));
    }
}

/// Value in logfmt: plain if possible, otherwise as a JSON string.
struct Logfmt<'a>(&'a Value);

impl fmt::Display for Logfmt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::String(text)
                if !text.is_empty()
                    && text
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || "-._/:@^+".contains(c)) =>
            {
                f.write_str(text)
            }
            // Quoted.
            other => other.fmt(f),
        }
    }
}

/// Formats a time by RFC 3339, in UTC, with microseconds.
fn timestamp(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{time:.6}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(format: Format) -> Lines {
        Lines::new(&Log {
            level: LevelFilter::INFO,
            format,
            access: false,
            fields: vec![("service".into(), "registry".into())],
        })
    }

    fn line(lines: &Lines, fields: Vec<(&'static str, Value)>) -> String {
        lines.line("2026-11-21T14:59:10.231248Z", Level::WARN, Fields(fields))
    }

    #[test]
    fn a_line_is_as_registry_2_writes_it() {
        let fields = || {
            vec![
                ("message", "login failed".into()),
                ("peer", "10.0.0.1:5".into()),
                ("n", 3.into()),
            ]
        };
        assert_eq!(
            line(&lines(Format::Logfmt), fields()),
            r#"time="2026-11-21T14:59:10.231248Z" level=warning msg="login failed" n=3 peer=10.0.0.1:5 service=registry"#
        );
        assert_eq!(
            line(&lines(Format::Json), fields()),
            r#"{"level":"warning","msg":"login failed","n":3,"peer":"10.0.0.1:5","service":"registry","time":"2026-11-21T14:59:10.231248Z"}"#
        );
        assert_eq!(
            line(&lines(Format::Logstash), fields()),
            r#"{"@timestamp":"2026-11-21T14:59:10.231248Z","@version":"1","level":"warning","message":"login failed","n":3,"peer":"10.0.0.1:5","service":"registry"}"#
        );
    }

    #[test]
    fn people_read_the_message_first() {
        let mut lines = lines(Format::Text);
        let fields = || vec![("message", "login failed".into()), ("user", "ann lee".into())];

        lines.style = Style::People { colours: false };
        assert_eq!(
            line(&lines, fields()),
            r#"2026-11-21T14:59:10.231248Z  WARN login failed service=registry user="ann lee""#
        );
        lines.style = Style::People { colours: true };
        assert!(line(&lines, fields()).contains(" \u{1b}[33m WARN\u{1b}[0m login failed "));
    }

    #[test]
    fn what_a_client_sends_can_neither_begin_a_line_nor_turn_one_around() {
        let styles = [
            Style::People { colours: false },
            Style::Logfmt,
            Style::Json,
            Style::Logstash,
        ];
        for style in styles {
            let mut lines = lines(Format::Text);
            lines.style = style;
            let line = line(
                &lines,
                vec![
                    ("message", format!("a{}b", printable::UNSEEN).into()),
                    (
                        "user",
                        format!("x\" level=error{}[0mmsg=", printable::UNSEEN).into(),
                    ),
                ],
            );
            assert!(line.chars().all(printable::is_seen), "{line:?}");
            assert!(!line.contains("x\" level"), "{line}");
        }
    }

    #[test]
    fn a_time_has_six_digits() {
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_nanos(1_795_000_000_123_456_789);
        assert_eq!(timestamp(time), "2026-11-18T11:06:40.123456Z");
    }
}
