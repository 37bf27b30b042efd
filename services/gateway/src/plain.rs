//! The pages of a gateway that was built without Node: the same facts, without scripts.
//!
//! Whatever comes from an engine is escaped. Where keys are asked for they show no facts, since a page shows no key.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use crate::shapes::{EngineRow, Status};

const HOW_TO_GET_THE_PAGE: &str = "<p>This is the plain page: the gateway was built without Node.js. With Node 20.19 or \
    newer and npm on the <code>PATH</code>, <code>cargo build --release</code> builds and embeds the full one.</p>";
const CLOSED: &str = "<p>Keys are asked for here. Send one with every request: \
    <code>curl -H 'Authorization: Bearer nk_…' …/v1/status</code></p>";

/// Text that an HTML document may hold anywhere.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// The state of the whole; without `status` only how to ask for it.
pub(crate) fn page(status: Option<&Status>) -> String {
    let mut out = head("Nautilus", status.is_some());
    match status {
        Some(status) => {
            let state = word(&status.state);
            let shown = state.replace('_', " ");
            let _ = write!(
                out,
                "<p>Version {}, <strong class=\"{state}\">{shown}</strong>, at most a second old.</p>",
                status.version
            );
            engines(&mut out, &status.engines);
            shared(&mut out, status);
            feeds(&mut out, &status.feeds);
        }
        None => out.push_str(CLOSED),
    }
    out.push_str(
        "<h2>Look further</h2><ul><li><a href=\"/api/marketdata/v1/instruments\">instruments</a></li>\
         <li><a href=\"/api/vpin/v1/vpin\">VPIN</a></li><li><a href=\"/v1/status\">status</a></li>\
         <li><a href=\"/v1/topology\">topology</a></li><li><a href=\"/reference\">API reference</a></li></ul>",
    );
    end(out)
}

/// Every route, without a script; without `document` only where it is.
pub(crate) fn reference(document: Option<&[u8]>) -> String {
    let mut out = head("Nautilus API", false);
    out.push_str("<p>The whole document: <a href=\"/openapi.json\">/openapi.json</a></p>");
    let Some(document) = document else {
        out.push_str(CLOSED);
        return end(out);
    };
    let document: Value = serde_json::from_slice(document).unwrap_or_default();
    if let Some(missing) = document["x-unreachable"].as_array().filter(|missing| !missing.is_empty()) {
        let missing: Vec<_> = missing.iter().filter_map(Value::as_str).collect();
        let _ = write!(out, "<p class=\"down\">Away now: {}</p>", Escaped(&missing.join(", ")));
    }
    out.push_str("<div class=\"scroll\"><table><tr><th>method</th><th>path</th><th>what</th></tr>");
    for (path, operations) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in operations.as_object().into_iter().flatten() {
            let what =
                operation["summary"].as_str().or(operation["description"].as_str()).unwrap_or_default();
            let _ = write!(
                out,
                "<tr><td>{}</td><td><code>{}</code></td><td>{}</td></tr>",
                Escaped(&method.to_ascii_uppercase()),
                Escaped(path),
                Escaped(what)
            );
        }
    }
    out.push_str("</table></div>");
    end(out)
}

fn head(title: &str, renews: bool) -> String {
    let renew = if renews { "<meta http-equiv=\"refresh\" content=\"2\">" } else { "" };
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>{renew}\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <link rel=\"icon\" href=\"data:,\"><link rel=\"stylesheet\" href=\"/assets/plain.css\"></head>\
         <body><h1>{title}</h1>"
    )
}

fn end(mut out: String) -> String {
    out.push_str(HOW_TO_GET_THE_PAGE);
    out.push_str("</body></html>\n");
    out
}

fn engines(out: &mut String, engines: &[EngineRow]) {
    out.push_str(
        "<h2>Engines</h2><div class=\"scroll\"><table><tr><th>engine</th><th>state</th><th>version</th>\
         <th>up for</th><th>requests</th><th>p99</th><th>why</th></tr>",
    );
    for engine in engines {
        let state = word(&engine.state);
        let requests = engine.http.as_ref().map_or("–".to_owned(), |http| http.requests.to_string());
        let p99 = engine.http.as_ref().and_then(|http| http.p99_s);
        let p99 = p99.map_or("–".to_owned(), |seconds| format!("{:.3} ms", seconds * 1e3));
        let uptime = engine.uptime_ms.map_or("–".to_owned(), |ms| format!("{} s", ms / 1_000));
        let _ = write!(
            out,
            "<tr><td>{}</td><td class=\"{state}\">{}</td><td>{}</td><td>{uptime}</td><td>{requests}</td>\
             <td>{p99}</td><td>{}</td></tr>",
            engine.engine,
            state.replace('_', " "),
            Escaped(engine.version.as_deref().unwrap_or("–")),
            Escaped(&engine.reasons.join("; "))
        );
    }
    out.push_str("</table></div>");
}

fn shared(out: &mut String, status: &Status) {
    out.push_str("<h2>Buses and store</h2><div class=\"scroll\"><table>");
    let buses = status.buses.iter().map(|bus| (bus.bus, word(&bus.transport), &bus.state, &bus.reason));
    let store = &status.store;
    let store = ("store", store.kind.to_owned(), &store.state, &store.reason);
    for (name, kind, state, reason) in buses.chain([store]) {
        let (state, reason) = (word(state), reason.as_deref().unwrap_or_default());
        let _ = write!(
            out,
            "<tr><td>{}</td><td>{kind}</td><td class=\"{state}\">{state}</td><td>{}</td></tr>",
            name.replace('_', " "),
            Escaped(reason)
        );
    }
    out.push_str("</table></div>");
}

/// Running feeds, with the books that they move.
fn feeds(out: &mut String, feeds: &[Value]) {
    out.push_str("<h2>Feeds</h2>");
    if feeds.is_empty() {
        out.push_str("<p>None runs.</p>");
        return;
    }
    out.push_str("<ul>");
    for feed in feeds {
        let simulated = if feed["simulated"] == true { " (SIMULATED)" } else { "" };
        let _ = write!(out, "<li>{}{simulated}:", Escaped(feed["name"].as_str().unwrap_or("?")));
        for symbol in feed["symbols"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let symbol = Escaped(symbol);
            let _ = write!(out, " <a href=\"/api/marketdata/v1/books/{symbol}?depth=10\">{symbol}</a>");
        }
        out.push_str("</li>");
    }
    out.push_str("</ul>");
}

/// The word of a state, as in JSON.
fn word(state: &impl Serialize) -> String {
    serde_json::to_value(state).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_engines_say_stays_text() {
        let mut out = String::new();
        feeds(&mut out, &[json!({"name": "<script>", "symbols": ["\"><img>", "ESH4"], "simulated": true})]);
        assert!(!out.contains("<script>") && !out.contains("<img>"), "{out}");
        assert!(out.contains("(SIMULATED)") && out.contains(">ESH4</a>"), "{out}");
        let document = json!({"paths": {"/<b>": {"get": {"summary": "a & b"}}}, "x-unreachable": ["vpin"]});
        let page = reference(Some(document.to_string().as_bytes()));
        assert!(page.contains("/&lt;b&gt;") && page.contains("a &amp; b") && page.contains("Away now: vpin"));
    }

    #[test]
    fn closed_doors_show_how_to_ask() {
        for page in [page(None), reference(None)] {
            assert!(page.contains("Authorization: Bearer") && page.contains("npm"), "{page}");
        }
    }
}
