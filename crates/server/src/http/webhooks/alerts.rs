//! Formats alerts of Prometheus Alertmanager, and of Grafana with its old and its new alerting.
//!
//! Always true: each alert that is shown has its name, its problem and its link; the text says how
//! many alerts are not shown.

use serde_json::Value;

use super::text::{at, excerpt, first_of, join, line, list_at, text_at, url, word, word_at};

/// Maximum number of alerts of one notification that are shown: a screen. More are counted.
const ALERTS_SHOWN: usize = 20;
/// Maximum number of labels of one alert that are shown besides its name.
const LABELS_SHOWN: usize = 8;
/// Maximum number of values and matches of one alert that are shown.
const VALUES_SHOWN: usize = 8;
/// Maximum number of characters of a value of a label.
const LABEL_CHARACTERS: usize = 80;
/// Maximum number of characters of a title.
const TITLE_CHARACTERS: usize = 300;
/// Maximum number of characters of a description.
const DESCRIPTION_CHARACTERS: usize = 1000;
/// Maximum number of characters of a message from a template in Grafana.
const MESSAGE_CHARACTERS: usize = 8000;
/// First lines of the message that Grafana composes by itself, whose content is shown in a better
/// form here.
const GRAFANA_DEFAULT: [&str; 2] = ["**Firing**", "**Resolved**"];

/// Returns whether a body is a notification of Alertmanager, or of Grafana, which uses the same
/// form.
pub(super) fn is_notification(body: &Value) -> bool {
    body["alerts"].is_array() && (body["status"].is_string() || body["receiver"].is_string())
}

/// Formats a notification with its alerts.
pub(super) fn notification(body: &Value) -> String {
    let alerts = list_at(body, "alerts");
    let by_grafana = body["orgId"].is_number() || body["state"].is_string();
    let mut parts = vec![title(body, alerts)];
    let message = excerpt(text_at(body, "message"), MESSAGE_CHARACTERS);
    let is_composed = by_grafana
        && !message.is_empty()
        && !GRAFANA_DEFAULT
            .iter()
            .any(|start| message.starts_with(start));
    if is_composed {
        parts.push(message);
    } else {
        parts.extend(alerts.iter().take(ALERTS_SHOWN).map(|one| alert(body, one)));
        let left_out = at(body, "truncatedAlerts").as_u64().unwrap_or(0);
        let hidden = u64::try_from(alerts.len().saturating_sub(ALERTS_SHOWN)).unwrap_or(0);
        match left_out.saturating_add(hidden) {
            0 => {}
            more => parts.push(format!("… and {more} more")),
        }
    }
    parts.push(url(text_at(body, "externalURL")).to_owned());
    join(&parts, "\n")
}

/// Returns a title such as `[FIRING:2] HighLatency (prod)`.
fn title(body: &Value, alerts: &[Value]) -> String {
    let given = line(text_at(body, "title"), TITLE_CHARACTERS);
    if !given.is_empty() {
        return given;
    }
    let is_firing = |alert: &&Value| text_at(alert, "status") == "firing";
    let status = line(text_at(body, "status"), LABEL_CHARACTERS).to_uppercase();
    let count = match status.as_str() {
        "FIRING" => alerts.iter().filter(is_firing).count(),
        _ => alerts.len(),
    };
    let named = |labels: &str| line(&word_at(at(body, labels), "alertname"), LABEL_CHARACTERS);
    let name = match named("groupLabels") {
        name if name.is_empty() => named("commonLabels"),
        name => name,
    };
    let name = match name.is_empty() {
        true => line(text_at(body, "receiver"), LABEL_CHARACTERS),
        false => name,
    };
    let group = labels_of(&body["groupLabels"], |label| label != "alertname");
    let group = match group.is_empty() {
        true => String::new(),
        false => format!(" ({group})"),
    };
    let status = match status.is_empty() {
        true => "ALERTS".to_owned(),
        false => status,
    };
    format!("[{status}:{count}] {name}{group}")
        .trim_end()
        .to_owned()
}

