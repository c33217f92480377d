//! The application log, on standard error: registry:2's lines, as text or JSON.
//!
//! `text` is `time=… level=… msg=…` with `key=value` pairs, as registry:2 writes it where nobody looks, and coloured
//! for people on a terminal; `logfmt` is the former in any case. `json` and `logstash` have one object per line.
//! Whatever a client sends stands in quotes with its control characters spelled out: a line is always one line.

use crate::config::{Format, Log};
use serde_json::{Map, Value};
use std::{
    fmt,
    io::{self, IsTerminal as _, Write},
    time::SystemTime,
};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    EnvFilter, Layer, filter::Directive, layer::Context, layer::SubscriberExt as _, registry::LookupSpan,
    util::SubscriberInitExt as _,
};

/// Sets up the log of this process. `RUST_LOG` adds to the level, per module.
pub(crate) fn start(log: &Log) {
    let filter = EnvFilter::builder()
        .with_default_directive(Directive::from(log.level))
        .from_env_lossy();
    let subscriber = tracing_subscriber::registry().with(filter);
    if log.format == Format::Text && io::stderr().is_terminal() {
        subscriber
            .with(tracing_subscriber::fmt::layer().with_writer(io::stderr))
            .init();
    } else {
        subscriber.with(Lines::new(log)).init();
    }
}

/// Writes an event as a line.
struct Lines {
    format: Format,
    /// `log.fields`, which every line has.
    fields: Vec<(String, Value)>,
}

impl Lines {
    fn new(log: &Log) -> Self {
        Self {
            format: log.format,
            fields: log
                .fields
                .iter()
                .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
                .collect(),
        }
    }

    fn line(&self, time: &str, level: Level, event: Fields) -> String {
        let level = match level {
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
        match self.format {
            Format::Text | Format::Logfmt => {
                let mut line = format!("time=\"{time}\" level={level} msg={}", Logfmt(&message));
                for (name, value) in &fields {
                    line.push_str(&format!(
                        " {}={}",
                        name.replace([' ', '=', '"'], "_"),
                        Logfmt(value)
                    ));
                }
                line
            }
            Format::Json => {
                fields.insert("time".into(), time.into());
                fields.insert("level".into(), level.into());
                fields.insert("msg".into(), message);
                Value::Object(fields).to_string()
            }
            Format::Logstash => {
                fields.insert("@timestamp".into(), time.into());
                fields.insert("@version".into(), "1".into());
                fields.insert("level".into(), level.into());
                fields.insert("message".into(), message);
                Value::Object(fields).to_string()
            }
        }
    }
}

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for Lines {
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
        let mut line = self.line(&time, *event.metadata().level(), fields);
        line.push('\n');
        // In one write, so that lines never mix; nobody is left to tell if standard error is gone.
        _ = io::stderr().lock().write_all(line.as_bytes());
    }
}

/// What an event or a span says, in order.
#[derive(Debug, Default)]
struct Fields(Vec<(&'static str, Value)>);

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

/// A value in logfmt: plain where it can be, else as a JSON string.
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
            // Quoted, and with its control characters spelled out.
            other => other.fmt(f),
        }
    }
}

/// RFC 3339 in UTC, to the microsecond.
fn timestamp(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{time:.6}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: Format, fields: Vec<(&'static str, Value)>) -> String {
        let log = Log {
            level: tracing_subscriber::filter::LevelFilter::INFO,
            format,
            access: false,
            fields: vec![("service".into(), "registry".into())],
        };
        Lines::new(&log).line("2026-11-21T14:59:10.231248Z", Level::WARN, Fields(fields))
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
            line(Format::Logfmt, fields()),
            r#"time="2026-11-21T14:59:10.231248Z" level=warning msg="login failed" n=3 peer=10.0.0.1:5 service=registry"#
        );
        assert_eq!(
            line(Format::Json, fields()),
            r#"{"level":"warning","msg":"login failed","n":3,"peer":"10.0.0.1:5","service":"registry","time":"2026-11-21T14:59:10.231248Z"}"#
        );
        assert_eq!(
            line(Format::Logstash, fields()),
            r#"{"@timestamp":"2026-11-21T14:59:10.231248Z","@version":"1","level":"warning","message":"login failed","n":3,"peer":"10.0.0.1:5","service":"registry"}"#
        );
    }

    #[test]
    fn what_a_client_sends_cannot_begin_a_line() {
        for format in [Format::Text, Format::Logfmt, Format::Json, Format::Logstash] {
            let line = line(
                format,
                vec![
                    ("message", "a\nb".into()),
                    ("user", "x\" level=error\r\u{1b}[0m\nmsg=".into()),
                ],
            );
            assert!(line.chars().all(|c| !c.is_control()), "{line:?}");
            assert!(!line.contains("x\" level"), "{line}");
        }
    }

    #[test]
    fn a_time_has_six_digits() {
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_nanos(1_795_000_000_123_456_789);
        assert_eq!(timestamp(time), "2026-11-18T11:06:40.123456Z");
    }
}
