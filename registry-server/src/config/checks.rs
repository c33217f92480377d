//! `health.file`, `health.http` and `health.tcp`: lists of checks.

use super::{
    notice::Notice,
    reader::{Reader, Section},
    units::{self, duration},
};
use crate::{
    health_checks::{Check, Probe},
    listen::Listen,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use registry_doctor::ServerUrl;
use std::{path::PathBuf, time::Duration};

/// Default interval of registry:2.
const INTERVAL: Duration = Duration::from_secs(10);

pub(super) fn checks(reader: &Reader<'_>, notices: &mut Vec<Notice>) -> Vec<Check> {
    let mut checks = Vec::new();
    for (path, read) in [
        (
            "health.file",
            file as fn(&Section<'_, '_>) -> Option<(String, Probe)>,
        ),
        ("health.http", http),
        ("health.tcp", tcp),
    ] {
        for section in reader.sections(path) {
            let probe = read(&section);
            let interval = section.optional("interval", duration);
            let threshold = section.optional("threshold", number);
            let timeout = section.optional("timeout", duration);
            notices.extend(section.unknown());
            if let Some((name, probe)) = probe {
                checks.push(Check {
                    name,
                    probe,
                    // 0 is what registry:2 has for nothing.
                    interval: interval
                        .filter(|interval| !interval.is_zero())
                        .unwrap_or(INTERVAL),
                    threshold: threshold.unwrap_or(0).max(1),
                    timeout: timeout.filter(|timeout| !timeout.is_zero()),
                });
            }
        }
    }
    if let (false, None, Some(value)) = (
        checks.is_empty(),
        reader.filled("http.debug.addr"),
        reader.section("health"),
    ) {
        let message =
            "health: no effect without `http.debug.addr`, because only the debug listener reports the checks";
        notices.push(Notice::new(value.origin.clone(), message.into()));
    }
    checks
}

fn file(section: &Section<'_, '_>) -> Option<(String, Probe)> {
    let path = section.required("file", |text| Ok(text.to_owned()))?;
    let probe = Probe::File(PathBuf::from(&path));
    Some((path, probe))
}

fn http(section: &Section<'_, '_>) -> Option<(String, Probe)> {
    let status = section.optional("statuscode", |text| match number(text)? {
        0 => Ok(StatusCode::OK),
        code => u16::try_from(code)
            .ok()
            .and_then(|code| StatusCode::from_u16(code).ok())
            .ok_or_else(|| "must be an HTTP status".into()),
    });
    let mut headers = HeaderMap::new();
    for (name, value) in section.texts("headers") {
        let parsed = name
            .parse::<HeaderName>()
            .ok()
            .zip(HeaderValue::from_str(value).ok());
        match parsed {
            Some((name, value)) => {
                headers.append(name, value);
            }
            None => section.problem(
                "headers",
                &format!("`{name}` or its value is not valid in a header"),
            ),
        }
    }
    // What is wrong with it says itself what of it may be shown.
    let target = ServerUrl::parse(&section.required("uri", |text| Ok(text.to_owned()))?, "/");
    let target = target
        .map_err(|why| section.problem("uri", &why.to_string()))
        .ok()?;
    let name = target.to_string();
    let probe = Probe::Http {
        target,
        headers,
        status: status.unwrap_or(StatusCode::OK),
    };
    Some((name, probe))
}

fn tcp(section: &Section<'_, '_>) -> Option<(String, Probe)> {
    let (name, address) = section.required("addr", |text| {
        Ok((text.to_owned(), Listen::parse(text)?.locally()))
    })?;
    // A host is what `locally` is there for.
    let host = address.host.unwrap_or_default();
    Some((name, Probe::Tcp(host, address.port)))
}

fn number(text: &str) -> Result<u32, String> {
    units::count(text)?
        .try_into()
        .map_err(|_huge| "the number is too large".into())
}