fn alert(body: &Value, alert: &Value) -> String {
    let labels = &alert["labels"];
    let is_own = |label: &str| label != "alertname" && body["groupLabels"][label].is_null();
    let name = match line(&word_at(labels, "alertname"), LABEL_CHARACTERS) {
        name if name.is_empty() => "alert".to_owned(),
        name => name,
    };
    let own = labels_of(labels, is_own);
    let head = match own.is_empty() {
        true => name,
        false => format!("{name} ({own})"),
    };
    let status = line(text_at(alert, "status"), LABEL_CHARACTERS);
    let notes = &alert["annotations"];
    let summary = first_of(notes, &["summary", "title", "message"]);
    let description = first_of(notes, &["description"]);
    let mut parts = vec![join(
        &[
            format!("- {status} {head}"),
            line(summary, TITLE_CHARACTERS),
        ],
        ": ",
    )];
    if description != summary {
        parts.push(indented(&excerpt(description, DESCRIPTION_CHARACTERS)));
    }
    parts.push(indented(&values_of(alert)));
    parts.push(indented(&times_of(alert)));
    for (label, address) in [
        ("runbook", first_of(notes, &["runbook_url", "runbook"])),
        ("panel", first_of(alert, &["panelURL", "dashboardURL"])),
        ("source", text_at(alert, "generatorURL")),
        ("silence", text_at(alert, "silenceURL")),
    ] {
        if !url(address).is_empty() {
            parts.push(indented(&format!("{label}: {}", url(address))));
        }
    }
    join(&parts, "\n")
}

/// Returns the first wanted labels in their order, such as `instance=db1, severity=page`.
fn labels_of(labels: &Value, wanted: impl Fn(&str) -> bool) -> String {
    let labels = labels.as_object().into_iter().flatten();
    let shown = labels.filter(|(name, _)| !name.starts_with("__") && wanted(name));
    let shown = shown.take(LABELS_SHOWN).map(|(name, value)| {
        let value = line(&word(value), LABEL_CHARACTERS);
        format!("{}={value}", line(name, LABEL_CHARACTERS))
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// Returns the values of an alert, such as `value: A=0.97, B=1`.
fn values_of(alert: &Value) -> String {
    let values = alert["values"].as_object().into_iter().flatten();
    let shown = values.take(VALUES_SHOWN).filter_map(|(name, value)| {
        let value = line(&word(value), LABEL_CHARACTERS);
        (!value.is_empty()).then(|| format!("{}={value}", line(name, LABEL_CHARACTERS)))
    });
    match shown.collect::<Vec<_>>() {
        shown if shown.is_empty() => String::new(),
        shown => format!("value: {}", shown.join(", ")),
    }
}

/// Returns `since 2026-11-26T10:00:00Z`, and the end of the alert if it is over.
fn times_of(alert: &Value) -> String {
    let time = |field| match line(text_at(alert, field), 40) {
        // The year 1 means: not yet.
        time if time.starts_with("0001-") => String::new(),
        time => without_fraction(&time),
    };
    let is_over = text_at(alert, "status") == "resolved";
    match (time("startsAt"), time("endsAt")) {
        (since, _) if since.is_empty() => String::new(),
        (since, until) if is_over && !until.is_empty() => format!("from {since} to {until}"),
        (since, _) => format!("since {since}"),
    }
}

/// Returns a time without fractions of a second.
fn without_fraction(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, rest)) => {
            let zone = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{seconds}{zone}")
        }
        None => time.to_owned(),
    }
}

fn indented(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("  {line}")).collect();
    match text.is_empty() {
        true => String::new(),
        false => lines.join("\n"),
    }
}

/// Returns whether a body is of the alerting that Grafana had until its version 8.
pub(super) fn is_old_grafana(body: &Value) -> bool {
    body["ruleName"].is_string() && body["state"].is_string()
}

/// Formats an alert of the old alerting.
pub(super) fn old_grafana(body: &Value) -> String {
    let state = line(text_at(body, "state"), LABEL_CHARACTERS);
    let title = match first_of(body, &["title", "ruleName"]) {
        "" => "alert",
        title => title,
    };
    let title = line(title, TITLE_CHARACTERS);
    let head = match title.to_lowercase().contains(&state.to_lowercase()) {
        true => title,
        false => format!("[{state}] {title}"),
    };
    let matches = list_at(body, "evalMatches").iter().take(VALUES_SHOWN);
    let values = matches.map(|one| {
        let metric = line(text_at(one, "metric"), LABEL_CHARACTERS);
        let tags = labels_of(&one["tags"], |_| true);
        let metric = join(&[metric, tags], " ");
        format!(
            "- {metric}: {}",
            line(&word_at(one, "value"), LABEL_CHARACTERS)
        )
    });
    let mut parts = vec![head, excerpt(text_at(body, "message"), MESSAGE_CHARACTERS)];
    parts.extend(values);
    parts.push(labels_of(&body["tags"], |_| true));
    parts.push(url(text_at(body, "ruleUrl")).to_owned());
    parts.push(url(text_at(body, "imageUrl")).to_owned());
    join(&parts, "\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_alert_shows_its_problem_place_and_start_time() {
        let body = json!({
            "version": "4", "groupKey": "{}:{alertname=\"DiskFull\"}", "truncatedAlerts": 2,
            "status": "firing", "receiver": "ops", "groupLabels": {"alertname": "DiskFull"},
            "commonLabels": {"alertname": "DiskFull"}, "commonAnnotations": {},
            "externalURL": "https://alerts.example", "alerts": [
            {"status": "firing", "labels": {"alertname": "DiskFull", "instance": "db1"},
             "annotations": {"summary": "90% of /data", "runbook_url": "https://run.example/7"},
             "startsAt": "2026-11-26T10:00:00.123456789Z", "endsAt": "0001-01-01T00:00:00Z",
             "generatorURL": "https://prom.example/graph"},
            {"status": "resolved", "labels": {"alertname": "DiskFull", "instance": "db2"},
             "startsAt": "2026-11-26T09:00:00+01:00", "endsAt": "2026-11-26T10:00:00+01:00"}]});
        assert!(is_notification(&body));
        let expected = "[FIRING:1] DiskFull\n\
            - firing DiskFull (instance=db1): 90% of /data\n  since 2026-11-26T10:00:00Z\n  \
            runbook: https://run.example/7\n  source: https://prom.example/graph\n\
            - resolved DiskFull (instance=db2)\n  \
            from 2026-11-26T09:00:00+01:00 to 2026-11-26T10:00:00+01:00\n\
            … and 2 more\nhttps://alerts.example";
        assert_eq!(notification(&body), expected);
    }

    #[test]
    fn a_custom_grafana_message_is_shown_unchanged() {
        let mut body = json!({
            "orgId": 1, "status": "firing", "state": "alerting", "title": "[FIRING:1] Latency",
            "message": "Call **Anna**", "alerts": [{"status": "firing", "labels":
            {"alertname": "Latency"}, "values": {"A": 0.97, "B": 1}}], "externalURL": ""});
        assert_eq!(notification(&body), "[FIRING:1] Latency\nCall **Anna**");
        body["message"] = "**Firing**\n\nValue: A=0.97".into();
        let expected = "[FIRING:1] Latency\n- firing Latency\n  value: A=0.97, B=1";
        assert_eq!(notification(&body), expected);
    }

    #[test]
    fn more_alerts_than_a_screen_are_counted() {
        let alert = json!({"status": "firing", "labels": {"alertname": "X"}});
        let body = json!({"status": "firing", "alerts": vec![alert; 500]});
        let text = notification(&body);
        assert!(text.starts_with("[FIRING:500]"), "{text}");
        assert!(text.ends_with("… and 480 more"), "{text}");
    }
}
